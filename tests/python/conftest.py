"""What all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from random_world import write_random_world

# Tests run on small and busy machines, where two threads wait for each other more than they work.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def random_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world of random weights that several tests may load; nobody writes into it."""
    return write_random_world(tmp_path_factory.mktemp("worlds") / "random")

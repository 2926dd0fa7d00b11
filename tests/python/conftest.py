"""What all tests share."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch
from random_world import write_random_world

# Tests run on small and busy machines, where two threads wait for each other more than they work.
torch.set_num_threads(1)

# A shell that starts the tests in the background makes them, and the programs that they start and
# then interrupt, deaf to Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def random_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world of random weights that several tests may load; nobody writes into it."""
    return write_random_world(tmp_path_factory.mktemp("worlds") / "random")

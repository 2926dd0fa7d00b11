"""What all tests share."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from random_world import write_random_world

from genie_env.envs import plugins

# Tests run on small and busy machines, where two threads wait for each other more than they work.
torch.set_num_threads(1)

# A shell that starts the tests in the background makes them, and the programs that they start and
# then interrupt, deaf to Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


LONGEST = (
    "test_hostile_options",
    "test_training",
    "test_end_to_end",
    "test_exported_examples",
    "test_exported",
    "test_conformance",
    "test_continuity",
    "test_play_page",
    "test_play",
    "test_play_session",
)
"""Files that come first: the processes that share the tests then end at about the same time."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        return LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST)

    items.sort(key=place)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Shows what tests have measured, by `record_property`."""
    for report in terminalreporter.stats.get("passed", []):
        if report.when == "call":
            for name, value in report.user_properties:
                terminalreporter.write_line(f"{name}: {value}")


@pytest.fixture(autouse=True)
def own_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Worker processes import the modules that this test has named, and none that others have."""
    monkeypatch.setattr(plugins, "_imported", [])


@pytest.fixture(scope="session")
def random_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world of random weights that several tests may load; nobody writes into it."""
    return write_random_world(tmp_path_factory.mktemp("worlds") / "random")

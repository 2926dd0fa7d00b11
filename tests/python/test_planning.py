"""The planning example: those who plan outlive those who move at random."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

PLANNING = Path(__file__).parents[2] / "examples/python/planning.py"


def test_planners_play() -> None:
    main = runpy.run_path(str(PLANNING))["main"]
    for mean in main("--players 2 --plans 8 --futures 2 --limit 60".split()):
        assert 0 < mean <= 60


@pytest.mark.long
def test_planning_beats_random_play() -> None:
    main = runpy.run_path(str(PLANNING))["main"]
    short = "--players 16 --plans 24 --futures 3 --limit 300"  # six players are too few to tell
    planned, random = main(short.split())
    assert 0 < random < planned <= 300

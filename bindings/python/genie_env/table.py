"""`genie-env table`: dream score beside real score, by temperature and seed.

The paper's table: a dream that is too easy gives high scores that reality does not honour.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.markdown import Markdown

from genie_env.controller import LinearController
from genie_env.dreams import Dreams, derived_seeds
from genie_env.evaluation import RealScores, agent_player
from genie_env.evolution import ControllerSettings, train_controller
from genie_env.files import claim_run, write_atomically, write_json
from genie_env.shipped import find_world
from genie_env.summary import Summary, summarise
from genie_env.training.controller import TrainingProgress, parse_steps

TEMPERATURES = (0.1, 0.5, 1.0, 1.15, 1.3)
FRESH_DREAMS = 512
"""Dreams of a cell's dream score: fresh ones, as training chose its checkpoint by other dreams."""


BLIND = ("random", "held", "sweep:60", "sweep:80", "sweep:100")
"""Baselines that never look; the untrained controller stays where it is ("still")."""


@dataclass(frozen=True)
class Cell:
    """One controller: trained at one temperature with one seed."""

    temperature: float
    seed: int
    dream: Summary
    real: Summary


def fill_cell(
    dreams: Dreams,
    settings: ControllerSettings,
    world: Path,
    directory: Path,
    *,
    episodes: int,
    workers: int,
    console: Console,
) -> Cell:
    """Trains a controller and plays it in fresh dreams and in reality.

    What `directory` holds is not done again.
    """
    with TrainingProgress(settings, console) as progress:
        for generation in train_controller(dreams, settings, out=directory, progress=progress.tic):
            progress.generation(generation)
    agent = directory / "agent.safetensors"
    dream_file = directory / "dream.json"
    if not dream_file.exists():
        seeds = derived_seeds(settings.seed, count=FRESH_DREAMS)
        played = dreams.play_controller(LinearController.load(agent), seeds)
        write_json(dream_file, {"scores": played.scores.tolist()})
    real = RealScores(agent_player(world, agent, FRESH_GAMES), directory / "real.json")
    for _ in track(real.play(episodes, workers), "playing the real game", ...):
        pass
    return Cell(
        temperature=dreams.temperature,
        seed=settings.seed,
        dream=summarise(json.loads(dream_file.read_text())["scores"]),
        real=summarise(real.scores[:episodes]),
    )

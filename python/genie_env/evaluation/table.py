"""Scores in the dream beside scores in the real game, by temperature and seed: the paper's table.

Its point: an agent from a dream that is too easy does not score as well in the real game.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markdown import Markdown

from genie_env.agents.dreams import Dreams
from genie_env.agents.agent import AGENT
from genie_env.agents.evolution import LOG, ControllerSettings, train_controller
from genie_env.agents.real_play import agent_player
from genie_env.agents.training_progress import TrainingProgress
from genie_env.data.files import write_atomically, write_json
from genie_env.data.progress import track
from genie_env.data.run_directory import claim_run
from genie_env.envs.options import FamilyValue, StepFunction
from genie_env.evaluation.dream_score import kept_dream_scores
from genie_env.evaluation.evaluate import FRESH_GAMES, RealScores
from genie_env.evaluation.statistics import Summary, summarise
from genie_env.games.base import Score, rounded
from genie_env.games.real_game import real_game

TEMPERATURES = (0.1, 0.5, 1.0, 1.15, 1.3)
FRESH_DREAMS = 512
"""Dreams that a dream score is the mean of."""


@dataclass(frozen=True)
class Cell:
    """One controller, trained at one temperature with one seed."""

    temperature: float
    seed: int
    dream: Summary
    real: Summary

    def as_json(self) -> dict[str, Any]:
        return {
            "temperature": self.temperature,
            "seed": self.seed,
            "dream": self.dream.as_json(),
            "real": self.real.as_json(),
        }


def fill_cell(
    dreams: Dreams,
    settings: ControllerSettings,
    world: Path,
    directory: Path,
    *,
    options: Mapping[str, FamilyValue],
    episodes: int,
    workers: int,
    console: Console,
) -> Cell:
    """Trains a controller, then plays it in fresh dreams and in the real game.

    What `directory` already holds is not done again.
    """
    score = dreams.score
    with TrainingProgress(settings, score, console) as progress:
        run = train_controller(
            dreams,
            settings,
            out=directory,
            on_step=progress.step,
            higher_is_better=score.higher_is_better,
        )
        for generation in run:
            progress.generation(generation)
    agent = directory / AGENT
    real = RealScores(agent_player(world, agent, FRESH_GAMES, options), directory / "real.json")
    playing = real.play(episodes, workers)
    for _ in track(playing, "real games", episodes - len(real.scores), console=console):
        pass
    return Cell(
        dreams.temperature,
        settings.seed,
        summarise(
            kept_dream_scores(
                dreams, agent, settings.seed, FRESH_DREAMS, directory / "dream.json", console
            )
        ),
        summarise(real.scores[:episodes]),
    )


def markdown(cells: Sequence[Cell], score: Score, dreamt: Score | None = None) -> str:
    """A row a cell, and under the cells of a temperature the mean of their means. `score`: of the real
    game; `dreamt`: of dreams, where that is another one."""
    lines = [
        f"| tau | seed | dream {dreamt or score} | real {score} | 95 % interval |",
        "|---|---|---|---|---|",
    ]
    for temperature in dict.fromkeys(cell.temperature for cell in cells):
        group = [cell for cell in cells if cell.temperature == temperature]
        for cell in group:
            lines.append(
                f"| {temperature:g} | {cell.seed} "
                f"| {rounded(cell.dream.mean)} ± {cell.dream.spread} "
                f"| {rounded(cell.real.mean)} ± {cell.real.spread} | {cell.real.interval} |"
            )
        dream = float(np.mean([cell.dream.mean for cell in group]))
        real = float(np.mean([cell.real.mean for cell in group]))
        lines.append(
            f"| **{temperature:g}** | mean | **{rounded(dream)}** | **{rounded(real)}** | |"
        )
    return "\n".join(lines) + "\n"


def table(
    world: Path,
    out: Path,
    *,
    temperatures: Sequence[float] = TEMPERATURES,
    seeds: int = 3,
    steps: int = 40_000_000,
    options: Mapping[str, FamilyValue] = {},
    reward_fn: StepFunction | None = None,
    termination_fn: StepFunction | None = None,
    episodes: int = 100,
    workers: int = 2,
    device: str = "cpu",
) -> None:
    """Fills the table of a world directory, and writes table.md and table.json into `out`.

    Trains seeds 0, 1, ... at every temperature, each for `steps` dream steps, and plays `episodes`
    real episodes with every controller. What `out` already holds is not done again. Raises before
    any training where the real game cannot be played.
    """
    for name, value in (("seeds", seeds), ("episodes", episodes)):
        if value < 1:
            raise ValueError(f"{name} is {value}; expected 1 or more")
    dreams = Dreams.load(
        world,
        options=options,
        device=device,
        reward_fn=reward_fn,
        termination_fn=termination_fn,
    )
    game = real_game(world)
    # Where the game cannot be played, this fails now, not after the first hour of training.
    game.make().close()
    runs = [
        (dreams.at(temperature), ControllerSettings(steps=steps, seed=seed))
        for temperature in temperatures
        for seed in range(seeds)
    ]
    identity = {"world": dreams.fingerprint, **dreams.options, **dreams.functions, "steps": steps}
    console = Console()
    cells: list[Cell] = []
    with claim_run(out, identity, [f"tau-*/seed-*/{LOG}", "table.json"]):
        for dreaming, settings in runs:
            console.rule(f"tau {dreaming.temperature:g}, seed {settings.seed}")
            run = out / f"tau-{dreaming.temperature:g}" / f"seed-{settings.seed}"
            cells.append(
                fill_cell(
                    dreaming,
                    settings,
                    world,
                    run,
                    options=options,
                    episodes=episodes,
                    workers=workers,
                    console=console,
                )
            )
            # After every cell, so that a stopped table shows what it has.
            found = {**identity, "score": game.score.as_json()}
            write_json(out / "table.json", {**found, "cells": [cell.as_json() for cell in cells]})
            text = markdown(cells, game.score, dreams.score)
            write_atomically(out / "table.md", lambda file: file.write_text(text))
    console.print(Markdown(markdown(cells, game.score, dreams.score)))
    console.print(f"wrote {out / 'table.md'} and {out / 'table.json'}", soft_wrap=True)

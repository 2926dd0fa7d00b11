"""`genie-env table`: survival in the dream beside survival in reality, by temperature and seed.

The paper's table. Its point: a dream that is too easy gives scores that reality does not honour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import track

from genie_env.agents.dreams import Dreams
from genie_env.agents.evolution import ControllerSettings, train_controller
from genie_env.agents.train_controller import TrainingProgress, parse_steps
from genie_env.data.files import claim_run, read_json, write_atomically, write_json
from genie_env.envs.registry import find_world
from genie_env.evaluation.dream_score import dream_scores
from genie_env.evaluation.evaluate import FRESH_GAMES, RealScores, agent_player, real_game
from genie_env.evaluation.statistics import Summary, summarise

TEMPERATURES = (0.1, 0.5, 1.0, 1.15, 1.3)
FRESH_DREAMS = 512
"""Dreams of a dream score."""


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
    episodes: int,
    workers: int,
    console: Console,
) -> Cell:
    """Trains a controller, then plays it in fresh dreams and in the real game.

    What `directory` already holds is not done again.
    """
    with TrainingProgress(settings, console) as progress:
        for generation in train_controller(dreams, settings, out=directory, progress=progress.tic):
            progress.generation(generation)
    agent = directory / "agent.safetensors"
    dream_file = directory / "dream.json"
    if not dream_file.exists():
        write_json(dream_file, dream_scores(dreams, agent, settings.seed, FRESH_DREAMS))
    real = RealScores(agent_player(world, agent, FRESH_GAMES), directory / "real.json")
    playing = real.play(episodes, workers)
    for _ in track(playing, "real games", episodes - len(real.scores), console=console):
        pass
    return Cell(
        dreams.temperature,
        settings.seed,
        summarise(read_json(dream_file)["scores"]),
        summarise(real.scores[:episodes]),
    )


def markdown(cells: Sequence[Cell]) -> str:
    """A row a cell, and under the cells of a temperature the mean of their means."""
    lines = [
        "| tau | seed | dream score | real score | 95 % interval |",
        "|---|---|---|---|---|",
    ]
    for temperature in dict.fromkeys(cell.temperature for cell in cells):
        group = [cell for cell in cells if cell.temperature == temperature]
        for cell in group:
            lines.append(
                f"| {temperature:g} | {cell.seed} | {cell.dream.mean:,.0f} ± {cell.dream.spread} "
                f"| {cell.real.mean:,.0f} ± {cell.real.spread} | {cell.real.interval} |"
            )
        dream = np.mean([cell.dream.mean for cell in group])
        real = np.mean([cell.real.mean for cell in group])
        lines.append(f"| **{temperature:g}** | mean | **{dream:,.0f}** | **{real:,.0f}** | |")
    return "\n".join(lines) + "\n"


def table(
    world: Annotated[str, typer.Option(help="a shipped world's name, or a world directory")],
    out: Annotated[Path, typer.Option(help="directory for table.md, table.json and every run")],
    tau: Annotated[list[float], typer.Option(help="temperatures")] = list(TEMPERATURES),
    seeds: Annotated[int, typer.Option(help="training runs a temperature: seeds 0, 1, ...")] = 3,
    steps: Annotated[str, typer.Option(help="dream steps of every run")] = "40M",
    termination: Annotated[
        str, typer.Option(help="sampled, thresholded, or calibrated: as the world says")
    ] = "calibrated",
    episodes: Annotated[int, typer.Option(help="real episodes of every controller")] = 100,
    workers: Annotated[int, typer.Option(help="processes that play the real game")] = 2,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
) -> None:
    """Train at several temperatures with equal budgets; compare dream and reality.

    Leaves table.md and table.json. The same command goes on where it was stopped, and plays more
    real episodes where more are asked for.
    """
    for name, value in (("seeds", seeds), ("episodes", episodes)):
        if value < 1:
            raise ValueError(f"{name} is {value}; expected 1 or more")
    directory = find_world(world)
    dreams = Dreams.load(directory, termination=termination, device=device)
    # Whatever the game lacks shall be known now, not after the first hour of training.
    real_game(directory).make().close()
    runs = [
        (dreams.at(temperature), ControllerSettings(steps=parse_steps(steps), seed=seed))
        for temperature in tau
        for seed in range(seeds)
    ]
    identity = {
        "world": dreams.fingerprint,
        "termination": dreams.termination,
        "steps": parse_steps(steps),
    }
    claim_run(out, identity)
    console = Console()
    cells = []
    for dreaming, settings in runs:
        console.rule(f"tau {dreaming.temperature:g}, seed {settings.seed}")
        run = out / f"tau-{dreaming.temperature:g}" / f"seed-{settings.seed}"
        cells.append(
            fill_cell(
                dreaming,
                settings,
                directory,
                run,
                episodes=episodes,
                workers=workers,
                console=console,
            )
        )
        # After every cell, so that a stopped table shows what it has.
        write_json(out / "table.json", {**identity, "cells": [cell.as_json() for cell in cells]})
        write_atomically(out / "table.md", lambda file: file.write_text(markdown(cells)))
    console.print(Markdown(markdown(cells)))
    console.print(f"wrote {out / 'table.md'} and {out / 'table.json'}", soft_wrap=True)

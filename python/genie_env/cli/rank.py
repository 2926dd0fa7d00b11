"""`genie-env rank`: whether the dream orders agents as the real game does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from genie_env.agents.dreams import Dreams
from genie_env.cli.options import (
    DeviceOption,
    FamilyOption,
    RealEpisodesOption,
    SeedOption,
    TemperatureOption,
    WorkersOption,
    WorldOption,
    family_options,
)
from genie_env.envs.registry import find_world
from genie_env.evaluation.evaluate import show_scores
from genie_env.evaluation.rank_agents import agent_files, rank_agents
from genie_env.evaluation.ranking_report import said_of
from genie_env.evaluation.table import FRESH_DREAMS
from genie_env.games.real_game import real_game


def rank(
    world: WorldOption,
    agent: Annotated[
        list[Path],
        typer.Option(
            help="agent file, run directory of one, or directory of either; may be repeated: 6 agents or "
            "more, of mixed quality"
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="directory for ranking.json, ranking.png and all scores",
            file_okay=False,
            writable=True,
        ),
    ],
    temperature: TemperatureOption = None,
    option: FamilyOption = None,
    dreams: Annotated[
        int, typer.Option(help="fresh dreams of every agent", min=2, max=1_000_000)
    ] = FRESH_DREAMS,
    episodes: RealEpisodesOption = 100,
    workers: WorkersOption = 2,
    signals: Annotated[
        bool,
        typer.Option(
            help="also find what dreams tell of themselves, of 256 more dreams an agent (--no-signals: "
            "where a dream costs much)"
        ),
    ] = True,
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
) -> None:
    """Play agents in dream and real game, and compare the orders that the scores put them in.

    All are played in the dream first, and --out takes no other agents from then on. Leaves
    ranking.json and ranking.png. The same command goes on where it was stopped, and plays more real
    episodes where more are asked for.
    """
    directory, options = find_world(world), family_options(option)
    files = agent_files(agent)
    dreaming = Dreams.load(directory, temperature=temperature, options=options, device=device)
    console = Console()
    ranking = rank_agents(
        dreaming,
        directory,
        files,
        out,
        options=options,
        seed=seed,
        fresh_dreams=dreams,
        episodes=episodes,
        workers=workers,
        with_signals=signals,
        console=console,
    )
    by_dream = ranking.by_dream
    score = real_game(directory).score
    in_dream, in_reality = (
        {each.name: each.summaries[place] for each in by_dream} for place in (0, 1)
    )
    show_scores(console, in_dream, dreaming.score, "the dream")
    show_scores(console, in_reality, score)
    for line in said_of(ranking):
        console.print(line, soft_wrap=True)
    console.print(f"wrote {out / 'ranking.json'} and {out / 'ranking.png'}", soft_wrap=True)

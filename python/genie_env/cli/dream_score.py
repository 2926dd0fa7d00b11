"""`genie-env dream-score`: an agent's scores in dreams that its training never saw."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from genie_env.agents.dreams import Dreams
from genie_env.cli.options import (
    AgentOption,
    BurnInOption,
    DeviceOption,
    FamilyOption,
    JsonOption,
    RewardFnOption,
    SeedOption,
    StartsOption,
    TemperatureOption,
    TerminationFnOption,
    WorldOption,
    family_options,
)
from genie_env.envs.registry import find_world
from genie_env.envs.step_functions import named_function
from genie_env.evaluation.dream_score import dream_scores
from genie_env.evaluation.evaluate import show_scores
from genie_env.evaluation.statistics import summarise


def dream_score(
    world: WorldOption,
    agent: AgentOption,
    episodes: Annotated[
        int, typer.Option(help="dreams to play, all in one batch", min=1, max=1_000_000)
    ] = 1024,
    temperature: TemperatureOption = None,
    option: FamilyOption = None,
    seed: SeedOption = 0,
    starts: StartsOption = None,
    burn_in: BurnInOption = None,
    reward_fn: RewardFnOption = None,
    termination_fn: TerminationFnOption = None,
    device: DeviceOption = "cpu",
    json_file: JsonOption = None,
) -> None:
    """Play fresh dreams with an agent: the score that chooses among agents.

    It says nothing about the real game by itself: compare agents at the calibrated temperature
    alone, and play the real game (genie-env evaluate) with the one that is chosen.
    """
    directory = find_world(world)
    dreams = Dreams.load(
        directory,
        temperature=temperature,
        options=family_options(option),
        device=device,
        starts=starts,
        burn_in=burn_in,
        reward_fn=named_function("reward_fn", reward_fn),
        termination_fn=named_function("termination_fn", termination_fn),
    )
    console = Console()
    found = dream_scores(dreams, agent, seed, episodes, json_file, console)
    summary = {agent.name: summarise(found["scores"])}
    show_scores(console, summary, dreams.score, "fresh dreams")
    settings = {**dreams.settings, "temperature": f"{dreams.temperature:g}"}
    if dreams.starts is not None:
        settings["starts"] = dreams.starts.hash[:12]
    console.print(", ".join(f"{name} {value}" for name, value in settings.items()))
    if json_file is not None:
        console.print(f"wrote {json_file}", soft_wrap=True)

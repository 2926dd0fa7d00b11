"""`genie-env film`: an agent in the real game and in its dream, side by side."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from genie_env.agents.agent import load_agent
from genie_env.agents.dreams import Dreams
from genie_env.agents.real_play import agent_player
from genie_env.cli.options import (
    AgentOption,
    DeviceOption,
    FamilyOption,
    SeedOption,
    TemperatureOption,
    TerminationFnOption,
    WorkersOption,
    WorldOption,
    family_options,
)
from genie_env.data.progress import track
from genie_env.data.workers import play_episodes
from genie_env.envs.registry import find_world
from genie_env.envs.step_functions import named_function
from genie_env.evaluation.comparison_video import FILMED, film_side_by_side, median
from genie_env.evaluation.evaluate import FRESH_GAMES


def film(
    world: WorldOption,
    agent: AgentOption,
    out: Annotated[Path, typer.Option(help="MP4 file", dir_okay=False, writable=True)],
    episodes: Annotated[
        int,
        typer.Option(help="games to play, of which the median one is filmed", min=1, max=100_000),
    ] = FILMED,
    temperature: TemperatureOption = None,
    option: FamilyOption = None,
    termination_fn: TerminationFnOption = None,
    seed: SeedOption = FRESH_GAMES,
    workers: WorkersOption = 2,
    device: DeviceOption = "cpu",
) -> None:
    """Film an agent in the real game and in its dream, side by side.

    Of each, the one with the median score is shown, with the score so far above it and the agent's
    action below. The film runs at the pace of the game; a side that is over stays, darkened.
    """
    if episodes < 1:
        raise ValueError(f"episodes is {episodes}; expected 1 or more")
    directory, options = find_world(world), family_options(option)
    player = agent_player(directory, agent, seed, options)
    dreams = Dreams.load(
        directory,
        temperature=temperature,
        options=options,
        device=device,
        termination_fn=named_function("termination_fn", termination_fn),
    )
    acting = load_agent(agent)
    dreams.try_step(acting)
    console = Console()
    with closing(play_episodes(player, range(episodes), workers)) as played:
        scores = [e.score for e in track(played, "playing", episodes, console=console)]
    # The same episode again, now with its frames: those of all would fill the memory.
    chosen = median(scores)
    player = replace(player, keep_frames=True)
    with closing(play_episodes(player, range(chosen, chosen + 1), 1)) as played:
        (episode,) = played
    film_side_by_side(dreams, acting, player.game, episode, episodes, out, seed, console)

"""`genie-env evaluate`: how long an agent, or a policy that never looks, survives the real game."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from genie_env.controller import LinearController, file_hash
from genie_env.dreams import Dreams
from genie_env.episode import Episode
from genie_env.files import write_json
from genie_env.games.blind import check_policy
from genie_env.games.frames import DOOM, Game
from genie_env.reality import AgentPlayer, BlindPlayer
from genie_env.shipped import find_world
from genie_env.summary import Summary, summarise
from genie_env.workers import play_episodes


def play_blind(policy: str, episodes: range, *, workers: int, seed: int) -> Iterator[Episode]:
    """Plays episodes of a run with `seed` in real Doom, by a policy of `games.blind`."""
    check_policy(policy)
    player = BlindPlayer(Game(DOOM), seed, (policy,), keep_frames=False)
    return play_episodes(player, episodes, workers)


def play_agent(
    world: Path, agent: Path, episodes: range, *, workers: int, seed: int
) -> Iterator[Episode]:
    """Plays them by a controller that sees the game through its world (World::Follow).

    Raises ValueError where the agent was not trained in this world.
    """
    dreams = Dreams.load(world)
    LinearController.load(agent).check_world(dreams.fingerprint, dreams.features)
    player = AgentPlayer(dreams.game, seed, str(world), str(agent), keep_frames=False)
    return play_episodes(player, episodes, workers)

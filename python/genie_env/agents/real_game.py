"""The real game of a world, and how agents that were trained in the world play it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genie_env.agents.agent import load_agent
from genie_env.agents.dreams import Dreams, EpisodeResults, EvaluateControllers
from genie_env.agents.players import AgentPlayer, PopulationPlayer
from genie_env.data.workers import play_episodes
from genie_env.envs.options import FamilyValue
from genie_env.envs.registry import find_world
from genie_env.envs.world_card import read_config
from genie_env.games.base import FrameSize, Game, Score
from genie_env.games.registry import (
    find_game,
    game_as_recorded,
    is_known,
    registered_game,
    registered_games,
)


def real_game(world: Path) -> Game:
    """The game that a world directory was learned from. Raises ValueError where it names none.

    Gymnasium would import the module of "module:Name-v0"; a world that somebody sent must not make
    anything run, so its game has to be registered before.
    """
    file = world / "config.json"
    config = read_config(world)
    if "real_game" not in config:
        raise ValueError(
            f'no real game is known of this world: {file} has no "real_game", as in worlds that '
            "were learned from video, whose latent actions no game takes. Give a world that has "
            "one; genie-env worlds NAME shows the game that its agents play"
        )
    name, frame_skip = config["real_game"], config.get("frame_skip")
    recorded = _recorded(config, name)
    if not is_known(str(name)) and (make := recorded.get("make")) is not None:
        raise ValueError(
            f"{file}: the environment of {name!r} was made by {make!r}, which a world may not call by "
            "itself: register a game of this name in a module of yours (docs/games.md), and begin "
            "with `genie-env --import MODULE`, or import it in Python"
        )
    if not isinstance(name, str) or not is_known(name):
        names = ", ".join(repr(game.name) for game in registered_games())
        module = str(name).rpartition(":")[0] or "MODULE"
        raise ValueError(
            f'{file}: "real_game" is {name!r}; expected {names}, or the id of a Gymnasium '
            "environment that is registered already (a world imports no module): where a module "
            f"registers it, begin with `genie-env --import {module}`, or import it in Python"
        )
    if type(frame_skip) is not int or frame_skip < 1:
        raise ValueError(f'{file}: "frame_skip" is {frame_skip!r}; expected 1 or more')
    try:
        if "preprocessing" in recorded and registered_game(name.rpartition(":")[2]) is None:
            return game_as_recorded({**recorded, "frame_skip": frame_skip})
        return find_game(name, frame_skip=frame_skip, frame_size=_frame_size(config.get("frame")))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def _recorded(config: Mapping[str, Any], name: object) -> Mapping[str, Any]:
    """The meta.json of a recording that the world learned from, of the game of this name; empty where
    there is none."""
    training = config.get("training")
    data = training.get("data") if isinstance(training, dict) else None
    groups = data.values() if isinstance(data, dict) else [data]  # by network, or of all
    metas = [each for group in groups if isinstance(group, list) for each in group]
    known = (each for each in metas if isinstance(each, dict) and each.get("game") == name)
    return next(known, {})


def _frame_size(frame: object) -> FrameSize | None:
    """A world's, so that a Gymnasium environment shows its agents frames of the size that the world
    reads. What is malformed is refused where the world is loaded."""
    if not isinstance(frame, dict):
        return None
    height, width = frame.get("height"), frame.get("width")
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def score_of(world: Path) -> Score:
    """The name and unit of a world's scores, as its real game says; "score", in points, where the
    world names no game that is known here."""
    try:
        return real_game(world).score
    except ValueError:
        return Score()


def agent_player(
    world: str | Path, agent: Path, seed: int, options: Mapping[str, FamilyValue] = {}
) -> AgentPlayer:
    """Plays the real game of a world by a controller that sees it through World::Follow.

    `options`: of the world's family; those left out are as the world says. Raises ValueError where the agent was not trained in this world, no real game is known, or its
    actions are not the world's.
    """
    directory = find_world(world)
    dreams = Dreams.load(directory, options=options)
    load_agent(agent).check_world(dreams.world)
    game = real_game(directory)
    dreams.check_plays(game)
    dreams.check_sees(game)
    return AgentPlayer(game, seed, str(directory), str(agent), keep_frames=False, options=options)


def evaluate_in_real_game(
    world: Path, observation: str, workers: int, options: Mapping[str, FamilyValue] = {}
) -> EvaluateControllers:
    """Plays controllers in the real game instead of the dream; they see it through the world."""
    game = real_game(world)

    def evaluate(
        weights: NDArray[np.float32], owners: NDArray[np.int64], seeds: list[int]
    ) -> EpisodeResults:
        player = PopulationPlayer(game, str(world), observation, weights, owners, seeds, options)
        with contextlib.closing(play_episodes(player, range(len(seeds)), workers)) as played:
            episodes = [(episode.score, len(episode)) for episode in played]
        scores, steps = np.array(episodes).T
        return EpisodeResults(scores.astype(np.float32), int(steps.sum()))

    return evaluate

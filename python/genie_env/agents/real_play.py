"""How agents that were trained in a world play its real game."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from genie_env.agents.agent import load_agent
from genie_env.agents.dreams import Dreams, EpisodeResults, EvaluateControllers
from genie_env.agents.players import AgentPlayer, PopulationPlayer
from genie_env.data.workers import play_episodes
from genie_env.envs.options import FamilyValue
from genie_env.envs.registry import find_world
from genie_env.games.base import Game
from genie_env.games.real_game import check_sees, real_game


def game_of_dreams(dreams: Dreams) -> Game:
    """The real game of a world. Raises ValueError where none is known, or the world cannot show it or
    act in it, and ImportError where what it needs is not installed."""
    game = real_game(Path(dreams.world.directory))
    dreams.check_plays(game)
    check_sees(dreams.world.spec, game)
    game.settings()  # says what is not installed before workers do
    return game


def agent_player(
    world: str | Path, agent: Path, seed: int, options: Mapping[str, FamilyValue] = {}
) -> AgentPlayer:
    """Plays the real game of a world by a controller that sees it through World::Follow.

    `options`: of the world's family; those left out are as the world says. Raises ValueError where the
    agent was not trained in this world, no real game is known, or its actions are not the world's, and
    ImportError where what the game needs is not installed.
    """
    directory = find_world(world)
    dreams = Dreams.load(directory, options=options)
    load_agent(agent).check_world(dreams.world)
    game = game_of_dreams(dreams)
    return AgentPlayer(game, seed, str(directory), str(agent), keep_frames=False, options=options)


def evaluate_in_real_game(
    world: Path, observation: str, workers: int, options: Mapping[str, FamilyValue] = {}
) -> EvaluateControllers:
    """Plays controllers in the real game instead of the dream; they see it through the world. Raises
    ImportError where what the game needs is not installed."""
    game = real_game(world)
    game.settings()  # says what is not installed before workers do

    def evaluate(
        weights: NDArray[np.float32], owners: NDArray[np.int64], seeds: list[int]
    ) -> EpisodeResults:
        player = PopulationPlayer(game, str(world), observation, weights, owners, seeds, options)
        with contextlib.closing(play_episodes(player, range(len(seeds)), workers)) as played:
            episodes = [(episode.score, len(episode)) for episode in played]
        scores, steps = np.array(episodes).T
        return EpisodeResults(scores.astype(np.float32), int(steps.sum()))

    return evaluate

"""How agents that were trained in a world play its real game."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genie_env.agents.agent import Agent, load_agent
from genie_env.agents.dreams import Dreams, EpisodeResults, EvaluateControllers
from genie_env.agents.players import AgentPlayer, PopulationPlayer
from genie_env.data.workers import play_episodes
from genie_env.envs.latent_actions import has_latent_actions
from genie_env.envs.options import FamilyValue
from genie_env.envs.registry import find_world
from genie_env.games.action_map import FILE as DICTIONARY
from genie_env.games.action_map import ActionDictionary, ActionMap, real_actions
from genie_env.games.base import Game
from genie_env.games.real_game import check_sees, real_game


def game_of_dreams(dreams: Dreams) -> Game:
    """The real game of a world. Raises ValueError where none is known, or the world cannot show it or
    act in it, and ImportError where what it needs is not installed."""
    game = real_game(Path(dreams.world.directory))
    actions_in_game(dreams, game)
    check_sees(dreams.world.spec, game)
    game.settings()  # says what is not installed before workers do
    return game


def actions_in_game(
    dreams: Dreams, game: Game, action_map: ActionMap | None = None
) -> ActionDictionary | None:
    """What the actions of the world are in the game, by `action_map` or else the world's own dictionary;
    None where the two have the same. Raises ValueError where neither says it."""
    world = dreams.world
    directory = Path(world.directory)
    mapped = has_latent_actions(world.spec.family, directory) or (directory / DICTIONARY).is_file()
    if action_map is None and not mapped:
        dreams.check_plays(game)
    return real_actions(world, game, action_map)


def agent_player(
    world: str | Path,
    agent: Path,
    seed: int,
    options: Mapping[str, FamilyValue] = {},
    *,
    game: str | None = None,
    env_args: Mapping[str, Any] = {},
    action_map: ActionMap | None = None,
) -> AgentPlayer:
    """Plays the real game of a world by a controller that sees it through World::Follow.

    `options`: of the world's family; those left out are as the world says. `game`: by default the one
    that the world names. `env_args`: of the game, in place of those of the world's recordings; those
    left out stay. `action_map`: what its latent actions stand for there, by default as its own
    dictionary says. Raises ValueError where the agent was not trained in this world, no real game is
    known, the world cannot show it, or its actions are neither the world's nor those of a dictionary;
    and ImportError where what the game needs is not installed.
    """
    directory = find_world(world)
    dreams, playing = Dreams.load(directory, options=options), load_agent(agent)
    codes = playing.codes
    if codes is None:
        playing.check_world(dreams.world)
    else:
        playing.check_sees(dreams.world)
    played = real_game(directory, game).with_arguments(env_args)
    check_sees(dreams.world.spec, played)
    dictionary = None
    if codes is None:
        dictionary = actions_in_game(dreams, played, action_map)
    else:
        _check_plays_itself(playing, codes, dreams, played, action_map)
    played.settings()  # says what is not installed before workers do
    return AgentPlayer(
        played,
        seed,
        str(directory),
        str(agent),
        keep_frames=False,
        options=options,
        dictionary=dictionary,
        codes=codes,
    )


def _check_plays_itself(
    agent: Agent,
    codes: Mapping[int, int],
    dreams: Dreams,
    game: Game,
    action_map: ActionMap | None,
) -> None:
    """Raises ValueError where an agent that chooses among recorded actions cannot play a game."""
    if action_map is not None:
        raise ValueError(
            f"the agent chooses among the actions of the game itself, {agent.actions}, which need no "
            "dictionary: leave out the action map"
        )
    if agent.actions != game.actions:
        raise ValueError(
            f"the agent was cloned from recordings with {agent.actions}, but {game.name} has "
            f"{game.actions}: give the game that was recorded"
        )
    known = dreams.actions.examples().tolist()
    if unknown := sorted(set(codes.values()) - set(known)):
        raise ValueError(
            f"the agent's world follows it with the latent action {unknown[0]}, but the world "
            f"{dreams.world.spec.name} has {dreams.actions}: give the world it was trained in"
        )


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

"""Where PPO learns: in dreams, or in the real game as an agent of the world sees it."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gymnasium.vector import AutoresetMode

from genie_env.agents.dreams import Dreams
from genie_env.agents.real_play import actions_in_game, game_of_dreams
from genie_env.envs.options import FamilyValue
from genie_env.games.base import Game
from genie_env.games.real_vector_env import RealVectorEnv

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv

_MEASURED = 2.0
"""Seconds of play from which its rate is known."""


def dream_envs(dreams: Dreams, count: int, max_episode_steps: int | None = None) -> VecEnv:
    """`count` dreams, for Stable-Baselines3, each cut off after `max_episode_steps`."""
    from genie_env.envs.sb3 import DreamVecEnv

    return DreamVecEnv(
        dreams.world,
        count,
        observation=dreams.observation,
        temperature=dreams.temperature,
        starts=dreams.starts,
        reward_fn=dreams.reward_fn,
        termination_fn=dreams.termination_fn,
        max_episode_steps=max_episode_steps,
    )


def repeated(envs: VecEnv, repeat: int) -> VecEnv:
    """The same environments, where every action is held for `repeat` steps."""
    from genie_env.agents.repeated_env import RepeatedVecEnv

    return envs if repeat == 1 else RepeatedVecEnv(envs, repeat)


@dataclass(frozen=True)
class RealGames:
    """The real game of a world, played in `workers` processes and seen through the world. Latent actions
    are played as the world's own dictionary says."""

    dreams: Dreams
    """The world, its options and the observation."""
    game: Game
    workers: int

    @classmethod
    def of(cls, dreams: Dreams, workers: int) -> RealGames:
        """Raises ValueError where the world names no game, or one that it cannot show or act in, and
        ImportError where what the game needs is not installed."""
        return cls(dreams, game_of_dreams(dreams), workers)

    @property
    def settings(self) -> dict[str, FamilyValue]:
        """All that decides the games, besides the world and the seeds; the workers change nothing."""
        dictionary = actions_in_game(self.dreams, self.game)
        return {
            "trained_in": "the real game",
            "game": self.game.name,
            "frame_skip": self.game.frame_skip,
            **({"action_map": json.dumps(dictionary.as_json())} if dictionary else {}),
            **self.dreams.options,
        }

    def envs(self, count: int) -> VecEnv:
        """`count` games, for Stable-Baselines3."""
        from genie_env.envs.sb3 import BatchVecEnv

        return BatchVecEnv(self._games(count))

    def steps_per_s(self, count: int) -> float:
        """How many steps a second `count` games take together, measured with random actions."""
        with contextlib.closing(self._games(count)) as games:
            games.reset(seed=0)
            games.action_space.seed(0)
            games.step(games.action_space.sample())  # the first one is slower
            steps, began = 0, time.perf_counter()
            while (seconds := time.perf_counter() - began) < _MEASURED:
                games.step(games.action_space.sample())
                steps += count
        return steps / seconds

    def _games(self, count: int) -> RealVectorEnv:
        return RealVectorEnv(
            self.dreams.world,
            count,
            game=self.game,
            workers=self.workers,
            observation=self.dreams.observation,
            autoreset_mode=AutoresetMode.SAME_STEP,
        )

"""Environments of Stable-Baselines3 whose latent actions are taken by the actions of the game."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from genie_env.envs.actions import DiscreteActions


class GameActionsVecEnv(VecEnvWrapper):
    """`venv`, where each of `actions` takes the latent action that `codes` has for it."""

    def __init__(self, venv: VecEnv, actions: DiscreteActions, codes: Mapping[int, int]) -> None:
        super().__init__(venv, action_space=actions.space)
        self._start = actions.start
        self._codes = np.array([codes[each] for each in actions.examples().tolist()], np.int64)

    def reset(self) -> NDArray[Any]:
        observation = self.venv.reset()
        assert isinstance(observation, np.ndarray)
        return observation

    def step_async(self, actions: NDArray[Any]) -> None:
        self.venv.step_async(self._codes[actions - self._start])

    def step_wait(
        self,
    ) -> tuple[NDArray[Any], NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        observation, rewards, done, infos = self.venv.step_wait()
        assert isinstance(observation, np.ndarray)
        return observation, rewards, done, infos

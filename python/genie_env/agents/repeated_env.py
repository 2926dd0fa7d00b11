"""Environments of Stable-Baselines3 that hold each action for several steps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper


class RepeatedVecEnv(VecEnvWrapper):
    """A step is `repeat` steps of `venv`, which resets a row in the step that ends its episode.

    Rewards are summed. Rows are stepped together, so that a row whose episode ends within a step
    plays the rest of it in the next episode; what that pays counts in the step after. An episode
    that a step both begins and ends is left out.
    """

    def __init__(self, venv: VecEnv, repeat: int) -> None:
        super().__init__(venv)
        self._repeat = repeat
        self._before = np.zeros(self.num_envs, np.float32)
        """[N]: what an episode paid within the step that began it."""

    def reset(self) -> NDArray[Any]:
        self._before[:] = 0
        observation = self.venv.reset()
        assert isinstance(observation, np.ndarray)
        return observation

    def step_async(self, actions: NDArray[Any]) -> None:
        self._actions = actions

    def step_wait(
        self,
    ) -> tuple[NDArray[Any], NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        rewards, self._before = self._before, np.zeros_like(self._before)
        done = np.zeros(self.num_envs, bool)
        endings: dict[int, dict[str, Any]] = {}
        for _ in range(self._repeat):
            observation, paid, ended, infos = self.venv.step(self._actions)
            rewards += np.where(done, 0, paid)
            self._before += np.where(done, paid, 0)
            self._before[ended] = 0
            for row in np.flatnonzero(ended & ~done).tolist():
                endings[row] = infos[row]
            done |= ended
        told = [endings.get(row, info) for row, info in enumerate(infos)]
        assert isinstance(observation, np.ndarray)
        return observation, rewards, done, told

"""N dreams as a vector environment of Stable-Baselines3; it must be installed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from genie_env import _core
from genie_env.envs import validation
from genie_env.envs.options import FixedOptions, constructor, keywords, with_choices
from genie_env.envs.vector_env import DreamVectorEnv

try:
    from stable_baselines3.common.vec_env import VecEnv
    from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices
except ImportError as error:
    raise ImportError(
        "genie_env.sb3 needs Stable-Baselines3: pip install stable-baselines3"
    ) from error


class BatchVecEnv(VecEnv):
    """The rows of a Gymnasium vector environment, for Stable-Baselines3's algorithms and wrappers.

        env = BatchVecEnv(RealVectorEnv("doom-take-cover", 16, autoreset_mode="SAME_STEP"))

    A row whose episode has ended begins another in the same step; its info then holds
    "terminal_observation" and "TimeLimit.truncated".
    """

    def __init__(self, envs: VectorEnv[Any, Any, Any]) -> None:
        """`envs` gives NumPy arrays. Raises ValueError where it does not reset a row in the step that
        ends its episode."""
        mode = envs.metadata.get("autoreset_mode")
        if mode != AutoresetMode.SAME_STEP:
            raise ValueError(
                f"the autoreset mode is {mode}; Stable-Baselines3 needs AutoresetMode.SAME_STEP"
            )
        self.envs = envs
        """All rows together."""
        super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)

    def reset(self) -> NDArray[Any]:
        """Begins an episode in every row, with the seeds and options that were set before."""
        seeds = None if None in self._seeds else self._seeds
        options = self._options[0] if self._options else None
        observations, infos = self.envs.reset(seed=seeds, options=options)  # type: ignore[arg-type]
        self.reset_infos = [_of_row(infos, row) for row in range(self.num_envs)]
        self._reset_seeds()
        self._reset_options()
        return np.asarray(observations)

    def set_options(self, options: list[dict[str, Any]] | dict[str, Any] | None = None) -> None:
        """Sets the next reset's options, those of its `reset`, for all rows together."""
        if isinstance(options, list):
            raise TypeError("options: got a list, expected one dict, of arrays with one row each")
        self._options = [dict(options or {})]

    def step_async(self, actions: NDArray[Any]) -> None:
        self._actions = actions

    def step_wait(
        self,
    ) -> tuple[NDArray[Any], NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        observations, rewards, terminations, truncations, infos = self.envs.step(self._actions)
        done = terminations | truncations
        rows: list[dict[str, Any]] = []
        for row in range(self.num_envs):
            of_row, last = _of_row(infos, row), done[row]
            info = _of_row(infos["final_info"], row) if last else of_row
            info["TimeLimit.truncated"] = bool(truncations[row] & ~terminations[row])
            if last:
                info["terminal_observation"] = infos["final_obs"][row]
                self.reset_infos[row] = of_row
            rows.append(info)
        return observations, rewards, done, rows

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        images: Any = self.envs.render()
        return images or [None] * self.num_envs

    def close(self) -> None:
        self.envs.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """An attribute of `envs`, for every row."""
        return [getattr(self.envs, attr_name)] * self._count(indices)

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Nothing of it can be set: AttributeError."""
        raise AttributeError(
            f"set_attr: got {attr_name!r}, but nothing can be set; the options are given when an "
            "environment is made"
        )

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        """Calls a method of `envs` once; its result is returned for every row."""
        if self._count(indices) != self.num_envs:
            raise ValueError(
                "env_method: got some of the rows, which are one environment; give no indices"
            )
        result = getattr(self.envs, method_name)(*method_args, **method_kwargs)
        return [result] * self.num_envs

    def env_is_wrapped(self, wrapper_class: Any, indices: VecEnvIndices = None) -> list[bool]:
        return [False] * self._count(indices)

    def _count(self, indices: VecEnvIndices) -> int:
        return len(list(self._get_indices(indices)))


class DreamVecEnv(FixedOptions, BatchVecEnv):
    """N dreams in one frozen world, for Stable-Baselines3's algorithms and wrappers.

        env = DreamVecEnv("doom-take-cover", 64)
        model = stable_baselines3.PPO("MlpPolicy", env, seed=0).learn(100_000)

    A row whose episode has ended begins another in the same step; its info then holds
    "terminal_observation" and "TimeLimit.truncated". Each info also holds the row's scores,
    "surprise" for instance; see DreamVectorEnv.
    """

    @constructor(keywords)
    def __init__(
        self,
        world: str | Path | _core.World,
        num_envs: int = 1,
        **options: Any,
    ) -> None:
        """`options`: those of DreamVectorEnv, except "autoreset_mode" and "output"."""
        mode = AutoresetMode.SAME_STEP
        chosen = with_choices("Stable-Baselines3", options, autoreset_mode=mode, output="numpy")
        self.dreams = DreamVectorEnv(world, num_envs, **chosen)
        """All rows, as a Gymnasium vector environment."""
        super().__init__(self.dreams)

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """An attribute of `dreams`, for every row; of "temperature", each row's own."""
        value = getattr(self.dreams, attr_name)
        rows = list(self._get_indices(indices))
        return value[rows].tolist() if attr_name == "temperature" else [value] * len(rows)

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Sets "temperature", one number for the given rows. Nothing else of an environment can be
        set: AttributeError."""
        if attr_name != "temperature":
            raise AttributeError(
                f"set_attr: got {attr_name!r}, but only 'temperature' of a row can be set; the "
                "other options are given when an environment is made"
            )
        rows, given = list(self._get_indices(indices)), validation.numbers(attr_name, value)
        if given.shape not in {(), (len(rows),)}:
            raise ValueError(
                f"temperature: got {tuple(given.shape)}, expected one number, or one a row"
            )
        temperature = torch.from_numpy(self.dreams.temperature)
        temperature[rows] = given
        self.dreams.set_temperature(temperature)


def _of_row(infos: dict[str, Any], row: int) -> dict[str, Any]:
    """A row's part of the infos of a Gymnasium vector environment."""
    of_row = {}
    for name, values in infos.items():
        if not name.startswith(("_", "final_")) and infos[f"_{name}"][row]:
            of_row[name] = _of_row(values, row) if isinstance(values, dict) else values[row]
    return of_row

"""N dreams as a vector environment of Stable-Baselines3; it must be installed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
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


class DreamVecEnv(FixedOptions, VecEnv):
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
        super().__init__(
            num_envs, self.dreams.single_observation_space, self.dreams.single_action_space
        )

    def reset(self) -> NDArray[Any]:
        """Begins an episode in every row, with the seeds and options that were set before."""
        seeds = None if None in self._seeds else self._seeds
        options = self._options[0] if self._options else None
        observations, _ = self.dreams.reset(seed=seeds, options=options)  # type: ignore[arg-type]
        self.reset_infos = [{} for _ in range(self.num_envs)]
        self._reset_seeds()
        self._reset_options()
        return np.asarray(observations)

    def set_options(self, options: list[dict[str, Any]] | dict[str, Any] | None = None) -> None:
        """Sets the next reset's options, those of DreamVectorEnv.reset, for all rows together."""
        if isinstance(options, list):
            raise TypeError("options: got a list, expected one dict, of arrays with one row each")
        self._options = [dict(options or {})]

    def step_async(self, actions: NDArray[Any]) -> None:
        self._actions = actions

    def step_wait(
        self,
    ) -> tuple[NDArray[Any], NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        observations, rewards, terminations, truncations, infos = self.dreams.step(self._actions)
        done = terminations | truncations
        names = [name for name in infos if not name.startswith(("_", "final_"))]
        rows: list[dict[str, Any]] = [
            {"TimeLimit.truncated": bool(late), **{name: infos[name][row] for name in names}}
            for row, late in enumerate(truncations & ~terminations)
        ]
        for row in done.nonzero()[0]:
            rows[row] |= {name: infos["final_info"][name][row] for name in names}
            rows[row]["terminal_observation"] = infos["final_obs"][row]
            self.reset_infos[row] = {}
        return observations, rewards, done, rows

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        return self.dreams.render() or [None] * self.num_envs

    def close(self) -> None:
        self.dreams.close()

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

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        """Calls a method of `dreams` once; its result is returned for every row."""
        if self._count(indices) != self.num_envs:
            raise ValueError(
                "env_method: got some of the rows, which are one environment; give no indices"
            )
        result = getattr(self.dreams, method_name)(*method_args, **method_kwargs)
        return [result] * self.num_envs

    def env_is_wrapped(self, wrapper_class: Any, indices: VecEnvIndices = None) -> list[bool]:
        return [False] * self._count(indices)

    def _count(self, indices: VecEnvIndices) -> int:
        return len(list(self._get_indices(indices)))

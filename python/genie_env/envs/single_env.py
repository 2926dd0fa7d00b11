"""One dream, as a Gymnasium environment."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from genie_env import _core
from genie_env._core import Snapshot
from genie_env.envs import validation
from genie_env.envs.options import FixedOptions, as_arguments, constructor, keywords, with_choices
from genie_env.envs.vector_env import DreamVectorEnv


class DreamEnv(FixedOptions, gymnasium.Env[NDArray[Any], Any]):
    """One dream in a frozen world: a batch of one, so many at once are cheaper in DreamVectorEnv.

        env = DreamEnv("doom-take-cover", render_mode="rgb_array")
        observation, info = env.reset(seed=0)
        observation, reward, terminated, truncated, info = env.step(action)

    `info["surprise"]` is the negative log-likelihood of the new frame under the world's own
    prediction, in nats a latent dimension or token; the other infos are those of DreamVectorEnv too,
    one number each. The options are those of DreamVectorEnv;
    functions among them take a batch of one.
    """

    metadata: dict[str, Any] = DreamVectorEnv.metadata

    action_space: gymnasium.spaces.Discrete[np.int64] | gymnasium.spaces.Box
    observation_space: gymnasium.spaces.Box

    @constructor(keywords)
    def __init__(
        self,
        world: str | Path | _core.World,
        **options: Any,
    ) -> None:
        """Loads the world and makes a dream in it, which has not begun.

        `options`: those of DreamVectorEnv, except "autoreset_mode", "num_envs" and "output".
        """
        mode = AutoresetMode.DISABLED
        chosen = with_choices("DreamEnv", options, num_envs=1, autoreset_mode=mode, output="numpy")
        make: Callable[..., DreamEnv] = type(self)
        self._recipe = functools.partial(make, world, **options)
        self._dream = DreamVectorEnv(world, **chosen)
        self.world = self._dream.world
        self.render_mode = self._dream.render_mode
        # A dictionary of its own: vector environments write into it.
        render_fps = self._dream.metadata["render_fps"]
        self.metadata = {**type(self).metadata, "render_fps": render_fps}
        self.action_space = self._dream.single_action_space
        self.observation_space = self._dream.single_observation_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Begins an episode: the first of the given seed, or the next one.

        Args:
            seed: key of the random draws.
            options: as in DreamVectorEnv, for one row: "frames", uint8 [H, W, 3], or
                [T, H, W, 3] with "actions", [T - 1, ...]; "snapshot"; "temperature".
        """
        rows = dict(options or {})
        if unknown := sorted(rows.keys() - {"frames", "actions", "snapshot", "temperature"}):
            raise ValueError(
                f"options: got {unknown}, expected 'frames', 'actions', 'snapshot' or 'temperature'"
            )
        for name in rows.keys() & {"frames", "actions"}:
            rows[name] = np.asarray(rows[name])[None]
        seed = None if seed is None else validation.seed(seed)
        observations, infos = self._dream.reset(seed=seed, options=rows)
        super().reset(seed=seed)
        return observations[0], infos

    def step(self, action: Any) -> tuple[NDArray[Any], float, bool, bool, dict[str, Any]]:
        """Samples the next frame. `action`: an integer (Discrete), or numbers of the space's shape
        (Box)."""
        discrete = isinstance(self.action_space, gymnasium.spaces.Discrete)
        actions: Any = [validation.integer("action", action)] if discrete else [action]
        observations, rewards, terminations, truncations, infos = self._dream.step(actions)
        return (
            observations[0],
            float(rewards[0]),
            bool(terminations[0]),
            bool(truncations[0]),
            {name: float(infos[name][0]) for name in infos if not name.startswith("_")},
        )

    def snapshot(self) -> Snapshot:
        """The state of the dream, to keep, save or pickle."""
        return self._dream.snapshot()

    def restore(self, snapshot: Snapshot, seed: int | None = None) -> NDArray[Any]:
        """Goes on where the snapshot was taken, or branches off with a seed; see DreamVectorEnv."""
        observation: NDArray[Any] = self._dream.restore(snapshot, seed=seed)[0]
        return observation

    def render(self) -> NDArray[np.uint8] | None:  # type: ignore[override]
        """The current frame, uint8 [H, W, 3], if the render mode is "rgb_array"."""
        frames = self._dream.render()
        return None if frames is None else frames[0]

    @property
    def temperature(self) -> float:
        """The sampling temperature; to set it changes what follows."""
        return float(self._dream.temperature[0])

    @temperature.setter
    def temperature(self, temperature: float) -> None:
        self._dream.set_temperature(temperature)

    def close(self) -> None:
        """Waits for a call of another thread, and frees what the dream holds."""
        self._dream.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """An environment is pickled as its arguments: the copy must be reset. See DreamVectorEnv."""
        return self._recipe, ()

    def __repr__(self) -> str:
        given = self._dream.given.chosen()
        del given["autoreset_mode"]
        return f"DreamEnv({as_arguments({'world': self.world.spec.name, **given})})"

    def __str__(self) -> str:
        return repr(self)


def make_without_limit(world: str | Path | _core.World, **options: Any) -> DreamEnv:
    """A dream that is never truncated after a number of steps: the entry point of
    `gymnasium.make`, which limits steps by a wrapper of its own."""
    return DreamEnv(world, **options, max_episode_steps=0)


make_without_limit.metadata = DreamEnv.metadata  # type: ignore[attr-defined]  # read by `make`

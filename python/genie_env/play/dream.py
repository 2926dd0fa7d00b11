"""Dreams that take the same actions; the first one is the one that counts."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genie_env._core import Snapshot, StartBank, World
from genie_env.envs.infos import SCORES
from genie_env.envs.vector_env import DreamVectorEnv
from genie_env.play.controls import Controls
from genie_env.play.progress import Progress, Shown


class Dream:
    """One to nine rows of an environment. One thread at a time uses it."""

    def __init__(
        self,
        world: World,
        controls: Controls,
        observation: str | None,
        rows: int = 1,
        temperature: float | None = None,
        starts: StartBank | None = None,
    ) -> None:
        self._controls = controls
        self._env = DreamVectorEnv(
            world,
            rows,
            observation=observation,
            temperature=temperature,
            output="torch",
            starts=starts,
        )
        self.progress = Progress()
        self.observation = torch.empty(0)
        """Of the first row, [1, ...]."""

    def close(self) -> None:
        self._env.close()

    @property
    def rows(self) -> int:
        return self._env.num_envs

    @property
    def temperature(self) -> float:
        return float(self._env.temperature[0])

    @temperature.setter
    def temperature(self, value: float) -> None:
        self._env.set_temperature(value)

    @property
    def frame(self) -> NDArray[np.uint8]:
        """The first row's, uint8 [H, W, 3]."""
        frame: NDArray[np.uint8] = self._env.frames([0])[0].cpu().numpy()
        return frame

    def reset(self, seed: int, frame: NDArray[np.uint8] | None = None) -> None:
        """Begins an episode, in a given frame or where the world does."""
        options = {} if frame is None else {"frames": np.repeat(frame[None], self.rows, axis=0)}
        observation, _ = self._env.reset(seed=seed, options=options)
        self.observation = observation[:1]
        self.progress = Progress()

    def take(self, action: Any) -> bool:
        """One step, or the beginning of the next episode where one has ended: then False."""
        actions = np.repeat(np.asarray(action)[None], self.rows, axis=0)
        began = time.perf_counter()
        observation, rewards, terminations, truncations, infos = self._env.step(actions)
        made_ms = 1000 * (time.perf_counter() - began)
        self.observation = observation[:1]
        if self.progress.ended:
            self.progress = Progress()
            return False
        self.progress.took(
            self._controls.shown(action),
            float(rewards[0]),
            {name: float(infos[name][0]) for name in SCORES if name in infos},
            terminated=bool(terminations[0]),
            truncated=bool(truncations[0]),
            made_ms=made_ms,
        )
        return True

    def snapshot(self) -> Snapshot:
        """Of the first row."""
        return self._env.snapshot([0])

    def restore(self, snapshot: Snapshot, step: int, total: float, seed: int) -> None:
        """All rows go on from there: the first as it did, the others under seeds of their own."""
        observation = self._env.restore(snapshot)
        if self.rows > 1:
            others = list(range(1, self.rows))
            self._env.restore(snapshot, others, seed=[seed + row for row in others])
        self.observation = observation[:1]
        self.progress = Progress(step=step, total=total)

    def shown(self) -> Shown:
        frames = self._env.frames().cpu().numpy()
        count, height, width, _ = frames.shape
        columns = math.isqrt(count)
        grid = frames.reshape(-1, columns, height, width, 3).swapaxes(1, 2)
        header = {"place": "dream", "rows": count, "columns": columns, **self.progress.as_json()}
        return Shown(header, grid.reshape(-1, columns * width, 3))

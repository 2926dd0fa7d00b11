"""Dreams that take the same actions; the first one is the one that counts."""

from __future__ import annotations

import math
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
    """One to nine rows of an environment. One thread at a time uses it.

    All rows begin where the first one does, each under a seed of its own. A row that ends before the
    first one waits for it, half as bright.
    """

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
        self.seed = 0
        """Of the episode."""
        self._frames: NDArray[np.uint8] | None = None  # as they were decoded, until the next step
        self._waiting: dict[int, NDArray[np.uint8]] = {}  # the last frames of rows that have ended

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
    def frames(self) -> NDArray[np.uint8]:
        """uint8 [rows, H, W, 3]."""
        if self._frames is None:
            self._frames = self._env.frames().cpu().numpy().copy()
            for row, frame in self._waiting.items():
                self._frames[row] = frame
        return self._frames

    @property
    def frame(self) -> NDArray[np.uint8]:
        """The first row's, uint8 [H, W, 3]."""
        frame: NDArray[np.uint8] = self.frames[0]
        return frame

    def reset(self, seed: int, frame: NDArray[np.uint8] | None = None) -> None:
        """Begins an episode, in a given frame or where the world does."""
        options = {} if frame is None else {"frames": np.repeat(frame[None], self.rows, axis=0)}
        observation, _ = self._env.reset(seed=seed, options=options)
        self.seed = seed
        self._begun(observation, Progress())

    def take(self, action: Any) -> bool:
        """One step; where the episode has ended, one of the next seed begins instead: then False."""
        if self.progress.ended:
            self.reset(self.seed + 1)
            return False
        actions = np.repeat(np.asarray(action)[None], self.rows, axis=0)
        observation, rewards, terminations, truncations, infos = self._env.step(actions)
        self.observation, self._frames = observation[:1], None
        self.progress = self.progress.after(
            self._controls.shown(action),
            float(rewards[0]),
            {name: float(infos[name][0]) for name in SCORES if name in infos},
            terminated=bool(terminations[0]),
            truncated=bool(truncations[0]),
        )
        for row in (terminations | truncations).nonzero().flatten().tolist():
            if row > 0 and row not in self._waiting:
                self.frames[row] //= 2
                self._waiting[row] = self.frames[row]
        return True

    def snapshot(self) -> Snapshot:
        """Of the first row."""
        return self._env.snapshot([0])

    def restore(self, snapshot: Snapshot, progress: Progress, seed: int) -> None:
        """All rows go on from there: the first as it did, the others under seeds of their own."""
        observation = self._env.restore(snapshot)
        self.seed = seed
        self._begun(observation, progress)

    def shown(self) -> Shown:
        count, height, width, _ = self.frames.shape
        columns = math.isqrt(count)
        grid = self.frames.reshape(-1, columns, height, width, 3).swapaxes(1, 2)
        layout = {"place": "dream", "seed": self.seed, "rows": count, "columns": columns}
        header = {**layout, **self.progress.as_json()}
        return Shown(header, grid.reshape(-1, columns * width, 3))

    def _begun(self, observation: torch.Tensor, progress: Progress) -> None:
        """The first row is elsewhere: the others follow it there. `observation`: of all rows."""
        if self.rows > 1:
            others = list(range(1, self.rows))
            seeds = [self.seed + row for row in others]
            observation = self._env.restore(self.snapshot(), others, seed=seeds)
        self.observation, self.progress = observation[:1], progress
        self._frames, self._waiting = None, {}

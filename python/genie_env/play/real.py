"""The real game of a world, under the same keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genie_env._core import World
from genie_env.games.action_map import ActionDictionary, real_actions
from genie_env.games.real_env import RealEnv
from genie_env.games.real_rows import game_of
from genie_env.play.controls import Controls
from genie_env.play.progress import Progress, Shown


class Real:
    """One game. One thread at a time uses it."""

    def __init__(
        self,
        world: World,
        controls: Controls,
        observation: str | None,
        game: str | None,
        action_map: Path | None,
    ) -> None:
        """`observation`: what an agent reads; None: a person plays. `game`: its name; None: the world's.
        `action_map`: of latent actions; None: the world's own. For a person a key stands for the same
        action always, whatever was played before.

        Raises ValueError or ImportError where no game of this world can be played here."""
        self._controls = controls
        played = game_of(world, game)
        dictionary = real_actions(world, played, action_map)
        if dictionary is not None and observation is None:
            dictionary = ActionDictionary(dictionary.means)
        self._env = RealEnv(
            world,
            game=played,
            action_map=dictionary,
            observation=observation,
            render_mode="rgb_array",
        )
        self.progress = Progress()
        self.seed = 0
        """Of the episode."""
        self.observation = torch.empty(0)
        """As the world sees the game, [1, ...]."""

    def close(self) -> None:
        self._env.close()

    @property
    def frame(self) -> NDArray[np.uint8]:
        """uint8 [H, W, 3]."""
        frame = self._env.render()
        assert frame is not None
        return frame

    def reset(self, seed: int) -> None:
        """Begins an episode."""
        observation, _ = self._env.reset(seed=seed)
        self.seed = seed
        self.observation = torch.from_numpy(observation)[None]
        self.progress = Progress()

    def take(self, action: Any) -> bool:
        """One step; where the episode has ended, one of the next seed begins instead: then False."""
        if self.progress.ended:
            self.reset(self.seed + 1)
            return False
        observation, reward, terminated, truncated, info = self._env.step(action)
        self.observation = torch.from_numpy(observation)[None]
        self.progress = self.progress.after(
            self._controls.shown(action),
            float(reward),
            info,
            terminated=terminated,
            truncated=truncated,
        )
        return True

    def shown(self) -> Shown:
        layout = {"place": "real", "seed": self.seed, "rows": 1, "columns": 1}
        return Shown({**layout, **self.progress.as_json()}, self.frame)

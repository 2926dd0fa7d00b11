"""A second game, as a user would add one: another frame size, other actions, a reward and a score of
its own. Importing this registers it; nothing else in the package knows it."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from genie_env.envs.actions import DiscreteActions, Taken
from genie_env.games.base import FrameSize, Game, Score
from genie_env.games.blind import Draws
from genie_env.games.recorded_env import RecordedEnv
from genie_env.games.registry import register_game

MEANINGS = ("wait", "up", "down", "west", "east")
ROWS, COLUMNS = 6, 10
FRAME_SIZE: FrameSize = (48, 80)
STEPS = 60
_MOVES = [(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)]


class GoldRush(gymnasium.Env[NDArray[np.uint8], np.int64]):
    """Walk over a field of 6 x 10 places; each gold coin that is stepped on is worth 5."""

    def __init__(self) -> None:
        self.observation_space = spaces.Box(0, 255, (*FRAME_SIZE, 3), np.uint8)
        self.action_space = spaces.Discrete(len(MEANINGS))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        super().reset(seed=seed)
        self._gold = self.np_random.random((ROWS, COLUMNS)) < 0.5
        self._place = (ROWS // 2, 0)
        self._step = 0
        return self._frame(), {}

    def step(self, action: Any) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        row, column = np.add(self._place, _MOVES[int(action)])
        self._place = (int(row) % ROWS, int(column) % COLUMNS)
        found = bool(self._gold[self._place])
        self._gold[self._place] = False
        self._step += 1
        all_found = not self._gold.any()
        return self._frame(), 5.0 * found, all_found, self._step >= STEPS, {}

    def _frame(self) -> NDArray[np.uint8]:
        field = np.full((ROWS, COLUMNS, 3), 40, np.uint8)
        field[self._gold] = (255, 200, 0)
        field[self._place] = (0, 0, 255)
        return field.repeat(8, axis=0).repeat(8, axis=1)


class GoldRushGame(Game):
    score: ClassVar = Score("gold", "coins")
    max_steps: ClassVar = STEPS
    own_policies: ClassVar = {"eastwards": "always east"}
    baselines: ClassVar = ("random", "eastwards")
    constant_policies: ClassVar = ("eastwards",)
    frames_per_second: ClassVar = 10.0
    recording_policy: ClassVar = "long-held"

    @property
    def actions(self) -> DiscreteActions:
        return DiscreteActions(MEANINGS)

    @property
    def frame_size(self) -> FrameSize:
        return FRAME_SIZE

    def make(self) -> gymnasium.Env[NDArray[np.uint8], np.int64]:
        return RecordedEnv(GoldRush(), self.frame_skip, FRAME_SIZE)

    def schedule(self, policy: str, draws: Draws, length: int) -> Taken:
        if policy == "eastwards":
            return np.full(length, MEANINGS.index("east"))
        return super().schedule(policy, draws, length)


register_game("gold-rush", GoldRushGame)

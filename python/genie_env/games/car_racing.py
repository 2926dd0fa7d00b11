"""CarRacing-v3: the car of Ha & Schmidhuber 2018, as Gymnasium has it.

This file, `car_driver` and `car_pictures` alone know the game: its pictures, actions, time, score and policies.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from genie_env.envs.actions import BoxActions, Taken
from genie_env.games.base import FrameSize, Game, Score
from genie_env.games.blind import Draws
from genie_env.games.car_driver import drive, pedals
from genie_env.games.car_pictures import Ground
from genie_env.games.env_actions import checked_action
from genie_env.games.frames import resize

ENV_ID = "CarRacing-v3"
ACTIONS = BoxActions((3,), (-1.0, 0.0, 0.0), (1.0, 1.0, 1.0))  # steering (-1 is left), gas, brake
FRAME_SIZE: FrameSize = (64, 64)
STEPS_PER_SECOND = 50
TIMEOUT = 1000  # steps after which an episode is truncated

# What decides the game's dynamics and its pictures; recorded with every data set.
SETTINGS: dict[str, Any] = {
    "environment": ENV_ID,
    "timeout": TIMEOUT,
    "lap_complete_percent": 0.95,
    "score": "rows 84 to 95, columns 0 to 11 of 96 are painted black",
    "resize": "64x64 of 96x96, Pillow's BOX",
}

_PICTURE = (96, 96, 3)
_SCORE_IN_FIGURES = np.s_[84:, :12]
"""Of the picture: it says nothing of the road, and changes every step."""

_THROTTLE = np.array([0.0, 1.0, 0.0], np.float32)
_MIXTURE = {"noisy-driver": 0.64, "driver": 0.10, "pedals": 0.12, "held": 0.10, "throttle": 0.04}


@dataclass(frozen=True)
class CarRacingGame(Game):
    """A lap on a track that every episode draws. It takes no `env_args`.

    A track of N tiles pays 1000 / N for every tile that a wheel reaches first, and every step costs
    0.1: a lap of 800 steps scores 920. An episode terminates after a lap, or where the car leaves the
    field, which costs 100, and is truncated after 1,000 steps.

    Frames are 64 x 64, as in the paper. The paper cuts off the bar below the road; it stays here, as
    its bars show speed, wheels, steering and rotation, which no single frame shows otherwise. The
    score in figures beside them is painted over.

    Record with frame skip 4, 12.5 frames a second: an episode is 250 steps long, which
    M can follow from one end to the other, nearly every step on the road pays something, and no driver
    loses by it: the scripted one scores 924 at frame skip 1, 923 at 4 and 881 at 8. Held steps are not
    drawn, which makes the game four times as fast.
    """

    score: ClassVar = Score("score", "points")
    max_steps: ClassVar = TIMEOUT
    frames_per_second: ClassVar = float(STEPS_PER_SECOND)
    own_policies: ClassVar = {
        "throttle": "full gas straight ahead",
        "pedals": "uniform steering and either gas, brake or neither, each held for 1 to 60 steps "
        "(log-uniform)",
    }
    scripted_policies: ClassVar = {
        "driver": "drives along the track, which it reads from the game",
        "noisy-driver": "the driver at a pace, on a side of the road and with a share of the time, up "
        "to a half, for pedals, that every episode draws",
        "mixture": "each episode draws one: noisy-driver 64 %, pedals 12 %, driver 10 %, held 10 %, "
        "throttle 4 %",
    }
    baselines: ClassVar = ("random", "held", "throttle")
    constant_policies: ClassVar = ("throttle",)
    axes: ClassVar = ("steering", "gas", "brake")
    yardsticks: ClassVar = {
        "random play": "random",
        "full gas": "throttle",
        "scripted driver": "driver",
    }
    recording_policy: ClassVar = "mixture"

    @property
    def actions(self) -> BoxActions:
        return ACTIONS

    @property
    def frame_size(self) -> FrameSize:
        return FRAME_SIZE

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.env_args:
            raise ValueError(
                f"{self.name} takes no environment arguments; given {self.env_args}. Record {ENV_ID} "
                "for a variant of the game"
            )

    def make(self) -> CarRacing:
        return CarRacing(self.frame_skip)

    def settings(self) -> dict[str, Any]:
        box2d, pygame = (str(_import(name).__version__) for name in ("Box2D", "pygame"))
        return {**SETTINGS, "box2d": box2d, "pygame": pygame}

    def schedule(self, policy: str, draws: Draws, length: int) -> Taken:
        if policy == "throttle":
            return np.tile(_THROTTLE, (length, 1))
        if policy == "pedals":
            return pedals(draws, length)
        return super().schedule(policy, draws, length)

    def script(self, policy: str, seed: int, env: gymnasium.Env[Any, Any]) -> Iterator[Any]:
        draws = Draws.of(seed)
        if policy == "mixture":
            policy = str(draws.choice.choice(list(_MIXTURE), p=list(_MIXTURE.values())))
        if policy in self.policies:
            return self.play(policy, seed, env)
        racing = env.unwrapped
        assert isinstance(racing, CarRacing)
        noise = draws if policy == "noisy-driver" else None
        return drive(racing.game, self.frame_skip, noise)


class CarRacing(gymnasium.Env[NDArray[np.uint8], Any]):
    """CarRacing-v3 in frames of 64 x 64, up to 1,000 steps.

    Actions are float32 [3]: steering from -1 (left) to 1, gas and brake from 0 to 1. Observations are
    uint8 [64, 64, 3]. The episode of a seed is that of CarRacing-v3: it depends on the seed and its
    actions alone.

    With `frame_skip` K an action is held for K steps, whose rewards are summed; only the last one is
    drawn. `render()` gives the game's own picture, uint8 [400, 600, 3], whatever the render mode.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": STEPS_PER_SECOND}

    def __init__(self, frame_skip: int = 1, render_mode: str | None = None) -> None:
        if frame_skip < 1:
            raise ValueError(f"frame_skip is {frame_skip}; expected 1 or more")
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode is {render_mode!r}; expected None or 'rgb_array'")
        self.render_mode = render_mode
        self.observation_space = spaces.Box(0, 255, (*FRAME_SIZE, 3), np.uint8)
        self.action_space = ACTIONS.space
        self._frame_skip = frame_skip
        self.game: Any = _start_game()
        """Gymnasium's environment, whose state scripts read."""
        # It draws a picture every step, which takes 99 % of its time: the steps between two frames
        # need none.
        self._draw = self.game._render
        self.game._render = lambda mode: None
        self._steps = TIMEOUT
        """Of the episode; TIMEOUT where none is going on."""
        self._begun = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        super().reset(seed=seed, options=options)
        self.game.reset(seed=seed)
        self.game._render_road = Ground(self.game).draw
        self._steps, self._begun = 0, True
        return self._frame(), {}

    def step(self, action: Any) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        action = checked_action(ACTIONS, action)
        if self._steps >= TIMEOUT:
            raise gymnasium.error.ResetNeeded(
                "step was called with no episode going on; call reset first"
            )
        total, terminated = 0.0, False
        for _ in range(min(self._frame_skip, TIMEOUT - self._steps)):
            _, reward, terminated, _, _ = self.game.step(action)
            total += float(reward)
            self._steps += 1
            if terminated:
                break
        truncated = self._steps == TIMEOUT and not terminated
        if terminated:
            self._steps = TIMEOUT
        return self._frame(), total, terminated, truncated, {}

    def render(self) -> NDArray[np.uint8] | None:  # type: ignore[override]
        """The current picture, uint8 [400, 600, 3]; None before the first reset."""
        return np.array(self._draw("rgb_array")) if self._begun else None

    def close(self) -> None:
        self.game.close()

    def _frame(self) -> NDArray[np.uint8]:
        picture = np.array(self._draw("state_pixels"))
        picture[_SCORE_IN_FIGURES] = 0
        return resize(picture, *FRAME_SIZE)


def _import(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"the real game needs {module}, which is not installed: pip install 'genie_env[car]'"
        ) from error


def _start_game() -> Any:
    """Gymnasium's environment. Raises ImportError where what it needs is not
    installed, RuntimeError where it is another than this file knows."""
    for module in ("Box2D", "pygame"):
        _import(module)
    if ENV_ID not in gymnasium.registry:
        versions = sorted(name for name in gymnasium.registry if name.startswith("CarRacing-"))
        raise RuntimeError(_another(f"has {', '.join(versions) or 'no CarRacing'}"))
    # Without wrappers: the time limit is ours, and scripts read its state.
    game = gymnasium.make(ENV_ID, disable_env_checker=True).unwrapped
    shape, space = game.observation_space.shape, game.action_space
    if shape != _PICTURE or space != ACTIONS.space:
        game.close()
        raise RuntimeError(_another(f"shows pictures of {shape} and takes {space}"))
    return game


def _another(words: str) -> str:
    return (
        f"the real game is {ENV_ID}, with pictures of {_PICTURE} and {ACTIONS}, but Gymnasium "
        f"{gymnasium.__version__} {words}: install gymnasium 1.2.2 to 1.4"
    )

"""How a Gymnasium environment becomes one that is recorded: what it gives is checked and converted,
frames are resized, actions repeated.

What its spaces do not promise is converted where that is exact, and otherwise a BadEnvironment:
what is recorded would not be what the game showed.
"""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING, Any, NoReturn

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from PIL import Image

from genie_env.games.env_actions import actions_of, checked_action, flattened
from genie_env.games.flatten_actions import FlattenActions
from genie_env.games.frames import FrameSize, Preprocessing

if TYPE_CHECKING:
    from genie_env.games.base import Game

_LARGEST_REWARD = float(np.finfo(np.float32).max)
"""Recordings hold float32."""


class BadEnvironment(ValueError):
    """An environment gave what its spaces do not promise. The text says all."""


class RecordedEnv(gymnasium.Wrapper[NDArray[np.uint8], Any, Any, Any]):
    """Shows an environment's frames, uint8 [height, width, 3], and checks and repeats actions.

    The frames are the observations where those are colour images, or where they are other pictures
    and nothing is rendered; else what `render()` gives. Actions are numbered, or points of a box in
    float32; several choices at once are numbered (`FlattenActions`). With `frame_skip` K an action
    is held for K steps, whose rewards are summed. Rewards are finite floats, flags are bools.

    `reset` and `step` raise BadEnvironment, naming what came and what was promised; `step` raises
    gymnasium.error.InvalidAction for an action outside of the space. Nothing is clipped, but for
    what float32 rounds.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        frame_skip: int,
        frame_size: FrameSize | None,
        *,
        preprocessing: Preprocessing | None = None,
        rendered: bool | None = None,
    ) -> None:
        """`frame_size`: None leaves pictures as they are; else they are resized to it, or, with
        `preprocessing`, this is done to them, and those that become of another size are refused.
        `rendered`: whether frames are what `render()` gives; None as described above. Raises
        ValueError, naming the space, where actions are of another kind."""
        super().__init__(flattened(env))
        self.actions = actions_of(self.env)
        self.action_space = self.actions.space
        if frame_size is not None:
            self.observation_space = spaces.Box(0, 255, (*frame_size, 3), np.uint8)
        self._frame_skip = frame_skip
        self._frame_size = frame_size
        self._preprocessing = preprocessing or Preprocessing(resize=frame_size)
        self._source = env.observation_space
        observed = is_image(self._source) or (is_picture(self._source) and env.render_mode is None)
        self._observed = observed if rendered is None else not rendered

    @property
    def flattened(self) -> dict[str, Any] | None:
        """How several choices at once were numbered, for meta.json; None where there is one."""
        return self.env.as_json() if isinstance(self.env, FlattenActions) else None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        given = self._several("reset()", self.env.reset(seed=seed, options=options), 2)
        return self._frame(given[0]), given[1]

    def step(self, action: Any) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        action = checked_action(self.actions, action)
        space = self.env.action_space
        if isinstance(space, spaces.Box):
            # Its bounds may be of float64, a little inside of theirs in float32.
            action = action.astype(space.dtype).clip(space.low, space.high)
        total = 0.0
        for _ in range(self._frame_skip):
            given = self._several("step()", self.env.step(action), 5)
            total = self._number("reward", total + self._number("reward", given[1]))
            terminated = self._flag("terminated", given[2])
            truncated = self._flag("truncated", given[3])
            if terminated or truncated:
                break
        return self._frame(given[0]), total, terminated, truncated, given[4]

    def _several(self, call: str, given: Any, count: int) -> Any:
        if not isinstance(given, tuple) or len(given) != count:
            came = f"{len(given)} values" if isinstance(given, tuple) else _described(given)
            self._refuse(call, came, f"{count} values, as of Gymnasium {gymnasium.__version__}")
        return given

    def _number(self, name: str, given: Any) -> float:
        if type(given) is not float:
            array = _as_array(given)
            if array is None or array.size != 1 or array.dtype.kind not in "biuf":
                self._refuse(name, _described(given), "a finite number")
            given = float(array.item())
        if not abs(given) <= _LARGEST_REWARD:
            self._refuse(name, str(given), "a finite number of type float32")
        return float(given)

    def _flag(self, name: str, given: Any) -> bool:
        if isinstance(given, bool):
            return given
        array = _as_array(given)
        if array is None or array.size != 1 or array.item() not in (0, 1):
            self._refuse(name, _described(given), "True or False")
        return bool(array.item())

    def _frame(self, observation: Any) -> NDArray[np.uint8]:
        picture = self._observation(observation) if self._observed else self._rendering()
        if self._frame_size is None:
            return picture
        frame = self._preprocessing.apply(picture)
        size = frame.shape[:2]
        if size != self._frame_size:
            height, width = self._frame_size
            self._refuse("frame", f"{size[0]} x {size[1]}", f"{height} x {width} as at first")
        return frame

    def _observation(self, given: Any) -> NDArray[np.uint8]:
        space = self._source
        assert isinstance(space, spaces.Box)
        white = _white(space)
        array = _as_array(given)
        if array is None or array.shape != space.shape or not _holds(array, space.dtype, white):
            low, high = space.low.min(), space.high.max()
            promised = f"{space.dtype} {list(space.shape)} from {low:g} to {high:g}"
            self._refuse("observation", _described(given), f"{promised}, as its space says")
        if white == 1:
            array = np.rint(array * 255.0)
        return in_colours(array.astype(np.uint8, copy=False))

    def _rendering(self) -> NDArray[np.uint8]:
        given = self.env.render()
        array = _as_array(given)
        if array is not None and array.ndim == 3 and array.shape[2] == 4:
            opaque = (array[..., 3] == 255).all()
            array = array[..., :3] if opaque else None
        if (
            array is None
            or not _has_a_pictures_shape(array.shape)
            or not _holds(array, np.uint8, 255)
        ):
            promised = "uint8 [height, width, 3], as of the render mode 'rgb_array'"
            self._refuse("rendering", _described(given), promised)
        return in_colours(array.astype(np.uint8, copy=False))

    def _refuse(self, name: str, came: str, promised: str) -> NoReturn:
        spec = self.env.spec
        env = type(self.env.unwrapped).__name__ if spec is None else spec.id
        raise BadEnvironment(
            f"the {name} of {env} is {came}; expected {promised}: change the environment, or wrap "
            "it"
        )


def checked_env(game: Game, *, labelled: bool = False) -> RecordedEnv:
    """The environment of a game, or the one that labels objects. Raises ValueError where it is not what the game says, which would be
    found only when all is recorded; what it gives is checked at every step."""
    env = game.make_labelled() if labelled else game.make()
    shape, actions = (*game.frame_size, 3), game.actions.space
    if env.observation_space.shape != shape or env.action_space != actions:
        env.close()
        raise ValueError(
            f"{game.name} says that its frames are {shape} and its actions {actions}, but its "
            f"environment has observations {env.observation_space} and actions {env.action_space}: "
            "make the two agree"
        )
    return RecordedEnv(env, 1, game.frame_size)


def is_image(space: gymnasium.Space[Any]) -> bool:
    """Whether observations are colour images: uint8 [H, W, 3]."""
    return (
        isinstance(space, spaces.Box)
        and space.dtype == np.uint8
        and len(space.shape) == 3
        and space.shape[2] == 3
    )


def is_picture(space: gymnasium.Space[Any]) -> bool:
    """Whether observations are pictures that become colour images without any loss: grey ones,
    [H, W] or [H, W, 1], of uint8 from 0 to 255, and grey or colour ones of floats from 0 to 1."""
    if not isinstance(space, spaces.Box) or not _has_a_pictures_shape(space.shape):
        return False
    high = 255 if space.dtype == np.uint8 else 1
    kind = np.dtype(space.dtype).kind
    return (kind == "f" or high == 255) and bool(
        (space.low == 0).all() and (space.high == high).all()
    )


def _white(space: spaces.Box) -> int:
    """The number that is white: 1 where it is the largest."""
    return 1 if (space.high == 1).all() else 255


def _has_a_pictures_shape(shape: tuple[int, ...]) -> bool:
    """[H, W], [H, W, 1] or [H, W, 3]."""
    return len(shape) in (2, 3) and shape[2:] in ((), (1,), (3,)) and min(shape) > 0


def _holds(array: NDArray[Any], dtype: Any, white: int) -> bool:
    """Whether the numbers are of a kind with the dtype, and from 0 to `white`."""
    if array.dtype == np.uint8 and np.dtype(dtype) == np.uint8 and white == 255:
        return True
    kinds = "f" if np.dtype(dtype).kind == "f" else "iu"  # of bool, it is not said what is white
    # Not a number is neither above nor below.
    return array.dtype.kind in kinds and bool((array >= 0).all() and (array <= white).all())


def in_colours(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] of [H, W], [H, W, 1] or [H, W, 3]."""
    grey = picture[..., None] if picture.ndim == 2 else picture
    return grey if grey.shape[2] == 3 else grey.repeat(3, axis=2)


def _as_array(given: Any) -> NDArray[Any] | None:
    """None where it is no array of numbers."""
    try:
        array = np.asarray(given)
    except (ValueError, TypeError, RuntimeError):  # of lists of several lengths, or of a GPU's
        return None
    return array if array.dtype.kind in "biuf" else None


def _described(given: Any) -> str:
    array = _as_array(given)
    if array is None or array.ndim == 0 or array.size == 0:
        shape = "" if array is None or array.ndim == 0 else f" of shape {list(array.shape)}"
        return f"{reprlib.repr(given)} ({type(given).__name__}{shape})"
    text = f"{array.dtype} {list(array.shape)}"
    if not np.isfinite(array).all():
        return f"{text} with numbers that are not finite"
    return f"{text} from {array.min():g} to {array.max():g}"


def on_black(picture: Image.Image) -> NDArray[np.uint8]:
    """A picture of any mode, transparent parts black: uint8 [H, W, 3]."""
    black = Image.new("RGBA", picture.size, (0, 0, 0, 255))
    return np.asarray(Image.alpha_composite(black, picture.convert("RGBA")).convert("RGB"))

"""DoomTakeCover: the real game of Ha & Schmidhuber 2018, headless.

This file alone knows Doom: its pictures, actions, time, score and blind policies.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from genie_env.envs.actions import DiscreteActions, Taken
from genie_env.games.base import FrameSize, Game, Score
from genie_env.games.blind import Draws
from genie_env.games.doom_map import MapChanges, changed_map
from genie_env.games.labels import Label, packed

MEANINGS = ("left", "stay", "right")
LEFT, STAY, RIGHT = 0, 1, 2
FRAME_SIZE: FrameSize = (64, 64)
TICS_PER_SECOND = 35
TIMEOUT = 2100  # tics after which an episode is truncated

# What decides the game's dynamics and its pictures; recorded with every data set.
SETTINGS: dict[str, Any] = {
    "scenario": "take_cover.wad",
    "game": "freedoom2.wad",
    "map": "map01",
    # 2016's file says 5, which ViZDoom then clamped to 4; today's 5 is another, far harder game.
    "skill": 4,
    "start_time": 14,
    "timeout": TIMEOUT,
    "living_reward": 1,
    "buttons": ["MOVE_RIGHT", "MOVE_LEFT"],
    "screen": "RES_160X120, RGB24, HUD, flashes",
    "crop": "rows 0 to 100 of 120",
    "resize": "64x64, cv2.INTER_AREA",
}

_MAP_ARGUMENTS = tuple(each.name for each in fields(MapChanges))
_ARGUMENTS = ("view_bob", *_MAP_ARGUMENTS)

_CONSTANT = {"left": LEFT, "still": STAY, "right": RIGHT}
_MIXTURE = {
    "held": 0.55,
    "long-held": 0.20,
    "sweeps": 0.20,
    "left": 0.02,
    "right": 0.02,
    "still": 0.01,
}

_BUTTONS = [[0, 1], [0, 0], [1, 0]]  # left, stay, right in the order of SETTINGS["buttons"]
_CROP_ROWS = 100  # 400/480 of the screen; the rest is the status bar
_COLUMNS = 160
_LABELLED = {"DoomImpBall": "fireball", "DoomImp": "imp"}
"""What ViZDoom calls the objects that are labelled, and what we do. (An imp's corpse is one too.)"""


@dataclass(frozen=True)
class DoomGame(Game):
    """Doom's take_cover; its steps are tics, and every tic survived is worth a point.

    `env_args`: "view_bob": false; and, to see how an agent does where the pictures are others, the fields
    of `MapChanges`: {"walls": "STONE2"}, {"floor": "GRASS1"}, {"light": 120}.
    """

    score: ClassVar = Score("survival", "tics")
    has_final_frame: ClassVar = False
    max_steps: ClassVar = TIMEOUT
    own_policies: ClassVar = {
        "left": "always left",
        "right": "always right",
        "still": "always stay",
        "sweep:K": "K tics left, K right, and so on",
        "sweeps": "a sweep whose K is drawn from 20 to 150, at a random point of its cycle",
        "mixture": "each episode draws one: held 55 %, long-held 20 %, sweeps 20 %, and left, "
        "right or still 5 % (so that the data also stands at the walls)",
    }
    baselines: ClassVar = (
        "random",
        "held",
        "left",
        "right",
        "still",
        "sweep:60",
        "sweep:80",
        "sweep:100",
    )
    frames_per_second: ClassVar = float(TICS_PER_SECOND)
    constant_policies: ClassVar = ("left", "right", "still")
    yardsticks: ClassVar = {"random play": "random", "best blind sweep": "sweep:100"}
    policy_hint: ClassVar = " (K of sweep:K is a number of tics, as in sweep:60)"
    recording_policy: ClassVar = "mixture"
    label_classes: ClassVar = tuple(_LABELLED.values())

    @property
    def actions(self) -> DiscreteActions:
        return DiscreteActions(MEANINGS)

    @property
    def frame_size(self) -> FrameSize:
        return FRAME_SIZE

    def __post_init__(self) -> None:
        super().__post_init__()
        bob, unknown = self.env_args.get("view_bob", True), self.env_args.keys() - _ARGUMENTS
        if unknown or not isinstance(bob, bool):
            raise ValueError(
                f'{self.name} takes the environment arguments "view_bob", true or false, "walls" and '
                f'"floor", names of textures, and "light", 0 to 255; given {self.env_args}'
            )
        _changes(self.env_args)

    def make(self) -> DoomTakeCover:
        return DoomTakeCover(self.frame_skip, **self.env_args)

    def make_labelled(self) -> DoomTakeCover:
        return DoomTakeCover(self.frame_skip, labelled=True, **self.env_args)

    def settings(self) -> dict[str, Any]:
        return {**SETTINGS, **self.env_args, "vizdoom": doom_version()}

    def recorded_arguments(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {name: settings[name] for name in _ARGUMENTS if name in settings}

    def knows_policy(self, policy: str) -> bool:
        return policy != "sweep:K" and (policy in self.policies or bool(_sweep_length(policy)))

    def schedule(self, policy: str, draws: Draws, length: int) -> Taken:
        if policy == "mixture":
            policy = str(draws.choice.choice(list(_MIXTURE), p=list(_MIXTURE.values())))
        if policy in _CONSTANT:
            return np.full(length, _CONSTANT[policy], np.int64)
        if policy == "sweeps":
            period = int(draws.lengths.integers(20, 151))
            return _sweep(period, int(draws.lengths.integers(2 * period)), length)
        if period := _sweep_length(policy):
            return _sweep(period, 0, length)
        return super().schedule(policy, draws, length)


def _changes(arguments: Mapping[str, Any]) -> MapChanges:
    return MapChanges(**{name: arguments[name] for name in _MAP_ARGUMENTS if name in arguments})


def _sweep(period: int, offset: int, length: int) -> NDArray[np.int64]:
    half = (np.arange(length) + offset) // period
    return np.where(half % 2 == 0, LEFT, RIGHT).astype(np.int64)


def _sweep_length(policy: str) -> int:
    """K of "sweep:K"; 0 where the policy is something else."""
    kind, _, number = policy.partition(":")
    return int(number) if kind == "sweep" and number.isdecimal() else 0


class DoomTakeCover(gymnasium.Env[NDArray[np.uint8], np.int64]):
    """Dodge the monsters' fireballs for up to 2100 tics; one point for every tic survived.

    Actions are 0 left, 1 stay, 2 right; observations uint8 [64, 64, 3]. The game shows no frame
    after death, so the last observation of an episode is the last one seen. Death terminates, the
    time limit truncates. An episode depends on its seed and its actions alone.

    With `frame_skip` K an action is held for K tics, whose rewards are summed. Without `view_bob`
    the camera does not swing up and down with every step, a setting of the game that changes
    nothing but the pictures; nor do the `changes`, which are those of `MapChanges`. With `labelled`,
    `info["labels"]` of `reset` and `step` says what fireballs and imps the frame shows (float32 [8, 6],
    see `games.labels`). `render()` gives the game's own screen, uint8 [120, 160, 3], whatever the
    render mode.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": TICS_PER_SECOND}

    def __init__(
        self,
        frame_skip: int = 1,
        render_mode: str | None = None,
        *,
        view_bob: bool = True,
        labelled: bool = False,
        **changes: Any,
    ) -> None:
        if frame_skip < 1:
            raise ValueError(f"frame_skip is {frame_skip}; expected 1 or more")
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode is {render_mode!r}; expected None or 'rgb_array'")
        self.render_mode = render_mode
        self.observation_space = spaces.Box(0, 255, (*FRAME_SIZE, 3), np.uint8)
        self.action_space = spaces.Discrete(len(MEANINGS))
        self._frame_skip = frame_skip
        self._labelled = labelled
        self._cv2, self._game = _start_game(
            view_bob=view_bob, labelled=labelled, changes=MapChanges(**changes)
        )
        self._screen: NDArray[np.uint8] | None = None
        self._info: dict[str, Any] = {}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        super().reset(seed=seed, options=options)
        # The game takes the seed before the episode that it is for.
        self._game.set_seed(int(self.np_random.integers(2**31)))
        self._game.new_episode()
        self._see(self._game.get_state())
        return self._observation(), self._info

    def step(self, action: Any) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        if self._screen is None or self._game.is_episode_finished():
            raise gymnasium.error.ResetNeeded(
                "step was called with no episode going on; call reset first"
            )
        if not self.action_space.contains(np.int64(action)):
            raise gymnasium.error.InvalidAction(
                f"action is {action}; expected 0 (left), 1 (stay) or 2 (right)"
            )
        reward = self._game.make_action(_BUTTONS[action], self._frame_skip)
        terminated = self._game.is_player_dead()
        truncated = self._game.is_episode_finished() and not terminated
        state = self._game.get_state()
        if state is not None:
            self._see(state)
        return self._observation(), reward, terminated, truncated, self._info

    def render(self) -> NDArray[np.uint8] | None:  # type: ignore[override]
        """The current screen, uint8 [120, 160, 3]; None before the first reset."""
        return None if self._screen is None else self._screen.copy()

    def close(self) -> None:
        self._game.close()

    def _see(self, state: Any) -> None:
        self._screen = state.screen_buffer
        self._info = {"labels": packed(_objects(state.labels))} if self._labelled else {}

    def _observation(self) -> NDArray[np.uint8]:
        assert self._screen is not None
        cropped = self._screen[:_CROP_ROWS]
        frame: NDArray[np.uint8] = self._cv2.resize(
            cropped, FRAME_SIZE[::-1], interpolation=self._cv2.INTER_AREA
        )
        return frame


def _objects(labels: Iterable[Any]) -> Iterator[Label]:
    """What the frame shows of ViZDoom's labels, whose boxes are in pixels of the whole screen."""
    classes = list(_LABELLED)
    for label in labels:
        bottom = min(label.y + label.height, _CROP_ROWS)
        if label.object_name in _LABELLED and bottom > label.y:
            yield (
                classes.index(label.object_name),
                (label.x + label.width / 2) / _COLUMNS,
                (label.y + bottom) / 2 / _CROP_ROWS,
                label.width / _COLUMNS,
                (bottom - label.y) / _CROP_ROWS,
                label.object_id,
            )


def doom_version() -> str:
    """The version of ViZDoom; an ImportError that says what to do where it is missing."""
    return str(_import("vizdoom", "ViZDoom").__version__)


def _import(module: str, name: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"the real game needs {name}, which is not installed: pip install 'genie_env[doom]'"
        ) from error


def _start_game(*, view_bob: bool, labelled: bool, changes: MapChanges) -> tuple[Any, Any]:
    """The modules and processes behind the game: cv2, and a running DoomGame."""
    vizdoom = _import("vizdoom", "ViZDoom")
    cv2 = _import("cv2", "OpenCV")
    package = Path(vizdoom.__file__).parent
    game = vizdoom.DoomGame()
    scenario, textures = package / "scenarios" / SETTINGS["scenario"], package / SETTINGS["game"]
    # Before anything is started: it may name textures that there are not.
    changed = changed_map(scenario, textures, changes) if changes else None
    game.set_doom_scenario_path(str(scenario))
    game.set_doom_game_path(str(textures))
    game.set_doom_map(SETTINGS["map"])
    game.set_doom_skill(SETTINGS["skill"])
    game.set_episode_start_time(SETTINGS["start_time"])
    game.set_episode_timeout(SETTINGS["timeout"])
    game.set_living_reward(SETTINGS["living_reward"])
    game.set_available_buttons([getattr(vizdoom.Button, name) for name in SETTINGS["buttons"]])
    game.set_available_game_variables([])
    game.set_mode(vizdoom.Mode.PLAYER)
    game.set_screen_resolution(vizdoom.ScreenResolution.RES_160X120)
    game.set_screen_format(vizdoom.ScreenFormat.RGB24)
    game.set_render_hud(True)
    game.set_render_screen_flashes(True)
    game.set_labels_buffer_enabled(labelled)
    if not view_bob:
        game.add_game_args("+movebob 0")
    game.set_window_visible(False)
    game.set_sound_enabled(False)
    # The game leaves its settings and a folder where it starts; they go nowhere.
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        game.set_doom_config_path(os.devnull)
        if changed is not None:  # the game keeps the file open
            file = Path(folder) / SETTINGS["scenario"]
            file.write_bytes(changed)
            game.set_doom_scenario_path(str(file))
        game.init()
    return cv2, game

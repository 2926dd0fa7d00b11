"""One tab's dream and its controls. It knows nothing of the web; one thread at a time uses it."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genie_env._core import World
from genie_env.envs.actions import actions_of_world
from genie_env.envs.frame_rate import frames_per_second
from genie_env.envs.json_files import read_json
from genie_env.envs.vector_env import DreamVectorEnv
from genie_env.envs.world_card import read_config
from genie_env.games.action_map import FILE as DICTIONARY
from genie_env.media.read_picture import read_picture
from genie_env.play.controls import controls_of
from genie_env.play.protocol import MODES, ROWS
from genie_env.play.recording import SessionRecording
from genie_env.play.tree import Tree, as_data

STARTS = 24
"""Of the world's own, in the picker: those of the seeds 0, 1, 2, ..."""


@dataclass(frozen=True)
class Shown:
    """A frame and what is said of it."""

    header: dict[str, Any]
    picture: NDArray[np.uint8]
    """All rows in one: uint8 [rows * H, columns * W, 3]."""


class Session:
    """A dream of one or more rows, which take the same actions; the first row is the one that counts."""

    def __init__(self, world: World, recordings: Path, temperature: float | None = None) -> None:
        if world.spec.frame is None:
            raise ValueError(f"{world.spec.name} has no pictures: give a world that has")
        self._recordings = recordings
        self._world = world
        self._actions = actions_of_world(world.spec.actions)
        self._controls = controls_of(self._actions, _meanings(world))
        self.fps = frames_per_second(world.spec)
        self.pace: float | None = self.fps
        """Steps a second; None: no limit."""
        self._env = DreamVectorEnv(world, 1, temperature=temperature)
        self._down: Sequence[str] = ()
        self._axes: Sequence[float] = ()
        self.seq = 0
        """Of the last input that the next step will use."""
        self._recording: SessionRecording | None = None
        self._frames = 0  # that were shown
        self.reset(seed=0, start=None)

    def close(self) -> None:
        self._env.close()

    # What the page is told

    def hello(self) -> dict[str, Any]:
        spec = self._world.spec
        assert spec.frame is not None
        return {
            "type": "hello",
            "world": spec.name,
            "family": spec.family,
            "fps": self.fps,
            "size": spec.frame.shape[:2],
            "actions": self._controls.as_json(),
            "temperature": self._temperature(),
            "options": [_option(option) for option in spec.options.values() if option.name != "compile"],
            "starts": STARTS,
            "takes_pictures": _takes_pictures(self._world),
            "real": False,
            "agent": None,
            "max_episode_steps": spec.max_episode_steps,
        }

    def state(self) -> dict[str, Any]:
        return {
            "temperature": self._temperature(),
            "options": {option.name: option.value for option in self._world.spec.options.values()},
            "seed": self._seed,
            "mode": "dream",
            "rows": self._env.num_envs,
            "agent": False,
            "recording": self._recording is not None,
            "pace": self.pace,
        }

    def tree(self) -> dict[str, Any]:
        return self._tree.as_json()

    def starts(self) -> dict[str, Any]:
        """The picker's pictures."""
        env = DreamVectorEnv(self._world, STARTS)
        try:
            env.reset(seed=0)
            pictures = [as_data(frame) for frame in env.frames()]
        finally:
            env.close()
        return {"type": "starts", "pictures": pictures, "indices": list(range(STARTS))}

    # Controls

    def keys(self, down: Sequence[str], seq: int) -> None:
        self._down, self.seq = down, seq

    def axes(self, values: Sequence[float], seq: int) -> None:
        self._axes, self.seq = values, seq

    def reset(self, seed: int | None, start: int | None) -> None:
        """A new dream; of the picker's start, where one is given."""
        if start is not None:
            if not 0 <= start < STARTS:
                raise ValueError(f"there is no start {start}; there are {STARTS}")
            seed = start
        if seed is None:
            seed = int(np.random.default_rng().integers(2**31))
        if seed < 0:
            raise ValueError(f"the seed is {seed}; expected 0 or more")
        self._env.reset(seed=seed)
        self._begin(seed)

    def picture(self, content: bytes) -> None:
        """A new dream of a picture of any format."""
        if not _takes_pictures(self._world):
            raise ValueError(f"{self._world.spec.name} does not begin from pictures")
        height, width = self._size
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "the picture"
            file.write_bytes(content)
            try:
                frame = read_picture(file, height, width)
            except ValueError as error:
                raise ValueError(str(error).replace(str(file), file.name)) from None
        rows = self._env.num_envs
        self._env.reset(seed=self._seed, options={"frames": np.repeat(frame[None], rows, axis=0)})
        self._begin(self._seed)

    def temperature(self, value: float) -> None:
        self._env.set_temperature(value)

    def option(self, name: str, value: Any) -> None:
        """The world is loaded with another option, and a dream of the same seed begins in it."""
        spec = self._world.spec
        values = {option.name: option.value for option in spec.options.values()}
        if name not in values:
            known = ", ".join(values) or "none"
            raise ValueError(f"{spec.name} has no option {name!r}; it has {known}")
        world = World.load(
            self._world.directory,
            device=str(self._world.device),
            dtype=spec.dtype,
            options={**values, name: value},
        )
        env = DreamVectorEnv(world, self._env.num_envs, temperature=self._temperature())
        env.reset(seed=self._seed)
        self._env.close()
        self._env, self._world = env, world
        self._begin(self._seed)

    def rows(self, count: int) -> None:
        """So many rows from this moment on: the first goes on, the others under seeds of their own."""
        if count not in ROWS:
            raise ValueError(f"{count} dreams at once were asked for; there may be 1, 4 or 9")
        env = DreamVectorEnv(self._world, count)
        self._restore(env, self._env.snapshot([0]))
        self._env.close()
        self._env = env

    def mode(self, mode: str) -> None:
        if mode not in MODES:
            raise ValueError(f"the mode {mode!r} is not there; expected {', '.join(MODES)}")

    def agent(self, on: bool) -> None:
        if on:
            raise ValueError("no agent was given")

    def branch(self) -> None:
        """Keeps this moment."""
        moment = self._env.snapshot([0])
        self._tree.keep(moment, self._step, self._return, self._seed, self._env.frames([0])[0])

    def back_to(self, node: int) -> None:
        """All rows go on from a moment that was kept."""
        moment = self._tree.back_to(node)
        self._restore(self._env, moment.snapshot)
        self._step, self._return, self._seed = moment.step, moment.total, moment.seed
        self._forget_outcome()
        if self._recording is not None:
            self._recording.begin(self._env.frames([0])[0])

    def record(self, on: bool) -> dict[str, Any] | None:
        """Begins to record, or ends and writes it; then returns where."""
        if on and self._recording is None:
            self._recording = SessionRecording(self._world.spec, self.pace or self.fps)
            self._recording.begin(self._env.frames([0])[0])
        elif not on and self._recording is not None:
            recording, self._recording = self._recording, None
            self._recordings.mkdir(parents=True, exist_ok=True)
            stamp = time.strftime("%Y%m%d-%H%M%S")
            folder = Path(tempfile.mkdtemp(prefix=f"{stamp}-", dir=self._recordings))
            _, store = recording.write(folder)
            return {
                "type": "recorded",
                "video": f"/recordings/{folder.name}.mp4",
                "episodes": str(store),
            }
        return None

    # The dream

    def step(self) -> Shown:
        """Takes the action of the held keys; a row that had ended begins again instead."""
        begins = self._ended is not None
        action = self._controls.action(self._down, self._axes)
        actions = np.repeat(np.asarray(action)[None], self._env.num_envs, axis=0)
        began = time.perf_counter()
        _, rewards, terminations, truncations, infos = self._env.step(actions)
        self._made_ms = 1000 * (time.perf_counter() - began)
        frame = self._env.frames([0])[0]
        if begins:
            self._step, self._return = 0, 0.0
            self._forget_outcome()
            if self._recording is not None:
                self._recording.begin(frame)
            return self.shown()
        self._step += 1
        self._reward = float(rewards[0])
        self._return += self._reward
        self._surprise = float(infos["surprise"][0])
        terminated, truncated = bool(terminations[0]), bool(truncations[0])
        self._ended = "terminated" if terminated else "truncated" if truncated else None
        self._action = self._controls.shown(action)
        if self._recording is not None:
            ended = terminated or truncated
            self._recording.step(action, self._reward, frame, terminated=terminated, ended=ended)
        return self.shown()

    @property
    def recording_is_full(self) -> bool:
        return self._recording is not None and self._recording.is_full

    def shown(self) -> Shown:
        """The present frame."""
        frames = self._env.frames()
        columns = math.isqrt(len(frames))
        height, width = self._size
        grid = frames.reshape(-1, columns, height, width, 3).swapaxes(1, 2)
        self._frames += 1
        header = {
            "id": self._frames,
            "step": self._step,
            "return": self._return,
            "reward": self._reward,
            "termination_probability": None,
            "surprise": self._surprise,
            "ended": self._ended,
            "action": self._action,
            "rows": len(frames),
            "columns": columns,
            "place": "dream",
            "seq": self.seq,
            "made_ms": round(self._made_ms, 2),
        }
        return Shown(header, grid.reshape(-1, columns * width, 3))

    @property
    def _size(self) -> tuple[int, int]:
        assert self._world.spec.frame is not None
        height, width, _ = self._world.spec.frame.shape
        return height, width

    def _temperature(self) -> float:
        return float(self._env.temperature[0])

    def _begin(self, seed: int) -> None:
        self._seed = seed
        self._step, self._return = 0, 0.0
        self._forget_outcome()
        self._tree = Tree()
        if self._recording is not None:
            self._recording.begin(self._env.frames([0])[0])

    def _forget_outcome(self) -> None:
        """Of the step before: there is none at this moment."""
        self._reward, self._surprise, self._made_ms = 0.0, 0.0, 0.0
        self._ended: str | None = None
        self._action: int | list[float] | None = None

    def _restore(self, env: DreamVectorEnv, moment: Any) -> None:
        env.reset(seed=0)  # rows need an episode before they can be set to another
        env.restore(moment)
        if env.num_envs > 1:
            others = list(range(1, env.num_envs))
            env.restore(moment, others, seed=[self._seed + row for row in others])


def _takes_pictures(world: World) -> bool:
    """Whether a dream may begin from a frame: of exported worlds, their config says."""
    if world.spec.family != "exported":
        return True
    context = read_config(Path(world.directory)).get("context")
    return isinstance(context, list) and [each.get("name") for each in context] == ["frame"]


def _meanings(world: World) -> dict[int, str] | None:
    """What latent actions stand for, by the dictionary in the world's directory; None without one."""
    file = Path(world.directory) / DICTIONARY
    if not file.is_file():
        return None
    found = read_json(file, {"dictionary": {"*": {"meaning?": (str, None)}}})["dictionary"]
    return {int(code): entry.get("meaning") or "" for code, entry in found.items()}


def _option(option: Any) -> dict[str, Any]:
    bounded = option.type in ("integer", "number")
    return {
        "name": option.name,
        "type": option.type,
        "choices": list(option.choices) or None,
        "minimum": option.low if bounded and math.isfinite(option.low) else None,
        "maximum": option.high if bounded and math.isfinite(option.high) else None,
        "value": option.value,
        "description": option.description,
    }

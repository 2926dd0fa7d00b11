"""One tab's dream, the real game beside it, and their controls.

It knows nothing of the web; one thread at a time uses it.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genie_env._core import World
from genie_env.envs.frame_rate import frames_per_second
from genie_env.envs.vector_env import DreamVectorEnv
from genie_env.media.read_picture import read_picture
from genie_env.play.dream import Dream
from genie_env.play.progress import Shown
from genie_env.play.protocol import MODES, ROWS, as_data
from genie_env.play.real import Real
from genie_env.play.recording import SessionRecording
from genie_env.play.shared import Shared
from genie_env.play.tree import Tree

STARTS = 24
"""In the picker: those that the seeds 0, 1, 2, ... draw."""


class Session:
    """Its dream, its game and all that it keeps go with `close`."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._world = shared.world
        self._controls = shared.controls
        self.fps = frames_per_second(self._world.spec)
        self.pace: float | None = self.fps
        """Steps a second; None: no limit."""
        self._starts = shared.starts_in(self._world)
        self._dream = Dream(
            self._world,
            self._controls,
            shared.observation,
            temperature=shared.temperature,
            starts=self._starts,
        )
        self._real: Real | None = None  # made when it is first played
        self._mode = "dream"
        self._agent_plays = False
        self._down: Sequence[str] = ()
        self._axes: Sequence[float] = ()
        self.seq = 0
        """Of the last input that the next step will use."""
        self._recording: SessionRecording | None = None
        self._begin(shared.seed, shared.picture)

    def close(self) -> None:
        self._dream.close()
        if self._real is not None:
            self._real.close()

    # What the page is told

    def hello(self) -> dict[str, Any]:
        spec = self._world.spec
        return {
            "type": "hello",
            "world": spec.name,
            "family": spec.family,
            "fps": self.fps,
            "size": self._size,
            "actions": self._controls.as_json(),
            "temperature": self._dream.temperature,
            "options": [
                _option(option) for option in spec.options.values() if option.name != "compile"
            ],
            "starts": STARTS,
            "takes_pictures": spec.begins_from_frames,
            "real": self._shared.no_real_game is None,
            "agent": self._shared.agent_name,
            "max_episode_steps": spec.max_episode_steps,
        }

    def state(self) -> dict[str, Any]:
        return {
            "temperature": self._dream.temperature,
            "options": {option.name: option.value for option in self._world.spec.options.values()},
            "seed": self._seed,
            "mode": self._mode,
            "rows": self._dream.rows,
            "agent": self._agent_plays,
            "recording": self._recording is not None,
            "pace": self.pace,
        }

    def tree(self) -> dict[str, Any]:
        return self._tree.as_json()

    def starts(self) -> dict[str, Any]:
        """The picker's pictures."""
        env = DreamVectorEnv(self._world, STARTS, starts=self._starts)
        try:
            env.reset(seed=0)
            pictures = [as_data(frame) for frame in env.frames()]
        finally:
            env.close()
        return {"type": "starts", "pictures": pictures, "indices": list(range(STARTS))}

    # Controls

    def keys(self, down: Sequence[str], seq: int) -> bool:
        """Held keys; returns whether they took over from the agent."""
        self._down, self.seq = down, seq
        return self._take_over(any(key in self._controls.keys for key in down))

    def axes(self, values: Sequence[float], seq: int) -> bool:
        """A gamepad's, likewise."""
        self._axes, self.seq = values, seq
        return self._take_over(any(abs(value) > 0.5 for value in values))

    def reset(self, seed: int | None, start: int | None) -> None:
        """A new episode; of the picker's start, where one is given."""
        if start is not None:
            if not 0 <= start < STARTS:
                raise ValueError(f"there is no start {start}; there are {STARTS}")
            seed = start
        if seed is None:
            seed = int(np.random.default_rng().integers(2**31))
        if seed < 0:
            raise ValueError(f"the seed is {seed}; expected 0 or more")
        self._begin(seed)

    def picture(self, content: bytes) -> None:
        """A new dream of a picture of any format."""
        if not self._world.spec.begins_from_frames:
            raise ValueError(f"{self._world.spec.name} does not begin from pictures")
        if self._mode == "real":
            raise ValueError("the real game does not begin from a picture: switch to the dream")
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "the picture"
            file.write_bytes(content)
            try:
                frame = read_picture(file, *self._size)
            except ValueError as error:
                raise ValueError(str(error).replace(str(file), file.name)) from None
        self._begin(self._seed, frame)

    def temperature(self, value: float) -> None:
        self._dream.temperature = value

    def option(self, name: str, value: Any) -> None:
        """The world is loaded with another option, and an episode of the same seed begins in it."""
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
        before, real = self._dream, self._real
        self._starts = self._shared.starts_in(world)
        self._dream, self._world, self._real = (self._like(world, before.rows), world, None)
        before.close()
        if real is not None:
            real.close()
        self._begin(self._seed)

    def rows(self, count: int) -> None:
        """`count` rows from this moment on: the first goes on, the others under seeds of their own."""
        if count not in ROWS:
            raise ValueError(f"{count} dreams at once were asked for; there may be 1, 4 or 9")
        before, progress = self._dream, self._dream.progress
        self._dream = self._like(self._world, count)
        self._dream.reset(self._seed)  # rows need an episode before they can be set to another
        self._dream.restore(before.snapshot(), progress.step, progress.total, self._seed)
        before.close()

    def mode(self, mode: str) -> None:
        """What is played; a game that was not played before begins, and beside it a dream of its
        first picture."""
        if mode not in MODES:
            raise ValueError(f"the mode {mode!r} is not there; expected {', '.join(MODES)}")
        if mode != "dream" and self._shared.no_real_game is not None:
            raise ValueError(self._shared.no_real_game)
        if mode == "real" and self._recording is not None:
            raise ValueError("the dream is being recorded: stop the recording first")
        before, self._mode = self._mode, mode
        if mode == "both" or (mode == "real" and before == "dream"):
            try:
                self._begin(self._seed)
            except BaseException:
                self._mode = before
                raise

    def agent(self, on: bool) -> None:
        if on and self._shared.agent is None:
            raise ValueError("there is no agent: begin with `genie-env play WORLD --agent FILE`")
        self._agent_plays = on

    def branch(self) -> None:
        """Keeps this moment of the dream."""
        self._refuse_reality("the real game has no moments to return to")
        progress = self._dream.progress
        moment = self._dream.snapshot()
        self._tree.keep(moment, progress.step, progress.total, self._seed, self._dream.frame)

    def back_to(self, node: int) -> None:
        """All rows of the dream go on from a moment that was kept."""
        self._refuse_reality("the real game does not return to a moment")
        moment = self._tree.back_to(node)
        self._seed = moment.seed
        self._dream.restore(moment.snapshot, moment.step, moment.total, moment.seed)
        if self._recording is not None:
            self._recording.begin(self._dream.frame)

    def record(self, on: bool) -> dict[str, Any] | None:
        """Begins to record, or ends and writes it; then returns where."""
        if on and self._recording is None:
            self._refuse_reality("the dream is what is recorded; `genie-env record` plays the game")
            self._recording = SessionRecording(self._world.spec, self.pace or self.fps)
            self._recording.begin(self._dream.frame)
        elif not on and self._recording is not None:
            recording, self._recording = self._recording, None
            recording.check()
            self._shared.recordings.mkdir(parents=True, exist_ok=True)
            stamp = time.strftime("%Y%m%d-%H%M%S")
            folder = Path(tempfile.mkdtemp(prefix=f"{stamp}-", dir=self._shared.recordings))
            recording.write_film(folder / "film.mp4")
            recording.write_episodes(folder / "episodes")
            return {
                "type": "recorded",
                "video": f"/recordings/{folder.name}.mp4",
                "episodes": str(folder / "episodes"),
            }
        return None

    @property
    def recording_is_full(self) -> bool:
        return self._recording is not None and self._recording.is_full

    # Playing

    def step(self) -> list[Shown]:
        """One step under what is held, or the agent's; what has ended begins again instead.

        Dream and game side by side wait for each other: what has ended stays as it is until the
        other has ended too.
        """
        if self._mode == "both" and all(each.progress.ended for each in self._played):
            self._begin(self._seed + 1, keep_moments=True)
            return self.shown()
        waits = self._mode == "both"
        action = self._action()
        for each in self._played:
            if waits and each.progress.ended:
                continue
            if each is self._dream:
                self._dream_on(action)
            else:
                each.take(action)
        return self.shown()

    def shown(self) -> list[Shown]:
        """The present frames: of the dream, the game or both."""
        return [
            Shown({**shown.header, "seq": self.seq}, shown.picture)
            for shown in (each.shown() for each in self._played)
        ]

    def _dream_on(self, action: Any) -> None:
        went_on = self._dream.take(action)
        if self._recording is None:
            return
        frame, progress = self._dream.frame, self._dream.progress
        if went_on:
            self._recording.step(
                action, progress.reward, frame, terminated=progress.terminated, ended=progress.ended
            )
        else:
            self._recording.begin(frame)

    @property
    def _played(self) -> list[Dream | Real]:
        if self._mode == "dream" or self._real is None:
            return [self._dream]
        return [self._real] if self._mode == "real" else [self._dream, self._real]

    def _action(self) -> Any:
        agent = self._shared.agent
        if not self._agent_plays or agent is None:
            return self._controls.action(self._down, self._axes)
        return agent.act(self._played[0].observation).cpu().numpy()[0]

    def _take_over(self, held: bool) -> bool:
        took, self._agent_plays = (self._agent_plays and held, self._agent_plays and not held)
        return took

    def _begin(
        self, seed: int, frame: NDArray[np.uint8] | None = None, *, keep_moments: bool = False
    ) -> None:
        """New episodes of all that is played. `frame`: the dream's first."""
        if self._mode != "dream":
            if self._real is None:
                shared = self._shared
                self._real = Real(
                    self._world, self._controls, shared.observation, shared.game, shared.action_map
                )
            self._real.reset(seed)
            if frame is None and self._world.spec.begins_from_frames:
                frame = self._real.frame
        if self._mode != "real":
            self._dream.reset(seed, frame)
            if not keep_moments:
                self._tree = Tree()
            if self._recording is not None:
                self._recording.begin(self._dream.frame)
        self._seed = seed

    def _like(self, world: World, rows: int) -> Dream:
        """Another dream of the same temperature, which has not begun."""
        observation, temperature = self._shared.observation, self._dream.temperature
        return Dream(world, self._controls, observation, rows, temperature, self._starts)

    def _refuse_reality(self, why: str) -> None:
        if self._mode == "real":
            raise ValueError(f"{why}: switch to the dream")

    @property
    def _size(self) -> tuple[int, int]:
        assert self._world.spec.frame is not None
        height, width, _ = self._world.spec.frame.shape
        return height, width


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

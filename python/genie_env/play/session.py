"""One tab's dream, the real game beside it, and their controls.

It knows nothing of the web; one thread at a time uses it, but for `keys` and `axes`.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genie_env._core import World
from genie_env.envs.frame_rate import frames_per_second
from genie_env.envs.vector_env import DreamVectorEnv
from genie_env.media.read_picture import read_still
from genie_env.play.dream import Dream
from genie_env.play.hello import STARTS, hello
from genie_env.play.progress import Shown
from genie_env.play.protocol import MODES, ROWS, as_data
from genie_env.play.real import Real
from genie_env.play.recording import SessionRecording
from genie_env.play.shared import Shared
from genie_env.play.tree import Tree


@dataclass(frozen=True)
class Held:
    """What a person holds down."""

    keys: Sequence[str] = ()
    axes: Sequence[float] = ()
    seq: int = 0
    """Number of the page's message that said so."""


class Session:
    """Its dream, its game and all that it keeps go with `close`, but for a recording, which is
    finished."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._world = shared.world
        self._controls = shared.controls
        self.pace: float | None = frames_per_second(self._world.spec)
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
        self._held = Held()
        self._used = 0  # `seq` of what the last step knew
        self._tree = self._empty_tree()
        self._recording: SessionRecording | None = None
        self._begin(shared.seed, shared.picture)

    def close(self) -> None:
        self._dream.close()
        if self._real is not None:
            self._real.close()
        self._tree = self._empty_tree()
        recording, self._recording = self._recording, None
        if recording is not None:
            try:
                recording.finish()
            except Exception:  # nobody is left to be told
                logging.getLogger(__name__).exception("the recording in %s", recording.folder)

    # What the page is told

    def hello(self) -> dict[str, Any]:
        return hello(self._world, self._shared, self._dream.temperature)

    def state(self) -> dict[str, Any]:
        return {
            "temperature": self._dream.temperature,
            "options": {option.name: option.value for option in self._world.spec.options.values()},
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
        """Held keys, in any thread; returns whether they took over from the agent."""
        self._held = replace(self._held, keys=down, seq=seq)
        return self._take_over(any(key in self._controls.keys for key in down))

    def axes(self, values: Sequence[float], seq: int) -> bool:
        """A gamepad's, likewise."""
        self._held = replace(self._held, axes=values, seq=seq)
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
        spec = self._world.spec
        if not spec.begins_from_frames:
            raise ValueError(f"{spec.name} does not begin from pictures")
        if self._mode == "real":
            raise ValueError("the real game does not begin from a picture: switch to the dream")
        assert spec.frame is not None
        height, width, _ = spec.frame.shape
        self._begin(self._seed, read_still(io.BytesIO(content), "the picture", height, width))

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
        self._tree = self._empty_tree()  # its moments are of the other world
        before.close()
        if real is not None:
            real.close()
        self._begin(self._seed)

    def rows(self, count: int) -> None:
        """`count` rows from this moment on: the first goes on, the others under seeds of their own."""
        if count not in ROWS:
            raise ValueError(f"{count} dreams at once were asked for; there may be 1, 4 or 9")
        before = self._dream
        self._dream = self._like(self._world, count)
        self._dream.reset(self._seed)  # rows need an episode before they can be set to another
        self._dream.restore(before.snapshot(), before.progress, self._seed)
        before.close()

    def mode(self, mode: str) -> None:
        """What is played. A game that was not played before begins; side by side, game and dream begin
        with the game's first picture."""
        if mode not in MODES:
            raise ValueError(f"the mode {mode!r} is not there; expected {', '.join(MODES)}")
        if mode != "dream" and self._shared.no_real_game is not None:
            raise ValueError(self._shared.no_real_game)
        if mode == "real" and self._recording is not None:
            raise ValueError("the dream is being recorded: stop the recording first")
        before, self._mode = self._mode, mode
        if mode == "both" or (mode == "real" and self._real is None):
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
        if self._mode == "real":
            raise ValueError("the real game has no moments to return to: switch to the dream")
        dream = self._dream
        self._tree.keep(dream.snapshot(), dream.progress, self._seed, dream.frame)

    def back_to(self, node: int) -> None:
        """All rows of the dream go on from a moment that was kept."""
        if self._mode != "dream":
            raise ValueError("the real game does not return to a moment: show the dream alone")
        moment = self._tree.back_to(node)
        self._seed = moment.seed
        self._dream.restore(moment.snapshot, moment.progress, moment.seed)
        if self._recording is not None:
            self._recording.begin(self._dream.frame, self._seed)

    def record(self, on: bool) -> dict[str, Any] | None:
        """Begins to record, or ends; then returns where it lies."""
        if on and self._recording is None:
            if self._mode == "real":
                raise ValueError(
                    "the dream is what is recorded: switch to the dream, or let `genie-env record` "
                    "play the game"
                )
            fps = self.pace or frames_per_second(self._world.spec)
            recording = SessionRecording(self._shared.recordings, self._world.spec, fps)
            recording.begin(self._dream.frame, self._seed)
            self._recording = recording
        elif not on and self._recording is not None:
            recording, self._recording = self._recording, None
            recording.finish()
            return {
                "type": "recorded",
                "video": f"/recordings/{recording.folder.name}.mp4",
                "episodes": str(recording.episodes),
            }
        return None

    # Playing

    def step(self) -> list[Shown]:
        """One step under what is held, or the agent's; what has ended begins again instead.

        Dream and game side by side wait for each other: what has ended stays as it is until the
        other has ended too.
        """
        held = self._held
        waits = self._mode == "both"
        if waits and all(each.progress.ended for each in self._played):
            self._begin(self._seed + 1)
            return self.shown()
        action = self._action(held)
        for each in self._played:
            if waits and each.progress.ended:
                continue
            if each is self._dream:
                self._dream_on(action)
            else:
                each.take(action)
        self._used = held.seq
        return self.shown()

    def shown(self) -> list[Shown]:
        """The present frames: of the dream, the game or both."""
        return [
            Shown({**shown.header, "seed": self._seed, "seq": self._used}, shown.picture)
            for shown in (each.shown() for each in self._played)
        ]

    def _dream_on(self, action: Any) -> None:
        went_on = self._dream.take(action)
        if not went_on:
            self._tree.leave()
        if self._recording is None:
            return
        frame, progress = self._dream.frame, self._dream.progress
        try:
            if not went_on:
                self._recording.begin(frame, self._seed)
                return
            self._recording.step(
                action,
                progress.reward or 0.0,
                frame,
                terminated=progress.terminated,
                ended=progress.ended,
            )
        except Exception as error:
            recording, self._recording = self._recording, None
            with contextlib.suppress(Exception):  # it is the same failure, or follows from it
                recording.finish()
            raise RuntimeError(
                f"the recording has ended ({error}); {recording.folder} holds what was written"
            ) from error

    @property
    def _played(self) -> list[Dream | Real]:
        if self._mode == "dream" or self._real is None:
            return [self._dream]
        return [self._real] if self._mode == "real" else [self._dream, self._real]

    def _action(self, held: Held) -> Any:
        agent = self._shared.agent
        if not self._agent_plays or agent is None:
            return self._controls.action(held.keys, held.axes)
        return agent.act(self._played[0].observation).cpu().numpy()[0]

    def _take_over(self, held: bool) -> bool:
        took, self._agent_plays = (self._agent_plays and held, self._agent_plays and not held)
        return took

    def _begin(self, seed: int, frame: NDArray[np.uint8] | None = None) -> None:
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
            self._tree.leave()
            if self._recording is not None:
                self._recording.begin(self._dream.frame, seed)
        self._seed = seed

    def _like(self, world: World, rows: int) -> Dream:
        """Another dream of the same temperature, which has not begun."""
        observation, temperature = self._shared.observation, self._dream.temperature
        return Dream(world, self._controls, observation, rows, temperature, self._starts)

    def _empty_tree(self) -> Tree:
        return Tree(self._world.spec.state_bytes_per_row)

"""One tab's dream, the real game beside it, and their controls.

It knows nothing of the web; one thread at a time uses it, but for `keys`, `axes` and `pace`.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genie_env._core import StartBank, World
from genie_env.agents.decisions import Decisions
from genie_env.envs.frame_rate import frames_per_second
from genie_env.envs.vector_env import DreamVectorEnv
from genie_env.media.read_picture import read_still
from genie_env.play.dream import Dream
from genie_env.play.hello import STARTS, hello, offered
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
        self._decisions = None if shared.agent is None else Decisions(shared.agent)
        self._agent_plays = False
        self._held = Held()
        self._used = 0  # `seq` of what the last step knew
        self._tree = Tree(self._world.spec.state_bytes_per_row)
        self._recording: SessionRecording | None = None
        self.trouble = ""
        """What has gone wrong beside the last call, until somebody is told and clears it."""
        self._begin(shared.seed, shared.picture)

    def close(self) -> None:
        """Raises what failed, once all else is closed."""
        with contextlib.ExitStack() as closing:
            closing.callback(self._dream.close)
            if self._real is not None:
                closing.callback(self._real.close)
            self._tree = Tree(1)
            recording, self._recording = self._recording, None
            if recording is not None:
                closing.callback(recording.finish)  # first

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
        took_over = self._take_over(any(key in self._controls.keys for key in down))
        self._held = replace(self._held, keys=down, seq=seq)
        return took_over

    def axes(self, values: Sequence[float], seq: int) -> bool:
        """A gamepad's, likewise."""
        took_over = self._take_over(any(abs(value) > 0.5 for value in values))
        self._held = replace(self._held, axes=values, seq=seq)
        return took_over

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
        """A new dream of a picture, as a file of one of `read_picture.SENT`."""
        spec = self._world.spec
        if not spec.begins_from_frames:
            raise ValueError(f"{spec.name} does not begin from pictures")
        if self._mode == "real":
            raise ValueError("the real game does not begin from a picture: switch to the dream")
        assert spec.frame is not None
        height, width, _ = spec.frame.shape
        frame = read_still(io.BytesIO(content), "the picture", height, width)
        self._begin(self._dream.seed, frame)

    def temperature(self, value: float) -> None:
        self._refuse_while_recording()
        self._dream.temperature = value

    def option(self, name: str, value: Any) -> None:
        """The world is loaded with another option, and an episode of the same seed begins in it."""
        self._refuse_while_recording()
        spec, before, real = self._world.spec, self._dream, self._real
        if name not in offered(spec):
            known = ", ".join(offered(spec)) or "none"
            raise ValueError(f"{spec.name} has no option {name!r}; it has {known}")
        values = {option.name: option.value for option in spec.options.values()}
        world = World.load(
            self._world.directory,
            device=str(self._world.device),
            dtype=spec.dtype,
            options={**values, name: value},
        )
        starts = self._shared.starts_in(world)
        dream = self._begun(world, before.rows, starts)
        self._world, self._starts, self._dream, self._real = world, starts, dream, None
        self._tree = Tree(world.spec.state_bytes_per_row)  # moments are of the other world
        with contextlib.ExitStack() as closing:
            closing.callback(before.close)
            if real is not None:
                closing.callback(real.close)
        if self._mode != "dream":
            self._begin(dream.seed)

    def rows(self, count: int) -> None:
        """`count` rows from this moment on: the first goes on, the others under seeds of their own."""
        if count not in ROWS:
            raise ValueError(f"{count} dreams at once were asked for; there may be 1, 4 or 9")
        before = self._dream
        # Rows need an episode before they can be set to another.
        dream = self._begun(self._world, count, self._starts)
        dream.restore(before.snapshot(), before.progress, before.seed)
        self._dream = dream
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
        self._forget_decision()
        if mode == "both" or (mode == "real" and self._real is None):
            try:
                self._begin(self._dream.seed)
            except BaseException:
                self._mode = before
                raise

    def agent(self, on: bool) -> None:
        if on and self._shared.agent is None:
            raise ValueError("there is no agent: begin with `genie-env play WORLD --agent FILE`")
        self._agent_plays = on
        self._forget_decision()

    def branch(self) -> None:
        """Keeps this moment of the dream."""
        if self._mode == "real":
            raise ValueError("the real game has no moments to return to: switch to the dream")
        dream = self._dream
        self._tree.keep(dream.snapshot(), dream.progress, dream.seed, dream.frame)

    def back_to(self, node: int) -> None:
        """All rows of the dream go on from a moment that was kept."""
        if self._mode != "dream":
            raise ValueError("the real game does not return to a moment: show the dream alone")
        moment = self._tree.back_to(node)
        self._dream.restore(moment.snapshot, moment.progress, moment.seed)
        self._forget_decision()
        self._tell_recording(lambda recording: recording.begin(self._dream.frame))

    def record(self, on: bool) -> dict[str, Any] | None:
        """Begins to record, or ends; then returns where it lies."""
        if on and self._recording is None:
            if self._mode == "real":
                raise ValueError(
                    "the dream is what is recorded: switch to the dream, or let `genie-env record` "
                    "play the game"
                )
            spec, shared = self._world.spec, self._shared
            recording = SessionRecording(
                shared.recordings,
                spec,
                self.pace or frames_per_second(spec),
                self._dream.temperature,
                shared.agent_name,
            )
            recording.begin(self._dream.frame)
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
        going = self._played
        if self._mode == "both":
            going = [each for each in going if not each.progress.ended]
            if not going:
                self._begin(self._dream.seed + 1)
                return self.shown()
        action = self._action(held, going[0])
        went_on = [each.take(action) for each in going]
        self._used = held.seq
        if self._dream in going:
            self._after_a_step(action, went_on=went_on[going.index(self._dream)])
        return self.shown()

    def shown(self) -> list[Shown]:
        """The present frames: of the dream, the game or both."""
        return [
            Shown({**shown.header, "seq": self._used}, shown.picture)
            for shown in (each.shown() for each in self._played)
        ]

    def _after_a_step(self, action: Any, *, went_on: bool) -> None:
        """What the dream's step is to tree and recording. `went_on`: it was one, no beginning."""
        frame, progress = self._dream.frame, self._dream.progress
        if not went_on:
            self._tree.leave()
            self._tell_recording(lambda recording: recording.begin(frame))
            return
        self._tell_recording(
            lambda recording: recording.step(
                action,
                progress.reward or 0.0,
                frame,
                terminated=progress.terminated,
                ended=progress.ended,
            )
        )

    def _tell_recording(self, tell: Callable[[SessionRecording], None]) -> None:
        """Tells the recording, if there is one. One that cannot be written ends, which is `trouble`."""
        if self._recording is None:
            return
        try:
            tell(self._recording)
        except Exception as error:
            recording, self._recording = self._recording, None
            with contextlib.suppress(Exception):  # it is the same failure, or follows from it
                recording.finish()
            self.trouble = (
                f"the recording has ended ({error}); {recording.folder} holds what was written"
            )

    @property
    def _played(self) -> list[Dream | Real]:
        if self._mode == "dream" or self._real is None:
            return [self._dream]
        return [self._real] if self._mode == "real" else [self._dream, self._real]

    def _action(self, held: Held, seen: Dream | Real) -> Any:
        """`seen`: what an agent looks at."""
        if not self._agent_plays or self._decisions is None:
            return self._controls.action(held.keys, held.axes)
        return self._decisions.act(seen.observation, seen.progress.step).cpu().numpy()[0]

    def _forget_decision(self) -> None:
        """What is played next is another moment than the last one."""
        if self._decisions is not None:
            self._decisions.forget()

    def _take_over(self, held: bool) -> bool:
        took, self._agent_plays = (self._agent_plays and held, self._agent_plays and not held)
        return took

    def _begin(self, seed: int, frame: NDArray[np.uint8] | None = None) -> None:
        """New episodes of all that is played. `frame`: the dream's first."""
        if self._mode != "dream":
            self._real = self._real_at(seed)
            if frame is None and self._world.spec.begins_from_frames:
                frame = self._real.frame
        if self._mode != "real":
            self._dream.reset(seed, frame)
            self._tree.leave()
            self._tell_recording(lambda recording: recording.begin(self._dream.frame))

    def _real_at(self, seed: int) -> Real:
        """The game, at the beginning of an episode."""
        shared = self._shared
        real = self._real or Real(
            self._world, self._controls, shared.observation, shared.game, shared.action_map
        )
        try:
            real.reset(seed)
        except BaseException:
            if self._real is None:
                real.close()
            raise
        return real

    def _begun(self, world: World, rows: int, starts: StartBank | None) -> Dream:
        """Another dream of the same temperature and seed."""
        before = self._dream
        observation = self._shared.observation
        dream = Dream(world, self._controls, observation, rows, before.temperature, starts)
        try:
            dream.reset(before.seed)
        except BaseException:
            dream.close()
            raise
        return dream

    def _refuse_while_recording(self) -> None:
        if self._recording is not None:
            raise ValueError("a recording is of one temperature and options: stop it first")

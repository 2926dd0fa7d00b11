"""A session that is kept: a film, and episodes that training reads, both written as it is played."""

from __future__ import annotations

import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from genie_env._core import WorldSpec
from genie_env.data.episode import Episode
from genie_env.data.recording import append_episodes, columns, versions
from genie_env.envs.actions import actions_of_world
from genie_env.media.video import enlarge, write_video

LARGEST_EPISODE = 64 << 20
"""Bytes of frames; a longer episode goes on as another one."""
PATIENCE = 10.0
"""Seconds that writing may stand still."""

T = TypeVar("T")


class SessionRecording:
    """Steps of one dream, from any moment on. An episode that is broken off is truncated there."""

    def __init__(
        self, recordings: Path, spec: WorldSpec, fps: float, temperature: float, agent: str | None
    ) -> None:
        """In a new folder of `recordings`. `agent`: that may play. Raises ValueError where no folder can
        be made."""
        try:
            recordings.mkdir(parents=True, exist_ok=True)
            stamp = time.strftime("%Y%m%d-%H%M%S")
            self.folder = Path(tempfile.mkdtemp(prefix=f"{stamp}-", dir=recordings))
        except OSError as error:
            raise ValueError(
                f"nothing can be recorded into {recordings} ({error.strerror}): give another "
                "--recordings"
            ) from None
        self._spec, self._fps, self._temperature, self._agent = spec, fps, temperature, agent
        self._writers: tuple[_Writer[NDArray[np.uint8]], _Writer[Episode]] | None = None
        self._count = 0  # episodes
        self._frames: list[NDArray[np.uint8]] = []  # of the episode under way, and the rest
        self._actions: list[Any] = []
        self._rewards: list[float] = []

    @property
    def film(self) -> Path:
        return self.folder / "film.mp4"

    @property
    def episodes(self) -> Path:
        return self.folder / "episodes"

    def begin(self, frame: NDArray[np.uint8]) -> None:
        """An episode begins, or the dream has jumped: frame uint8 [H, W, 3]."""
        self._end(terminated=False)
        self._frames = [frame.copy()]  # it may be part of a grid
        if self._writers is not None:
            self._writers[0].put(self._frames[0])

    def step(
        self, action: Any, reward: float, frame: NDArray[np.uint8], *, terminated: bool, ended: bool
    ) -> None:
        """What an action led to. Raises what writing raised; the recording is then to be finished."""
        self._actions.append(action)
        self._rewards.append(reward)
        self._frames.append(frame.copy())
        if self._writers is None:
            self._writers = _Writer(self._write_film, 64), _Writer(self._write_episodes, 2)
            self._writers[0].put(self._frames[0])
        self._writers[0].put(self._frames[-1])
        if ended or len(self._frames) * frame.nbytes >= LARGEST_EPISODE:
            self._end(terminated=terminated)

    def finish(self) -> None:
        """Until all is written. Raises ValueError where not a step was taken, and what writing raised."""
        if self._writers is None:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise ValueError("nothing was recorded: not a step was taken")
        try:
            self._end(terminated=False)
        finally:
            film, episodes = self._writers
            try:
                film.finish()
            finally:
                episodes.finish()

    def _end(self, *, terminated: bool) -> None:
        if self._actions and self._writers is not None:
            episode = Episode(
                index=self._count,
                seed=0,  # which is not written
                frames=np.stack(self._frames[:-1]),
                actions=np.array(self._actions),
                rewards=np.array(self._rewards, np.float32),
                terminated=terminated,
                truncated=not terminated,
                final_frame=self._frames[-1],
            )
            self._count += 1
            self._frames, self._actions, self._rewards = self._frames[-1:], [], []
            self._writers[1].put(episode)

    def _write_film(self, pictures: Generator[NDArray[np.uint8], None, None]) -> None:
        assert self._spec.frame is not None
        scale = film_scale(self._spec.frame.shape[0])
        write_video(self.film, (enlarge(picture, scale) for picture in pictures), self._fps)

    def _write_episodes(self, episodes: Generator[Episode, None, None]) -> None:
        assert self._spec.frame is not None
        height, width, _ = self._spec.frame.shape
        append_episodes(self.episodes, (height, width), self._meta(), lambda _: episodes)

    def _meta(self) -> dict[str, Any]:
        spec = self._spec
        assert spec.frame is not None
        height, width, _ = spec.frame.shape
        actions = actions_of_world(spec.actions)
        return {
            "format_version": 2,
            **columns(actions, (height, width), final_frames=True),
            "game": spec.game,
            "frame_skip": spec.frame_skip,
            **({"frames_per_second": fps} if (fps := spec.frames_per_second) else {}),
            "actions": actions.as_json(),
            "policy": {"name": "played on a page", "agent": self._agent},
            "dreamt_in": {
                "world": spec.name,
                "fingerprint": spec.fingerprint,
                "temperature": self._temperature,
                "options": {option.name: option.value for option in spec.options.values()},
            },
            "versions": versions(),
        }


class _Writer(Generic[T]):
    """Writes what it is given in a thread of its own, in order."""

    def __init__(self, write: Callable[[Generator[T, None, None]], None], waiting: int) -> None:
        """`waiting`: items that are not yet written, at most."""
        self._items: queue.Queue[T | None] = queue.Queue(waiting)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(
            target=self._run, args=(write,), name="recording", daemon=True
        )
        self._thread.start()

    def put(self, item: T | None) -> None:
        """Waits where much is not yet written. Raises what writing raised, and OSError where nothing is
        written for PATIENCE seconds."""
        for _ in range(round(PATIENCE / 0.1)):
            if self._failure is not None:
                raise self._failure
            try:
                self._items.put(item, timeout=0.1)
                return
            except queue.Full:
                continue
        raise OSError(f"nothing could be written for {PATIENCE:g} seconds")

    def finish(self) -> None:
        """Until all is written. Raises what writing raised."""
        if self._failure is None:
            self.put(None)
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self, write: Callable[[Generator[T, None, None]], None]) -> None:
        try:
            write(self._given())
        except BaseException as error:  # raised where it is used
            self._failure = error

    def _given(self) -> Generator[T, None, None]:
        while (item := self._items.get()) is not None:
            yield item


def film_scale(height: int) -> int:
    """How many pixels of a film stand for one of a frame: an even number."""
    return 2 * max(1, round(256 / height))

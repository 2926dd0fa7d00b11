"""A session that is kept: a film, and episodes that training reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genie_env._core import WorldSpec
from genie_env.data.episode import Episode
from genie_env.data.recording import append_episodes, columns, versions
from genie_env.envs.actions import actions_of_world
from genie_env.media.video import enlarge, write_video

MOST = 50_000
"""Frames of one recording: they are kept in memory until it ends."""


class SessionRecording:
    """Steps of one dream, from any moment on. An episode that is broken off is truncated there."""

    def __init__(self, spec: WorldSpec, fps: float) -> None:
        self._spec = spec
        self._fps = fps
        self._pictures: list[NDArray[np.uint8]] = []
        self._episodes: list[Episode] = []
        self._frames: list[NDArray[np.uint8]] = []  # of the episode under way, and the rest
        self._actions: list[Any] = []
        self._rewards: list[float] = []

    @property
    def is_full(self) -> bool:
        return len(self._pictures) >= MOST

    def begin(self, frame: NDArray[np.uint8]) -> None:
        """An episode begins, or the dream has jumped: frame uint8 [H, W, 3]."""
        self._end(terminated=False)
        self._frames = [frame]
        self._pictures.append(frame)

    def step(
        self, action: Any, reward: float, frame: NDArray[np.uint8], *, terminated: bool, ended: bool
    ) -> None:
        """What an action led to."""
        self._actions.append(action)
        self._rewards.append(reward)
        self._frames.append(frame)
        self._pictures.append(frame)
        if ended:
            self._end(terminated=terminated)

    def check(self) -> None:
        """Raises ValueError where nothing was recorded."""
        if not (self._episodes or self._actions):
            raise ValueError("nothing was recorded: not a step was taken")

    def write_film(self, file: Path) -> None:
        """As a video, as MP4."""
        scale = film_scale(self._pictures[0].shape[0])
        write_video(file, (enlarge(picture, scale) for picture in self._pictures), self._fps)

    def write_episodes(self, directory: Path) -> None:
        """As episodes that training reads, in a directory that is made."""
        self._end(terminated=False)
        self.check()
        height, width, _ = self._pictures[0].shape
        append_episodes(
            directory, (height, width), self._meta(), lambda _: (each for each in self._episodes)
        )

    def _meta(self) -> dict[str, Any]:
        assert self._spec.frame is not None
        height, width, _ = self._spec.frame.shape
        actions = actions_of_world(self._spec.actions)
        return {
            "format_version": 2,
            **columns(actions, (height, width), final_frames=True),
            "game": self._spec.game,
            "frame_skip": self._spec.frame_skip,
            "frames_per_second": self._fps,
            "actions": actions.as_json(),
            "policy": {"name": "played by hand"},
            "dreamt_in": {"world": self._spec.name, "fingerprint": self._spec.fingerprint},
            "versions": versions(),
        }

    def _end(self, *, terminated: bool) -> None:
        if self._actions:
            self._episodes.append(
                Episode(
                    index=len(self._episodes),
                    seed=0,
                    frames=np.stack(self._frames[:-1]),
                    actions=np.array(self._actions),
                    rewards=np.array(self._rewards, np.float32),
                    terminated=terminated,
                    truncated=not terminated,
                    final_frame=self._frames[-1],
                )
            )
        self._frames, self._actions, self._rewards = self._frames[-1:], [], []


def film_scale(height: int) -> int:
    """How many pixels of a film stand for one of a frame: an even number."""
    return 2 * max(1, round(256 / height))

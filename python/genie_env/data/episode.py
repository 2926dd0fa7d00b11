"""One recorded episode, and its journey between processes."""

from __future__ import annotations

from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np
from numpy.typing import NDArray

from genie_env.envs.actions import Taken


@dataclass
class Episode:
    """T steps: index t holds frame t, the action chosen on seeing it, and what that brought."""

    index: int
    seed: int  # the game's
    frames: NDArray[np.uint8] | None  # uint8 [T, H, W, 3]; None where they are not kept
    actions: Taken  # int64 [T], or float32 [T, ...] of a box
    rewards: NDArray[np.float32]  # float32 [T]
    terminated: bool  # at the last step: the game ended
    truncated: bool  # at the last step: the time limit ended it
    final_frame: NDArray[np.uint8] | None = None
    """What the game showed after the last action: uint8 [H, W, 3]; None where it is not kept."""
    labels: NDArray[np.float32] | None = None
    """The objects of every frame, float32 [T, 8, 6] (`games.labels`); None where they are not kept."""

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def score(self) -> float:
        """The sum of rewards; the game says what it is called (`games.base.Score`)."""
        return float(self.rewards.sum())

    @property
    def terminations(self) -> NDArray[np.bool_]:
        """bool [T]"""
        return self._at_the_end(self.terminated)

    @property
    def truncations(self) -> NDArray[np.bool_]:
        """bool [T]"""
        return self._at_the_end(self.truncated)

    def _at_the_end(self, value: bool) -> NDArray[np.bool_]:
        flags = np.zeros(len(self), bool)
        flags[-1] = value
        return flags

    def send(self, connection: Connection) -> None:
        """Frames go as raw bytes: they are nearly all of an episode."""
        frames, self.frames = self.frames, None
        connection.send((self, None if frames is None else frames.shape))
        self.frames = frames
        if frames is not None:
            connection.send_bytes(frames.data.cast("B"))

    @staticmethod
    def receive(connection: Connection) -> Episode | Exception:
        """Receives what `send` sent, or an exception that was sent in its place."""
        message = connection.recv()
        if isinstance(message, Exception):
            return message
        episode: Episode = message[0]
        if message[1] is not None:
            episode.frames = np.empty(message[1], np.uint8)
            connection.recv_bytes_into(episode.frames.data.cast("B"))
        return episode

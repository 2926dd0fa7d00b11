"""Ctrl-C: it arrives within a step, or a followed frame, and leaves a usable environment."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from genie_env import make_vec

ACTIONS = torch.ones(4, dtype=torch.int64)


@contextmanager
def interrupted() -> Iterator[None]:
    """What runs inside is stopped by a signal, as Ctrl-C sends it, after a while."""
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        timer.start()
        yield
    timer.join()


def test_between_steps(random_world: Path) -> None:
    env = make_vec(random_world, num_envs=4, output="torch", seed=0)
    env.reset()
    with interrupted():
        while True:
            env.step(ACTIONS)
    assert env.step(ACTIONS)[0].isfinite().all()


def test_while_frames_are_followed(random_world: Path) -> None:
    """No row has begun: the environment goes on as another that was not asked."""
    env, twin = (make_vec(random_world, num_envs=4, output="torch", seed=0) for _ in range(2))
    env.reset(), twin.reset()
    frames = torch.zeros(1, 1, 64, 64, 3, dtype=torch.uint8).expand(4, 4001, -1, -1, -1)
    burn_in = {"frames": frames, "actions": torch.ones(4, 4000, dtype=torch.int64)}
    with interrupted():
        while True:
            env.reset(options=burn_in)
    assert env.step(ACTIONS)[0].equal(twin.step(ACTIONS)[0])

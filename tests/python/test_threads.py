"""One thread at a time uses an object; another one is told so, and nothing else happens."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

import genie_env
from genie_env import Busy, _core

LASTS = 0.05


class Paused:
    """An environment in whose step, in a thread of its own, a function waits."""

    def __init__(self, world: Path) -> None:
        self.entered, self.goes_on = threading.Event(), threading.Event()
        self.env = genie_env.make_vec(world, 2, reward_fn=self.reward, render_mode="rgb_array")
        self.env.reset(seed=0)
        self.result: Any = None
        self.thread = threading.Thread(target=self.step)

    def reward(self, *step: Any) -> Any:
        self.entered.set()
        assert self.goes_on.wait(60)
        return np.ones(2)

    def step(self) -> None:
        self.result = self.env.step([0, 1])

    def __enter__(self) -> Paused:
        self.thread.start()
        assert self.entered.wait(60)
        return self

    def __exit__(self, *error: object) -> None:
        self.goes_on.set()
        self.thread.join()


def test_a_call_beside_another_is_refused_and_names_both(random_world: Path) -> None:
    paused = Paused(random_world)
    env, snapshot = paused.env, paused.env.snapshot()
    frames = np.zeros((2, 64, 64, 3), np.uint8)
    calls: dict[str, Callable[[], Any]] = {
        "reset": env.reset,
        "step": lambda: env.step([0, 0]),
        "follow": lambda: env.follow([0, 0], frames),
        "snapshot": env.snapshot,
        "restore": lambda: env.restore(snapshot),
        "fork": lambda: env.fork(0, [1]),
        "keep": lambda: env.keep([0]),
        "set_temperature": lambda: env.set_temperature(1),
        "temperature": lambda: env.temperature,
        "render": env.render,
        "rollback_bytes": lambda: env.rollback_bytes,
    }
    with paused:
        for name, call in calls.items():
            with pytest.raises(Busy, match=f"^{name}: another thread is in step of this env"):
                call()
    assert issubclass(Busy, RuntimeError)
    assert paused.result[1].tolist() == [1, 1]
    other = genie_env.make_vec(random_world, 2)
    other.reset(seed=0)
    np.testing.assert_array_equal(paused.result[0], other.step([0, 1])[0])


def test_close_waits(random_world: Path) -> None:
    paused = Paused(random_world)
    closing = threading.Thread(target=paused.env.close)
    with paused:
        closing.start()
        closing.join(LASTS)
        assert closing.is_alive()
        with pytest.raises(Busy, match=r"^step: another thread is in"):
            paused.env.step([0, 0])
    closing.join()
    assert paused.result[1].tolist() == [1, 1]
    with pytest.raises(gymnasium.error.ClosedEnvironmentError, match="^step: the environment was"):
        paused.env.step([0, 0])


def test_a_function_may_not_close_its_environment(random_world: Path) -> None:
    env = genie_env.make_vec(random_world, 2, reward_fn=lambda *step: env.close())
    env.reset()
    with pytest.raises(RuntimeError, match="^close: called within a call of this environment"):
        env.step([0, 0])
    env.close()
    env.close()


def interleave(*calls: Callable[[], Any], times: int) -> int:
    """Each call in a thread of its own, that many times; returns how many were refused."""
    refused = [0] * len(calls)
    wrong: list[BaseException] = []

    def run(index: int, call: Callable[[], Any]) -> None:
        for _ in range(times):
            try:
                call()
            except Busy:
                refused[index] += 1
            except BaseException as error:
                wrong.append(error)
                return

    threads = [threading.Thread(target=run, args=each) for each in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    return sum(refused)


def test_a_hundred_thousand_interleaved_calls(random_world: Path, tmp_path: Path) -> None:
    world = _core.World.load(random_world, dtype="float32")
    env = _core.VecEnv(world, num_envs=8)
    env.reset(seeds=list(range(8)))
    snapshot, actions = env.snapshot(), torch.zeros(8, dtype=torch.int64)
    started = time.monotonic()
    refused = interleave(
        lambda: env.step(actions),
        lambda: env.restore(snapshot),
        lambda: env.snapshot(torch.tensor([1, 3])),
        lambda: env.set_temperature(torch.full((8,), 1.5)),
        times=16_000,
    )
    mask, rng = torch.ones(2, dtype=torch.bool), _core.RowCounters([0, 1], [0, 0], [0, 0])
    state = world.make_state(2)
    world.begin(state, mask, rng)
    refused += interleave(
        lambda: world.step(state, actions[:2], torch.ones(2), rng),
        lambda: world.begin(state, mask, rng),
        state.clone,
        times=6_000,
    )
    model = _core.Memory(latents=2, hidden=4, components=1)
    trainer = _core.Trainer(model)
    weights = trainer.weights()
    refused += interleave(
        trainer.weights, lambda: trainer.load_weights(weights), trainer.state, times=4_000
    )
    writer = _core.EpisodeWriter(tmp_path / "data", 4, 4, '{"format_version": 1}')
    episode = (
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros(1, np.int64),
        np.zeros(1, np.float32),
        np.ones(1, bool),
        np.zeros(1, bool),
    )
    refused += interleave(lambda: writer.append(*episode), lambda: writer.num_frames, times=3_000)
    stored = writer.num_episodes
    writer.close()
    assert stored == _core.EpisodeStore(tmp_path / "data").num_episodes
    assert refused > 0
    print(f"{refused} refused in {time.monotonic() - started:.1f} s")
    # Nothing is broken: the environment goes on as one that was never disturbed.
    env.restore(snapshot)
    env.set_temperature(torch.full((8,), 1.5))
    other = _core.VecEnv(world, num_envs=8)
    other.reset(seeds=list(range(8)))
    other.restore(snapshot)
    other.set_temperature(torch.full((8,), 1.5))
    for _ in range(3):
        ours, theirs = env.step(actions), other.step(actions)
        assert torch.equal(ours.observation, theirs.observation)


def test_networks_are_read_beside_each_other_and_not_beside_their_trainer() -> None:
    vision = _core.Vision(latents=2)
    trainer = _core.Trainer(vision)
    frames = torch.zeros(4, 64, 64, 3, dtype=torch.uint8)
    assert interleave(lambda: vision.encode(frames), lambda: vision.encode(frames), times=5) == 0
    batch = {"frames": frames}
    refused: list[str] = []

    def read() -> None:
        try:
            vision.encode(frames[:1])
        except Busy as busy:
            refused.append(str(busy))
            raise

    while not refused:
        interleave(lambda: trainer.evaluate(batch, 0), read, times=5)
    assert refused[0].startswith("encode: another thread is in evaluate of this network")

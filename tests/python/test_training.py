"""The training loops: data order, held-out split, resuming, errors."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from genie_env._core import EpisodeStore, EpisodeWriter, Trainer, Vision
from genie_env.training.data import FrameData, LatentData, held_out
from genie_env.training.freeze import freeze
from genie_env.training.loop import Schedule, train
from genie_env.training.memory import ACTION_INPUTS, train_memory
from genie_env.training.vision import load_vision, train_vision

EPISODES = 40


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 episodes of 3 to 12 frames; every frame's first pixel holds its episode and its time."""
    directory = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    writer = EpisodeWriter(str(directory), 64, 64, '{"policy": "test"}')
    for episode in range(EPISODES):
        length = int(rng.integers(3, 13))
        frames = rng.integers(0, 256, (length, 64, 64, 3)).astype(np.uint8)
        frames[:, 0, 0, 0] = episode
        frames[:, 0, 0, 1] = np.arange(length)
        last = np.arange(length) == length - 1
        writer.append(
            frames,
            rng.integers(0, 3, length),
            np.ones(length, np.float32),
            last & (episode % 2 == 0),
            last & (episode % 2 == 1),
        )
    return directory


@pytest.fixture(scope="module")
def store(data: Path) -> EpisodeStore:
    return EpisodeStore(str(data))


def labels(store: EpisodeStore) -> np.ndarray:
    """Latents [frames, 2, 2] whose mu names the episode and the time."""
    latents = np.zeros((len(store.frames), 2, 2), np.float16)
    latents[:, 0, :] = store.frames[:, 0, 0, :2]
    return latents


def test_an_epoch_shows_every_training_frame_once_and_no_held_out_one(store: EpisodeStore) -> None:
    frames = FrameData([store], held_out_part=False)
    unseen = FrameData([store], held_out_part=True)
    assert len(frames) + len(unseen) == len(store.frames)
    shown = [frames.batch(1, seed=3, step=i)["frames"][0, 0, 0, :2] for i in range(len(frames))]
    assert len({tuple(s.tolist()) for s in shown}) == len(frames)
    episodes = {int(s[0]) for s in shown}
    assert episodes == set(np.flatnonzero(~held_out(store)).tolist())
    assert {19, 39} == set(range(EPISODES)) - episodes


def test_the_order_of_frames_depends_on_seed_and_step_alone(store: EpisodeStore) -> None:
    one, other = (FrameData([store], held_out_part=False) for _ in range(2))
    other.batch(4, seed=1, step=70)  # an epoch further on
    for step in (0, 5, 70):
        a, b = one.batch(4, seed=1, step=step), other.batch(4, seed=1, step=step)
        assert torch.equal(a["frames"], b["frames"])
    assert not torch.equal(one.batch(4, 1, 0)["frames"], one.batch(4, 2, 0)["frames"])


def test_windows_are_consecutive_frames_of_whole_episodes(store: EpisodeStore) -> None:
    windows = LatentData([store], [labels(store)], ACTION_INPUTS, held_out_part=False)
    lengths = dict(enumerate(np.diff(store.episode_starts).tolist()))
    starts = store.episode_starts
    count = windows.batches_an_epoch(2, 10)
    assert count >= 5
    for step in range(2 * count):
        batch = windows.batch(2, 10, seed=0, step=step)
        assert {k: tuple(v.shape) for k, v in batch.items()} == {
            "mu": (2, 10, 2),
            "logvar": (2, 10, 2),
            "actions": (2, 10),
            "restarts": (2, 10),
            "terminations": (2, 10),
        }
        for row in range(2):
            for t in range(10):
                episode, time = (int(x) for x in batch["mu"][row, t])
                frame = starts[episode] + time
                assert batch["actions"][row, t] == store.actions[frame] - 1
                assert batch["restarts"][row, t] == (time == 0)
                assert batch["terminations"][row, t] == store.terminations[frame]
                if t > 0:
                    before, time_before = (int(x) for x in batch["mu"][row, t - 1])
                    same = (before, time_before + 1) == (episode, time)
                    assert same or (time == 0 and time_before == lengths[before] - 1)


def test_too_little_data_says_so(store: EpisodeStore) -> None:
    with pytest.raises(ValueError, match=r"a batch of 9999 frames .* record more episodes"):
        FrameData([store], held_out_part=False).batch(9999, 0, 0)
    windows = LatentData([store], [labels(store)], ACTION_INPUTS, held_out_part=False)
    with pytest.raises(ValueError, match=r"a batch of 64 windows of 256 frames .* record more"):
        windows.batch(64, 256, 0, 0)


def losses(run: Path) -> dict[int, float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["held_out"]["loss"] for line in lines}


def test_a_killed_run_resumes_to_the_same_losses(store: EpisodeStore, tmp_path: Path) -> None:
    frames = FrameData([store], held_out_part=False)
    held = [FrameData([store], held_out_part=True).batch(4, 0, 0)]
    schedule = Schedule(steps=6, learning_rate=1e-3, evaluate_every=1, checkpoint_every=2)

    def run(directory: Path, killed_at: int | None) -> None:
        def batch(step: int) -> dict[str, torch.Tensor]:
            if step == killed_at:
                raise RuntimeError("killed")
            return frames.batch(4, 0, step)

        directory.mkdir(exist_ok=True)
        train(
            Trainer(Vision(latents=8, seed=1), seed=1),
            directory,
            schedule,
            batch,
            held,
            title="test",
            items_a_batch=4,
            item="frames",
        )

    run(tmp_path / "unbroken", None)
    with pytest.raises(RuntimeError, match="killed"):
        run(tmp_path / "broken", 5)
    run(tmp_path / "broken", None)
    assert losses(tmp_path / "broken") == losses(tmp_path / "unbroken")
    one, other = (load_file(tmp_path / d / "checkpoint.safetensors") for d in ("unbroken", "broken"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not list((tmp_path / "broken").glob("*.tmp"))


def test_training_learns_and_freezes(data: Path, tmp_path: Path) -> None:
    vision, memory, world = tmp_path / "vision", tmp_path / "memory", tmp_path / "world"
    train_vision([data], vision, steps=3, batch=8, latents=4, bf16=False)
    train_memory([data], vision, memory, steps=3, batch=2, window=8, hidden=16, components=2)
    assert (vision / "reconstructions.png").exists()
    assert load_vision(vision).latents == 4
    freeze(vision, memory, world, temperature=1.25)
    config = json.loads((world / "config.json").read_text())
    assert config["sizes"] == {"latents": 4, "hidden": 16, "components": 2}
    assert config["temperature"] == 1.25
    assert config["training"]["data"] == [{"policy": "test"}]
    assert load_file(world / "starts.safetensors")["mu"].shape == (EPISODES - 2, 4)

    with pytest.raises(ValueError, match=re.escape("holds a run with other settings (steps was 3")):
        train_vision([data], vision, steps=4, batch=8, latents=4, bf16=False)
    other = tmp_path / "other"
    with pytest.raises(ValueError, match="holds no checkpoint.safetensors: train there first"):
        load_vision(other)
    train_vision([data], other, steps=1, batch=8, latents=4, bf16=False)
    with pytest.raises(ValueError, match=r"was trained on what .*vision makes of frames, not"):
        freeze(other, memory, world)
    with pytest.raises(ValueError, match="the temperature is 0; it must be above 0"):
        freeze(vision, memory, world, temperature=0)


def test_a_trainer_refuses_what_does_not_fit() -> None:
    trainer = Trainer(Vision(latents=4))
    with pytest.raises(RuntimeError, match="update before backward"):
        trainer.update()
    with pytest.raises(ValueError, match='the batch has no "frames"'):
        trainer.backward({})
    with pytest.raises(ValueError, match=r"dtype Float; V expects uint8 \[N, 64, 64, 3\]"):
        trainer.backward({"frames": torch.zeros(2, 64, 64, 3)})
    weights = trainer.weights()
    with pytest.raises(ValueError, match='the weights have no "mu.bias"'):
        trainer.load_weights({k: v for k, v in weights.items() if k != "mu.bias"})
    with pytest.raises(ValueError, match='"extra" is no parameter of this network'):
        trainer.load_weights(weights | {"extra": torch.zeros(1)})
    with pytest.raises(ValueError, match='"mu.bias" holds a value that is not finite'):
        trainer.load_weights(weights | {"mu.bias": torch.full((4,), torch.nan)})
    with pytest.raises(ValueError, match=r'"mu.bias" has shape \[5\], the network expects \[4\]'):
        trainer.load_weights(weights | {"mu.bias": torch.zeros(5)})
    assert all(torch.equal(v, weights[k]) for k, v in trainer.weights().items())


def test_training_leaves_torchs_generator_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    trainer = Trainer(Vision(latents=4, seed=5))
    trainer.backward({"frames": torch.zeros(1, 64, 64, 3, dtype=torch.uint8)})
    assert torch.equal(torch.rand(3), expected)


def test_bf16_training_sees_every_update() -> None:
    # A stale cache of cast weights would give the second loss of the first weights.
    frames = {"frames": torch.full((2, 64, 64, 3), 128, dtype=torch.uint8)}
    trainer = Trainer(Vision(latents=4), learning_rate=1e-2, bf16=True)
    first = trainer.backward(frames)["loss"]
    trainer.update()
    assert trainer.backward(frames)["loss"] != first
    assert not torch.is_autocast_enabled("cpu")

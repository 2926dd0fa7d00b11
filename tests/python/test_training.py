"""The training loops: data order, held-out split, resuming, errors; and freezing what they made."""

import json
import math
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import genie_env
from genie_env._core import EpisodeStore, EpisodeWriter, Memory, Trainer, Vision
from genie_env.cli.app import APP
from genie_env.data import progress
from genie_env.data.datasets import (
    FrameData,
    check_enough,
    fingerprint,
    held_out,
    open_stores,
)
from genie_env.data.recording_metadata import recorded_game
from genie_env.data.run_directory import only_writer
from genie_env.envs.actions import DiscreteActions
from genie_env.families.vision_memory.commands import (
    freeze_vision_memory,
    train_memory,
    train_vision,
)
from genie_env.training import loop as training_loop
from genie_env.training.latent_windows import LatentData, Latents
from genie_env.training.loop import Schedule, together, train
from genie_env.training.memory import encoded_stores
from genie_env.training.outcomes import SHARES, Outcomes
from genie_env.training.runs import read_checkpoint, read_reports, with_todays_names
from genie_env.training.vision import load_vision, show_the_mean

EPISODES = 40
META = {
    "format_version": 1,
    "game": "doom-take-cover",
    "frame_skip": 1,
    "actions": ["left", "stay", "right"],
}
ACTIONS = DiscreteActions(("left", "stay", "right"))


def record(directory: Path, episodes: int, meta: Mapping[str, Any] = META) -> Path:
    """Episodes of 3 to 12 frames; every frame's first pixel holds its episode and its time."""
    rng = np.random.default_rng(0)
    writer = EpisodeWriter(directory, 64, 64, json.dumps({"format_version": 1, **meta}))
    for episode in range(writer.num_episodes, episodes):
        length = int(rng.integers(3, 13))
        frames = rng.integers(0, 256, (length, 64, 64, 3)).astype(np.uint8)
        frames[:, 0, 0, 0] = episode
        frames[:, 0, 0, 1] = np.arange(length)
        last = np.arange(length) == length - 1
        writer.append(
            frames,
            rng.integers(0, 3, length),
            np.ones(length, np.float32),
            last & (episode % 2 == 1),  # so that held-out episodes (19, 39) end in deaths
            last & (episode % 2 == 0),
        )
    return directory


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("data"), EPISODES)


@pytest.fixture(scope="module")
def store(data: Path) -> EpisodeStore:
    return EpisodeStore(str(data))


def labels(store: EpisodeStore) -> Latents:
    """Latents [frames, 2, 2] whose mu names the episode and the time."""
    latents = np.zeros((len(store.frames), 2, 2), np.float16)
    latents[:, 0, :] = store.frames[:, 0, 0, :2]
    return Latents(latents, None)


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
    windows = LatentData([store], [labels(store)], ACTIONS, held_out_part=False)
    lengths = dict(enumerate(np.diff(store.episode_starts).tolist()))
    starts = store.episode_starts
    count = windows.batches_an_epoch(2, 10)
    assert count >= 5
    for step in range(2 * count):
        batch = windows.batch(2, 10, seed=0, step=step)
        assert {k: tuple(v.shape) for k, v in batch.items()} == {
            "mu": (2, 10, 2),
            "logvar": (2, 10, 2),
            "actions": (2, 10, 3),
            "rewards": (2, 10),
            "restarts": (2, 10),
            "terminations": (2, 10),
            "finals": (2, 10),
        }
        for row in range(2):
            for t in range(10):
                episode, time = (int(x) for x in batch["mu"][row, t])
                frame = starts[episode] + time
                assert batch["actions"][row, t].tolist() == np.eye(3)[store.actions[frame]].tolist()
                assert batch["rewards"][row, t] == store.rewards[frame]
                assert batch["finals"][row, t] == 0
                assert batch["restarts"][row, t] == (time == 0)
                assert batch["terminations"][row, t] == store.terminations[frame]
                if t > 0:
                    before, time_before = (int(x) for x in batch["mu"][row, t - 1])
                    same = (before, time_before + 1) == (episode, time)
                    assert same or (time == 0 and time_before == lengths[before] - 1)


@pytest.mark.parametrize("overlap", [0, 1])
@pytest.mark.parametrize(("size", "window"), [(2, 10), (16, 7), (3, 2), (4, 1000)])
def test_every_held_out_step_is_read_once_or_with_its_next_frame(
    store: EpisodeStore, size: int, window: int, overlap: int
) -> None:
    windows = LatentData([store], [labels(store)], ACTIONS, held_out_part=True)
    seen: list[tuple[int, int]] = []
    for batch in windows.every_step(size, window, overlap=overlap):
        assert 0 < len(batch["mu"]) <= size and batch["mu"].shape[1] <= window
        for row, restarts in zip(batch["mu"].tolist(), batch["restarts"], strict=True):
            steps = [(int(episode), int(time)) for episode, time in row]
            assert restarts.tolist() == [time == 0 for _, time in steps]
            if seen and overlap:  # the window before ends where this one begins
                assert seen.pop() == steps[0]
            seen += steps
    lengths = np.diff(store.episode_starts)
    held = np.flatnonzero(held_out(store)).tolist()
    assert seen == [(episode, time) for episode in held for time in range(lengths[episode])]


def test_too_little_data_says_so(store: EpisodeStore) -> None:
    with pytest.raises(ValueError, match=r"a batch of 9999 frames .* record more episodes"):
        FrameData([store], held_out_part=False).batch(9999, 0, 0)
    windows = LatentData([store], [labels(store)], ACTIONS, held_out_part=False)
    with pytest.raises(ValueError, match=r"a batch of 64 windows of 256 frames .* record more"):
        windows.batch(64, 256, 0, 0)


def losses(run: Path) -> dict[int, float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["held_out"]["loss"] for line in lines}


class Loop:
    """Runs `train` on V in a directory, as often as it is called."""

    def __init__(self, store: EpisodeStore, directory: Path, evaluate_every: int = 1) -> None:
        self.directory = directory
        self._schedule = Schedule(6, 1e-3, evaluate_every)
        directory.mkdir()
        self._frames = FrameData([store], held_out_part=False)
        self._held = [FrameData([store], held_out_part=True).batch(4, 0, 0)]

    def __call__(
        self,
        kind: type[Trainer] = Trainer,
        before_batch: Callable[[int], None] = lambda step: None,
        measure: Callable[[], dict[str, float]] | None = None,
    ) -> None:
        def batch(step: int) -> dict[str, torch.Tensor]:
            before_batch(step)
            return self._frames.batch(4, 0, step)

        vision = Vision(latents=8, seed=1)
        train(
            lambda dtype: kind(vision, seed=1),
            "float32",
            self.directory,
            self._schedule,
            batch,
            self._held,
            title="test",
            items_a_batch=4,
            item="frames",
            measure=measure,
        )


@pytest.fixture(scope="module")
def unbroken(store: EpisodeStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    loop = Loop(store, tmp_path_factory.mktemp("runs") / "unbroken")
    loop()
    return loop.directory


def check_equal(run: Path, unbroken: Path) -> None:
    """The same losses, once a step, and the same checkpoint."""
    assert losses(run) == losses(unbroken)
    assert len((run / "metrics.jsonl").read_text().splitlines()) == len(losses(run))
    one, other = read_checkpoint(run), read_checkpoint(unbroken)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not list(run.glob("*.tmp"))


def stop_at(step: int, error: type[BaseException]) -> Callable[[int], None]:
    def stop(now: int) -> None:
        if now == step:
            raise error

    return stop


def test_a_killed_run_resumes_to_the_same_losses(
    store: EpisodeStore, unbroken: Path, tmp_path: Path
) -> None:
    loop = Loop(store, tmp_path / "broken")
    with pytest.raises(SystemError):
        loop(before_batch=stop_at(4, SystemError))
    assert int(read_checkpoint(loop.directory)["step"]) == 4
    # It had reported step 5, which is done again, and was killed while it wrote a line.
    with (loop.directory / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "training": {}, "held_out": {}}\n{"step": 6, "trai')
    loop()
    check_equal(loop.directory, unbroken)


def test_ctrl_c_writes_a_checkpoint_and_the_run_goes_on_from_it(
    store: EpisodeStore, unbroken: Path, tmp_path: Path
) -> None:
    loop = Loop(store, tmp_path / "broken")
    with pytest.raises(KeyboardInterrupt):
        loop(before_batch=stop_at(3, KeyboardInterrupt))
    assert int(read_checkpoint(loop.directory)["step"]) == 3
    loop()
    check_equal(loop.directory, unbroken)


@pytest.fixture(scope="module")
def evaluated_twice(store: EpisodeStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    loop = Loop(store, tmp_path_factory.mktemp("runs") / "whole", 3)
    loop()
    return loop.directory


@pytest.mark.parametrize(
    ("error", "step"), [(KeyboardInterrupt, 2), (SystemError, 2), (KeyboardInterrupt, 5)]
)
def test_a_run_that_is_broken_off_between_evaluations_reports_the_same_losses(
    store: EpisodeStore,
    evaluated_twice: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
    error: type[BaseException],
) -> None:
    """Those of the training, which are means over all steps since the last evaluation, as well."""
    broken = Loop(store, tmp_path / "broken", 3)
    with monkeypatch.context() as patch:
        patch.setattr(training_loop, "SECONDS_A_CHECKPOINT", 0)
        with pytest.raises(error):
            broken(before_batch=stop_at(step, error))
    assert int(read_checkpoint(broken.directory)["step"]) == step
    broken()
    one, other = (
        [(line["step"], line["training"], line["held_out"]) for line in read_reports(run)]
        for run in (evaluated_twice, broken.directory)
    )
    assert [line[0] for line in one] == [3, 6] and one == other
    check_equal(broken.directory, evaluated_twice)


def test_figures_that_are_measured_are_shown_again_when_a_finished_run_is_repeated(
    store: EpisodeStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In place of the losses of the same name, as at every evaluation."""
    loop = Loop(store, tmp_path / "run", 3)
    said = []
    for _ in range(2):
        loop(measure=lambda: {"loss": 0.125})
        said.append(capsys.readouterr().out.splitlines()[-1].rpartition("held out: ")[2])
    assert said[0] == said[1]
    assert "loss 0.125" in said[0]


def test_a_long_training_prints_a_line_now_and_then(
    store: EpisodeStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Where there is no terminal; also during the first measurement."""
    monkeypatch.setattr(progress, "SECONDS_A_LINE", 0.05)

    def measure() -> dict[str, float]:
        time.sleep(0.12)
        return {}

    Loop(store, tmp_path / "run", 3)(measure=measure)
    estimate, *lines = capsys.readouterr().out.splitlines()
    assert re.match(r"6 updates in float32 at [\d,.]+ frames/s: about \d+ seconds, eval", estimate)
    assert re.match(r"test 0/6 0 frames/s after 0:00:0\d measuring on held-out episodes$", lines[0])
    assert re.match(r"test 6/6 [\d,]+ frames/s after .*held out: .*loss", lines[-1])


def test_a_bar_without_a_known_end_prints_a_line_all_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert list(progress.track(iter(()), "nothing")) == []
    assert list(progress.track((i for i in range(3)), "numbers")) == [0, 1, 2]
    assert capsys.readouterr().out.count("numbers") == 1


def test_steps_that_do_not_count_up_are_refused(store: EpisodeStore, tmp_path: Path) -> None:
    """As two trainings in one directory left them."""
    loop = Loop(store, tmp_path / "run")
    loop()
    file = loop.directory / "metrics.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([*lines[:3], lines[2], *lines[3:]]))
    words = (
        r"^.*run/metrics.jsonl, line 4 is of step 3, after one of step 3: several trainings have"
    )
    with pytest.raises(ValueError, match=words):
        loop()


@pytest.mark.parametrize("step", [4, 6])
def test_ctrl_c_within_an_evaluation_does_not_lose_its_losses(
    store: EpisodeStore, unbroken: Path, tmp_path: Path, step: int
) -> None:
    class Interrupted(Trainer):
        def evaluate(self, *arguments: Any) -> dict[str, float]:
            if self.step == step:
                raise KeyboardInterrupt
            return super().evaluate(*arguments)

    loop = Loop(store, tmp_path / "broken")
    with pytest.raises(KeyboardInterrupt):
        loop(Interrupted)
    assert int(read_checkpoint(loop.directory)["step"]) == step
    assert list(losses(loop.directory)) == list(range(1, step))
    loop()
    check_equal(loop.directory, unbroken)
    loop()  # A finished run has nothing more to say.
    check_equal(loop.directory, unbroken)


def test_a_line_of_metrics_that_is_none_is_named(store: EpisodeStore, tmp_path: Path) -> None:
    loop = Loop(store, tmp_path / "run")
    (loop.directory / "metrics.jsonl").write_text('{"step": 1, "held_out": {}}\n7\n')
    with pytest.raises(ValueError, match=r"run/metrics.jsonl, line 2 holds 7, but a JSON object"):
        loop()


def test_shares_are_of_all_that_was_counted() -> None:
    reports = [
        {"loss": 1.0, "deaths": 3, "deaths_found": 1, "survivals": 10, "false_alarms": 1},
        {"loss": 2.0, "deaths": 0, "deaths_found": 0, "survivals": 30, "false_alarms": 1},
    ]
    assert together(reports, SHARES) == {
        "loss": 1.5,
        "death_recall": 1 / 3,
        "false_alarms": 2 / 40,
    }
    assert math.isnan(together(reports[1:], SHARES)["death_recall"])


# Both networks, trained by their commands.


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with finished runs, "vision" and "memory"."""
    runs = tmp_path_factory.mktemp("trained")
    train_small_vision(data, runs)
    train_small_memory(data, runs)
    return runs


def train_small_vision(data: Path, runs: Path, **changes: Any) -> None:
    options = {"steps": 3, "batch": 8, "latents": 4, "bf16": False, **changes}
    train_vision([data], runs / "vision", **options)


def train_small_memory(data: Path, runs: Path, **changes: Any) -> None:
    sizes = {"window": 8, "hidden": 16, "components": 2}
    options = {"steps": 3, "batch": 2, **sizes, "bf16": False, **changes}
    train_memory([data], runs / "vision", runs / "memory", **options)


@pytest.fixture
def runs(data: Path, trained: Path, tmp_path: Path) -> Path:
    """Copies of the trained runs and, as "data", of what they were trained on: to be spoiled."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    shutil.copytree(data, tmp_path / "data")
    for network in ("vision", "memory"):
        change_json(tmp_path / network / "settings.json", data=[str(tmp_path / "data")])
    change_json(tmp_path / "memory" / "settings.json", vision=str(tmp_path / "vision"))
    return tmp_path


def change_json(file: Path, **changes: Any) -> None:
    """Sets values; takes away those that become None."""
    value = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({k: v for k, v in value.items() if v is not None}))


def freeze_runs(runs: Path, **options: Any) -> dict[str, Any]:
    freeze_vision_memory(runs / "vision", runs / "memory", runs / "world", **options)
    config: dict[str, Any] = json.loads((runs / "world" / "config.json").read_text())
    return config


def test_training_learns_and_freezes(runs: Path) -> None:
    assert (runs / "vision" / "reconstructions.png").exists()
    assert load_vision(runs / "vision").latents == 4
    config = freeze_runs(runs, temperature=1.25)
    assert config["sizes"] == {"latents": 4, "hidden": 16, "components": 2}
    assert config["mixture"] == "independent"
    assert (config["name"], config["temperature"]) == ("world", 1.25)
    assert config["training"]["data"] == {"vision": [META], "memory": [META]}
    assert config["training"]["vision"]["step"] == 3
    measured = config["training"]["memory"]["held_out"]
    assert set(measured) == {"loss", "nll", "termination", "death_recall", "false_alarms"}
    assert set(config["training"]["termination_calibration"]) == {"scale", "shift"}
    assert load_file(runs / "world" / "starts.safetensors")["mu"].shape == (EPISODES - 2, 4)


def test_a_world_of_a_joint_mixture(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    memory = runs / "joint"

    def genie_env_says(*arguments: object) -> object:
        with pytest.raises(SystemExit) as end:
            APP.main([*map(str, arguments)], prog_name="genie-env")
        return end.value.code

    sizes = ("--steps", 3, "--batch", 2, "--window", 8, "--hidden", 16, "--components", 2)
    both = ("--data", runs / "data", "--vision", runs / "vision", "--out", memory, *sizes)
    assert genie_env_says("train", "memory", *both, "--mixture", "both") == 2
    refusal = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert "'--mixture'" in refusal and "'both' is not one of 'independent', 'joint'" in refusal
    assert genie_env_says("train", "memory", *both, "--mixture", "joint") == 0
    assert json.loads((memory / "settings.json").read_text())["mixture"] == "joint"
    world = runs / "world"
    names = ("--vision", runs / "vision", "--memory", memory, "--out", world)
    assert genie_env_says("freeze", "vision-memory", *names) == 0
    assert json.loads((world / "config.json").read_text())["mixture"] == "joint"
    assert load_file(world / "model.safetensors")["memory.output.bias"].shape == (2 * 9 + 1,)

    env = genie_env.make_vec(world, num_envs=3, seed=0)
    env.reset()
    env.step(np.zeros(3, np.int64))
    before = env.snapshot()
    first = env.step(np.ones(3, np.int64))
    env.restore(before)
    again = env.step(np.ones(3, np.int64))
    assert np.isfinite(first[0]).all() and np.array_equal(first[0], again[0])

    change_json(memory / "settings.json", mixture="both")
    with pytest.raises(ValueError, match='mixture is "both", expected "independent" or "joint"'):
        freeze_vision_memory(runs / "vision", memory, world)


def test_a_frozen_world_knows_how_far_it_is_from_what_it_was_trained_on(runs: Path) -> None:
    freeze_runs(runs)
    stored = load_file(runs / "world" / "model.safetensors")
    store = EpisodeStore(runs / "data")
    trained_on = np.repeat(~held_out(store), np.diff(store.episode_starts))
    frames = torch.from_numpy(store.frames[trained_on])
    mu, logvar = (x.double() for x in load_vision(runs / "vision").encode(frames))
    covariance = torch.cov(mu.T, correction=0) + torch.diag(logvar.exp().mean(0))
    torch.testing.assert_close(stored["support.mean"].double(), mu.mean(0), rtol=1e-2, atol=1e-3)
    whitening = stored["support.whitening"].double()
    torch.testing.assert_close(whitening.T @ whitening, covariance.inverse(), rtol=2e-2, atol=1e-2)
    env = genie_env.make_vec(runs / "world", 2, latent_distance=True)
    env.reset(seed=0)
    observations, *_, infos = env.step([0, 1])
    z = torch.from_numpy(observations[:, :4]).double()
    expected = (whitening @ (z - stored["support.mean"]).T).norm(dim=0)
    np.testing.assert_allclose(infos["latent_distance"], expected, rtol=1e-4)
    assert infos["_latent_distance"].all()


def test_published_figures_are_those_of_the_weights_as_stored(runs: Path) -> None:
    """Rounded to float16, the termination row rescaled."""
    config = freeze_runs(runs)
    stored = load_file(runs / "world" / "model.safetensors")
    weights = {
        prefix: {
            name.removeprefix(f"{prefix}."): tensor.float()
            for name, tensor in stored.items()
            if name.startswith(f"{prefix}.")
        }
        for prefix in ("vision", "memory")
    }
    store = EpisodeStore(runs / "data")
    vision = Vision(latents=4)
    memory = Memory(latents=4, hidden=16, components=2, actions=3)
    trainer = Trainer(vision)
    trainer.load_weights(weights["vision"])
    frames = FrameData([store], held_out_part=True)
    size = min(8, len(frames))
    losses = [trainer.evaluate(frames.batch(size, 0, i), i)["loss"] for i in range(8)]
    published = {part: config["training"][part]["held_out"] for part in weights}
    assert published["vision"]["loss"] == pytest.approx(np.mean(losses), rel=1e-5)

    encoded = np.stack([part.numpy() for part in vision.encode(torch.tensor(store.frames))], axis=1)
    trainer = Trainer(memory)
    trainer.load_weights(weights["memory"])
    settings = json.loads((runs / "memory" / "settings.json").read_text())
    windows = LatentData([store], [Latents(encoded.astype(np.float16), None)], ACTIONS, held_out_part=True)
    batches = windows.batches_an_epoch(1, settings["window"])
    size = min(settings["batch"], batches)
    reports = [
        trainer.evaluate(windows.batch(size, settings["window"], settings["seed"], i), i)
        for i in range(min(4, batches // size))
    ]
    termination = np.mean([report["termination"] for report in reports])
    assert published["memory"]["termination"] == pytest.approx(termination, rel=1e-3)
    trained = json.loads((runs / "memory" / "metrics.jsonl").read_text().splitlines()[-1])
    assert trained["held_out"]["termination"] != pytest.approx(termination, rel=1e-3)


def test_weights_that_float16_cannot_hold_are_refused_by_name(runs: Path) -> None:
    freeze_runs(runs)
    before = {file.name: file.read_bytes() for file in (runs / "world").iterdir()}
    file = runs / "memory" / "checkpoint.safetensors"
    state = load_file(file)
    state["weight.weight_hh"][3, 2] = -1e5
    save_file(state, file)
    words = "world was not written: memory.weight_hh holds 100000, .* float16, 65,504 at most"
    with pytest.raises(ValueError, match=words):
        freeze_runs(runs)
    assert {file.name: file.read_bytes() for file in (runs / "world").iterdir()} == before
    assert sorted(file.name for file in runs.iterdir()) == ["data", "memory", "vision", "world"]


def test_freezing_is_never_silent_for_long(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "SECONDS_A_LINE", 0.001)
    freeze_runs(runs)
    said = capsys.readouterr().out
    assert re.search(r"^measuring the frozen networks on held-out episodes after 0:00:0", said, re.M)
    assert said.splitlines()[-1].startswith("wrote ")


def test_freezing_locks_its_directory_before_it_works(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is refused, nothing was done for nothing; what a killed one left goes with the next."""
    left = runs / "world" / ".unfinished"
    left.mkdir(parents=True)
    (left / "model.safetensors").write_bytes(b"half")
    with monkeypatch.context() as patch:
        patch.setattr("genie_env.families.vision_memory.freeze.load_vision", None)
        with only_writer(runs / "world"):
            with pytest.raises(RuntimeError, match="this process is writing into .*/world already"):
                freeze_runs(runs)
    freeze_runs(runs)
    files = ["README.md", "config.json", "model.safetensors", "starts.safetensors"]
    assert sorted(file.name for file in (runs / "world").iterdir()) == files


def test_a_model_card_is_written_and_one_of_somebody_is_kept(runs: Path) -> None:
    config = freeze_runs(runs)
    card = runs / "world" / "README.md"
    text = card.read_text()
    assert "frames of 64 x 64, 3 actions (left, stay, right)" in text
    loss = config["training"]["memory"]["held_out"]["loss"]
    assert f"| loss | {loss:.4g} |" in text and META["game"] in text
    card.write_text(text + "and a line of mine\n")
    freeze_runs(runs)
    assert card.read_text() == text
    card.write_text("mine")
    freeze_runs(runs)
    assert card.read_text() == "mine"


def test_a_world_is_what_was_recorded(runs: Path) -> None:
    change_json(runs / "data" / "meta.json", frame_skip=4)
    config = freeze_runs(runs)
    assert (config["frame_skip"], config["max_episode_steps"]) == (4, 525)
    assert config["frames_per_second"] == 8.75
    assert config["reward"] == {"type": "constant", "per_step": 1.0}
    assert config["actions"] == ACTIONS.as_json()
    assert config["real_game"] == META["game"]


def test_a_world_of_any_game_can_be_frozen(runs: Path) -> None:
    """Without a limit that the game names, episodes are as long as recorded ones; the reward is that
    of all recorded steps but the last ones."""
    meta = {"game": "CartPole-v1", "frame_skip": 2, "actions": ["up", "down", "wait"]}
    change_json(runs / "data" / "meta.json", **meta)
    starts = EpisodeStore(runs / "data").episode_starts
    rewards = np.load(runs / "data" / "rewards.npy")
    rewards[:] = 0.5
    rewards[starts[1:] - 1] = 0.25
    np.save(runs / "data" / "rewards.npy", rewards)
    config = freeze_runs(runs)
    assert (config["real_game"], config["frame_skip"]) == ("CartPole-v1", 2)
    assert config["actions"] == DiscreteActions(tuple(meta["actions"])).as_json()
    assert config["max_episode_steps"] == np.diff(starts).max()
    assert config["reward"] == {"type": "constant", "per_step": 0.5}
    assert config["termination_reads"] == "action"  # no frame after a termination was recorded
    assert config["format_version"] == 3
    assert "frames_per_second" not in config  # which no recording says



def test_what_there_is_to_learn_of_outcomes(tmp_path: Path) -> None:
    """A reward is judged with the frame after it, which the last step of an episode may not have."""

    def outcomes(finals: bool, terminates: bool = True, episodes: int = 20) -> Outcomes:
        directory = tmp_path / f"{finals}-{terminates}-{episodes}"
        scalars = {"rewards": "float32", "terminations": "bool", "truncations": "bool"}
        frame = {"dtype": "uint8", "shape": [64, 64, 3]}
        columns = {
            "frames": frame,
            "actions": {"dtype": "int64", "shape": []},
            **{name: {"dtype": dtype, "shape": []} for name, dtype in scalars.items()},
        }
        kept = {"episode_columns": {"final_frames": frame}} if finals else {}
        meta = json.dumps({"format_version": 2, "columns": columns, **kept})
        with EpisodeWriter(directory, 64, 64, meta) as writer:
            for _ in range(episodes):
                frames, last = np.zeros((4, 64, 64, 3), np.uint8), np.arange(4) == 3
                rewards = np.array([1, 1, 1, 5], np.float32)
                ends = (last, last & False) if terminates else (last & False, last)
                final = (frames[0],) if finals else ()
                writer.append(frames, np.zeros(4, np.int64), rewards, *ends, *final)
        return Outcomes.of([EpisodeStore(directory)])

    assert outcomes(finals=True) == Outcomes([1.0, 5.0], 1.0, True, True)
    assert outcomes(finals=False) == Outcomes(None, 1.0, True, False)
    assert outcomes(finals=True, terminates=False) == Outcomes([1.0, 5.0], 1.0, False, True)
    with pytest.raises(ValueError, match="no held-out episode .every 20th. ends in a termination"):
        outcomes(finals=True, episodes=19)


def test_windows_end_with_final_frames(store: EpisodeStore) -> None:
    """Each follows its episode, with neither action nor outcome."""
    lengths = np.diff(store.episode_starts)
    finals = np.zeros((store.num_episodes, 2, 2), np.float16)
    finals[:, 0, 0], finals[:, 0, 1] = np.arange(store.num_episodes), lengths
    latents = Latents(labels(store).frames, finals)
    windows = LatentData([store], [latents], ACTIONS, held_out_part=False)
    count = windows.batches_an_epoch(2, 10)
    ended = 0
    for step in range(2 * count):
        batch = windows.batch(2, 10, seed=0, step=step)
        for row in range(2):
            for t in range(10):
                episode, time = (int(x) for x in batch["mu"][row, t])
                assert batch["finals"][row, t] == (time == lengths[episode])
                assert batch["restarts"][row, t] == (time == 0)
                if time == lengths[episode]:
                    assert not batch["actions"][row, t].any() and not batch["rewards"][row, t]
                    if t > 0:
                        assert batch["mu"][row, t - 1].tolist() == [episode, time - 1]
                        assert batch["terminations"][row, t - 1] == (episode % 2 == 1)
                    ended += 1
    assert ended > 5


def test_vision_begins_with_the_mean_colour_and_learns_what_is_dark_on_white() -> None:
    frames = torch.full((64, 64, 64, 3), 255, dtype=torch.uint8)
    for index in range(64):
        frames[index, 40:48, index // 2 : index // 2 + 8] = torch.tensor([0, 0, 160]).byte()
    vision = Vision(latents=8, seed=1, beta=0.1)
    show_the_mean(vision, [frames[:32], frames[32:]])
    shown = vision.decode(torch.zeros(1, 8))[0].float().mean((0, 1))
    torch.testing.assert_close(shown, frames.float().mean((0, 1, 2)), atol=8, rtol=0)
    trainer = Trainer(vision, learning_rate=5e-4)
    losses = []
    for step in range(120):
        losses.append(trainer.backward({"frames": frames[step % 8 :: 8]})["squared_error"])
        trainer.update()
    # A V that begins with grey stays at 137.
    assert losses[0] < 140 and np.mean(losses[-8:]) < 70


def test_vision_refuses_frames_of_another_size_before_a_run_begins(tmp_path: Path) -> None:
    with EpisodeWriter(tmp_path / "data", 40, 80, json.dumps(META)) as writer:
        for _ in range(20):
            frames, ends = np.zeros((4, 40, 80, 3), np.uint8), np.arange(4) == 3
            writer.append(frames, np.zeros(4, np.int64), np.ones(4, np.float32), ends, ends & False)
    words = "frames are 40 x 80, but V takes sides that are .*: record the game in such a size"
    with pytest.raises(ValueError, match=words):
        train_small_vision(tmp_path / "data", tmp_path, batch=2)
    assert not (tmp_path / "vision").exists()


def test_a_world_that_cannot_be_loaded_is_not_written(runs: Path) -> None:
    """C++ alone knows what a config may hold: what it refuses replaces nothing."""
    freeze_runs(runs)
    (runs / "world" / "README.md").write_text("a card")
    before = {file.name: file.read_bytes() for file in (runs / "world").iterdir()}
    world = runs / "world"
    change_json(runs / "data" / "meta.json", frame_skip=-1)
    words = r'world was not written, .*/world/config.json: "frame_skip" is -1, expected an integer'
    with pytest.raises(ValueError, match=words) as refused:
        freeze_runs(runs)
    assert f"{world} was not written" in str(refused.value)
    assert {file.name: file.read_bytes() for file in world.iterdir()} == before
    assert not list(runs.glob(".world*"))
    change_json(runs / "data" / "meta.json", frame_skip=1)
    freeze_runs(runs)
    assert {file.name: file.read_bytes() for file in world.iterdir()} == before


def test_a_run_that_an_older_version_began_goes_on(trained: Path) -> None:
    """Exactly these settings were written before, the dtype as bf16; none may be missing or new."""
    written = json.loads((trained / "memory" / "settings.json").read_text())
    assert set(written) == {
        *("network", "data", "frames", "vision", "steps", "batch", "window", "learning_rate"),
        *("hidden", "components", "seed", "dtype", "start", "recordings"),
        *("actions", "rewards", "judges_termination"),  # which older versions did not learn
        "mixture",  # older versions had one kind alone
    }
    del written["mixture"]
    assert with_todays_names(written)["mixture"] == "independent"
    written = json.loads((trained / "vision" / "settings.json").read_text())
    assert set(written) == {
        *("network", "data", "frames", "steps", "batch", "learning_rate", "latents", "beta"),
        *("seed", "dtype", "recordings"),
        "frame",  # older versions took one size alone
        *("emphasis", "start"),  # which older versions had not
    }
    for name, before in {"frame": [64, 64], "emphasis": 0.0, "start": None}.items():
        del written[name]
        assert with_todays_names(written)[name] == before


def spoil_meta(**changes: Any) -> Callable[[Path], None]:
    return lambda runs: change_json(runs / "data" / "meta.json", **changes)


def other_data_for_vision(runs: Path) -> None:
    record(runs / "other", 1, {**META, "frame_skip": 2})
    change_json(runs / "vision" / "settings.json", data=[str(runs / "other")])


def swap(runs: Path) -> None:
    (runs / "vision").rename(runs / "v")
    (runs / "memory").rename(runs / "vision")
    (runs / "v").rename(runs / "memory")


def tear_checkpoint(runs: Path) -> None:
    file = runs / "memory" / "checkpoint.safetensors"
    file.write_bytes(file.read_bytes()[:1000])


def spoil_checkpoint(runs: Path) -> None:
    file = runs / "vision" / "checkpoint.safetensors"
    state = load_file(file)
    del state["weight.mu.bias"]
    save_file(state, file)


def forget_last_report(runs: Path) -> None:
    (runs / "memory" / "metrics.jsonl").write_text("")


def see_otherwise(runs: Path) -> None:
    shutil.copytree(runs / "vision", runs / "eyes")
    change_json(runs / "memory" / "settings.json", vision=str(runs / "eyes"))


def no_settings(runs: Path) -> None:
    (runs / "memory" / "settings.json").unlink()


def damage_settings(runs: Path) -> None:
    (runs / "memory" / "settings.json").write_text('{"network": "mem')


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_meta(game=None), r'data/meta.json: "game" is None, expected the game\'s name'),
        (spoil_meta(actions=["up", "down"]), r"data/actions.npy: action \d+ is 2, expected 0 to 1"),
        (
            other_data_for_vision,
            "not of one game: frame_skip is 1 in .*/data but 2 in .*/other; a world is learned",
        ),
        (swap, "vision is a run of `train memory`; expected the --out of a `train vision`"),
        (tear_checkpoint, r"memory/checkpoint.safetensors is damaged \(.*\): bring it back from a"),
        (
            spoil_checkpoint,
            r'vision/checkpoint.safetensors does not fit: the weights have no "mu.bias"; bring it',
        ),
        (
            lambda runs: change_json(runs / "memory" / "settings.json", hidden=5),
            r"memory/checkpoint.safetensors does not fit: .* has shape \[.*\], the network expects",
        ),
        (
            lambda runs: change_json(runs / "memory" / "settings.json", steps=5),
            "memory is not finished: its checkpoint is of step 3 of 5, its last held-out losses "
            "are of step 3; run its `train memory` command again to finish it",
        ),
        (
            forget_last_report,
            "is not finished: its checkpoint is of step 3 of 3, its last held-out losses are of "
            "step 0; run its",
        ),
        (see_otherwise, "was trained on the latents of .*eyes, not of .*vision: give that one"),
        (no_settings, "memory holds no settings.json: give the --out of a `train memory`"),
        (damage_settings, "memory/settings.json is not JSON"),
        (
            lambda runs: change_json(runs / "memory" / "settings.json", hidden=None, steps=None),
            'memory/settings.json: "steps" is missing, expected an integer; it was damaged or',
        ),
    ],
)
def test_what_cannot_be_frozen_is_named(
    runs: Path, spoil: Callable[[Path], None], words: str
) -> None:
    spoil(runs)
    with pytest.raises(ValueError, match=words):
        freeze_runs(runs)
    assert not (runs / "world").exists()


def test_wrong_options_of_freeze_are_refused(runs: Path) -> None:
    with pytest.raises(ValueError, match="the temperature is 0; expected a number above 0"):
        freeze_runs(runs, temperature=0)
    with pytest.raises(ValueError, match="the termination is 'soon': give 'sampled' or 'thresh"):
        freeze_runs(runs, termination="soon")


def test_a_finished_run_without_its_last_report_is_mended(runs: Path) -> None:
    change_json(runs / "memory" / "settings.json", recordings=None)
    before = losses(runs / "memory")
    forget_last_report(runs)
    train_small_memory(runs / "data", runs)
    assert losses(runs / "memory") == before
    freeze_runs(runs)


def test_runs_are_resumed_with_the_same_settings_and_data(runs: Path) -> None:
    with pytest.raises(ValueError, match=re.escape("holds a run with other settings (steps was 3")):
        train_small_vision(runs / "data", runs, steps=4)
    with pytest.raises(ValueError, match="holds no settings.json: give the --out of a `train visi"):
        load_vision(runs / "nowhere")
    train_small_vision(runs / "data", runs)
    spoil_meta(seed=2)(runs)
    with pytest.raises(ValueError, match=r"other settings \(recordings was \['\w+'\] and is now"):
        train_small_vision(runs / "data", runs)
    # Runs of before recordings were a setting go on.
    change_json(runs / "vision" / "settings.json", recordings=None)
    train_small_vision(runs / "data", runs)


def test_memory_starts_from_a_memory_and_sees_with_a_vision(runs: Path) -> None:
    with pytest.raises(ValueError, match=r"memory is a run of `train memory`; expected the --out"):
        train_memory([runs / "data"], runs / "memory", runs / "new", batch=2, window=8)
    small = {"steps": 1, "batch": 2, "window": 8, "components": 2}
    change_json(runs / "vision" / "settings.json", steps=4)
    with pytest.raises(ValueError, match="vision is not finished: its checkpoint is of step 3 of"):
        train_memory([runs / "data"], runs / "vision", runs / "new", **small)
    change_json(runs / "vision" / "settings.json", steps=3)
    with pytest.raises(ValueError, match=r"vision is a run of `train vision`; expected the --out"):
        train_memory([runs / "data"], runs / "vision", runs / "new", start=runs / "vision", **small)
    with pytest.raises(ValueError, match=r"memory has hidden 16, but 8 is trained: give the same"):
        train_memory(
            [runs / "data"], runs / "vision", runs / "new", start=runs / "memory", hidden=8, **small
        )


def test_latents_are_kept_for_a_recording_not_for_its_place(runs: Path) -> None:
    eyes, directory = load_vision(runs / "vision"), runs / "data"

    def files() -> set[Path]:
        encoded_stores(runs / "vision", eyes, [directory], [EpisodeStore(directory)])
        return set((runs / "vision" / "latents").glob("*/*.npy"))

    before = files()
    assert files() == before
    # Other frames, as many, of the same description, size and time in the same place.
    file = directory / "frames.npy"
    content, times = bytearray(file.read_bytes()), file.stat()
    content[-1] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert len(files() - before) == 1
    # The same frames in another place.
    content[-1] ^= 1
    file.write_bytes(content)
    directory = directory.rename(runs / "moved")
    assert len(files() - before) == 1


# Data that cannot be learned from.


def test_a_fingerprint_changes_with_the_episodes_and_their_description(tmp_path: Path) -> None:
    def now() -> str:
        return fingerprint(EpisodeStore(tmp_path))

    record(tmp_path, 2)
    first = now()
    assert now() == first
    record(tmp_path, 3)
    longer = now()
    spoiled = {**META, "seed": 1}
    record(tmp_path, 3, spoiled)
    assert len({first, longer, now()}) == 3


def test_too_few_episodes_are_told_before_a_run_begins(tmp_path: Path) -> None:
    record(tmp_path / "data", 19)
    words = (
        "too few episodes: there are 19, and the held-out part, every 20th episode of a directory, "
        "has 0 frames of at least 1; record on until a directory holds about 20 episodes"
    )
    with pytest.raises(ValueError, match=words):
        train_small_vision(tmp_path / "data", tmp_path)
    assert not (tmp_path / "vision").exists()
    record(tmp_path / "data", 20)
    with pytest.raises(ValueError, match="one batch takes 999; record on until there are about 1"):
        train_small_vision(tmp_path / "data", tmp_path, batch=999)
    train_small_vision(tmp_path / "data", tmp_path)
    with pytest.raises(ValueError, match="frames of at least 512; record on until a directory"):
        train_small_memory(tmp_path / "data", tmp_path, window=256)
    assert not (tmp_path / "memory").exists()


def test_as_many_episodes_as_were_asked_for_are_enough(tmp_path: Path) -> None:
    record(tmp_path, 1)
    needs = {"trained": 900, "unseen": 50}
    while True:
        store = EpisodeStore(tmp_path)
        try:
            check_enough([store], **needs)
        except ValueError as error:
            (needed,) = re.findall(r"about (\d+) episodes", str(error))
            assert int(needed) > store.num_episodes
            record(tmp_path, int(needed))
        else:
            break
    frames = {part: len(FrameData([store], held_out_part=part)) for part in (False, True)}
    assert frames[False] >= 900 and frames[True] >= 50
    assert store.num_episodes < 250


def test_data_of_several_games_are_refused(tmp_path: Path) -> None:
    directories = [record(tmp_path / "a", 1), record(tmp_path / "b", 1, {**META, "game": "Pong"})]
    stores = [EpisodeStore(directory) for directory in directories]
    assert recorded_game(directories[:1], stores[:1]).actions == ACTIONS
    with pytest.raises(ValueError, match="game is 'doom-take-cover' in .*/a but 'Pong' in .*/b; a"):
        recorded_game(directories, stores)
    with pytest.raises(ValueError, match="game is 'doom-take-cover' in .*/a but 'Pong' in .*/b; a"):
        train_memory(directories, tmp_path / "vision", tmp_path / "memory")


@pytest.mark.parametrize(
    ("metas", "words"),
    [
        (
            [META, {**META, "frame_skip": 4}],
            "not of one pace: frame_skip is 1 in .*/0 but 4 in .*/1, and .* record it again with the",
        ),
        # Doom's tics have a length: 35 a second.
        (
            [{"frames_per_second": 30}, {}, {**META, "frame_skip": 4}],
            "frames_per_second is 30 in .*/0 but 8.75 in .*/2, .* bring video files to the other's",
        ),
        ([{"frames_per_second": 24}, {"frames_per_second": 25}], "is 24 in .*/0 but 25 in .*/1"),
    ],
)
def test_recordings_of_different_paces_are_not_mixed(
    metas: list[dict[str, Any]], words: str, tmp_path: Path
) -> None:
    directories = [record(tmp_path / str(i), 20, meta) for i, meta in enumerate(metas)]
    with pytest.raises(ValueError, match=words):
        train_vision(directories, tmp_path / "vision", steps=1, batch=2)
    assert not (tmp_path / "vision").exists()


@pytest.mark.parametrize(
    "metas",
    [
        [{}, META, {"frame_skip": None}, {"frame_skip": "4"}, {"frame_skip": 0}],
        [META, {"frames_per_second": 35.0}],
        [{"game": "CartPole-v1", "frame_skip": 4}, {"frames_per_second": 24}],
        [{"frames_per_second": 29.97}, {"frames_per_second": 30}],
    ],
)
def test_recordings_that_do_not_disagree_on_their_pace_are_mixed(
    metas: list[dict[str, Any]], tmp_path: Path
) -> None:
    directories = [record(tmp_path / str(i), 1, meta) for i, meta in enumerate(metas)]
    assert len(open_stores(directories)) == len(metas)


def test_a_damaged_meta_json_is_named_before_anything_is_learned(tmp_path: Path) -> None:
    directory = record(tmp_path / "data", 20, {**META, "actions": "left"})
    with pytest.raises(ValueError, match=r"data/meta.json: .actions. is 'left', expected a list"):
        train_vision([directory], tmp_path / "vision", steps=1, batch=2)
    assert not (tmp_path / "vision").exists()


def test_an_action_without_a_meaning_is_named(tmp_path: Path) -> None:
    record(tmp_path, 2)
    actions = np.load(tmp_path / "actions.npy")
    actions[3] = 7
    np.save(tmp_path / "actions.npy", actions)
    words = r"actions.npy: action 3 is 7, expected 0 to 2: .*meta.json names 3 actions"
    with pytest.raises(ValueError, match=words):
        train_memory([tmp_path], tmp_path / "vision", tmp_path / "memory")


def test_a_trainer_refuses_what_does_not_fit() -> None:
    trainer = Trainer(Vision(latents=4))
    with pytest.raises(RuntimeError, match="update before backward"):
        trainer.update()
    with pytest.raises(ValueError, match='the batch has no "frames"'):
        trainer.backward({})
    with pytest.raises(ValueError, match=r"frames: got float32 \[2, .* expected uint8 \[any, 64"):
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


def test_the_gradients_before_a_failed_backward_are_not_applied() -> None:
    trainer = Trainer(Memory(latents=2, hidden=3, components=1))
    batch = {name: torch.zeros(2, 4) for name in ("finals", "restarts", "terminations")}
    batch["actions"] = torch.zeros(2, 4, 1)
    batch |= {name: torch.zeros(2, 4, 2) for name in ("mu", "logvar")}
    weights = trainer.weights()
    trainer.backward(batch)
    with pytest.raises(RuntimeError, match="nan at step 0; the weights are as before it"):
        trainer.backward({**batch, "mu": batch["mu"] * torch.nan})
    with pytest.raises(RuntimeError, match="update before backward: there are no gradients to app"):
        trainer.update()
    assert trainer.step == 0 and trainer.gradients() == {}
    assert all(torch.equal(v, weights[k]) for k, v in trainer.weights().items())
    trainer.backward(batch)
    trainer.update()
    assert trainer.step == 1


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

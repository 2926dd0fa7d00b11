"""Training tokenizer, latent actions and dynamics: clips, frames only, resuming, collapse."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import genie_env
from genie_env._core import Dynamics, EpisodeStore, EpisodeWriter, RowCounters, Trainer, World
from genie_env.data import rows_once
from genie_env.data.datasets import (
    ClipData,
    Clips,
    TokenData,
    held_out,
    open_stores,
    rarity_weights,
)
from genie_env.data.run_directory import only_writer
from genie_env.families.genie.commands import (
    freeze_genie,
    train_dynamics,
    train_latent_actions,
    train_tokenizer,
)
from genie_env.training import encoded, held_codes, loop
from genie_env.training.codebook_usage import usage, watch_perplexity
from genie_env.training.dynamics import DYNAMICS, likeliest_next, load_dynamics
from genie_env.training.encoded import weights_fingerprint
from genie_env.training.latent_actions import (
    LATENT_ACTIONS,
    encoded_actions,
    load_latent_actions,
    watch_latent_actions,
)
from genie_env.training.runs import load_weights
from genie_env.training.tokenizer import TOKENIZER, encoded_tokens, load_tokenizer, watch_tokenizer

EPISODES = 40
SMALL: dict[str, Any] = {"width": 8, "heads": 2, "window": 3}
BLOCKS: dict[str, Any] = {"encoder_blocks": 1, "decoder_blocks": 1}
TOKENS, CODES = "tokenizer/tokens-float32", "actions/actions-float32"
"""What recordings are encoded to, in the runs of these tests."""
RUN: dict[str, Any] = {"steps": 3, "batch": 2, "bf16": False}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 episodes of 1 to 12 frames, 16 x 16; each tells its episode and time."""
    directory = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    with EpisodeWriter(str(directory), 16, 16, '{"format_version": 1}') as writer:
        for episode in range(EPISODES):
            length = 1 if episode == 3 else 12 if episode % 20 == 19 else int(rng.integers(5, 13))
            small = rng.integers(0, 256, (length, 4, 4, 3)).astype(np.uint8)
            frames = small.repeat(4, axis=1).repeat(4, axis=2)
            frames[:, 0, 0, 0] = episode
            frames[:, 0, 0, 1] = np.arange(length)
            writer.append(
                frames,
                rng.integers(0, 3, length),
                np.ones(length, np.float32),
                np.arange(length) == length - 1,
                np.zeros(length, bool),
            )
    return directory


@pytest.fixture(scope="module")
def store(data: Path) -> EpisodeStore:
    return EpisodeStore(str(data))


def tokenizer_run(data: Path, out: Path, **change: Any) -> None:
    train_tokenizer([data], out, **(RUN | SMALL | BLOCKS | {"clip": 4, "codes": 20} | change))


def actions_run(data: Path, out: Path, **change: Any) -> None:
    train_latent_actions([data], out, **(RUN | SMALL | BLOCKS | {"clip": 4} | change))


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained tokenizer and latent action model, and dynamics on top of them."""
    directory = tmp_path_factory.mktemp("runs")
    tokenizer_run(data, directory / "tokenizer")
    actions_run(data, directory / "actions")
    dynamics_run(data, directory, directory / "dynamics")
    return directory


def dynamics_run(data: Path, runs: Path, out: Path, **change: Any) -> None:
    settings = RUN | SMALL | {"blocks": 1} | change
    codes = {"tokenizer": runs / "tokenizer", "latent_actions": runs / "actions"}
    train_dynamics([data], out=out, **codes, **settings)


def test_clips_are_consecutive_frames_of_one_episode(store: EpisodeStore) -> None:
    clips = ClipData([store], Clips([store], 5, held_out_part=False))
    lengths = np.diff(store.episode_starts)
    possible = {
        (episode, first)
        for episode in np.flatnonzero(~held_out(store)).tolist()
        for first in range(int(lengths[episode]) - 4)
    }
    seen = []
    for step in range(len(clips.clips)):
        frames = clips.batch(1, seed=3, step=step)["frames"]
        assert frames.shape == (1, 5, 16, 16, 3)
        episodes, times = frames[0, :, 0, 0, 0].tolist(), frames[0, :, 0, 0, 1].tolist()
        assert len(set(episodes)) == 1
        assert times == list(range(times[0], times[0] + 5))
        seen.append((episodes[0], times[0]))
    assert set(seen) == possible and len(seen) == len(possible)
    unseen = ClipData([store], Clips([store], 12, held_out_part=True)).batch(2, 0, 0)["frames"]
    assert unseen[:, 0, 0, 0, 0].tolist() == [19, 39]


def test_the_order_of_clips_depends_on_seed_and_step_alone(store: EpisodeStore) -> None:
    one, other = (Clips([store], 4, held_out_part=False) for _ in range(2))
    other.batch(4, seed=1, step=500)  # some epochs further on
    assert all(one.batch(4, 1, step) == other.batch(4, 1, step) for step in (0, 5, 500))
    assert one.batch(4, 1, 0) != one.batch(4, 2, 0)


def test_too_short_or_too_little_data_says_so(store: EpisodeStore) -> None:
    with pytest.raises(
        ValueError,
        match="clips of 13 frames were asked for, but the longest training episode has 12: record "
        "longer episodes or make the clips shorter",
    ):
        Clips([store], 13, held_out_part=False)
    with pytest.raises(ValueError, match="the longest held-out episode has 12"):
        Clips([store], 13, held_out_part=True)
    clips = ClipData([store], Clips([store], 12, held_out_part=True))
    with pytest.raises(ValueError, match="a batch of 3 clips was asked for, but .* only 2"):
        clips.batch(3, 0, 0)


def test_runs_leave_figures_and_pictures(data: Path, runs: Path) -> None:
    figures = {}
    for name in ("tokenizer", "actions", "dynamics"):
        lines = (runs / name / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines] == [3]
        figures[name] = json.loads(lines[-1])["held_out"]
        assert list((runs / name / "tensorboard").iterdir())
    assert figures["tokenizer"].keys() == {
        *("loss", "psnr", "quantization_error", "codes_used", "perplexity", "rarest")
    }
    assert figures["actions"].keys() == {
        *("loss", "explained", "quantization_error", "codes_used", "perplexity", "rarest")
    }
    # The longest held-out episode has 12 frames, which is also four windows.
    indices = {f"hidden_frame_{i}" for i in (1, 2, 4, 8, 11)}
    assert figures["dynamics"].keys() == {
        *("loss", "cross_entropy", "accuracy", "hidden_frame", "action_gain"),
        *indices,
    }
    assert Image.open(runs / "tokenizer" / "reconstructions.png").size == (12 * 32, 2 * 32)
    assert Image.open(runs / "actions" / "actions.png").size == (8 * 32, (2 + 6) * 32)
    assert Image.open(runs / "dynamics" / "actions.png").size == (2 * 32, (2 + 6) * 32)
    codes = load_latent_actions(runs / "actions").codes()
    assert isinstance(load_dynamics(runs / "dynamics", codes), Dynamics)


@pytest.mark.parametrize(
    ("written", "dtype"),
    [
        ({"dtype": "float32"}, "float32"),
        ({"dtype": "bfloat16"}, "bfloat16"),
        ({"bf16": True}, "bfloat16"),  # as older versions wrote it
    ],
)
def test_episodes_are_encoded_in_the_precision_of_the_training(
    data: Path,
    runs: Path,
    store: EpisodeStore,
    tmp_path: Path,
    written: dict[str, Any],
    dtype: str,
) -> None:
    copy = tmp_path / "runs"
    shutil.copytree(runs, copy)
    for name in ("tokenizer", "actions"):
        settings = copy / name / "settings.json"
        told = json.loads(settings.read_text())
        del told["dtype"]
        settings.write_text(json.dumps(told | written))
    for run, kind, load, encode in (
        ("tokenizer", "tokens", load_tokenizer, encoded_tokens),
        ("actions", "actions", load_latent_actions, encoded_actions),
    ):
        shutil.rmtree(copy / run / f"{kind}-float32", ignore_errors=True)
        encode(copy / run, load(copy / run), [data], [store])
        assert (copy / run / f"{kind}-{dtype}").exists()


def test_episodes_are_encoded_in_pieces_as_they_are_whole(
    data: Path, runs: Path, store: EpisodeStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(rows_once, "CHUNK", 3)
    copy = tmp_path / "runs"
    shutil.copytree(runs, copy, ignore=shutil.ignore_patterns("tokens-*"))
    shutil.rmtree(copy / CODES, ignore_errors=True)
    tokenizer = load_tokenizer(copy / "tokenizer")
    model = load_latent_actions(copy / "actions")
    (tokens,) = encoded_tokens(copy / "tokenizer", tokenizer, [data], [store])
    (actions,) = encoded_actions(copy / "actions", model, [data], [store])
    for start, stop in zip(store.episode_starts[:-1], store.episode_starts[1:], strict=True):
        frames = torch.from_numpy(store.frames[start:stop].copy())[None]
        assert np.array_equal(tokens[start:stop], tokenizer.encode(frames)[0])
        assert actions[stop - 1] == 0
        if stop - start > 1:
            assert np.array_equal(actions[start : stop - 1], model.encode(frames)[0])
    places = Clips([store], 5, held_out_part=True)
    batch = TokenData([tokens], [actions], places).batch(2, 0, 0)
    clips = ClipData([store], Clips([store], 5, held_out_part=True)).batch(2, 0, 0)["frames"]
    assert batch["tokens"].shape == (2, 5, tokenizer.positions)
    assert batch["actions"].shape == (2, 4)
    assert clips.shape[:2] == (2, 5)
    for row in range(2):
        episode, time = clips[row, 0, 0, 0, :2].tolist()
        first = int(store.episode_starts[episode]) + time
        assert np.array_equal(batch["tokens"][row], tokens[first : first + 5])
        assert np.array_equal(batch["actions"][row], actions[first : first + 4])
    table = np.random.default_rng(0).random((tokenizer.positions, 20), np.float32)
    weighed = TokenData([tokens], [actions], places, table).batch(2, 0, 0)
    assert torch.equal(weighed["tokens"], batch["tokens"])
    for place in range(tokenizer.positions):
        expected = table[place][batch["tokens"][:, 1:, place].numpy()]
        assert np.array_equal(weighed["weights"][:, :, place], expected)


class Episodes:
    """What rarity_weights reads of a store."""

    def __init__(self, *lengths: int) -> None:
        self.episode_starts = np.cumsum([0, *lengths])


def test_rare_tokens_count_more() -> None:
    """By the square root, beside the commonest; over all learned tokens the weights are 1 on average."""
    first = np.array([[9, 9], [0, 5], [0, 5], [0, 6]], np.uint16)  # nothing predicts a first frame
    second = np.array([[9, 9], [1, 5], *[[8, 8], [8, 8]] * 19], np.uint16)  # the 20th is held out
    stores: Any = [Episodes(4), Episodes(2, *[1] * 18, 20)]
    weights = rarity_weights(stores, [first, second], 10, 3.0)
    assert weights.shape == (2, 10) and weights.dtype == np.float32
    learned = np.concatenate([first[1:], second[1:2]])
    assert weights[[0, 1], learned].mean() == pytest.approx(1)
    rare = weights * 4 - 1  # (1 + 3 r / mean(r)) / 4
    assert rare[0, 1] / rare[0, 0] == pytest.approx(np.sqrt(3), rel=1e-5)
    assert rare[1, 6] / rare[1, 5] == pytest.approx(np.sqrt(3), rel=1e-5)
    # Never there, or only where nothing learns it: as if in one frame of 10,000.
    assert rare[0, [8, 9]] / rare[0, 0] == pytest.approx(np.sqrt(0.75 / 1e-4), rel=1e-4)
    assert np.all(rarity_weights(stores, [first, second], 10, 0.0) == 1)


def test_an_emphasis_is_learned_from_and_remembered(data: Path, runs: Path, tmp_path: Path) -> None:
    dynamics_run(data, runs, tmp_path / "dynamics", emphasis=4.0)
    settings = json.loads((tmp_path / "dynamics" / "settings.json").read_text())
    assert settings["emphasis"] == 4.0
    assert "emphasis" not in json.loads((runs / "dynamics" / "settings.json").read_text())
    (plain, *_), (weighed, *_) = (outcome(where / "dynamics")[0] for where in (runs, tmp_path))
    assert weighed[2]["loss"] != pytest.approx(weighed[2]["cross_entropy"])
    assert plain[2]["loss"] == plain[2]["cross_entropy"]
    dynamics_run(data, runs, tmp_path / "dynamics", emphasis=4.0)  # goes on: it is finished
    with pytest.raises(ValueError, match="emphasis was 4.0 and is now 3.0"):
        dynamics_run(data, runs, tmp_path / "dynamics", emphasis=3.0)
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=rf"emphasis is {wrong}, expected 0 to 1000.0"):
            dynamics_run(data, runs, tmp_path / "new", emphasis=wrong)


def test_held_codes_are_learned_from_and_remembered(
    data: Path,
    runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recorded = {"tokenizer": runs / "tokenizer", "actions": "recorded", "out": tmp_path / "new"}
    with pytest.raises(ValueError, match=r"--held-codes is 0.5, but --actions recorded takes"):
        train_dynamics([data], held_codes=0.5, **recorded, **RUN)
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=rf"held_codes is {wrong}, expected 0 to 1"):
            dynamics_run(data, runs, tmp_path / "new", held_codes=wrong)
    assert not (tmp_path / "new").exists()
    assert "held_codes" not in json.loads((runs / "dynamics/settings.json").read_text())
    monkeypatch.setattr(held_codes, "STILL", 1.0)  # most of this tokenizer's tokens stay in any noise
    dynamics_run(data, runs, tmp_path / "dynamics", held_codes=1.0)
    printed = capsys.readouterr().out
    assert "recorded transitions stand still" in printed
    assert re.search(r"--held-codes changes [\d.]+% of the latent actions", printed)
    assert json.loads((tmp_path / "dynamics/settings.json").read_text())["held_codes"] == 1.0
    assert not same(tmp_path / "dynamics", runs / "dynamics")
    with pytest.raises(ValueError, match="held_codes was 1.0 and is now 0.5"):
        dynamics_run(data, runs, tmp_path / "dynamics", held_codes=0.5)


def outcome(run: Path) -> tuple[list[Any], dict[str, torch.Tensor]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    figures = [(line["step"], line["training"], line["held_out"]) for line in lines]
    return figures, load_file(run / "checkpoint.safetensors")


def same(one: Path, other: Path) -> bool:
    (figures_a, state_a), (figures_b, state_b) = outcome(one), outcome(other)
    return figures_a == figures_b and all(torch.equal(state_a[k], state_b[k]) for k in state_a)


class FramesOnly(EpisodeStore):
    """Episodes that nobody can read anything of but their frames and where they begin."""

    def _hidden(self) -> Any:
        raise AssertionError("something other than frames was read")

    actions = rewards = terminations = truncations = property(_hidden)


def test_only_frames_are_read(
    data: Path, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other actions, rewards and reasons to end, which moreover are hidden: the losses, the weights
    and what is encoded come out the same of all three networks, and so they do of an episode store
    that says it has no actions."""
    monkeypatch.setattr("genie_env.data.datasets.EpisodeStore", FramesOnly)
    scrambled = tmp_path / "data"
    shutil.copytree(data, scrambled)
    rng = np.random.default_rng(1)
    actions = np.load(scrambled / "actions.npy")
    np.save(scrambled / "actions.npy", rng.integers(0, 3, actions.shape))
    np.save(scrambled / "rewards.npy", rng.normal(size=actions.shape).astype(np.float32))
    ends = np.load(scrambled / "terminations.npy")
    np.save(scrambled / "terminations.npy", np.zeros_like(ends))
    np.save(scrambled / "truncations.npy", ends)
    (scrambled / "meta.json").write_text('{"format_version": 1, "actions": null}')
    one, other = EpisodeStore(data), EpisodeStore(scrambled)
    for name in ("actions", "rewards", "terminations", "truncations"):
        assert not np.array_equal(getattr(one, name), getattr(other, name)), name
    for name in ("frames", "episode_starts"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    with pytest.raises(AssertionError, match="other than frames was read"):
        _ = open_stores([scrambled])[0].actions
    tokenizer_run(scrambled, tmp_path / "tokenizer")
    actions_run(scrambled, tmp_path / "actions")
    dynamics_run(scrambled, tmp_path, tmp_path / "dynamics")
    for name in ("tokenizer", "actions", "dynamics"):
        assert same(tmp_path / name, runs / name), name
    for kind in (TOKENS, CODES):
        encoded_here, encoded_there = (
            [np.load(file) for file in (directory / kind).glob("*/*.npy")]
            for directory in (tmp_path, runs)
        )
        assert len(encoded_here) == 1 and np.array_equal(encoded_here, encoded_there), kind


@pytest.mark.parametrize("kind", ["tokenizer", "actions", "dynamics"])
def test_a_killed_run_resumes_to_the_same_losses(
    kind: str, data: Path, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = loop.Schedule
    monkeypatch.setattr(
        "genie_env.training.clip_training.Schedule",
        lambda steps, rate, warm_up: schedule(steps, rate, 1, warm_up),
    )
    monkeypatch.setattr(loop, "SECONDS_A_CHECKPOINT", 0)
    start: Callable[..., None] = {
        "tokenizer": tokenizer_run,
        "actions": actions_run,
        "dynamics": lambda data, out, **change: dynamics_run(data, runs, out, **change),
    }[kind]
    start(data, tmp_path / "unbroken", steps=5)
    batch, killed = Clips.batch, [False]

    def dying(clips: Clips, size: int, seed: int, step: int) -> list[tuple[int, slice]]:
        if step == 3 and clips.length == 4 + 2 * (kind == "dynamics") and len(clips) > 30:
            killed[0] = True
            raise RuntimeError("killed")
        return batch(clips, size, seed, step)

    with monkeypatch.context() as patch:
        patch.setattr(Clips, "batch", dying)
        with pytest.raises(RuntimeError, match="killed"):
            start(data, tmp_path / "broken", steps=5)
    assert killed[0]
    start(data, tmp_path / "broken", steps=5)
    (unbroken, state), (broken, resumed) = (outcome(tmp_path / d) for d in ("unbroken", "broken"))
    assert {line[0]: line[2] for line in broken} == {line[0]: line[2] for line in unbroken}
    assert all(torch.equal(state[name], resumed[name]) for name in state)


def test_other_settings_are_another_run(data: Path, runs: Path) -> None:
    with pytest.raises(ValueError, match=re.escape("holds a run with other settings (steps was 3")):
        tokenizer_run(data, runs / "tokenizer", steps=4)
    with pytest.raises(ValueError, match=r"other settings \(sizes was .*'actions': 6"):
        actions_run(data, runs / "actions", actions=5)
    with pytest.raises(ValueError, match="actions is 300, expected 2 to 256"):
        actions_run(data, runs / "other", actions=300)
    known: dict[str, Any] = {"out": runs / "other", "latent_actions": runs / "actions"}
    with pytest.raises(ValueError, match="holds no settings.json: give the --out of a `train tok"):
        train_dynamics([data], runs / "nowhere", **known, window=2)
    with pytest.raises(ValueError, match="is a run of `train latent-actions`; expected the --out"):
        train_dynamics([data], runs / "actions", **known, window=2)
    with pytest.raises(ValueError, match=r"too few episodes: .* but one batch takes 4,000; record"):
        train_dynamics([data], runs / "tokenizer", **known, steps=1, batch=1000, clip=4)
    assert not (runs / "other").exists()


def test_a_run_that_an_older_version_began_goes_on(data: Path, runs: Path, tmp_path: Path) -> None:
    """Its sizes and dtype have other names; otherwise exactly these settings were written before."""
    common = {
        *("network", "data", "frames_per_second", "clips", "sizes", "steps", "batch", "clip"),
        *("learning_rate", "seed", "dtype", "recordings"),
    }
    networks = {"tokenizer": set(), "actions": set()}
    networks["dynamics"] = {"tokenizer", "latent_actions", "weights"}
    for name, more in networks.items():
        settings = json.loads((runs / name / "settings.json").read_text())
        assert set(settings) == common | more
    copy = tmp_path / "actions"
    shutil.copytree(runs / "actions", copy)
    settings = json.loads((copy / "settings.json").read_text())
    sizes = settings["sizes"]
    sizes["band"], sizes["momentum"] = sizes.pop("window"), sizes.pop("action_decay")
    assert set(sizes) == {
        *("frame", "patch", "width", "heads", "encoder_blocks", "decoder_blocks", "actions"),
        *("code_dimensions", "band", "momentum"),
    }
    settings["bf16"] = settings.pop("dtype") == "bfloat16"
    (copy / "settings.json").write_text(json.dumps(settings))
    actions_run(data, copy)
    with pytest.raises(ValueError, match=r"other settings \(sizes was .*'window': 3"):
        actions_run(data, copy, window=2)


def test_dynamics_are_learned_from_finished_networks(
    data: Path, runs: Path, tmp_path: Path
) -> None:
    """A tokenizer that still learns would give its tokens other meanings."""
    copy = tmp_path / "runs"
    shutil.copytree(runs, copy)
    for name, command in (("actions", "latent-actions"), ("tokenizer", "tokenizer")):
        settings = copy / name / "settings.json"
        settings.write_text(settings.read_text().replace('"steps": 3', '"steps": 4'))
        with pytest.raises(ValueError, match=rf"not finished: .* `train {command}` command again"):
            dynamics_run(data, copy, tmp_path / "dynamics")


def test_dynamics_do_not_go_on_with_other_networks(data: Path, runs: Path, tmp_path: Path) -> None:
    """Trained anew in the same place, they would say other things of the same frames."""
    for name in ("tokenizer", "actions"):
        shutil.copytree(runs / name, tmp_path / name)
    dynamics_run(data, tmp_path, tmp_path / "dynamics")
    shutil.rmtree(tmp_path / "tokenizer")
    tokenizer_run(data, tmp_path / "tokenizer", seed=2)
    with pytest.raises(ValueError, match=r"other settings \(weights was"):
        dynamics_run(data, tmp_path, tmp_path / "dynamics")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"heads": 3}, "width is 8 and heads is 3; expected a width that is"),
        ({"passes": 0}, "passes is 0, expected 1 to 64"),
        ({"device": "tpu"}, 'device is "tpu", expected "cpu", "cuda" or "cuda:1"'),
        ({"learning_rate": -1.0}, "learning_rate is -1"),
        ({"clip": 13}, "clips of 13 frames were asked for"),
    ],
)
def test_dynamics_check_what_they_are_told_before_they_encode(
    change: dict[str, Any], words: str, data: Path, runs: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "runs"
    shutil.copytree(runs, copy)
    for kind in (TOKENS, CODES):
        shutil.rmtree(copy / kind)
    with pytest.raises(ValueError, match=re.escape(words)):
        dynamics_run(data, copy, tmp_path / "new", **change)
    with pytest.raises(ValueError, match=r"other settings \(.*steps was 3 and is now 4"):
        dynamics_run(data, copy, copy / "dynamics", steps=4)
    assert not (tmp_path / "new").exists()
    assert not (copy / TOKENS).exists() and not (copy / CODES).exists()


@pytest.mark.parametrize("start", [tokenizer_run, actions_run])
def test_a_wrong_device_or_learning_rate_leaves_no_run(
    start: Callable[..., None], data: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match='device is "tpu", expected "cpu", "cuda" or "cuda:1"'):
        start(data, tmp_path / "new", device="tpu")
    with pytest.raises(ValueError, match="learning_rate is -1"):
        start(data, tmp_path / "new", learning_rate=-1.0)
    assert not (tmp_path / "new").exists()


def test_training_starts_with_what_a_run_has_learned(
    data: Path, runs: Path, tmp_path: Path
) -> None:
    # With a learning rate of nothing an update moves but the bias that centres latent actions.
    onward = {"steps": 1, "learning_rate": 0.0, "seed": 9}
    tokenizer_run(data, tmp_path / "tokenizer", start=runs / "tokenizer", **onward)
    actions_run(data, tmp_path / "actions", start=runs / "actions", **onward)
    dynamics_run(data, runs, tmp_path / "dynamics", start=runs / "dynamics", **onward)
    networks = {"tokenizer": TOKENIZER, "actions": LATENT_ACTIONS, "dynamics": DYNAMICS}
    for run, network in networks.items():
        before, after = (load_weights(where / run, network) for where in (runs, tmp_path))
        assert before.keys() == after.keys()
        still = before.keys() - ({"to_code.bias"} if run == "actions" else set())
        assert [name for name in sorted(still) if not torch.equal(before[name], after[name])] == []


def test_dynamics_start_from_those_of_the_tokenizer_before(
    data: Path, runs: Path, tmp_path: Path
) -> None:
    """Where the tokenizer was trained on, its tokens mean nearly the same."""
    tokenizer_run(data, tmp_path / "tokenizer", start=runs / "tokenizer", steps=1, noise=0.1)
    (tmp_path / "actions").symlink_to(runs / "actions")
    start = {"start": runs / "dynamics", "steps": 1, "learning_rate": 0.0}
    dynamics_run(data, tmp_path, tmp_path / "dynamics", **start)
    before, after = (load_weights(run / "dynamics", DYNAMICS) for run in (runs, tmp_path))
    assert all(torch.equal(before[name], after[name]) for name in before)

    # It is known by its weights: another one in its place, or none, changes nothing.
    moved = tmp_path / "moved"
    moved.mkdir()
    tokenizer_run(data, moved / "first")
    tokenizer_run(data, moved / "tokenizer", start=moved / "first", steps=1)
    (moved / "actions").symlink_to(runs / "actions")
    shutil.rmtree(moved / "first")
    shutil.copytree(tmp_path / "tokenizer", moved / "first")
    dynamics_run(data, moved, moved / "dynamics", **start)
    others = tmp_path / "others"
    others.mkdir()
    tokenizer_run(data, others / "first", seed=1)
    tokenizer_run(data, others / "tokenizer", start=others / "first", steps=1)
    (others / "actions").symlink_to(runs / "actions")
    shutil.rmtree(others / "first")
    shutil.copytree(runs / "tokenizer", others / "first")
    with pytest.raises(ValueError, match="or a tokenizer that was trained on from its own"):
        dynamics_run(data, others, others / "dynamics", **start)


def test_dynamics_begin_with_the_codes_of_their_tokenizer(
    data: Path, runs: Path, tmp_path: Path
) -> None:
    """What belongs to tokens is a linear map of their codes, of which there are more than
    dimensions; a start's stays."""
    codes = load_tokenizer(runs / "tokenizer").codebook()
    torch.testing.assert_close(codes.norm(dim=1), torch.ones(20))
    codes = codes - codes.mean(0)
    assert len(codes) > codes.shape[1] + 1
    new = {"steps": 1, "learning_rate": 0.0, "seed": 9, "local": True}
    dynamics_run(data, runs, tmp_path / "new", **new)
    learned = load_weights(tmp_path / "new", DYNAMICS)
    for name in ("embedding", "previous", "to_logits.weight"):
        begun = learned[name][: len(codes)]
        solved = torch.linalg.lstsq(codes, begun).solution
        torch.testing.assert_close(codes @ solved, begun, atol=1e-4, rtol=1e-4)
    start = {"start": runs / "dynamics", "steps": 1, "learning_rate": 0.0}
    dynamics_run(data, runs, tmp_path / "on", **start)
    before, after = (load_weights(run, DYNAMICS) for run in (runs / "dynamics", tmp_path / "on"))
    assert torch.equal(before["embedding"], after["embedding"])


def test_what_is_near_may_be_given_to_a_start(data: Path, runs: Path, tmp_path: Path) -> None:
    """It changes nothing before something is learned from it; the world that is frozen has it."""
    still = {"steps": 1, "learning_rate": 0.0, "seed": 9, "local": True}
    dynamics_run(data, runs, tmp_path / "still", start=runs / "dynamics", **still)
    before, after = (load_weights(run, DYNAMICS) for run in (runs / "dynamics", tmp_path / "still"))
    added = {"transformer.block0.neighbours", "previous"}
    assert after.keys() - before.keys() == added and not before.keys() - after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(after[name].any() for name in added)

    dynamics_run(data, runs, tmp_path / "dynamics", local=True)
    dynamics_run(data, runs, tmp_path / "begun", local=True, learning_rate=0.0)
    learned, begun = (load_weights(tmp_path / run, DYNAMICS) for run in ("dynamics", "begun"))
    assert not any(torch.equal(learned[name], begun[name]) for name in added)
    freeze_genie(tmp_path / "dynamics", tmp_path / "world")
    config = json.loads((tmp_path / "world/config.json").read_text())
    assert config["dynamics"]["columns"] == 2
    world = World.load(tmp_path / "world")
    state = world.make_state(2)
    counters = RowCounters(*np.arange(6).reshape(3, 2))
    world.begin(state, torch.ones(2, dtype=torch.bool), counters)
    world.step(state, torch.tensor([0, 1]), torch.ones(2), counters)
    assert world.observe(state, "pixels").shape == (2, 16, 16, 3)
    with pytest.raises(ValueError, match=r"--start .*dynamics was trained with --local: give it"):
        dynamics_run(data, runs, tmp_path / "new", start=tmp_path / "dynamics")


def test_a_run_goes_on_without_the_one_that_it_started_from(data: Path, tmp_path: Path) -> None:
    tokenizer_run(data, tmp_path / "first")
    tokenizer_run(data, tmp_path / "next", start=tmp_path / "first", steps=1)
    before = (tmp_path / "next" / "checkpoint.safetensors").read_bytes()
    shutil.rmtree(tmp_path / "first")
    tokenizer_run(data, tmp_path / "next", start=tmp_path / "first", steps=1)
    assert (tmp_path / "next" / "checkpoint.safetensors").read_bytes() == before
    with pytest.raises(ValueError, match="first holds no settings.json"):
        tokenizer_run(data, tmp_path / "other", start=tmp_path / "first", steps=1)


def test_other_sizes_or_other_tokens_are_no_start(data: Path, runs: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--start .*tokenizer has sizes .* is trained: give the"):
        tokenizer_run(data, tmp_path / "new", start=runs / "tokenizer", codes=21)
    others = tmp_path / "others"
    others.mkdir()
    tokenizer_run(data, others / "tokenizer", seed=1)
    (others / "actions").symlink_to(runs / "actions")
    with pytest.raises(ValueError, match=r"has learned the tokens and actions of another tokenizer"):
        dynamics_run(data, others, tmp_path / "new", start=runs / "dynamics")
    with pytest.raises(ValueError, match=r"actions is a run of `train latent-actions`; expected"):
        dynamics_run(data, runs, tmp_path / "new", start=runs / "actions")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemError])
def test_an_encoding_that_is_broken_off_goes_on(
    error: type[BaseException],
    data: Path,
    runs: Path,
    store: EpisodeStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, load, encode in (
        ("tokenizer", load_tokenizer, encoded_tokens),
        ("actions", load_latent_actions, encoded_actions),
    ):
        (whole,) = encode(runs / name, load(runs / name), [data], [store])
        shutil.copytree(runs / name, tmp_path / name)
        for kind in (TOKENS, CODES):
            shutil.rmtree(tmp_path / kind, ignore_errors=True)
        model, begun, episodes = load(tmp_path / name), [], encoded.encode_episodes

        def dying(
            encode: Any, store: EpisodeStore, filled: Any, first: int, **more: Any
        ) -> Iterator[int]:
            begun.append(first)
            for number, rows in enumerate(episodes(encode, store, filled, first, **more)):
                yield rows
                if number == 6 and len(begun) == 1:
                    raise error

        with monkeypatch.context() as patch:
            patch.setattr(encoded, "encode_episodes", dying)
            patch.setattr(rows_once, "SECONDS_A_CHECKPOINT", 0)
            with pytest.raises(error):
                encode(tmp_path / name, model, [data], [store])
            (resumed,) = encode(tmp_path / name, model, [data], [store])
        assert begun == [0, store.episode_starts[7]]
        assert np.array_equal(whole, resumed)


def spoil_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def other_array(change: Callable[[Any], Any]) -> Callable[[Path], None]:
    """Writes another array, with a checksum that is right."""
    return lambda file: rows_once._write(file, change(np.load(file)))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_byte, "its checksum is of another content"),
        (lambda file: file.write_bytes(file.read_bytes()[:100]), "its checksum is of another"),
        (lambda file: file.write_bytes(b""), "cannot mmap an empty file"),
        (lambda file: np.save(file, np.load(file)), "its checksum is of another content"),
        (lambda file: file.write_text("not an array at all, but long enough"), "its checksum is"),
        (
            other_array(lambda a: np.concatenate([a, a])),
            "it holds uint16 [{2n}, 4], expected uint16",
        ),
        (
            other_array(lambda a: a.astype(np.int64)),
            "it holds int64 [{n}, 4], expected uint16 [{n}",
        ),
        (other_array(lambda a: a[:, :2]), "it holds uint16 [{n}, 2], expected uint16 [{n}, 4]"),
    ],
)
def test_a_cache_that_is_damaged_or_another_is_made_again(
    spoil: Callable[[Path], None],
    words: str,
    data: Path,
    runs: Path,
    store: EpisodeStore,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (file,) = (runs / TOKENS).glob("*/*.npy")
    tokenizer = load_tokenizer(runs / "tokenizer")
    content, tokens = file.read_bytes(), np.load(file)
    spoil(file)
    capsys.readouterr()
    (again,) = encoded_tokens(runs / "tokenizer", tokenizer, [data], [store])
    said = capsys.readouterr().out
    expected = words.replace("{2n}", str(2 * len(tokens))).replace("{n}", str(len(tokens)))
    assert said.startswith(f"{file} is damaged ({expected}") and said.count("\n") == 1
    assert said.endswith("): it is made again\n")
    assert np.array_equal(again, tokens) and file.read_bytes() == content


def test_a_cache_is_rid_of_what_nothing_reads(
    data: Path,
    runs: Path,
    store: EpisodeStore,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of an earlier version, and of a process that was killed while it wrote."""
    shutil.copytree(runs / "tokenizer", tmp_path / "tokenizer")
    (file,) = (tmp_path / TOKENS).glob("*/*.npy")
    cache, ended = file.parent, subprocess.Popen(["true"])
    ended.wait()
    for name in (f"{'0123456789abcdef' * 2}.npy", "mine.npy"):
        shutil.copy(file, cache / name)
    kept = sorted(each.name for each in cache.iterdir())
    (cache / f"{'a' * 16}-{'b' * 16}.npy").write_bytes(bytes(3_000_000))
    left = cache / f"{file.name}.genie_env-{ended.pid}-3.tmp"
    left.write_bytes(b"half")
    os.utime(left, (0, 0))
    tokenizer = load_tokenizer(tmp_path / "tokenizer")
    for said in (f"removed 3.0 MB from {cache}: encoded recordings of an earlier version, which", ""):
        capsys.readouterr()
        encoded_tokens(tmp_path / "tokenizer", tokenizer, [data], [store])
        printed = capsys.readouterr().out
        assert printed.startswith(said) and printed.count("\n") == bool(said)
        assert sorted(each.name for each in cache.iterdir()) == kept


def test_reading_a_cache_is_interrupted_between_pieces(
    data: Path, runs: Path, store: EpisodeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file,) = (runs / TOKENS).glob("*/*.npy")
    content, read = file.read_bytes(), []

    def stopped(pieces: range, title: str, **_: Any) -> Iterator[int]:
        for piece in pieces:
            if title == f"checking {file}":
                read.append(piece)
                if len(read) == 3:
                    raise KeyboardInterrupt
            yield piece

    monkeypatch.setattr("genie_env.data.rows_once.PIECE", 64)
    monkeypatch.setattr("genie_env.data.rows_once.track", stopped)
    with pytest.raises(KeyboardInterrupt):
        encoded_tokens(runs / "tokenizer", load_tokenizer(runs / "tokenizer"), [data], [store])
    assert read == [0, 64, 128] and file.read_bytes() == content


def test_dynamics_are_loaded_with_their_own_action_codes(runs: Path) -> None:
    codes = load_latent_actions(runs / "actions").codes()
    for others in (codes.flip(0), codes[:-1]):
        with pytest.raises(
            ValueError,
            match=r"dynamics was trained with other action codes than those given: give the codes "
            r"of the latent actions that it was trained with, in .*/actions, or train it again",
        ):
            load_dynamics(runs / "dynamics", others)


def test_dynamics_say_loudly_what_they_are_learned_from_has_collapsed(
    data: Path, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "runs"
    shutil.copytree(runs, copy)

    def report(name: str, perplexity: float) -> None:
        file = copy / name / "metrics.jsonl"
        line = json.loads(file.read_text())
        line["held_out"]["perplexity"] = perplexity
        file.write_text(json.dumps(line) + "\n")

    def said() -> str:
        dynamics_run(data, copy, copy / "new")
        return " ".join(capsys.readouterr().out.split())

    report("tokenizer", 2.5)
    report("actions", 2.5)
    assert "collapsed" not in said()
    report("tokenizer", 1.5)
    assert re.search(
        r"runs/tokenizer has collapsed at step 3: its codes are as varied as 1\.50 codes used alike "
        r"\(expected at least 2\); lower the .* The dynamics are learned all the same, and will be as",
        said(),
    )
    report("tokenizer", 2.5)
    report("actions", 1.25)
    assert re.search(r"actions has collapsed at step 3: .* 1\.25 codes used alike", said())


def test_two_codes_used_nearly_alike_have_not_collapsed() -> None:
    watch = watch_latent_actions(2, stop=True)
    assert watch.find(1.96) == ""  # used 60 to 40
    assert "as varied as 1.20 codes used alike (expected at least 1.5)" in watch.find(1.2)
    assert watch_tokenizer(2, stop=True).find(1.96) == ""
    assert watch_tokenizer(1024, stop=True).find(40.0) != ""


@pytest.mark.parametrize(("start", "codes"), [(tokenizer_run, "codes"), (actions_run, "actions")])
def test_a_collapse_is_loud_and_ends_the_run_when_told_to(
    start: Callable[..., None],
    codes: str,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All frames alike: one code says everything."""
    with EpisodeWriter(str(tmp_path / "still"), 16, 16, '{"format_version": 1}') as writer:
        for _ in range(20):
            ends = np.arange(6) == 5
            writer.append(
                np.full((6, 16, 16, 3), 90, np.uint8),
                np.zeros(6, np.int64),
                np.zeros(6, np.float32),
                ends,
                ~ends & False,
            )
    expected = r"has collapsed at step 3: its codes are as varied as \d\.\d\d codes used alike"
    settings = {codes: 200, "patch": 16} if codes == "codes" else {}
    start(tmp_path / "still", tmp_path / "loud", **settings)
    assert re.search(expected, " ".join(capsys.readouterr().out.split()))
    assert (tmp_path / "loud" / "checkpoint.safetensors").exists()
    with pytest.raises(RuntimeError, match=expected + r" \(expected at least \d+\); lower the"):
        start(tmp_path / "still", tmp_path / "stopped", stop_on_collapse=True, **settings)
    # Nor does the same command take it for finished.
    with pytest.raises(RuntimeError, match=expected + ".* without --stop-on-collapse it goes on"):
        start(tmp_path / "still", tmp_path / "stopped", stop_on_collapse=True, **settings)
    start(tmp_path / "still", tmp_path / "stopped", **settings)
    # Nor is it quiet where Ctrl-C came in the middle of that evaluation.
    (tmp_path / "loud" / "metrics.jsonl").unlink()
    capsys.readouterr()
    start(tmp_path / "still", tmp_path / "loud", **settings)
    assert re.search(expected, " ".join(capsys.readouterr().out.split()))


def test_usage_and_its_watch() -> None:
    figures = usage(torch.tensor([[0, 0, 1], [2, 2, 2]]), 4)
    shares = np.array([2, 1, 3]) / 6
    assert figures["perplexity"] == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))
    assert (figures["codes_used"], figures["rarest"]) == (0.75, 0.0)
    watch = watch_perplexity(2, "look", stop=True)
    assert watch.find(2.0) == ""
    found = watch.find(1.5)
    assert found.endswith("1.50 codes used alike (expected at least 2); look")


def test_the_learning_rate_warms_up() -> None:
    schedule = loop.Schedule(1000, 1.0, warm_up=3)
    rates = [schedule.learning_rate_at(step) for step in range(5)]
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1, 1], rel=1e-3)
    assert loop.Schedule(1000, 1.0).learning_rate_at(0) == 1


@pytest.mark.parametrize(("steps", "warm_up"), [(30_000, 500), (400, 40), (3, 0)])
def test_a_short_run_does_not_spend_itself_in_warming_up(
    steps: int, warm_up: int, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[loop.Schedule] = []

    def note(*given: Any, **_: Any) -> None:
        seen.extend(value for value in given if isinstance(value, loop.Schedule))

    monkeypatch.setattr("genie_env.training.clip_training.train", note)
    tokenizer_run(data, tmp_path / "run", steps=steps)
    assert [schedule.warm_up for schedule in seen] == [warm_up]


def test_pictures_decode_greedily() -> None:
    """After training on a sequence without surprises, the likeliest next frame is the next one."""
    dynamics = Dynamics(
        torch.eye(2), positions=4, codes=6, width=16, heads=2, blocks=1, window=4, seed=0
    )
    trainer = Trainer(dynamics, learning_rate=1e-2)
    # Action 0 counts up, action 1 counts down.
    starts = torch.arange(6)[:, None].repeat(1, 4)
    up = torch.stack([(starts + t) % 6 for t in range(5)], dim=1)
    down = torch.stack([(starts - t) % 6 for t in range(5)], dim=1)
    actions = torch.cat([torch.zeros(6, 4), torch.ones(6, 4)]).long()
    batch = {"tokens": torch.cat([up, down]), "actions": actions}
    for _ in range(150):
        trainer.backward(batch)
        trainer.update()
    last = likeliest_next(dynamics, batch["tokens"][:, :4], actions, passes=3)
    assert torch.equal(last, batch["tokens"][:, 4:])


def frozen(runs: Path, out: Path, **options: Any) -> dict[str, Any]:
    freeze_genie(runs / "dynamics", out, **options)
    config: dict[str, Any] = json.loads((out / "config.json").read_text())
    return config


def test_freezing_locks_its_directory_before_it_works(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genie_env.families.genie.freeze.as_directories", None)
    with only_writer(tmp_path / "world"):
        with pytest.raises(RuntimeError, match="this process is writing into .*/world already"):
            freeze_genie(runs / "dynamics", tmp_path / "world")


def test_a_frozen_world_dreams_what_its_dynamics_predict(
    store: EpisodeStore, runs: Path, tmp_path: Path
) -> None:
    config = frozen(runs, tmp_path / "world")
    assert (config["family"], config["name"]) == ("genie", "world")
    assert config["max_episode_steps"] == 12  # the longest episode
    assert config["training"]["dynamics"]["step"] == 3
    assert config["actions"]["meanings"] == ["0", "1", "2", "3", "4", "5"]
    world = World.load(tmp_path / "world", dtype="float32")
    assert world.spec.fingerprint

    # Its weights are those of the run, rounded to float16; so must be the networks beside it.
    eyes, inferred = load_tokenizer(runs / "tokenizer"), load_latent_actions(runs / "actions")
    weights = {
        name: tensor.float()
        for name, tensor in load_file(tmp_path / "world" / "model.safetensors").items()
    }
    dynamics = Dynamics(weights["action_codes"], **config_sizes(config))
    Trainer(dynamics).load_weights(part_of(weights, "dynamics."))
    Trainer(eyes).load_weights(part_of(weights, "tokenizer."))
    torch.testing.assert_close(weights["action_codes"], inferred.codes(), atol=1e-3, rtol=1e-3)

    first = torch.from_numpy(store.frames[store.episode_starts[[5, 7]]])
    state = world.make_state(2)
    rng = RowCounters([3, 4], [0, 0], [0, 0])
    world.begin(state, torch.ones(2, dtype=torch.bool), rng, first)
    seen = eyes.encode(first[:, None])
    assert torch.equal(world.observe(state, "tokens"), seen[:, 0])
    taken = torch.empty(2, 0, dtype=torch.int64)
    for action in (4, 0, 5, 5):
        now = torch.tensor([action, 1])
        world.step(state, now, torch.full((2,), 1e-6), rng)
        taken = torch.cat([taken, now[:, None]], dim=1)
        seen = torch.cat([seen, likeliest_next(dynamics, seen, taken, passes=4)], dim=1)
        assert torch.equal(world.observe(state, "tokens"), seen[:, -1])


def test_a_frozen_worlds_figures_are_measured_on_what_it_holds(
    store: EpisodeStore, runs: Path, tmp_path: Path
) -> None:
    config = frozen(runs, tmp_path / "world")
    training = config["training"]
    card = (tmp_path / "world" / "README.md").read_text()
    for name, run in (
        ("tokenizer", "tokenizer"),
        ("latent_actions", "actions"),
        ("dynamics", "dynamics"),
    ):
        lines = (runs / run / "metrics.jsonl").read_text().splitlines()
        trained, measured = json.loads(lines[-1])["held_out"], training[name]["held_out"]
        assert measured.keys() == trained.keys() and measured != trained
        for figure, value in measured.items():
            assert value == pytest.approx(trained[figure], rel=0.1, abs=0.05), (name, figure)
        assert f"| {figure} | {value:.4g} |" in card
    kept = tmp_path / "world" / "latent-actions"
    assert (
        json.loads((kept / "metrics.jsonl").read_text())["held_out"]
        == training["latent_actions"]["held_out"]
    )
    tokenizer = load_tokenizer(runs / "tokenizer")
    stored = load_file(tmp_path / "world" / "model.safetensors")
    own = part_of({name: tensor.float() for name, tensor in stored.items()}, "tokenizer.")
    trainer = Trainer(tokenizer)
    trainer.load_weights(own)
    clips = ClipData([store], Clips([store], 4, held_out_part=True))
    losses = [
        trainer.evaluate(clips.batch(min(RUN["batch"], len(clips.clips)), 0, i), i)["loss"]
        for i in range(8)
    ]
    assert training["tokenizer"]["held_out"]["loss"] == pytest.approx(np.mean(losses), rel=1e-2)


def test_a_world_makes_as_many_passes_as_it_is_frozen_with(runs: Path, tmp_path: Path) -> None:
    frozen(runs, tmp_path / "learned")
    frozen(runs, tmp_path / "fewer", passes=2)
    assert World.load(tmp_path / "learned").spec.options["passes"].value == 4
    assert World.load(tmp_path / "fewer").spec.options["passes"].value == 2


def config_sizes(config: dict[str, Any]) -> dict[str, Any]:
    codes = config["tokenizer"]["codes"]
    side = config["frame"]["height"] // config["tokenizer"]["patch"]
    return {**config["dynamics"], "codes": codes, "positions": side * side}


def part_of(weights: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


def test_a_frozen_world_keeps_the_model_of_its_latent_actions(
    data: Path, store: EpisodeStore, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    frozen(runs, tmp_path / "world")
    kept = tmp_path / "world" / "latent-actions"
    files = sorted(path.name for path in kept.iterdir())
    assert files == ["checkpoint.safetensors", "metrics.jsonl", "settings.json"]
    assert (kept / files[0]).stat().st_size < (runs / "actions" / files[0]).stat().st_size / 4
    here, there = load_latent_actions(kept), load_latent_actions(runs / "actions")
    torch.testing.assert_close(here.codes(), there.codes(), rtol=0, atol=2e-3)
    (ours,) = encoded_actions(kept, here, [data], [store])
    (theirs,) = encoded_actions(runs / "actions", there, [data], [store])
    assert (ours == theirs).mean() > 0.95
    assert sorted(path.name for path in kept.iterdir()) == files, "something was written there"
    assert list((tmp_path / "cache").rglob("*.npy"))


def test_a_world_begins_where_training_episodes_begin(
    store: EpisodeStore, runs: Path, tmp_path: Path
) -> None:
    frozen(runs, tmp_path / "world")
    starts = load_file(tmp_path / "world" / "starts.safetensors")["tokens"]
    first = torch.from_numpy(store.frames[store.episode_starts[:-1][~held_out(store)]])
    eyes = load_tokenizer(runs / "tokenizer")
    assert torch.equal(starts, eyes.encode(first[:, None])[:, 0])


def test_a_frozen_world_knows_how_far_it_is_from_what_it_was_learned_from(
    store: EpisodeStore, runs: Path, tmp_path: Path
) -> None:
    frozen(runs, tmp_path / "world")
    stored = load_file(tmp_path / "world" / "model.safetensors")
    eyes = load_tokenizer(runs / "tokenizer")
    codebook = torch.nn.functional.normalize(stored["tokenizer.quantizer.codebook"].double())
    starts = store.episode_starts
    episodes = zip(starts[:-1], starts[1:], held_out(store), strict=True)
    frames = torch.cat(
        [
            codebook[eyes.encode(torch.from_numpy(store.frames[start:stop].copy())[None])[0]]
            for start, stop, unseen in episodes
            if not unseen
        ]
    ).flatten(1)
    covariance = torch.cov(frames.T, correction=0)
    even = covariance.trace() / len(covariance) * torch.eye(len(covariance))
    shrunk = 0.99 * covariance + 0.01 * even
    whitening = stored["support.whitening"].double()
    factor = whitening.inverse()
    torch.testing.assert_close(factor @ factor.T, shrunk, rtol=0, atol=2e-3)
    torch.testing.assert_close(stored["support.mean"].double(), frames.mean(0), rtol=0, atol=2e-3)

    env = genie_env.make_vec(tmp_path / "world", 2, observation="latents", latent_distance=True)
    env.reset(seed=0)
    observations, *_, infos = env.step([0, 1])
    away = torch.from_numpy(observations).double() - stored["support.mean"]
    expected = (whitening @ away.T).norm(dim=0)
    np.testing.assert_allclose(infos["latent_distance"], expected, rtol=1e-4)
    # Of the very frames that it was learned from, the squares average as many as there are
    # directions in which they vary.
    squares = (whitening @ (frames - stored["support.mean"]).T).square().sum(0).mean()
    torch.testing.assert_close(squares, (covariance @ shrunk.inverse()).trace(), rtol=0.02, atol=0)
    assert squares < len(covariance)


def test_a_frame_of_too_many_latents_has_no_statistics(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genie_env.families.genie.freeze.MOST_LATENTS", 31)
    frozen(runs, tmp_path / "world")
    assert not World.load(tmp_path / "world").spec.has_latent_statistics


def test_what_cannot_be_frozen_says_so(data: Path, runs: Path, tmp_path: Path) -> None:
    for temperature in (-1.0, 0.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"the temperature is {temperature}; expected"):
            frozen(runs, tmp_path / "world", temperature=temperature)
    with pytest.raises(ValueError, match="the order is 'first'"):
        frozen(runs, tmp_path / "world", order="first")
    for passes in (0, 5):
        with pytest.raises(ValueError, match=f"passes is {passes}; expected 1 to 4, as many as"):
            frozen(runs, tmp_path / "world", passes=passes)
    with pytest.raises(ValueError, match="give the --out of a `train dynamics`"):
        freeze_genie(tmp_path, tmp_path / "world")
    copies = tmp_path / "runs"
    shutil.copytree(runs, copies)
    settings = copies / "dynamics" / "settings.json"
    told = json.loads(settings.read_text())
    told["weights"][0] = "0" * 16
    settings.write_text(json.dumps(told))
    with pytest.raises(ValueError, match="was trained again after"):
        frozen(copies, tmp_path / "world")
    # Runs that do not fit together: of other sizes, or with other latent actions.
    told = json.loads((runs / "dynamics" / "settings.json").read_text())
    for change, words in (
        ({"width": 16}, r"dynamics/checkpoint\.safetensors does not fit: .*"),
        ({"positions": 9}, r"dynamics/checkpoint\.safetensors does not fit: .*"),
        ({"window": 1}, "window is 1, expected 2 to 1024"),
        ({"passes": 65}, "passes is 65, expected 1 to 64"),
    ):
        settings.write_text(json.dumps({**told, "sizes": {**told["sizes"], **change}}))
        with pytest.raises(ValueError, match=words):
            frozen(copies, tmp_path / "world")
    actions_run(data, tmp_path / "others", seed=5)
    others: dict[str, Any] = {"latent_actions": str(tmp_path / "others")}
    others["weights"] = [told["weights"][0], weights_fingerprint(tmp_path / "others")]
    settings.write_text(json.dumps({**told, **others}))
    with pytest.raises(ValueError, match="was trained with other action codes than those given"):
        frozen(copies, tmp_path / "world")
    tokenizer_run(data, tmp_path / "finer", patch=4)
    finer: dict[str, Any] = {"tokenizer": str(tmp_path / "finer")}
    finer["weights"] = [weights_fingerprint(tmp_path / "finer"), told["weights"][1]]
    settings.write_text(json.dumps({**told, **finer}))
    with pytest.raises(
        ValueError,
        match=r"predicts 4 tokens a frame, of 20 codes, but .*/finer makes 16 of 20: run `train ",
    ):
        frozen(copies, tmp_path / "world")
    assert not (tmp_path / "world").exists()


def test_a_frozen_world_knows_the_game_that_its_latent_actions_play(
    runs: Path, tmp_path: Path
) -> None:
    import toy_games  # noqa: F401  (registers them)

    file = tmp_path / "found.json"
    weights = weights_fingerprint(runs / "actions")
    codes = load_latent_actions(runs / "actions").actions

    def mapping(of: str = weights, count: int = codes) -> Path:
        entries = {str(code): {"action": code % 2, "meaning": None} for code in range(count)}
        file.write_text(json.dumps({"weights": of, "dictionary": entries}))
        return file

    game = "toy_games:Counter-v0"
    for words, named, of, count in [
        ("say which by --real-game", None, weights, codes),
        ("of the latent actions ab, but those of", game, "ab", codes),
        ("has actions for 0", game, weights, codes + 1),
        ("unknown game 'Nowhere-v0'", "Nowhere-v0", weights, codes),
    ]:
        played = {"real_game": named, "actions_map": mapping(of, count)}
        with pytest.raises(ValueError, match=words):
            frozen(runs, tmp_path / "world", **played)
        assert not (tmp_path / "world" / "config.json").exists()
    with pytest.raises(ValueError, match="give action_map="):
        frozen(runs, tmp_path / "world", real_game=game)

    without = frozen(runs, tmp_path / "without")
    played = {"real_game": game, "max_episode_steps": 7, "actions_map": mapping()}
    config = frozen(runs, tmp_path / "world", **played)
    assert config["real_game"] == "Counter-v0" and config["max_episode_steps"] == 7
    assert "real_game" not in without and without["max_episode_steps"] != 7
    assert "| `mapping.json` |" in (tmp_path / "world" / "README.md").read_text()
    with genie_env.RealEnv(tmp_path / "world") as env:
        env.reset(seed=1)
        env.step(0)
    own = tmp_path / "world" / "mapping.json"
    own.write_text(own.read_text() + " ")
    with pytest.raises(ValueError, match='mapping.json has changed: config.json has another "act'):
        genie_env.RealEnv(tmp_path / "world")
    frozen(runs, tmp_path / "world")
    assert not own.exists()

"""Episode stores: standard arrays that a kill, a full disk or a careless caller leaves whole."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import re
import resource
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genie_env._core import EpisodeStore, EpisodeWriter, FormatError

HEIGHT, WIDTH = 4, 6
ROW_ARRAYS = ("frames", "actions", "rewards", "terminations", "truncations")
META = json.dumps({"format_version": 1, "policy": "held", "seed": 3})

Arrays = dict[str, np.ndarray]


def episode(steps: int, seed: int = 0, terminated: bool = True) -> Arrays:
    generator = np.random.default_rng(seed)
    last = np.arange(steps) == steps - 1
    return {
        "frames": generator.integers(0, 256, (steps, HEIGHT, WIDTH, 3), dtype=np.uint8),
        "actions": generator.integers(0, 3, steps),
        "rewards": generator.random(steps, dtype=np.float32),
        "terminations": last & terminated,
        "truncations": last & (not terminated),
    }


def open_writer(directory: Path, meta: str = META) -> EpisodeWriter:
    return EpisodeWriter(directory, HEIGHT, WIDTH, meta)


def record(directory: Path, episodes: list[Arrays]) -> None:
    with open_writer(directory) as writer:
        for arrays in episodes:
            writer.append(**arrays)


def check(directory: Path, episodes: list[Arrays]) -> None:
    """The directory holds these episodes, for EpisodeStore and for plain NumPy."""
    store = EpisodeStore(directory)
    starts = np.cumsum([0] + [len(arrays["actions"]) for arrays in episodes])
    assert (store.num_episodes, store.num_frames) == (len(episodes), starts[-1])
    assert (store.height, store.width) == (HEIGHT, WIDTH)
    np.testing.assert_array_equal(store.episode_starts, starts)
    np.testing.assert_array_equal(np.load(directory / "episode_starts.npy"), starts)
    for name in ROW_ARRAYS:
        expected = np.concatenate([arrays[name] for arrays in episodes])
        plain = np.load(directory / f"{name}.npy", mmap_mode="r")
        for array in (getattr(store, name), plain):
            assert array.dtype == expected.dtype
            np.testing.assert_array_equal(array, expected)


@contextlib.contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file of this process can grow beyond `size` bytes: a disk that is really full."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def test_round_trip(tmp_path: Path) -> None:
    episodes = [episode(5, 1), episode(1, 2, terminated=False), episode(40, 3)]
    record(tmp_path / "new" / "store", episodes)
    check(tmp_path / "new" / "store", episodes)
    store = EpisodeStore(str(tmp_path / "new" / "store"))
    assert store.meta == META == (tmp_path / "new" / "store" / "meta.json").read_text()


def test_strided_arrays_are_stored_in_order(tmp_path: Path) -> None:
    plain = episode(6)
    backwards = {name: array[::-1].copy()[::-1] for name, array in plain.items()}
    assert not backwards["frames"].flags.c_contiguous
    record(tmp_path, [backwards])
    check(tmp_path, [plain])


def test_an_empty_store(tmp_path: Path) -> None:
    record(tmp_path, [])
    store = EpisodeStore(tmp_path)
    assert store.frames.shape == (0, HEIGHT, WIDTH, 3)
    assert store.actions.shape == (0,)
    assert store.episode_starts.tolist() == [0]
    assert not store.frames.flags.writeable


def test_views_cannot_be_written_and_outlive_the_store(tmp_path: Path) -> None:
    episodes = [episode(7)]
    record(tmp_path, episodes)
    store = EpisodeStore(tmp_path)
    views = {name: getattr(store, name) for name in (*ROW_ARRAYS, "episode_starts")}
    assert np.shares_memory(views["frames"], store.frames), "a view, not a copy"
    del store
    for name, view in views.items():
        with pytest.raises(ValueError, match="read-only"):
            view[0] = 0
        with pytest.raises(ValueError, match="cannot set WRITEABLE flag"):
            view.flags.writeable = True
        if name != "episode_starts":
            np.testing.assert_array_equal(view, episodes[0][name])


def test_a_store_sees_what_was_whole_when_it_was_opened(tmp_path: Path) -> None:
    with open_writer(tmp_path) as writer:
        writer.append(**episode(3))
        store = EpisodeStore(tmp_path)
        writer.append(**episode(4))
        assert (store.num_episodes, len(store.frames)) == (1, 3)
        assert EpisodeStore(tmp_path).num_episodes == writer.num_episodes == 2
        assert writer.num_frames == 7


def test_going_on_replaces_the_meta(tmp_path: Path) -> None:
    episodes = [episode(5, 1), episode(2, 2)]
    record(tmp_path, episodes[:1])
    again = '{"format_version": 1, "again": true}'
    with open_writer(tmp_path, again) as writer:
        assert writer.num_episodes == 1
        writer.append(**episodes[1])
    check(tmp_path, episodes)
    assert EpisodeStore(tmp_path).meta == again


def test_going_on_drops_an_episode_in_flight(tmp_path: Path) -> None:
    episodes = [episode(5, 1), episode(2, 2)]
    record(tmp_path, episodes[:1])
    # As a kill leaves it: some rows are there, and some of the headers count them.
    flying = np.load(tmp_path / "actions.npy")
    np.save(tmp_path / "actions.npy", np.concatenate([flying, [1, 2]]))
    with (tmp_path / "frames.npy").open("ab") as frames:
        frames.write(b"half a frame")
    assert EpisodeStore(tmp_path).actions.tolist() == episodes[0]["actions"].tolist()
    with open_writer(tmp_path) as writer:
        assert writer.num_frames == 5
        check(tmp_path, episodes[:1])
        writer.append(**episodes[1])
    check(tmp_path, episodes)


def test_going_on_after_numpy_wrote_the_arrays(tmp_path: Path) -> None:
    first, second = episode(5, 1), episode(6, 2)
    for name in ROW_ARRAYS:
        np.save(tmp_path / f"{name}.npy", first[name])
    np.save(tmp_path / "episode_starts.npy", np.array([0, 5]))
    (tmp_path / "meta.json").write_text(META)
    check(tmp_path, [first])
    record(tmp_path, [second])
    check(tmp_path, [first, second])


def keep_open(directory: Path, ready: Any, done: Any) -> None:
    with open_writer(directory):
        ready.set()
        done.wait()


def test_one_writer_a_directory(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    other = context.Process(target=keep_open, args=(tmp_path, ready, done))
    other.start()
    try:
        assert ready.wait(60)
        words = rf"^process {other.pid} on .* is recording into {tmp_path}: wait"
        with pytest.raises(RuntimeError, match=words):
            open_writer(tmp_path)
    finally:
        done.set()
        other.join()
    open_writer(tmp_path).close()


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    episodes = [episode(5, 1), episode(20, 2)]
    with open_writer(tmp_path) as writer:
        writer.append(**episodes[0])
        frame_bytes = HEIGHT * WIDTH * 3
        with file_size_limit(128 + 5 * frame_bytes + 100):
            with pytest.raises(RuntimeError) as error:
                writer.append(**episodes[1])
        assert str(error.value) == (
            f"cannot write {tmp_path}/frames.npy ({20 * frame_bytes - 100} of {20 * frame_bytes} "
            "bytes are missing): File too large. The episodes recorded before (1) are safe: make "
            "room on the disk, then go on recording into the same directory"
        )
        check(tmp_path, episodes[:1])
        writer.append(**episodes[1])  # There is room again.
    check(tmp_path, episodes)


def test_a_closed_writer_says_so(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    writer.close()
    writer.close()
    with pytest.raises(ValueError, match="the episode writer is closed; open a new one"):
        writer.append(**episode(3))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"frames": np.zeros((3, HEIGHT, WIDTH, 3))}, "frames has dtype float64, expected uint8"),
        (
            {"frames": np.zeros((3, WIDTH, HEIGHT, 3), np.uint8)},
            r"frames has the shape \(3, 6, 4, 3\), expected \(3, 4, 6, 3\)",
        ),
        ({"actions": np.zeros(3, np.int32)}, "actions has dtype int32, expected int64"),
        ({"actions": np.zeros((3, 1), np.int64)}, r"actions has the shape \(3, 1\), expected \(T,\)"),
        ({"rewards": np.zeros(3)}, "rewards has dtype float64, expected float32"),
        ({"rewards": np.zeros(2, np.float32)}, r"rewards has the shape \(2,\), expected \(3,\)"),
        ({"terminations": np.zeros(3, np.uint8)}, "terminations has dtype uint8, expected bool"),
        ({"truncations": np.ones((), bool)}, r"truncations has the shape \(\), expected \(3,\)"),
        ({"actions": np.array([0, 1, -1])}, "the episode's action 2 is -1, expected 0 or more"),
        (
            {"terminations": np.zeros(3, bool)},
            "the episode has neither its termination nor its truncation set at its last frame",
        ),
        (
            {"truncations": np.ones(3, bool)},
            "the episode ends at step 0, before its last frame",
        ),
    ],
)
def test_wrong_episodes_are_refused(tmp_path: Path, change: Arrays, words: str) -> None:
    with open_writer(tmp_path) as writer:
        writer.append(**episode(2))
        with pytest.raises(ValueError, match=words):
            writer.append(**(episode(3) | change))
    check(tmp_path, [episode(2)])


def test_an_empty_episode_is_refused(tmp_path: Path) -> None:
    nothing = {name: array[:0] for name, array in episode(1).items()}
    with open_writer(tmp_path) as writer, pytest.raises(ValueError, match="the episode is empty"):
        writer.append(**nothing)


def test_lists_are_refused(tmp_path: Path) -> None:
    with open_writer(tmp_path) as writer, pytest.raises(TypeError, match="numpy.ndarray"):
        writer.append(**(episode(2) | {"actions": [0, 1]}))


def test_wrong_writers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="frames of 0 x 64 were asked for, expected sides of 1"):
        EpisodeWriter(tmp_path / "a", 0, 64, META)
    with pytest.raises(ValueError, match="meta is not valid JSON at byte 1"):
        EpisodeWriter(tmp_path / "a", 64, 64, "held")
    assert not (tmp_path / "a").exists(), "nothing is made before all is checked"
    record(tmp_path / "b", [episode(3)])
    with pytest.raises(ValueError, match="b holds frames of 4 x 6, but 64 x 64 were asked for"):
        EpisodeWriter(tmp_path / "b", 64, 64, META)
    check(tmp_path / "b", [episode(3)])


def test_somebody_elses_arrays_are_not_overwritten(tmp_path: Path) -> None:
    np.save(tmp_path / "frames.npy", np.ones((10, HEIGHT, WIDTH, 3), np.uint8))
    with pytest.raises(FormatError, match="has a frames.npy but no episode_starts.npy"):
        open_writer(tmp_path)
    assert np.load(tmp_path / "frames.npy").sum() == 10 * HEIGHT * WIDTH * 3


@pytest.mark.parametrize("version", [None, "3", '"x"', "null", "1.0", "true", str(10**30)])
def test_other_format_versions_are_refused(tmp_path: Path, version: str | None) -> None:
    record(tmp_path, [episode(3)])
    other = "{}" if version is None else f'{{"format_version": {version}}}'
    (tmp_path / "meta.json").write_text(other)
    words = f"{tmp_path}/meta.json" + (
        ' has no "format_version", expected 1 to 2'
        if version is None
        else f': "format_version" is {"1e+30" if version == str(10**30) else version}, but this '
        "genie_env reads 1 to 2: install one that matches the recording"
    )
    for use in (EpisodeStore, open_writer):
        with pytest.raises(FormatError, match=re.escape(words)):
            use(tmp_path)
    assert (tmp_path / "meta.json").read_text() == other
    with pytest.raises(ValueError, match='^meta(: | has no )"format_version"'):
        open_writer(tmp_path / "new", other)
    assert not (tmp_path / "new").exists()


def test_a_power_loss_takes_the_last_episodes_only(tmp_path: Path) -> None:
    """A header may reach the disk before the rows that it counts."""
    episodes = [episode(5, 1), episode(4, 2), episode(6, 3)]
    record(tmp_path, episodes)
    os.truncate(tmp_path / "rewards.npy", 128 + 4 * 10)
    words = re.escape(
        f"{tmp_path}: 1 of 3 episodes are lost, as after a power loss or in an incomplete copy: "
        f"{tmp_path}/rewards.npy has 10 rows, but episode_starts.npy promises 15 for episode 2; "
        "the first 2 are whole"
    )
    with pytest.warns(RuntimeWarning, match=words):
        store = EpisodeStore(tmp_path)
    assert (store.num_episodes, store.num_frames) == (2, 9)
    assert store.episode_starts.tolist() == [0, 5, 9]
    np.testing.assert_array_equal(store.frames[5:], episodes[1]["frames"])
    with pytest.warns(RuntimeWarning, match=f"{words}; what .* was copied to {tmp_path}/lost_1"):
        writer = open_writer(tmp_path)
    np.testing.assert_array_equal(np.load(tmp_path / "lost_1/frames.npy"), episodes[2]["frames"])
    with writer, warnings.catch_warnings():
        warnings.simplefilter("error")
        writer.append(**episodes[2])
        check(tmp_path, episodes)


@pytest.mark.parametrize("action", [-1, -(2**63)])
def test_negative_actions_are_named(tmp_path: Path, action: int) -> None:
    record(tmp_path, [episode(3), episode(4)])
    actions = np.load(tmp_path / "actions.npy")
    actions[5:] = action
    np.save(tmp_path / "actions.npy", actions)
    with pytest.raises(FormatError) as error:
        EpisodeStore(tmp_path)
    expected = f"{tmp_path}/actions.npy: action 5 is {action}, expected 0 or more"
    assert str(error.value) == expected


def test_missing_and_damaged_directories(tmp_path: Path) -> None:
    assert issubclass(FormatError, ValueError)
    with pytest.raises(FormatError, match="nowhere is not a directory of episodes: No such file"):
        EpisodeStore(tmp_path / "nowhere")
    with pytest.raises(FormatError, match="it has no episode_starts.npy"):
        EpisodeStore(tmp_path)
    record(tmp_path, [episode(3)])
    (tmp_path / "rewards.npy").unlink()
    with pytest.raises(FormatError, match="rewards.npy: No such file or directory"):
        EpisodeStore(tmp_path)

"""Recordings of format 2, whose meta.json declares their arrays, from Python."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genie_env._core import EpisodeStore, EpisodeWriter, FormatError

HEIGHT, WIDTH = 4, 6
Arrays = dict[str, Any]


def column(dtype: str, *shape: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape)}


def meta(actions: dict[str, Any], dtype: str, *shape: int, final_frames: bool = True) -> str:
    declared = {
        "format_version": 2,
        "columns": {
            "frames": column("uint8", HEIGHT, WIDTH, 3),
            "actions": column(dtype, *shape),
            "rewards": column("float32"),
            "terminations": column("bool"),
            "truncations": column("bool"),
        },
        "actions": actions,
    }
    if final_frames:
        declared["episode_columns"] = {"final_frames": column("uint8", HEIGHT, WIDTH, 3)}
    return json.dumps(declared)


BOX = meta({"type": "box", "shape": [2], "low": [-2, -2], "high": [2, 2]}, "float32", 2)
NUMBERED = meta(
    {"type": "discrete", "meanings": ["a", "b"], "start": -5}, "int64", final_frames=False
)


def episode(steps: int, *, box: bool = True, seed: int = 0) -> Arrays:
    draw = np.random.default_rng(seed)
    pictures = draw.integers(0, 256, (steps + 1, HEIGHT, WIDTH, 3), dtype=np.uint8)
    last = np.arange(steps) == steps - 1
    return {
        "frames": pictures[:-1],
        "actions": draw.uniform(-2, 2, (steps, 2)).astype(np.float32)
        if box
        else draw.integers(-5, -3, steps),
        "rewards": draw.random(steps, dtype=np.float32),
        "terminations": last,
        "truncations": ~last & last,
        **({"final_frame": pictures[-1]} if box else {}),
    }


def test_a_box_comes_back_as_float32(tmp_path: Path) -> None:
    episodes = [episode(1, seed=1), episode(5, seed=2), episode(1, seed=3)]
    with EpisodeWriter(tmp_path, HEIGHT, WIDTH, BOX) as writer:
        for each in episodes:
            writer.append(**each)
    store = EpisodeStore(tmp_path)
    assert store.actions.dtype == np.float32
    assert store.actions.shape == (7, 2)
    np.testing.assert_array_equal(store.actions, np.concatenate([e["actions"] for e in episodes]))
    finals = store.final_frames
    assert finals is not None
    np.testing.assert_array_equal(finals, np.stack([e["final_frame"] for e in episodes]))
    for name, view in (("actions", store.actions), ("final_frames", finals)):
        assert not view.flags.writeable
        np.testing.assert_array_equal(np.load(tmp_path / f"{name}.npy", mmap_mode="r"), view)


def test_numbered_actions_may_start_anywhere(tmp_path: Path) -> None:
    with EpisodeWriter(tmp_path, HEIGHT, WIDTH, NUMBERED) as writer:
        writer.append(**episode(9, box=False))
    store = EpisodeStore(tmp_path)
    assert store.actions.dtype == np.int64
    assert set(store.actions.tolist()) == {-5, -4}
    assert store.final_frames is None


def test_an_empty_store_of_a_box(tmp_path: Path) -> None:
    EpisodeWriter(tmp_path, HEIGHT, WIDTH, BOX).close()
    store = EpisodeStore(tmp_path)
    assert store.actions.shape == (0, 2)
    assert store.final_frames is not None
    assert store.final_frames.shape == (0, HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"actions": np.zeros((3, 2))}, "actions has dtype float64, expected float32"),
        ({"actions": np.zeros(3, np.int64)}, "actions has the shape (3,), expected (T, ...)"),
        (
            {"actions": np.zeros((3, 3), np.float32)},
            "actions has the shape (3, 3), expected (3, 2)",
        ),
        (
            {"actions": np.full((3, 2), np.nan, np.float32)},
            "the episode's action 0 has nan as its number 0, expected a finite number",
        ),
        (
            {"actions": np.full((3, 2), -2.1, np.float32)},
            "the episode's action 0 has -2.1 as its number 0, expected -2 to 2",
        ),
        ({"final_frame": None}, "the episode has no final_frame, which meta declares"),
        (
            {"final_frame": np.zeros((HEIGHT, WIDTH), np.uint8)},
            "final_frame has the shape (4, 6), expected (4, 6, 3)",
        ),
    ],
)
def test_wrong_episodes_are_refused(tmp_path: Path, change: Arrays, words: str) -> None:
    with EpisodeWriter(tmp_path, HEIGHT, WIDTH, BOX) as writer:
        with pytest.raises(ValueError, match=re.escape(words)):
            writer.append(**{**episode(3), **change})
        writer.append(**episode(3))
        assert writer.num_episodes == 1


def test_a_final_frame_that_is_not_declared_is_refused(tmp_path: Path) -> None:
    with EpisodeWriter(tmp_path, HEIGHT, WIDTH, NUMBERED) as writer:
        given = {**episode(2, box=False), "final_frame": np.zeros((HEIGHT, WIDTH, 3), np.uint8)}
        with pytest.raises(ValueError, match="which meta does not declare"):
            writer.append(**given)


def test_a_recording_of_format_1_goes_on_in_format_1_alone(tmp_path: Path) -> None:
    first = json.dumps({"format_version": 1})
    old = {**episode(2, box=False), "actions": np.array([0, 1])}
    with EpisodeWriter(tmp_path, HEIGHT, WIDTH, first) as writer:
        writer.append(**old)
    with pytest.raises(ValueError, match="holds episodes of format 1, but meta is of format 2"):
        EpisodeWriter(tmp_path, HEIGHT, WIDTH, NUMBERED)
    with EpisodeWriter(tmp_path, HEIGHT, WIDTH, first) as writer:
        writer.append(**old)
    assert EpisodeStore(tmp_path).num_episodes == 2
    assert EpisodeStore(tmp_path).final_frames is None


def test_short_final_frames_are_a_loss(tmp_path: Path) -> None:
    with EpisodeWriter(tmp_path, HEIGHT, WIDTH, BOX) as writer:
        for steps in (2, 3, 1):
            writer.append(**episode(steps))
    whole = np.load(tmp_path / "final_frames.npy")
    with (tmp_path / "final_frames.npy").open("r+b") as file:
        file.truncate(128 + 2 * whole[0].nbytes)
    with pytest.warns(RuntimeWarning, match="1 of 3 episodes are lost"):
        store = EpisodeStore(tmp_path)
    assert store.final_frames is not None
    np.testing.assert_array_equal(store.final_frames, whole[:2])
    assert store.num_frames == 5


def test_an_array_of_another_dtype_than_declared_is_refused(tmp_path: Path) -> None:
    with EpisodeWriter(tmp_path, HEIGHT, WIDTH, BOX) as writer:
        writer.append(**episode(3))
    np.save(tmp_path / "actions.npy", np.zeros(3, np.int64))
    words = re.escape(f"{tmp_path}/actions.npy has ")
    with pytest.raises(FormatError, match=words):
        EpisodeStore(tmp_path)

"""Labels of recorded frames: as the game gives them, beside frames that they do not change."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import toy_games  # noqa: F401  (registers its games)

from genie_env._core import EpisodeStore
from genie_env.cli.record import record
from genie_env.data.labels import append_labels, read_labels
from genie_env.data.players import BlindPlayer
from genie_env.data.recording import record_episodes
from genie_env.games.doom import DoomGame
from genie_env.games.labels import packed

DOOM = "doom-take-cover"


def test_packed_by_class_the_largest_first_and_no_more_than_fit() -> None:
    small, large, imp = (0, 0.1, 0.2, 0.1, 0.1, 1), (0, 0.5, 0.2, 0.3, 0.3, 2), (1, 0, 0, 1, 1, 3)
    labels = packed([imp, small, large])
    assert labels.dtype == np.float32 and labels.shape == (8, 6)
    assert labels[:3] == pytest.approx(np.array([large, small, imp]))
    assert np.isnan(labels[3:]).all() and np.isnan(packed([])).all()
    assert packed([imp] * 9 + [small])[:, 0].tolist() == [0] + [1] * 7


def test_a_game_that_labels_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Counter-v0 does not say what objects its frames show"):
        record("toy_games:Counter-v0", tmp_path / "out", labels=True)
    assert not (tmp_path / "out").exists()


def test_doom_names_what_is_there_and_shows_the_same_frames(tmp_path: Path) -> None:
    pytest.importorskip("vizdoom")
    game = DoomGame(DOOM, frame_skip=4)
    plain, labelled = (BlindPlayer(game, 5, ("held",), labelled=kept) for kept in (False, True))
    record_episodes(plain, tmp_path / "plain", 2, workers=1)
    record_episodes(labelled, tmp_path / "labelled", 1, workers=1)
    record_episodes(labelled, tmp_path / "labelled", 2, workers=1)  # goes on
    stores = [EpisodeStore(tmp_path / name) for name in ("plain", "labelled")]
    assert np.array_equal(stores[0].frames, stores[1].frames)

    found = read_labels(tmp_path / "labelled", stores[1])
    assert found.classes == ("fireball", "imp")
    assert found.values.shape == (stores[1].num_frames, 8, 6)
    for episode in range(2):
        found.check_episode(stores[1], episode)
    objects = found.values[~np.isnan(found.values[..., 0])]
    assert (
        set(objects[:, 0]) == {0, 1}
        and (objects[:, 1:5] > 0).all()
        and (objects[:, 1:5] <= 1).all()
    )
    # A fireball is brighter than the wall that it flies before.
    balls = found.values[found.values[:, 0, 0] == 0]
    frames = np.asarray(stores[1].frames)[found.values[:, 0, 0] == 0].max(-1)
    near = balls[:, 0, 3] > 0.04
    at = (balls[near, 0, 1:3] * 64).astype(int)
    inside = frames[near][np.arange(near.sum()), at[:, 1], at[:, 0]]
    assert near.sum() > 10 and np.median(inside) > np.median(frames) + 60

    with pytest.raises(ValueError, match=r"recorded otherwise \(labels was \{'dtype"):
        record_episodes(plain, tmp_path / "labelled", 3, workers=1)


def test_labels_that_a_killed_recording_left_are_replaced(tmp_path: Path) -> None:
    frames = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    labels = np.stack([packed([]), packed([(0, 0.5, 0.5, 0.1, 0.1, 1)])])
    append_labels(tmp_path, 0, 0, frames, labels)
    append_labels(tmp_path, 2, 1, frames, labels)  # its frames were never written
    append_labels(tmp_path, 2, 1, frames[:1], labels[:1])
    assert np.array_equal(
        np.load(tmp_path / "labels.npy"), np.concatenate([labels, labels[:1]]), equal_nan=True
    )
    assert np.load(tmp_path / "labelled_frames.npy").shape == (2,)
    with pytest.raises(ValueError, match=r"labels\.npy labels 3 rows, but the recording has 9"):
        append_labels(tmp_path, 9, 2, frames, labels)


def test_the_declaration_says_all(tmp_path: Path) -> None:
    pytest.importorskip("vizdoom")
    record(DOOM, tmp_path, episodes=1, workers=1, frame_skip=20, labels=True)
    meta = json.loads((tmp_path / "meta.json").read_text())
    assert meta["labels"] == {
        "dtype": "float32",
        "shape": [8, 6],
        "classes": ["fireball", "imp"],
    }
    assert np.load(tmp_path / "labels.npy", mmap_mode="r").dtype == np.float32

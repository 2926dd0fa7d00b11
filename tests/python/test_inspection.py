"""What `genie-env inspect` says about recorded episodes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genie_env._core import EpisodeStore, EpisodeWriter
from genie_env.cli.inspect import inspect
from genie_env.data.inspection import Contents, contact_sheet


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Three episodes of 4, 3 and 30 steps; frame t is filled with 10 * episode + t."""
    told = {"game": "doom-take-cover", "seed": 5, "actions": ["left", "stay", "right"]}
    meta = {"format_version": 1, **told}
    schedules = [[0, 0, 1, 1], [1, 2, 2], [2] * 30]
    with EpisodeWriter(tmp_path, 8, 8, json.dumps(meta)) as writer:
        for number, actions in enumerate(schedules):
            steps = np.arange(len(actions))
            frames = np.empty((len(steps), 8, 8, 3), np.uint8)
            frames[:] = (10 * number + steps)[:, None, None, None]
            rewards = np.full(len(steps), 0.5, np.float32)
            last = steps == len(steps) - 1
            cut = number == 2
            writer.append(frames, np.array(actions), rewards, last & (not cut), last & cut)
    return tmp_path


def test_counts_are_exact(directory: Path) -> None:
    contents = Contents.of(EpisodeStore(directory))
    assert contents.lengths.tolist() == [4, 3, 30]
    assert contents.scores.tolist() == [2.0, 1.5, 15.0]
    assert contents.terminated == 2
    assert contents.actions == {0: 2, 1: 3, 2: 32}
    # An action is not held across the border of two episodes.
    assert contents.holds.tolist() == [2, 2, 1, 2, 30]


def test_prints_them_and_writes_a_picture(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inspect(directory)
    text = " ".join(capsys.readouterr().out.split())
    assert "3 episodes, 37 frames" in text
    assert "game doom-take-cover, seed 5" in text
    meta = {"format_version": 1, "game": "doom-take-cover", "frame_skip": 4}
    (directory / "meta.json").write_text(json.dumps(meta))
    inspect(directory)
    # The rate of its game, as a recording that does not say it is of an older version.
    assert "frame_skip 4, frames_per_second 8.75" in " ".join(capsys.readouterr().out.split())
    assert "ended by the game 2, cut by a time limit 1" in text
    assert "mean 12.3, std 12.5, min 3, median 4, max 30" in text
    assert "0 left 2 5.4%" in text and "2 right 32 86.5%" in text
    assert "17 to 32 30 81.1%" in text
    picture = np.asarray(Image.open(directory / "contact_sheet.png"))
    assert np.array_equal(picture, contact_sheet(EpisodeStore(directory)))


@pytest.mark.parametrize("action", [7, 2**45])
def test_an_action_without_a_meaning_is_shown_as_such(
    directory: Path, capsys: pytest.CaptureFixture[str], action: int
) -> None:
    actions = np.load(directory / "actions.npy")
    actions[-1] = action
    np.save(directory / "actions.npy", actions)
    inspect(directory)
    assert f"{action} (not in meta.json) 1 2.7%" in " ".join(capsys.readouterr().out.split())


def test_a_negative_action_is_named(directory: Path) -> None:
    actions = np.load(directory / "actions.npy")
    actions[5] = -1
    np.save(directory / "actions.npy", actions)
    with pytest.raises(ValueError, match=r"actions.npy: action 5 is -1, expected 0 or more"):
        inspect(directory)


def test_the_sheet_shows_first_and_last_frames(directory: Path) -> None:
    sheet = contact_sheet(EpisodeStore(directory))
    assert sheet.shape == (3 * (8 + 14), 12 * (8 + 2), 3)
    for row, (first, last) in enumerate([(0, 3), (10, 12), (20, 49)]):
        y = row * (8 + 14) + 14
        assert (sheet[y : y + 8, :8] == first).all()
        assert (sheet[y : y + 8, 110:118] == last).all()


def test_an_empty_directory_of_episodes_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    EpisodeWriter(tmp_path, 8, 8, '{"format_version": 1}').close()
    inspect(tmp_path)
    assert "0 episodes, 0 frames" in capsys.readouterr().out


def test_a_directory_without_episodes_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing-here"):
        inspect(tmp_path / "nothing-here")

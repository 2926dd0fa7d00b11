"""Actions that push on where the picture stands still."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genie_env._core import EpisodeStore, EpisodeWriter
from genie_env.training.held_codes import hold_codes

TOKENS = 10


def stores_of(
    directory: Path, lengths: list[int], red: list[list[int]] | None = None
) -> list[EpisodeStore]:
    """Episodes that are black, or as red as `red` says, a number a frame."""
    with EpisodeWriter(str(directory), 4, 4, json.dumps({"format_version": 1})) as writer:
        for episode, length in enumerate(lengths):
            frames = np.zeros((length, 4, 4, 3), np.uint8)
            if red is not None:
                frames[..., 0] = np.reshape(red[episode], (-1, 1, 1))
            last = np.arange(length) == length - 1
            actions, rewards = np.zeros(length, np.int64), np.ones(length, np.float32)
            writer.append(frames, actions, rewards, last, np.zeros(length, bool))
    return [EpisodeStore(str(directory))]


def tokens_of(changes: list[int]) -> Any:
    """A frame, and then one more for each number of tokens that change."""
    tokens = np.zeros((len(changes) + 1, TOKENS), np.uint16)
    for frame, count in enumerate(changes):
        tokens[frame + 1] = tokens[frame]
        tokens[frame + 1, :count] += 1
    return tokens


def held(stores: list[EpisodeStore], tokens: Any, actions: Any, share: float, seed: int = 0) -> Any:
    (found,) = hold_codes(stores, [tokens], [np.array(actions, np.uint8)], share, seed)
    assert found.dtype == np.uint8
    return found.tolist()


def test_what_stands_still_is_learned_under_what_moved_it_last(tmp_path: Path) -> None:
    #                still  moves  still                    moves  still, once
    changes = [0, 0, 0, 10, 4, 3, 0, 10, 0, 10, 10, 0, 10, 10]
    stores = stores_of(tmp_path, [len(changes) + 1])
    actions = [5, 5, 5, 1, 2, 5, 5, 5, 5, 0, 1, 5, 3, 1, 9]
    # Nothing has moved before the first three. An action that means that nothing moves (5) belongs to a
    # time of stillness whatever changes, once two transitions have stood still; no frame follows the last.
    expected = [5, 5, 5, 1, 2, 5, 2, 2, 2, 0, 1, 5, 3, 1, 9]
    assert held(stores, tokens_of(changes), actions, 1.0) == expected
    assert held(stores, tokens_of(changes), actions, 0.0) == actions


def test_a_picture_stands_still_where_seven_of_ten_tokens_stay(tmp_path: Path) -> None:
    for changed, expected in [(3, [1, 5, 1, 1, 0, 0, 0]), (4, [1, 5, 5, 5, 0, 0, 0])]:
        stores = stores_of(tmp_path / str(changed), [7])
        tokens = tokens_of([10, *[changed] * 3, 10, 10])
        assert held(stores, tokens, [1, 5, 5, 5, 0, 0, 0], 1.0) == expected


def test_a_flash_is_under_the_action_before_it(tmp_path: Path) -> None:
    # A jump by 38 of 255 is no flash, by 39 it is one.
    red = [90, 0, 0, 255, 200, 162, 161, 122, 122, 122, 122, 0]
    stores = stores_of(tmp_path, [len(red)], [red])
    tokens = tokens_of([10, 10, 10, 10, 10, 10, 10, 0, 0, 0, 10])
    actions = [5, 1, 5, 5, 2, 3, 5, 4, 4, 4, 5, 9]
    # Nothing comes before the first.
    assert held(stores, tokens, actions, 0.0) == [5, 1, 1, 1, 2, 3, 3, 4, 4, 4, 4, 9]
    # A time of stillness goes on over it, and so does what it is under.
    assert held(stores, tokens, actions, 1.0) == [5, 1, 1, 1, 2, 3, 3, 4, 3, 3, 3, 9]


def test_nothing_is_held_beyond_its_episode(tmp_path: Path) -> None:
    flashes, quiet = [99, 0, 0, 0, 0, 0, 0, 0], [0] * 8
    red = [flashes, quiet, *[flashes] * 19]  # the 20th is held out
    stores = stores_of(tmp_path, [8] * 21, red)
    pushed, still_at_first = tokens_of([10, 10, 0, 0, 0, 10, 10]), tokens_of([0, 0, 0, 10, 10, 10, 10])
    tokens = np.concatenate([pushed, still_at_first, *[pushed] * 19])
    actions = [1, 4, 2, 2, 2, 1, 1, 3]
    expected = [[1, 4, 2, 4, 4, 1, 1, 3]] * 21
    expected[1] = expected[19] = actions
    assert np.reshape(held(stores, tokens, actions * 21, 1.0), (21, 8)).tolist() == expected


def test_a_time_of_stillness_is_held_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    times = 400
    stores = stores_of(tmp_path, [7 * times + 1])
    tokens = tokens_of([10, 10, 10, 10, 0, 0, 0] * times)
    actions = [1, 1, 1, 1, 2, 2, 2] * times + [0]
    found = held(stores, tokens, actions, 0.25, seed=3)
    pushes = np.reshape(found[:-1], (times, 7))
    assert np.all(pushes[:, :5] == [1, 1, 1, 1, 2]) and np.all(pushes[:, 5] == pushes[:, 6])
    assert 0.18 < np.mean(pushes[:, 5] == 1) < 0.32
    assert held(stores, tokens, actions, 0.25, seed=3) == found
    assert held(stores, tokens, actions, 0.25, seed=4) != found


def test_recordings_together(tmp_path: Path) -> None:
    """Which actions mean that nothing moves is found in all, and an empty one holds nothing."""
    changes = [10, 0, 0, 10, 10, 10, 10]
    stores = [
        *stores_of(tmp_path / "one", [8]),
        *stores_of(tmp_path / "empty", []),
        *stores_of(tmp_path / "other", [8]),
    ]
    tokens: Any = [tokens_of(changes), np.zeros((0, TOKENS), np.uint16), tokens_of(changes)]
    actions: Any = [
        np.array(each, np.uint8) for each in ([1, 5, 5, 6, 1, 1, 1, 0], [], [2, 6, 6, 5, 6, 2, 2, 0])
    ]
    found = [each.tolist() for each in hold_codes(stores, tokens, actions, 1.0, seed=0)]
    assert found == [[1, 5, 1, 1, 1, 1, 1, 0], [], [2, 6, 2, 2, 2, 2, 2, 0]]


def test_recordings_that_mostly_stand_still_bring_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stores = stores_of(tmp_path, [6])
    held(stores, tokens_of([0, 0, 10, 10, 10]), [1] * 6, 1.0)
    assert capsys.readouterr().out == ""
    held(stores, tokens_of([0, 0, 0, 10, 10]), [1] * 6, 1.0)
    assert "3 of 5 recorded transitions stand still, and --held-codes" in capsys.readouterr().out


@pytest.mark.parametrize("length", [1, 2])
def test_the_shortest_episodes(tmp_path: Path, length: int) -> None:
    stores = stores_of(tmp_path, [length])
    assert held(stores, tokens_of([10] * (length - 1)), [1] * length, 1.0) == [1] * length

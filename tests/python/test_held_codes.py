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


def stores_of(directory: Path, lengths: list[int], red: Any = 0) -> list[EpisodeStore]:
    """Episodes that are black, or as red as `red` says, [frames] each."""
    with EpisodeWriter(str(directory), 4, 4, json.dumps({"format_version": 1})) as writer:
        for length in lengths:
            frames = np.zeros((length, 4, 4, 3), np.uint8)
            frames[..., 0] = np.reshape(red, (-1, 1, 1))
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


def test_what_stands_still_is_learned_under_what_moved_it_last(tmp_path: Path) -> None:
    stores = stores_of(tmp_path, [9])
    #                   still  moves    ...   still: 7 of 10 stay
    tokens = tokens_of([0, 0, 10, 4, 3, 0, 2, 5])
    actions = np.array([5, 5, 1, 2, 3, 3, 4, 0, 9], np.uint8)
    (held,) = hold_codes(stores, [tokens], [actions], 1.0, seed=0)
    # Nothing has moved before the first two; the last has no frame after it.
    assert held.tolist() == [5, 5, 1, 2, 2, 2, 2, 0, 9] and held.dtype == actions.dtype
    (none,) = hold_codes(stores, [tokens], [actions], 0.0, seed=0)
    assert none.tolist() == actions.tolist() == [5, 5, 1, 2, 3, 3, 4, 0, 9]


def test_a_flash_is_under_the_action_before_it(tmp_path: Path) -> None:
    red = [90, 0, 0, 255, 200, 162, 161, 122, 122, 0]
    stores = stores_of(tmp_path, [len(red)], red)
    # A jump by 38 of 255 is no flash, by 39 it is one.
    tokens = tokens_of([10, 10, 10, 10, 10, 10, 10, 0, 10])
    actions = np.array([5, 1, 5, 5, 2, 3, 5, 4, 5, 9], np.uint8)
    (held,) = hold_codes(stores, [tokens], [actions], 0.0, seed=0)
    # Nothing comes before the first.
    assert held.tolist() == [5, 1, 1, 1, 2, 3, 3, 4, 4, 9]
    (held,) = hold_codes(stores, [tokens], [actions], 1.0, seed=0)
    # What stands still after a flash is under what moved the picture before it, and so is the flash then.
    assert held.tolist() == [5, 1, 1, 1, 2, 3, 3, 3, 3, 9]


def test_a_push_ends_with_its_episode(tmp_path: Path) -> None:
    lengths = [3] * 21  # the 20th is held out
    stores = stores_of(tmp_path, lengths)
    tokens = np.concatenate([tokens_of([10, 0]), tokens_of([0, 0]), *[tokens_of([10, 0])] * 19])
    actions = np.tile(np.array([1, 2, 3], np.uint8), len(lengths))
    (held,) = hold_codes(stores, [tokens], [actions], 1.0, seed=0)
    assert held.reshape(-1, 3).tolist() == [
        [1, 1, 3],
        [1, 2, 3],
        *[[1, 1, 3]] * 17,
        [1, 2, 3],
        [1, 1, 3],
    ]


def test_a_time_of_stillness_is_held_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    times = 400
    stores = stores_of(tmp_path, [3 * times + 1])
    tokens = tokens_of([10, 0, 0] * times)
    actions = np.array([1, 2, 2] * times + [0], np.uint8)
    (held,) = hold_codes(stores, [tokens], [actions], 0.25, seed=3)
    pushes = held[:-1].reshape(times, 3)
    assert np.all(pushes[:, 1] == pushes[:, 2])
    assert 0.18 < np.mean(pushes[:, 1] == 1) < 0.32
    (again,), (other,) = (hold_codes(stores, [tokens], [actions], 0.25, seed) for seed in (3, 4))
    assert np.array_equal(held, again) and not np.array_equal(held, other)


@pytest.mark.parametrize("length", [1, 2])
def test_the_shortest_episodes(tmp_path: Path, length: int) -> None:
    stores = stores_of(tmp_path, [length])
    actions = np.ones(length, np.uint8)
    (held,) = hold_codes(stores, [tokens_of([0] * (length - 1))], [actions], 1.0, seed=0)
    assert held.tolist() == actions.tolist()

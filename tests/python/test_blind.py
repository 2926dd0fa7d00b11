"""Blind policies: schedules of actions, those of any game and those of Doom."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from genie_env.envs.actions import BoxActions, DiscreteActions
from genie_env.games import blind
from genie_env.games.base import Game
from genie_env.games.doom import LEFT, RIGHT, STAY
from genie_env.games.registry import find_game

DOOM = find_game("doom-take-cover")
NAMES = [name.replace("K", "60") for name in DOOM.policies]


def numbered(count: int, start: int = 0) -> DiscreteActions:
    return DiscreteActions(tuple(map(str, range(count))), start)


def explored_actions(
    fraction: float, seed: int, steps: int, count: int, frame_skip: int = 1
) -> np.ndarray:
    """An action, or -1 where the policy plays itself."""
    overruled, actions = blind.explored_actions(fraction, seed, steps, numbered(count), frame_skip)
    return np.where(overruled, actions, -1)


class Numbered(Game):
    """A game that says no more than how many actions it has."""

    frame_size = (64, 64)
    frames_per_second = None
    make = None  # type: ignore[assignment]

    @property
    def actions(self) -> DiscreteActions:
        return numbered(int(self.name))


def blind_actions(
    name: str, seed: int, steps: int, num_actions: int = 3, frame_skip: int = 1
) -> np.ndarray:
    """Doom's, or those of a game with another number of actions."""
    kind = Numbered if num_actions != 3 else type(DOOM)
    return kind(str(num_actions), frame_skip).blind_actions(name, seed, steps)


def runs(actions: np.ndarray) -> np.ndarray:
    """The lengths of stretches of equal actions."""
    changes = np.flatnonzero(np.diff(actions)) + 1
    return np.diff([0, *changes, len(actions)])


@pytest.mark.parametrize("name", NAMES)
def test_depends_on_name_and_seed_and_grows_at_the_end(name: str) -> None:
    actions = blind_actions(name, 7, 2100)
    assert actions.dtype == np.int64 and actions.shape == (2100,)
    assert set(actions) <= {LEFT, STAY, RIGHT}
    assert np.array_equal(blind_actions(name, 7, 100), actions[:100])


@pytest.mark.parametrize("name", NAMES)
def test_policies_count_tics_whatever_the_frame_skip(name: str) -> None:
    """A sweep of 60 tics is 15 steps of 4."""
    tics = blind_actions(name, 7, 2100)
    assert np.array_equal(blind_actions(name, 7, 525, frame_skip=4), tics[::4])
    overruled = explored_actions(0.5, 7, 2100, 3)
    assert np.array_equal(explored_actions(0.5, 7, 525, 3, frame_skip=4), overruled[::4])


@pytest.mark.parametrize("name", ["random", "held", "long-held", "sweeps"])
def test_seeds_differ(name: str) -> None:
    assert not np.array_equal(blind_actions(name, 1, 200), blind_actions(name, 2, 200))


def test_constants_and_sweeps() -> None:
    assert set(blind_actions("left", 0, 9)) == {LEFT}
    assert set(blind_actions("right", 0, 9)) == {RIGHT}
    assert set(blind_actions("still", 0, 9)) == {STAY}
    assert blind_actions("sweep:2", 0, 7).tolist() == [LEFT, LEFT, RIGHT, RIGHT, LEFT, LEFT, RIGHT]
    for seed in range(20):
        inner = runs(blind_actions("sweeps", seed, 2100))[1:-1]
        assert len(set(inner)) == 1 and 20 <= inner[0] <= 150


def test_held_actions_are_uniform_and_last_1_to_10() -> None:
    actions = blind_actions("held", 0, 100_000)
    assert np.bincount(actions) / 100_000 == pytest.approx(np.full(3, 1 / 3), abs=0.02)
    # Two holds in a row are of the same action a third of the time, so runs are 1.5 times as long.
    assert runs(actions).mean() == pytest.approx(5.5 * 1.5, rel=0.03)


def test_long_holds_are_log_uniform() -> None:
    lengths = runs(blind_actions("long-held", 0, 100_000, num_actions=1000))
    assert lengths.max() <= 121 * 2
    # As many of 1 to 10 as of 11 to 120.
    assert (lengths <= 10).mean() == pytest.approx(0.5, abs=0.03)


def test_the_mixture_has_its_parts() -> None:
    schedules = [blind_actions("mixture", seed, 400) for seed in range(1500)]
    constant = np.mean([len(runs(s)) == 1 for s in schedules])
    sweeps = np.mean([len(runs(s)) > 1 and STAY not in s for s in schedules])
    assert constant == pytest.approx(0.05, abs=0.02)
    assert sweeps == pytest.approx(0.20, abs=0.03)


def test_explored_actions_take_their_part_of_the_time() -> None:
    schedule = explored_actions(0.3, 5, 100_000, 3)
    assert (schedule >= 0).mean() == pytest.approx(0.3, abs=0.03)
    assert set(schedule) == {-1, LEFT, STAY, RIGHT}
    assert (explored_actions(0, 5, 100, 3) == -1).all()
    assert (explored_actions(1, 5, 100, 3) >= 0).all()
    with pytest.raises(ValueError, match="explore is 1.5; expected a fraction of the time, 0 to 1"):
        explored_actions(1.5, 0, 10, 3)


def test_numbers_that_start_elsewhere_are_the_same_draws() -> None:
    class Later(Numbered):
        @property
        def actions(self) -> DiscreteActions:
            return numbered(5, start=-7)

    for name in ("random", "held", "long-held"):
        drawn = Later("5").blind_actions(name, 3, 500)
        assert np.array_equal(drawn + 7, blind_actions(name, 3, 500, num_actions=5))
    overruled, actions = blind.explored_actions(0.5, 3, 500, numbered(5, start=-7))
    assert np.array_equal(
        np.where(overruled, actions + 7, -1), explored_actions(0.5, 3, 500, count=5)
    )


def test_a_box_is_explored_as_well() -> None:
    box = BoxActions((2, 1), (-1.0, 0.0), (1.0, 0.5))
    overruled, actions = blind.explored_actions(0.3, 5, 20_000, box, frame_skip=2)
    assert overruled.mean() == pytest.approx(0.3, abs=0.05)
    assert actions.shape == (20_000, 2, 1) and actions.dtype == np.float32
    assert actions[:, 1].min() >= 0 and 0.45 < actions[:, 1].max() <= 0.5
    again = blind.explored_actions(0.3, 5, 100, box, frame_skip=2)
    assert np.array_equal(overruled[:100], again[0]) and np.array_equal(actions[:100], again[1])


@pytest.mark.parametrize("name", ["", "sweep", "sweep:0", "sweep:-3", "sweep:K", "hold"])
def test_unknown_names_are_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(ValueError, match=rf"unknown policy '{name}'; expected one of random, held"):
        blind_actions(name, 0, 10)


def test_games_without_left_and_right_have_only_random_policies() -> None:
    assert set(blind_actions("held", 0, 1000, num_actions=5)) == set(range(5))
    words = "unknown policy 'left'; expected one of random, held, long-held, the blind policies of 5"
    with pytest.raises(ValueError, match=words):
        Numbered("5").check_policy("left")


def test_seeds_give_the_episodes_that_they_gave_in_earlier_versions() -> None:
    """Recordings are resumed, and scores added to, by what a seed gave when they were begun."""
    digest = hashlib.sha256()
    for name in ("random", "held", "long-held", "left", "right", "still", "sweep:60", "sweeps"):
        for seed in range(40):
            for frame_skip in (1, 4):
                digest.update(blind_actions(name, seed, 300, frame_skip=frame_skip).tobytes())
    for seed in range(40):
        digest.update(blind_actions("mixture", seed, 300).tobytes())
        digest.update(blind_actions("held", seed, 300, num_actions=5).tobytes())
        digest.update(explored_actions(0.4, seed, 300, 3, frame_skip=2).tobytes())
    assert digest.hexdigest()[:16] == "5243a5fc180c9ea5"

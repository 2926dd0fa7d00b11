"""Snapshots: kept, saved, pickled, branched, and begun from."""

from __future__ import annotations

import multiprocessing
import pickle
import re
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from random_world import write_random_world

import genie_env
from genie_env import DreamEnv, DreamVectorEnv, FormatError, Snapshot, _core
from genie_env.families.genie.random_world import GenieSizes, random_genie_world

GYMNASIUM_ID = "genie_env/DoomTakeCover-v0"
ACTIONS = [[step % 3, 1, (step + 1) % 3] for step in range(12)]


def make(world: Path, **options: Any) -> DreamVectorEnv:
    return genie_env.make_vec(world, 3, dtype="float32", max_episode_steps=9, **options)


def played(world: Path, **options: Any) -> DreamVectorEnv:
    env = make(world, **options)
    env.reset(seed=4, options={"temperature": [0.5, 1.0, 2.0]})
    for actions in ACTIONS[:5]:
        env.step(actions)
    return env


def dream(env: Any) -> list[Any]:
    """All that the next steps bring; they pass the ends of episodes."""
    brought = []
    for actions in ACTIONS:
        *arrays, infos = env.step(actions)
        brought += [*arrays, infos["surprise"], infos["_surprise"]]
    return brought


def assert_same(ours: list[Any], theirs: list[Any]) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine, other)


def dream_on(world: Path, file: Path, pickled: bytes, results: Any) -> None:
    """In another process: from a file, and from a pickle."""
    env = make(world)
    for snapshot in (Snapshot.load(file), pickle.loads(pickled)):
        env.restore(snapshot)
        results.put(dream(env))


def test_in_the_same_environment(random_world: Path) -> None:
    env = played(random_world)
    snapshot = env.snapshot()
    assert isinstance(snapshot, Snapshot)
    assert (snapshot.rows, snapshot.world) == (3, "random")
    assert snapshot.fingerprint == env.world.spec.fingerprint
    assert repr(snapshot) == "Snapshot(3 rows of 'random')"
    expected = dream(env)
    for _ in range(2):
        observations = env.restore(snapshot)
        np.testing.assert_array_equal(observations, played(random_world).restore(snapshot))
        assert_same(dream(env), expected)


def test_in_another_process(random_world: Path, tmp_path: Path) -> None:
    env = played(random_world)
    snapshot = env.snapshot()
    snapshot.save(tmp_path / "dream.safetensors")
    expected = dream(env)
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    arguments = (random_world, tmp_path / "dream.safetensors", pickle.dumps(snapshot), results)
    process = context.Process(target=dream_on, args=arguments)
    process.start()
    for _ in range(2):
        assert_same(results.get(timeout=120), expected)
    process.join()


def test_rows_forks_and_branches(random_world: Path) -> None:
    env = played(random_world)
    one = env.snapshot([1])
    observations = env.restore(one, rows=[2, 0])
    np.testing.assert_array_equal(observations[0], observations[1])
    np.testing.assert_array_equal(observations[2], observations[1])
    forked = played(random_world).fork(1, into=[0, 2])
    np.testing.assert_array_equal(forked, observations)
    # As copies they go the same way; with seeds of their own they part.
    together = env.step([1, 1, 1])[0]
    np.testing.assert_array_equal(together[0], together[2])
    observations = env.fork(1, into=[0, 2], seed=100)
    np.testing.assert_array_equal(observations[0], observations[2])
    parted = env.step([1, 1, 1])[0]
    assert not np.array_equal(parted[0], parted[2])
    env.restore(one, seed=[7, 8, 7])
    branches = env.step([1, 1, 1])[0]
    np.testing.assert_array_equal(branches[0], branches[2])
    assert not np.array_equal(branches[0], branches[1])


def test_an_episode_may_begin_from_one(random_world: Path) -> None:
    env = played(random_world)
    snapshot = env.snapshot([2])
    expected = env.restore(snapshot)
    mask = np.array([True, False, True])
    before, _ = env.reset(seed=0)
    observations, infos = env.reset(seed=9, options={"snapshot": snapshot, "reset_mask": mask})
    np.testing.assert_array_equal(observations[mask], expected[mask])
    np.testing.assert_array_equal(observations[1], before[1])
    assert infos == {}
    truncations = np.stack([env.step([0, 0, 0])[3] for _ in range(9)])
    assert not truncations[:8, mask].any()  # the time limit counts from the beginning


def test_an_episode_may_begin_with_real_frames_and_actions(random_world: Path) -> None:
    films = np.random.default_rng(0).integers(0, 256, (3, 4, 64, 64, 3)).astype(np.uint8)
    actions = np.array([[0, 1, 2], [2, 2, 2], [1, 0, 1]])
    env, by_hand = make(random_world), make(random_world)
    observations, _ = env.reset(seed=1, options={"frames": films, "actions": actions})
    by_hand.reset(seed=1, options={"frames": films[:, 0]})
    for step in range(3):
        expected = by_hand.follow(actions[:, step], films[:, step + 1])[0]
    np.testing.assert_array_equal(observations, expected)
    assert_same(list(env.step([0, 1, 2])[:4]), list(by_hand.step([0, 1, 2])[:4]))
    single = DreamEnv(random_world, dtype="float32")
    observation, _ = single.reset(seed=2, options={"frames": films[1], "actions": actions[1]})
    np.testing.assert_allclose(observation, observations[1], rtol=1e-3, atol=1e-3)


def test_of_the_single_environment(random_world: Path, tmp_path: Path) -> None:
    env = DreamEnv(random_world, dtype="float32", temperature=0.7)
    env.reset(seed=3)
    env.step(1)
    snapshot = env.snapshot()
    snapshot.save(tmp_path / "dream.safetensors")
    expected = [env.step(action)[0] for action in (0, 1, 2)]
    other = DreamEnv(random_world, dtype="float32")
    other.restore(Snapshot.load(tmp_path / "dream.safetensors"))
    assert_same([other.step(action)[0] for action in (0, 1, 2)], expected)
    other.restore(snapshot, seed=99)
    assert not np.array_equal(other.step(0)[0], expected[0])
    observation, _ = other.reset(seed=8, options={"snapshot": snapshot, "temperature": 2.0})
    np.testing.assert_array_equal(observation, env.restore(snapshot))


def test_a_limit_of_steps_counts_the_episodes_and_gymnasiums_own_the_calls(
    random_world: Path,
) -> None:
    """As docs/environment.md tells those who restore within `gymnasium.make`."""

    def never(observations: Any, *_: Any) -> Any:
        return np.zeros(len(observations), bool)

    def truncations(env: Any) -> list[bool]:
        env.reset(seed=0)
        env.step(0)
        before = env.unwrapped.snapshot()
        ended = [env.step(0)[3]]
        env.unwrapped.restore(before)
        return ended + [env.step(0)[3] for _ in range(2)]

    limited = gymnasium.make(
        GYMNASIUM_ID, world=random_world, termination_fn=never, max_episode_steps=3
    )
    assert truncations(limited) == [False, True, True]  # at the third call
    own = DreamEnv(random_world, termination_fn=never, max_episode_steps=3)
    assert truncations(own) == [False, False, True]  # at the third step of the episode
    free = gymnasium.make(
        GYMNASIUM_ID, world=random_world, termination_fn=never, max_episode_steps=-1
    )
    assert truncations(free) == [False] * 3
    begun = {"snapshot": own.snapshot()}
    for env in (own, limited):
        env.reset(options=begun)
        assert [env.step(0)[3] for _ in range(3)] == [False, False, True]


def test_only_in_its_own_world(random_world: Path, tmp_path: Path) -> None:
    other = make(write_random_world(tmp_path / "other", seed=5))
    other.reset(seed=0)
    snapshot = played(random_world).snapshot()
    words = 'snapshot: it was taken in the world "random" (fingerprint '
    before = other.frames()
    for call in (
        lambda: other.restore(snapshot),
        lambda: other.reset(options={"snapshot": snapshot}),
    ):
        with pytest.raises(ValueError, match=re.escape(words)):
            call()
        np.testing.assert_array_equal(other.frames(), before)


def test_only_with_the_options_that_it_was_taken_with(tmp_path: Path) -> None:
    genie = random_genie_world(
        tmp_path / "genie", GenieSizes(T=3, S=4, d=16, blocks=2, heads=1, codes=8, K=3)
    )
    random = write_random_world(tmp_path / "random")

    def loaded(world: Path, **options: Any) -> DreamVectorEnv:
        return genie_env.make_vec(world, 2, **{"dtype": "float32", **options})

    cases: list[tuple[Path, dict[str, Any], dict[str, Any], str]] = [
        (genie, {"passes": 2, "order": "random"}, {}, "passes=2 and order=random, but this"),
        (
            genie,
            {},
            {"passes": 1},
            "passes=3, but this environment's world was loaded with passes=1",
        ),
        (random, {"termination": "thresholded"}, {}, "termination=thresholded, but this env"),
    ]
    if _core.World.load(random).spec.dtype == "bfloat16":
        cases.append((random, {"dtype": "bfloat16"}, {}, "dtype=bfloat16, but this"))
    for world, taken, other, words in cases:
        env = loaded(world, **taken)
        env.reset(seed=0)
        snapshot = pickle.loads(pickle.dumps(env.snapshot()))
        with pytest.raises(ValueError, match=f"snapshot: it was taken with {words}"):
            loaded(world, **other).restore(snapshot)
        same = loaded(world, **taken)
        same.restore(snapshot)
        np.testing.assert_array_equal(same.step([0, 1])[0], env.step([0, 1])[0])


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no-such-file"):
        Snapshot.load(tmp_path / "no-such-file")
    (tmp_path / "text").write_text("a text")
    with pytest.raises(FormatError, match="text"):
        Snapshot.load(tmp_path / "text")

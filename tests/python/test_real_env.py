"""The real game as an agent of a world sees it: against the game itself and Follow, step by step."""

from __future__ import annotations

import json
import pickle
import threading
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
import toy_games
from gymnasium.error import ClosedEnvironmentError, InvalidAction, ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from random_world import write_boxed_world, write_random_world
from test_autoreset import SCORES, assert_same

import genie_env
from genie_env import RealEnv, RealVectorEnv, World
from genie_env.envs.actions import actions_of_world
from genie_env.envs.registry import find_world
from genie_env.games.action_map import ActionDictionary
from genie_env.games.registry import find_game
from genie_env.play.controls import controls_of
from genie_env.play.real import Real

COUNTER = "toy_games:Counter-v0"
ROWS = 3


def counter_world(directory: Path, **changes: Any) -> Path:
    """A world of the toy game: two actions, frames of 64 x 64."""
    write_random_world(directory)
    file = directory / "config.json"
    config = json.loads(file.read_text())
    config |= {
        "actions": {"meanings": ["0", "1"], "inputs": [-1.0, 1.0]},
        "real_game": COUNTER,
        "max_episode_steps": 3,  # of its dreams
        **changes,
    }
    file.write_text(json.dumps({name: value for name, value in config.items() if value}))
    return directory


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return counter_world(tmp_path_factory.mktemp("worlds") / "counter")


def latent_world(directory: Path, **changes: Any) -> Path:
    """A world of the toy game whose six actions have only numbers, each of three steps."""
    six = {"meanings": list("012345"), "inputs": np.linspace(-1, 1, 6).tolist()}
    return counter_world(directory, actions=six, frame_skip=3, real_game=None, **changes)


@pytest.mark.parametrize("kind", ["zch", "zh", "pixels"])
def test_it_shows_what_the_world_makes_of_the_games_frames(world: Path, kind: str) -> None:
    env = RealEnv(world, observation=kind)
    follower = genie_env.make_vec(world, observation=kind, autoreset_mode="DISABLED")
    game = toy_games.Counter()
    assert env.observation_space == follower.single_observation_space
    for seed in (7, None):  # the seed's first episode, and its second
        observation, _ = env.reset(seed=seed)
        frame, _ = game.reset(seed=seed)
        expected, _ = follower.reset(seed=seed, options={"frames": frame[None]})
        np.testing.assert_array_equal(observation, expected[0])
        done, steps = False, 0
        while not done:
            action = steps % 2
            observation, reward, terminated, truncated, info = env.step(action)
            frame, real, done, _, _ = game.step(action)
            expected, _, _, _, infos = follower.follow([action], frame[None])
            np.testing.assert_array_equal(observation, expected[0])
            assert (reward, terminated, truncated) == (real, done, False)
            names = ("surprise", "termination_probability")
            assert info == {name: infos[name][0] for name in names}
            steps += 1
        assert steps >= 5  # the limit of its dreams does not hold here


def test_the_shipped_world_plays_its_game() -> None:
    env = gymnasium.make("genie_env/DoomTakeCoverReal-v0", dtype="float32")
    assert isinstance(env.unwrapped, RealEnv) and env.unwrapped.game.name == "doom-take-cover"
    assert env.action_space.n == 3 and env.observation_space.shape == (1088,)
    env.reset(seed=0)
    assert env.step(0)[1] == 1.0
    env.close()
    vectors = gymnasium.make_vec("genie_env/DoomTakeCoverReal-v0", 2, output="torch")
    assert isinstance(vectors, RealVectorEnv)
    assert vectors.metadata["render_fps"] == 35
    observation, _ = vectors.reset(seed=0)
    assert isinstance(observation, torch.Tensor) and observation.shape == (2, 1088)
    vectors.close()
    assert "genie_env/DoomGenieReal-v0" not in gymnasium.registry  # it names no game


def test_it_passes_gymnasiums_checker(world: Path) -> None:
    check_env(RealEnv(world, observation="pixels", render_mode="rgb_array"), skip_render_check=True)
    check_env(RealEnv(world), skip_render_check=True)
    gymnasium.register("CounterSeen-v0", RealEnv, kwargs={"world": world})
    check_env(gymnasium.make("CounterSeen-v0", render_mode="rgb_array").unwrapped)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_many_are_as_gymnasium_vectorises_single_ones(world: Path, mode: AutoresetMode) -> None:
    options: dict[str, Any] = {"dtype": "float32", "latent_distance": False}
    ours = RealVectorEnv(world, ROWS, autoreset_mode=mode, **options)
    singles = [lambda: RealEnv(world, **options)] * ROWS
    theirs = SyncVectorEnv(singles, autoreset_mode=mode)
    assert ours.single_action_space == theirs.single_action_space
    assert ours.observation_space == theirs.observation_space
    assert_same(ours.reset(seed=5)[0], theirs.reset(seed=5)[0])
    generator, ended = np.random.default_rng(0), 0
    for _ in range(45):
        actions = generator.integers(0, 2, ROWS)
        step, expected = ours.step(actions), theirs.step(actions)
        infos = dict(expected[4])
        for key in SCORES:  # Gymnasium leaves out what no row has
            infos.setdefault(key, np.zeros(ROWS, step[4][key].dtype))
        assert_same(step[4], infos)
        for mine, other in zip(step[:4], expected[:4], strict=True):
            assert_same(mine, other)
        assert step[1].dtype == np.float32 and step[2].dtype == bool
        ended += int(step[2].sum())
    assert ended > 2 * ROWS
    ours.close()


@pytest.mark.parametrize("workers", [2, 8])
def test_worker_processes_change_nothing(world: Path, workers: int) -> None:
    here = RealVectorEnv(world, ROWS, autoreset_mode="SAME_STEP")
    there = RealVectorEnv(world, ROWS, autoreset_mode="SAME_STEP", workers=workers)
    for seed in (5, None):
        assert_same(here.reset(seed=seed)[0], there.reset(seed=seed)[0])
        for step in range(25):
            actions = (np.arange(ROWS) + step) % 2
            for one, other in zip(here.step(actions), there.step(actions), strict=True):
                assert_same(one, other)
    there.close()
    with pytest.raises(ClosedEnvironmentError, match="was closed"):
        there.step([0] * ROWS)


def test_what_goes_wrong_in_a_worker_process_is_raised_here(world: Path) -> None:
    def failing(trouble: str) -> RealVectorEnv:
        game = find_game(COUNTER, env_args={"trouble": trouble})
        env = RealVectorEnv(world, ROWS, game=game, workers=2)
        env.reset(seed=0)
        env.step([0] * ROWS), env.step([0] * ROWS)
        return env

    env = failing("raise")
    with pytest.raises(LookupError, match="the level has no floor") as caught:
        env.step([0] * ROWS)
    assert "in a worker process, while playing game 0:\n" in caught.value.__notes__[0]
    with pytest.raises(ResetNeeded, match="step after a call that failed: rows 0, 1 and 2 have no"):
        env.step([0] * ROWS)
    env.reset()
    env.step([0] * ROWS)
    env.close()
    env = failing("die")
    with pytest.raises(RuntimeError, match=r"ended \(exit code -9\) while it had games 0, 1 to play"):
        env.step([0] * ROWS)
    with pytest.raises(RuntimeError, match="nobody knows where its games stand: make the environment"):
        env.reset()
    env.close()
    with pytest.raises(TypeError, match="missing 1 required|unexpected keyword"):
        RealVectorEnv(world, 1, game=find_game(COUNTER, env_args={"floor": 1}), workers=1)
    with pytest.raises(ValueError, match="workers is -1; expected 0 or more processes"):
        RealVectorEnv(world, 1, workers=-1)


def test_rewards_are_the_games_to_the_last_bit(world: Path) -> None:
    env = RealEnv(world)
    env.reset(seed=0)
    game = env._rows._games.envs[0]
    step = game.step

    def paid(action: Any) -> Any:
        frame, _, *ends = step(action)
        return frame, 0.1, *ends

    game.step = paid  # type: ignore[method-assign]
    assert env.step(0)[1] == 0.1


def test_without_autoreset_a_row_waits_for_its_reset(world: Path) -> None:
    env = RealVectorEnv(world, ROWS, autoreset_mode="DISABLED")
    env.reset(seed=[3, 4, 3])
    for _ in range(30):
        observation, _, ends, _, _ = env.step([1, 1, 1])
        if ends.any():
            break
    np.testing.assert_array_equal(observation[0], observation[2])
    with pytest.raises(ResetNeeded, match="have ended, and autoreset is disabled; reset them"):
        env.step([0, 0, 0])
    before = observation.copy()
    observation, _ = env.reset(options={"reset_mask": ends})
    np.testing.assert_array_equal(observation[~ends], before[~ends])
    assert (observation[ends] != before[ends]).any(axis=1).all()
    env.step([0, 0, 0])


def test_a_seed_decides_the_game_and_its_features(world: Path) -> None:
    def played(given: Any, **options: Any) -> tuple[Any, ...]:
        env = RealVectorEnv(world, 2, **options)
        first = env.reset(seed=given)[0]
        return (first, *[array for _ in range(12) for array in env.step([0, 1])[:4]])

    for other in (played([9, 10]), played(None, seed=9)):
        for one, two in zip(played(9), other, strict=True):
            np.testing.assert_array_equal(one, two)
    assert any((one != two).any() for one, two in zip(played(9), played(19), strict=True))
    frames = [RealEnv(world, observation="zch").reset(seed=seed)[0] for seed in (1, 2)]
    assert not np.array_equal(*frames)  # the same first picture, another draw of z


@pytest.mark.parametrize("way", ["file", "dict", "own file"])
def test_latent_actions_are_played_as_the_dictionary_says(tmp_path: Path, way: str) -> None:
    world = latent_world(tmp_path / "latent")
    codes = [1, 0, 0, 1, 0, 1]
    file = (world if way == "own file" else tmp_path) / "mapping.json"
    entries = {str(code): {"action": a, "meaning": str(a)} for code, a in enumerate(codes)}
    file.write_text(json.dumps({"dictionary": entries}))
    given = {"file": file, "dict": dict(enumerate(codes)), "own file": None}[way]
    env = RealEnv(world, game=COUNTER, action_map=given, render_mode="rgb_array")
    assert env.action_space == gymnasium.spaces.Discrete(6)
    for code, action in enumerate(codes):
        env.reset(seed=1)
        assert env.step(code)[1] == 3 * action  # held for three steps, rewards summed
        assert env.render().max() == 3
    follower = genie_env.make_vec(world)
    frames = [np.full((1, 64, 64, 3), number, np.uint8) for number in (0, 3)]
    follower.reset(seed=1, options={"frames": frames[0]})
    env.reset(seed=1)
    # What the world follows is its own action.
    np.testing.assert_array_equal(env.step(5)[0], follower.follow([5], frames[1])[0][0])


def six_codes(directory: Path) -> tuple[Path, Path]:
    """A world of the toy game with six latent actions, and a dictionary: code 1 is action 1, and code 2
    turns, that is, it is the other action than the one before, and 0 where there is none."""
    six = {"meanings": list("012345"), "inputs": np.linspace(-1, 1, 6).tolist()}
    world = counter_world(directory / "six", actions=six)
    entries = {str(code): {"action": int(code == 1)} for code in range(6)}
    after = {str(b): {str(c): 1 - b if c == 2 else int(c == 1) for c in range(6)} for b in (0, 1)}
    file = directory / "mapping.json"
    file.write_text(json.dumps({"dictionary": entries, "after": after}))
    return world, file


@pytest.mark.parametrize("way", ["file", "object"])
def test_a_latent_action_may_be_another_after_each_action(tmp_path: Path, way: str) -> None:
    world, given = six_codes(tmp_path)
    means = {0: 0, 1: 1, 2: 0, 3: 0, 4: 0, 5: 0}
    turns = ActionDictionary(means, {before: means | {2: 1 - before} for before in (0, 1)})
    env = RealVectorEnv(
        world, 2, action_map=given if way == "file" else turns, autoreset_mode="DISABLED"
    )
    env.reset(seed=[1, 2])
    for codes, actions in (([2, 1], [0, 1]), ([2, 2], [1, 0]), ([2, 0], [0, 0]), ([1, 0], [1, 0])):
        np.testing.assert_array_equal(env.step(codes)[1], actions)  # the action is the reward
    env.reset(options={"reset_mask": np.array([True, False])})
    np.testing.assert_array_equal(env.step([2, 2])[1], [0, 1])
    env.close()


def test_a_persons_key_stands_for_one_action(tmp_path: Path) -> None:
    world, file = six_codes(tmp_path)
    loaded = World.load(str(world))
    controls = controls_of(actions_of_world(loaded.spec.actions))
    for observation, total in ((None, 1), ("zch", 2)):  # a person plays, and an agent
        real = Real(loaded, controls, observation, None, file)
        real.reset(1)
        for code in (1, 2, 2):
            assert real.take(code)
        assert real.progress.total == total
        real.close()


def test_what_does_not_fit_is_refused_at_once(tmp_path: Path, world: Path) -> None:
    latent = latent_world(tmp_path / "latent")
    file = tmp_path / "mapping.json"

    def refused(words: str, world: Path = latent, **arguments: Any) -> None:
        with pytest.raises((ValueError, TypeError), match=words) as caught:
            RealEnv(world, **arguments)
        assert "\n" not in str(caught.value)

    def mapping(weights: str = "", **entries: dict[str, Any]) -> Path:
        file.write_text(json.dumps({"dictionary": entries, "weights": weights}))
        return file

    refused('no real game is known of this world: .* has no "real_game"')
    refused(
        "has 6 actions .*, but toy_games:Counter-v0 has 2 actions .*: give action_map=",
        game=COUNTER,
    )
    refused("unknown game 'Nowhere-v0'", game="Nowhere-v0")
    refused("game is 5, expected a game or its name", game=5)
    four = find_game(COUNTER, frame_skip=4)
    refused("at frame skip 4, but a step of the world random is 3 of the game's", game=four)
    large = find_game(COUNTER, frame_size=(48, 80))
    refused(r"has frames of \(64, 64, 3\), but .* in frames of \(48, 80, 3\)", world, game=large)
    five = dict.fromkeys(range(5), 0)
    refused(
        "action_map has actions for 0 to 4, but those .* are 0 to 5", game=COUNTER, action_map=five
    )
    nine = dict.fromkeys(range(6), 9)
    refused("action_map, of 0: action is 9; expected a whole", game=COUNTER, action_map=nine)
    refused("has the key 'a'; expected the world's", game=COUNTER, action_map={"a": 1})
    zeros = dict.fromkeys(range(6), 0)
    for after, told in (
        ({0: zeros}, 'action_map has "after" the actions 0, but those of .* are 0 and 1'),
        ({0: zeros, 1: {0: 0}}, 'action_map, "after" 1 has actions for 0, but those .* are 0 to 5'),
        ({0: zeros, 1: zeros | {3: 7}}, 'action_map, "after" 1, of 3: action is 7; expected a whole'),
        ({0: zeros, "1": zeros}, "action_map has \"after\" the action '1'; expected numbers of the game"),
        ({0: zeros, 1: {"0": 0}}, "action_map, \"after\" 1 has the key '0'; expected the world's"),
    ):
        refused(told, game=COUNTER, action_map=ActionDictionary(zeros, after))
    entries = {str(code): {"action": 0} for code in range(6)}
    for key in ("x", "01", "12345678901"):
        file.write_text(json.dumps({"dictionary": entries, "after": {"0": {key: 1}}}))
        told = f"mapping.json: \"after\" has the key '{key}'; expected whole numbers of 9 digits"
        refused(told, game=COUNTER, action_map=file)
    file.unlink()
    refused("action_map is 5; expected a file", game=COUNTER, action_map=5)
    refused("mapping.json", game=COUNTER, action_map=file)
    file.write_text("{")
    refused("mapping.json is not valid JSON|mapping.json", game=COUNTER, action_map=file)
    zero = {str(code): {"action": 0, "meaning": "0"} for code in range(6)}
    refused(
        "mapping.json calls action 0 'left', but .*Counter-v0 calls it '0': give the map of this game",
        game=COUNTER,
        action_map=mapping(**(zero | {"2": {"action": 0, "meaning": "left"}})),
    )
    refused("has actions for 0 to 5, but those .* are 0 and 1", world, action_map=mapping(**zero))
    trained = {"dynamics": {"settings": {"weights": ["aa", "bb"]}}}
    other = latent_world(tmp_path / "trained", training=trained)
    given = {"game": COUNTER, "action_map": mapping("cc", **zero)}
    refused("of the latent actions cc, but those of the world random are aa or bb", other, **given)
    RealEnv(other, game=COUNTER, action_map=mapping("bb", **zero)).close()
    for name, value in {"temperature": 1.0, "reward_fn": len, "max_episode_steps": 5}.items():
        refused(f"{name}: an option of dreams", world, **{name: value})
    refused("has no option 'passes'", world, passes=3)
    refused("RealEnv knows but one; leave it out", world, autoreset_mode="SAME_STEP")


def test_continuous_actions_are_played_as_they_are(tmp_path: Path) -> None:
    world = write_boxed_world(tmp_path / "boxed")
    steered = find_game("any_games:steered", frame_skip=1)
    with pytest.raises(ValueError, match=r"has actions \[2\] .*, but steered has actions \[1, 2\]"):
        RealEnv(world, game=steered)
    with pytest.raises(
        ValueError, match="expected a world with numbered actions: leave action_map"
    ):
        RealEnv(world, game=find_game(COUNTER), action_map={0: 0})


@pytest.fixture
def env(world: Path) -> RealVectorEnv:
    return RealVectorEnv(world, 2, autoreset_mode="SAME_STEP", render_mode="rgb_array")


def test_misuse_moves_no_game(env: RealVectorEnv, world: Path) -> None:
    with pytest.raises(ResetNeeded, match="step before reset: rows 0 and 1 have no"):
        env.step([0, 0])
    with pytest.raises(ResetNeeded, match="render before reset: "):
        env.render()
    env.reset(seed=0)
    other = RealVectorEnv(world, 2)
    other.reset(seed=0)
    for wrong, error, words in (
        ([0, 2], InvalidAction, "row 1: action is 2; expected a whole number from 0 to 1"),
        ([0], ValueError, r"actions: got int64 \[1\], expected int64 \[2\]"),
        ([0.0, 1.0], TypeError, "actions: got float64, expected integers"),
    ):
        with pytest.raises(error, match=words):
            env.step(wrong)
    for options, words in (
        ({"frames": 0}, "expected 'reset_mask'"),
        ({"reset_mask": [True]}, r"got bool \[1\], expected bool \[2\]"),
        ({"reset_mask": [False, False]}, "no row is true"),
    ):
        with pytest.raises(ValueError, match=words):
            env.reset(options=options)
    with pytest.raises(ValueError, match="seeds: got 3, expected one a row: 2"):
        env.reset(seed=[1, 2, 3])
    np.testing.assert_array_equal(env.step([0, 1])[0], other.step([0, 1])[0])
    with pytest.raises(ValueError, match="options: got .'frames'., expected none"):
        RealEnv(world).reset(options={"frames": 0})


def test_after_the_game_has_failed_it_asks_for_a_reset(world: Path) -> None:
    game = find_game(COUNTER, env_args={"trouble": "raise"})
    env = RealEnv(world, game=game)
    env.reset(seed=0)
    env.step(0), env.step(0)
    with pytest.raises(LookupError, match="the level has no floor"):
        env.step(0)
    with pytest.raises(ResetNeeded, match="step after a call that failed: row 0 has no"):
        env.step(0)
    env.reset()
    env.step(0)


def test_pictures_copies_and_the_end(env: RealVectorEnv) -> None:
    env.reset(seed=0)
    for _ in range(3):
        env.step([0, 0])
    shown = env.render()
    assert len(shown) == 2 and shown[0].shape == (64, 64, 3) and (shown[0] == 3).all()
    assert "world='random', num_envs=2, game='toy_games:Counter-v0'" in repr(env)
    again = pickle.loads(pickle.dumps(env))
    np.testing.assert_array_equal(again.reset(seed=1)[0], env.reset(seed=1)[0])
    env.close()
    env.close()
    for call in (env.reset, lambda: env.step([0, 0]), env.render):
        with pytest.raises(ClosedEnvironmentError, match="was closed; make another one"):
            call()


def test_one_thread_at_a_time(world: Path) -> None:
    env = RealEnv(world)
    env.reset(seed=0)
    game, inside, leave = env._rows._games.envs[0], threading.Event(), threading.Event()
    step = game.step

    def slow(action: Any) -> Any:
        inside.set()
        leave.wait()
        return step(action)

    game.step = slow  # type: ignore[method-assign]
    thread = threading.Thread(target=env.step, args=(0,))
    thread.start()
    inside.wait()
    with pytest.raises(
        genie_env.Busy, match="reset: another thread is in step of this environment"
    ):
        env.reset()
    closing = threading.Thread(target=env.close)
    closing.start()
    leave.set()
    thread.join(), closing.join()
    with pytest.raises(ClosedEnvironmentError):
        env.step(0)
    within = RealEnv(world)
    within.reset(seed=0)
    within._rows._games.envs[0].step = lambda action: within.close()  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="close: called within a call of this environment"):
        within.step(0)
    within.close()


def test_latents_of_a_shipped_genie_world_are_played_by_a_dictionary() -> None:
    directory = find_world("doom-genie")
    meanings = ["left", "stay", "right"]
    actions = dict(enumerate([0, 1, 2, 0, 1, 2]))
    env = RealEnv(directory, game="doom-take-cover", action_map=actions, observation="tokens")
    assert (env.game.frame_skip, env.game.actions.meanings) == (4, tuple(meanings))
    observation, _ = env.reset(seed=0)
    assert observation in env.observation_space
    _, reward, _, _, info = env.step(3)
    assert reward == 4.0 and info["surprise"] > 0
    env.close()

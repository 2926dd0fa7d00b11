"""CarRacing: the real game, its driver, its pictures and its errors."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from genie_env._core import EpisodeStore
from genie_env.data.players import BlindPlayer
from genie_env.data.recording import record_episodes
from genie_env.evaluation.evaluate import RealScores, blind_player
from genie_env.games import car_racing
from genie_env.games.base import Game
from genie_env.games.car_racing import CarRacing
from genie_env.games.registry import find_game

pytest.importorskip("Box2D", reason="CarRacing needs box2d: pip install 'genie_env[car]'")
pytest.importorskip("pygame", reason="CarRacing needs pygame-ce: pip install 'genie_env[car]'")

GAS = np.array([0, 1, 0], np.float32)


def game(frame_skip: int = 4) -> Game:
    return find_game("car-racing", frame_skip=frame_skip)


def episode(
    env: CarRacing, seed: int, policy: str, skip: int = 4, steps: int = 1000
) -> tuple[np.ndarray, np.ndarray, bool, bool]:
    """Frames seen, uint8 [T + 1, 64, 64, 3], rewards [T], and how it ended."""
    actions = game(skip).play(policy, seed, env)
    frames, rewards = [env.reset(seed=seed)[0]], []
    terminated = truncated = False
    while not (terminated or truncated) and len(rewards) < steps:
        frame, reward, terminated, truncated, _ = env.step(next(actions))
        frames.append(frame)
        rewards.append(reward)
    return np.array(frames), np.array(rewards), terminated, truncated


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames are black: to draw them takes 99 % of the game's time."""
    black = np.zeros((64, 64, 3), np.uint8)
    monkeypatch.setattr(CarRacing, "_frame", lambda self: black)


def smaller(picture: np.ndarray) -> np.ndarray:
    """float [96, 96, 3] to [64, 64, 3]: of every three pixels the mean of two, and the third."""
    for _ in range(2):
        a, b, c = (picture[i::3] for i in range(3))
        both = np.stack([(a + b) / 2, c], axis=1)
        picture = both.reshape(64, *picture.shape[1:]).swapaxes(0, 1)
    return picture


def test_obeys_gymnasiums_checker() -> None:
    check_env(CarRacing(4), skip_render_check=True)


def test_it_is_gymnasiums_game_in_smaller_pictures() -> None:
    """Beside CarRacing-v3 itself, every step of which draws: the same rewards and pictures, without
    the score in figures."""
    skipping, plain = CarRacing(4), gymnasium.make("CarRacing-v3", render_mode="rgb_array")
    actions = game().blind_actions("pedals", 3, 20)
    frame, _ = skipping.reset(seed=11)
    picture, _ = plain.reset(seed=11)
    for action in actions:
        shown = picture.astype(float)
        assert shown[84:, :12].max() > 100
        shown[84:, :12] = 0
        assert np.abs(smaller(shown) - frame).max() <= 1
        frame, reward, terminated, truncated, _ = skipping.step(action)
        expected = 0.0
        for _ in range(4):
            picture, paid, *_ = plain.step(action)
            expected += paid
        assert reward == pytest.approx(expected)
        assert not terminated and not truncated
        assert np.array_equal(skipping.render(), plain.render())
    skipping.close(), plain.close()


def test_an_episode_depends_on_seed_and_actions_alone() -> None:
    env = CarRacing(4)
    first, paid, *_ = episode(env, 5, "noisy-driver", steps=25)
    other, *_ = episode(env, 6, "noisy-driver", steps=25)
    again, paid_again, *_ = episode(env, 5, "noisy-driver", steps=25)
    assert np.array_equal(first, again) and np.array_equal(paid, paid_again)
    assert not np.array_equal(first, other)


def test_the_driver_gets_round(undrawn: None) -> None:
    """Twenty tracks at the frame skip that is recorded, and it does not need it."""
    env = CarRacing(4)
    played = [episode(env, seed, "driver") for seed in range(2000, 2020)]
    scores = [rewards.sum() for _, rewards, *_ in played]
    assert np.mean(scores) > 880
    assert sum(terminated for *_, terminated, _ in played) >= 18
    every = [episode(CarRacing(1), seed, "driver", skip=1)[1].sum() for seed in (2000, 2001)]
    assert min(every) > 880


def test_the_noisy_driver_leaves_the_road_and_comes_back(undrawn: None) -> None:
    env, on_road = CarRacing(4), []
    for seed in range(8):
        actions = game().play("noisy-driver", seed, env)
        env.reset(seed=seed)
        for _ in range(200):
            *_, terminated, truncated, _ = env.step(next(actions))
            if terminated or truncated:
                break
            on_road.append(any(wheel.tiles for wheel in env.game.car.wheels))
    changes = np.diff(np.array(on_road, int))
    assert 0.5 < np.mean(on_road) < 0.98
    assert (changes == 1).sum() >= 8  # that often it has come back


def test_blind_play_scores_little(undrawn: None) -> None:
    env = CarRacing(4)
    for policy in ("random", "held", "throttle"):
        scores = [episode(env, seed, policy)[1].sum() for seed in range(6)]
        assert -120 < np.mean(scores) < 60, policy


def test_the_time_limit_truncates_within_a_held_action(undrawn: None) -> None:
    # 1000 = 3 * 333 + 1: the last action is held for one step.
    _, rewards, terminated, truncated = episode(CarRacing(3), 0, "random", skip=3)
    assert (len(rewards), terminated, truncated) == (334, False, True)


def test_to_leave_the_field_terminates_and_costs_100(undrawn: None) -> None:
    env = CarRacing(1)
    _, rewards, terminated, truncated = episode(env, 6, "throttle", skip=1)
    assert (terminated, truncated, rewards[-1]) == (True, False, -100)
    assert rewards[:-1].min() == pytest.approx(-0.1)


def test_after_the_end_a_reset_is_needed(undrawn: None) -> None:
    env = CarRacing(4)
    words = "no episode going on; call reset first"
    with pytest.raises(gymnasium.error.ResetNeeded, match=words):
        env.step(GAS)
    episode(env, 2000, "driver")
    with pytest.raises(gymnasium.error.ResetNeeded, match=words):
        env.step(GAS)


def test_pedals_are_one_at_a_time_and_held() -> None:
    actions = game(1).blind_actions("pedals", 7, 100_000)
    assert np.array_equal(game(1).blind_actions("pedals", 7, 100), actions[:100])
    assert np.array_equal(game(4).blind_actions("pedals", 7, 25), actions[:100:4])
    steering, gas, brake = actions.T
    assert not (gas * brake).any()
    assert -1 <= steering.min() < -0.99 and 0.99 < steering.max() <= 1
    changes = np.flatnonzero(np.diff(steering)) + 1
    lengths = np.diff([0, *changes])
    assert lengths.min() == 1 and lengths.max() == 60
    chosen = actions[[0, *changes]]
    assert np.mean(chosen[:, 1] > 0) == pytest.approx(0.5, abs=0.03)
    assert np.mean(chosen[:, 2] > 0) == pytest.approx(0.25, abs=0.03)


def test_the_mixture_draws_all_of_its_policies(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[str] = []
    plain = Game.play

    def play(self: Game, policy: str, seed: int, env: CarRacing) -> object:
        chosen.append(policy)
        return plain(self, policy, seed, env)

    def drive(racing: object, frame_skip: int, noise: object) -> object:
        chosen.append("driver" if noise is None else "noisy-driver")
        return iter(())

    monkeypatch.setattr(Game, "play", play)
    monkeypatch.setattr(car_racing, "drive", drive)
    env = CarRacing(4)
    for seed in range(400):
        game().script("mixture", seed, env)
    shares = {name: chosen.count(name) / 400 for name in chosen}
    assert shares == pytest.approx(
        {"noisy-driver": 0.64, "driver": 0.1, "pedals": 0.12, "held": 0.1, "throttle": 0.04},
        abs=0.06,
    )


def test_recording_with_two_workers_is_as_with_one(tmp_path: Path) -> None:
    policies = ("driver", "held", "noisy-driver")
    for workers in (1, 2):
        player = BlindPlayer(find_game("car-racing", frame_skip=40), 3, policies)
        record_episodes(player, tmp_path / str(workers), 3, workers)
    one, two = (EpisodeStore(tmp_path / name) for name in ("1", "2"))
    for column in ("frames", "actions", "rewards", "terminations", "final_frames"):
        assert np.array_equal(getattr(one, column), getattr(two, column)), column
    meta = json.loads((tmp_path / "2" / "meta.json").read_text())
    assert meta["game"] == "car-racing" and meta["policies"] == list(policies)
    assert meta["frames_per_second"] == 50 / 40 and meta["max_steps"] == 1000
    assert meta["settings"]["environment"] == "CarRacing-v3"
    assert meta["actions"]["low"] == [-1, 0, 0]


def test_scripts_are_evaluated_as_blind_policies_are(undrawn: None, tmp_path: Path) -> None:
    real = RealScores(blind_player("driver", 1, find_game("car-racing", frame_skip=200)))
    assert len(list(real.play(2, workers=2))) == 2


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (
            [2, 0, 0],
            r"action is \[2.0, 0.0, 0.0\]; expected actions \[3\] from \[-1, 0, 0\] to 1: bring",
        ),
        (
            [0, -0.1, 0],
            r"action is \[0.0, -0.1.*, 0.0\]; expected actions \[3\] from \[-1, 0, 0\] to 1",
        ),
        ([0, np.nan, 0], r"action is \[0.0, nan, 0.0\]; expected actions \[3\]"),
        ([0, 0], r"action is \[0, 0\]; expected numbers of shape \[3\]"),
        (1, r"action is 1; expected numbers of shape \[3\]"),
    ],
)
def test_an_action_outside_is_refused(undrawn: None, action: object, words: str) -> None:
    env = CarRacing(4)
    env.reset(seed=0)
    with pytest.raises(gymnasium.error.InvalidAction, match=words):
        env.step(action)
    assert env.step(GAS)[2:4] == (False, False)  # and nothing has moved


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="frame_skip is 0; expected 1 or more"):
        CarRacing(0)
    with pytest.raises(ValueError, match="render_mode is 'human'; expected None or 'rgb_array'"):
        CarRacing(render_mode="human")
    words = "car-racing takes no environment arguments; given .'continuous': False.*CarRacing-v3"
    with pytest.raises(ValueError, match=words):
        find_game("car-racing", env_args={"continuous": False})
    with pytest.raises(
        ValueError, match="is 96 x 96, but the frames of car-racing are 64 x 64: leave"
    ):
        find_game("car-racing", frame_size=(96, 96))
    words = (
        "'drive'; expected one of random, .*, or, in the real game, driver, noisy-driver, mixture"
    )
    with pytest.raises(ValueError, match=words):
        game().check_real_policy("drive")


def test_a_script_cannot_play_a_dream() -> None:
    words = (
        "'driver' reads the state of car-racing itself, which a dream does not have; expected one"
    )
    with pytest.raises(ValueError, match=words):
        game().check_policy("driver")
    with pytest.raises(ValueError, match=words):
        game().blind_actions("driver", 0, 10)


@pytest.mark.parametrize("module", ["Box2D", "pygame"])
def test_without_its_packages_says_what_to_install(
    module: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    words = rf"needs {module}, which is not installed: pip install 'genie_env\[car\]'"
    with pytest.raises(ImportError, match=words):
        CarRacing()
    with pytest.raises(ImportError, match=words):
        record_episodes(BlindPlayer(game(), 0, ("held",)), tmp_path / "new", 1, workers=1)
    assert not (tmp_path / "new").exists()


def test_another_version_of_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of another Gymnasium, which has an older or a newer one."""
    with pytest.raises(ValueError, match="'CarRacing-v2' .*deprecated. Please use `CarRacing-v3`"):
        find_game("CarRacing-v2")
    with pytest.raises(ValueError, match="'CarRacing-v9' .*`v9` .* doesn't exist"):
        find_game("CarRacing-v9")
    spec = gymnasium.registry["CarRacing-v3"]
    for other in ("CarRacing-v2", "CarRacing-v4"):
        monkeypatch.delitem(gymnasium.registry, "CarRacing-v3", raising=False)
        monkeypatch.setitem(gymnasium.registry, other, spec)
        words = (
            rf"is CarRacing-v3, .*, but Gymnasium .* has {other}: install gymnasium 1.2.2 to 1.4"
        )
        with pytest.raises(RuntimeError, match=words):
            CarRacing()
        monkeypatch.delitem(gymnasium.registry, other)
    with pytest.raises(RuntimeError, match="but Gymnasium .* has no CarRacing: install gymnasium"):
        CarRacing()


def test_other_pictures_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from gymnasium.envs.box2d import car_racing as theirs

    monkeypatch.setattr(theirs, "STATE_W", 128)
    words = r"with pictures of \(96, 96, 3\) .* shows pictures of \(96, 128, 3\) and takes Box"
    with pytest.raises(RuntimeError, match=words):
        CarRacing()

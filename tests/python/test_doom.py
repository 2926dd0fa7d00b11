"""The real game, by itself: dynamics, pictures, ends and errors."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import gymnasium
import numpy as np
import pytest
import vizdoom
from gymnasium.utils.env_checker import check_env

from genie_env.games import doom
from genie_env.games.doom import LEFT, RIGHT, STAY, DoomTakeCover
from genie_env.games.registry import find_game

blind_actions = find_game("doom-take-cover").blind_actions


@pytest.fixture(scope="module")
def game() -> Iterator[DoomTakeCover]:
    env = DoomTakeCover()
    yield env
    env.close()


def frames_of(env: DoomTakeCover, seed: int, actions: np.ndarray) -> np.ndarray:
    """The frames seen until the actions or the episode end: uint8 [T, 64, 64, 3]."""
    frames = [env.reset(seed=seed)[0]]
    for action in actions:
        frame, _, terminated, truncated, _ = env.step(action)
        frames.append(frame)
        if terminated or truncated:
            break
    return np.array(frames)


def test_obeys_gymnasiums_checker(game: DoomTakeCover) -> None:
    check_env(game, skip_render_check=True)


def test_an_episode_depends_on_seed_and_actions_alone(game: DoomTakeCover) -> None:
    actions = blind_actions("held", 0, 120)
    first = frames_of(game, 5, actions)
    frames_of(game, 6, actions[:40])  # another episode in between, broken off
    assert np.array_equal(frames_of(game, 5, actions), first)
    assert not np.array_equal(frames_of(game, 6, actions), first)


def test_left_and_right_lead_to_their_walls(game: DoomTakeCover) -> None:
    def changed_halves(action: int) -> tuple[float, float]:
        frames = frames_of(game, 1, np.full(60, action)).astype(float)
        difference = np.abs(frames[-1] - frames[0])
        return difference[:, :32].mean(), difference[:, 32:].mean()

    left, right = changed_halves(LEFT)
    assert left > 2 * right
    left, right = changed_halves(RIGHT)
    assert right > 2 * left
    assert max(changed_halves(STAY)) < 3


def test_without_view_bob_the_eye_keeps_its_height(game: DoomTakeCover) -> None:
    """And nothing else changes: the same actions bring the same episode."""
    calm = DoomTakeCover(view_bob=False)
    actions = blind_actions("held", 0, 2100)
    swinging, still = frames_of(game, 5, actions), frames_of(calm, 5, actions)
    assert len(swinging) == len(still) < 2100

    # Over a short walk, the brightness of each row from top to bottom: does it move up and down?
    def height(frames: np.ndarray) -> float:
        rows = frames[5:40].astype(float).mean((2, 3))
        return float(rows.std(axis=0).max())

    walk = np.full(45, RIGHT)
    assert height(frames_of(calm, 5, walk)) < height(frames_of(game, 5, walk)) / 2
    calm.close()


def test_death_terminates_and_shows_no_frame(game: DoomTakeCover) -> None:
    game.reset(seed=2)
    total, seen = 0.0, []
    terminated = truncated = False
    while not terminated:
        frame, reward, terminated, truncated, _ = game.step(STAY)
        total += reward
        seen.append(frame)
    assert not truncated
    assert total == len(seen)  # a point a tic, the deadly one included
    assert np.array_equal(seen[-1], seen[-2])  # the last one seen, as there is none after death
    with pytest.raises(gymnasium.error.ResetNeeded, match="no episode going on; call reset first"):
        game.step(STAY)


def test_the_time_limit_truncates(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doom.SETTINGS["timeout"] == 2100
    monkeypatch.setitem(doom.SETTINGS, "timeout", 50)
    env = DoomTakeCover()
    env.reset(seed=1)
    flags = [env.step(STAY)[2:4] for _ in range(50)]
    env.close()
    assert flags == [(False, False)] * 49 + [(False, True)]


def test_frame_skip_holds_the_action_and_sums_rewards(game: DoomTakeCover) -> None:
    skipping = DoomTakeCover(frame_skip=4)
    actions = blind_actions("random", 3, 10)
    every = frames_of(game, 3, actions.repeat(4))
    assert np.array_equal(frames_of(skipping, 3, actions), every[::4])
    skipping.reset(seed=3)
    assert skipping.step(LEFT)[1] == 4
    skipping.close()


def test_pictures_and_dynamics_are_those_of_the_large_screen(game: DoomTakeCover) -> None:
    """Beside a game at 640x480, cropped and resized: the same end, pictures within 4 of 255."""
    large = vizdoom.DoomGame()
    large.load_config("take_cover.cfg")
    large.set_doom_config_path("/dev/null")
    large.set_episode_start_time(14)
    large.set_episode_timeout(2100)
    large.set_render_hud(True)
    large.set_render_screen_flashes(True)
    large.set_screen_resolution(vizdoom.ScreenResolution.RES_640X480)
    large.set_screen_format(vizdoom.ScreenFormat.RGB24)
    large.set_window_visible(False)
    large.init()
    # The game's own seed is the first number that Gymnasium's generator gives.
    large.set_seed(int(np.random.Generator(np.random.PCG64(9)).integers(2**31)))
    large.new_episode()
    frame, terminated, differences = game.reset(seed=9)[0], False, []
    for action in blind_actions("held", 9, 2100):
        screen = large.get_state().screen_buffer[:400]
        expected = cv2.resize(screen, (64, 64), interpolation=cv2.INTER_AREA)
        differences.append(np.abs(frame.astype(float) - expected).mean())
        # take_cover.cfg has the buttons left, right.
        large.make_action([int(action == LEFT), int(action == RIGHT)])
        frame, _, terminated, _, _ = game.step(action)
        assert large.is_episode_finished() == terminated
        if terminated:
            break
    assert terminated
    assert np.mean(differences) < 4
    large.close()


def test_leaves_no_file_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    env = DoomTakeCover()
    env.reset(seed=0)
    assert env.render().shape == (120, 160, 3)
    env.close()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("action", [3, -1])
def test_an_action_outside_is_refused(game: DoomTakeCover, action: int) -> None:
    game.reset(seed=0)
    with pytest.raises(gymnasium.error.InvalidAction, match=rf"action is {action}; expected 0 \(l"):
        game.step(action)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="frame_skip is 0; expected 1 or more"):
        DoomTakeCover(frame_skip=0)
    with pytest.raises(ValueError, match="render_mode is 'human'; expected None or 'rgb_array'"):
        DoomTakeCover(render_mode="human")


@pytest.mark.parametrize(("module", "name"), [("vizdoom", "ViZDoom"), ("cv2", "OpenCV")])
def test_without_its_packages_says_what_to_install(
    module: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    words = rf"needs {name}, which is not installed: pip install 'genie_env\[doom\]'"
    with pytest.raises(ImportError, match=words):
        DoomTakeCover()

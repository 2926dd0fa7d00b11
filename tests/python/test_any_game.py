"""Any Gymnasium environment is recorded: every action space, pictures from anywhere, final frames."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import any_games
import gymnasium
import numpy as np
import pytest

from genie_env._core import EpisodeStore, limits
from genie_env.cli.inspect import inspect
from genie_env.cli.record import record
from genie_env.data.players import BlindPlayer, EpisodeSeeds, start_game
from genie_env.data.recording_metadata import declared_actions, recorded_game
from genie_env.envs.actions import MOST_ACTIONS, BoxActions, DiscreteActions
from genie_env.games.base import Game
from genie_env.games.frames import Preprocessing
from genie_env.games.registry import find_game, game_as_recorded


def made(function: str, **arguments: Any) -> Game:
    options = {
        k: arguments.pop(k) for k in ("frame_size", "frames", "crop", "pad") if k in arguments
    }
    return find_game(function, make=f"any_games:{function}", env_args=arguments, **options)


def recorded(out: Path, game: str, **arguments: Any) -> tuple[EpisodeStore, dict[str, Any]]:
    record(game, out, **{"episodes": 2, "workers": 1, "policy": ["random"], **arguments})
    store = EpisodeStore(out)
    return store, json.loads(store.meta)


def test_a_limit_is_the_compiled_parts() -> None:
    assert limits["actions"] == MOST_ACTIONS


# Action spaces.


def test_numbered_actions_keep_their_numbers(tmp_path: Path) -> None:
    store, meta = recorded(tmp_path, "numbers", make="any_games:numbered", episodes=8)
    assert set(store.actions.tolist()) == {-2, -1, 0, 1}
    assert meta["actions"] == {
        "type": "discrete",
        "meanings": ["-2", "-1", "0", "1"],
        "start": -2,
    }
    np.testing.assert_array_equal(store.rewards, store.actions)
    assert recorded_game([tmp_path], [store]).actions == made("numbered").actions


def test_several_choices_are_numbered_and_the_mapping_is_kept(tmp_path: Path) -> None:
    store, meta = recorded(tmp_path, "choices", make="any_games:several", episodes=6)
    meanings = meta["actions"]["meanings"]
    assert (meanings[0], meanings[1], meanings[2], meanings[-1]) == (
        "1 1 1",
        "1 1 2",
        "1 2 1",
        "3 2 2",
    )
    assert meta["flattened_actions"] == {
        "space": "MultiDiscrete",
        "shape": [3],
        "counts": [3, 2, 2],
        "start": [1, 1, 1],
        "order": "the last choice changes fastest",
    }
    sums = [sum(map(int, meanings[action].split())) for action in store.actions]
    np.testing.assert_array_equal(store.rewards, sums)  # what the game was given


def test_switches_are_numbered() -> None:
    actions = made("switches").actions
    assert actions == DiscreteActions(tuple(f"{i >> 2} {i >> 1 & 1} {i & 1}" for i in range(8)))
    env = start_game(made("switches"))
    env.reset(seed=0)
    env.step(5)
    played = env.unwrapped
    assert isinstance(played, any_games.Played)
    assert played.taken[0].tolist() == [1, 0, 1] and played.taken[0].dtype == np.int8


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_a_box_is_recorded_as_float32(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = json.dumps({"kind": kind})
    store, meta = recorded(tmp_path, "steer", make="any_games:steering", env_args=arguments)
    said = capsys.readouterr().out.count("actions of float64 are recorded as float32")
    assert said == (kind == "float64")
    assert store.actions.shape == (12, 1, 2) and store.actions.dtype == np.float32
    assert meta["columns"]["actions"] == {"dtype": "float32", "shape": [1, 2]}
    actions = declared_actions(tmp_path, store)
    assert actions == BoxActions((1, 2), (-2.0, 0.0), (2.0, float(np.float32(0.1))))
    assert all(actions.space.contains(action) for action in store.actions)
    assert recorded_game([tmp_path], [store]).actions == actions


def test_a_made_game_may_have_a_name_that_is_registered(tmp_path: Path) -> None:
    store, meta = recorded(tmp_path, "any_games:steered", frame_skip=2)
    assert (meta["game"], meta["make"], meta["frame_skip"]) == ("steered", "any_games:steering", 2)
    assert store.actions.shape == (6, 1, 2)
    assert game_as_recorded(meta) == find_game("any_games:steered", frame_skip=2)


@pytest.mark.parametrize(
    ("function", "arguments", "words"),
    [
        (
            "unbounded",
            {},
            "this environment are Box(-inf, inf, (1,), float32): the bounds of an act",
        ),
        (
            "whole_box",
            {},
            "are Box(0, 3, (1,), int64); expected Discrete, a bounded Box of float32",
        ),
        ("texts", {}, "are Text(1, 3"),
        (
            "several",
            {"counts": [9, 9, 9, 9]},
            "are 6,561 combinations; expected at most 1,024: wrap",
        ),
        ("switches", {"count": 11}, "MultiBinary(11), which are 2,048 combinations"),
        ("numbered", {"count": 1025}, "expected Discrete spaces of at most 1,024 actions: wrap"),
        ("nothing", {}, "any_games:nothing returned None; expected a gymnasium.Env"),
        ("dictionary", {"render_mode": None}, "no frames: its observations are Dict"),
        (
            "missing",
            {},
            "the module 'any_games' has no function 'missing'; expected module:function",
        ),
    ],
)
def test_what_cannot_be_recorded_is_refused_by_name(
    function: str, arguments: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        record(
            "mine",
            tmp_path / "out",
            make=f"any_games:{function}",
            env_args=json.dumps(arguments),
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("action", "words"),
    [
        ([[2.1, 0.0]], "is [[2.0999"),
        ([[np.nan, 0.0]], "is [[nan, 0.0]]; expected actions [1, 2] from [-2, 0] to [2, 0.1]"),
        ([2.0, 0.0], "expected numbers of shape [1, 2]"),
        ("left", "expected numbers of shape"),
    ],
)
def test_actions_outside_of_their_box_are_refused(action: Any, words: str) -> None:
    env = start_game(made("steering"))
    env.reset(seed=0)
    with pytest.raises(gymnasium.error.InvalidAction, match=re.escape(words)):
        env.step(action)
    # What float32 rounds is no error: the game gets its own bounds.
    env.step(np.array([[2.0000001, 0.1]], np.float32))
    played = env.unwrapped
    assert isinstance(played, any_games.Played)
    assert [action.tolist() for action in played.taken] == [[[2.0, 0.1]]]


@pytest.mark.parametrize("action", [-3, 2, 0.5, None, "0"])
def test_other_numbers_than_the_games_are_refused(action: Any) -> None:
    env = start_game(made("numbered"))
    env.reset(seed=0)
    with pytest.raises(gymnasium.error.InvalidAction, match="expected a whole number from -2 to 1"):
        env.step(action)


# Blind policies.


@pytest.mark.parametrize("policy", ["random", "held", "long-held"])
def test_blind_policies_play_a_box(policy: str) -> None:
    game = made("steering")
    actions = game.blind_actions(policy, 3, 2000)
    assert actions.shape == (2000, 1, 2) and actions.dtype == np.float32
    np.testing.assert_array_equal(game.blind_actions(policy, 3, 50), actions[:50])
    changes = (actions[1:] != actions[:-1]).any((1, 2))
    held = 2000 / (1 + changes.sum())
    assert {"random": 1, "held": 5.5}.get(policy, 25) == pytest.approx(held, rel=0.4)
    uniform = game.blind_actions("random", 0, 20_000)[:, 0, 0]
    assert np.histogram(uniform, 4, (-2, 2))[0] / 20_000 == pytest.approx([0.25] * 4, abs=0.02)


# Pictures.


def test_final_frames_are_what_the_game_showed_last(tmp_path: Path) -> None:
    store, meta = recorded(tmp_path, "numbers", make="any_games:numbered", frame_size="native")
    assert meta["episode_columns"] == {
        "final_frames": {"dtype": "uint8", "shape": [any_games.HEIGHT, any_games.WIDTH, 3]}
    }
    assert store.final_frames is not None
    assert [frame[5, 5, 0] for frame in store.final_frames] == [6, 6]
    assert store.frames[:, 5, 5, 0].tolist() == [0, 1, 2, 3, 4, 5] * 2


def test_pictures_come_from_where_one_says(tmp_path: Path) -> None:
    for name, frames in (("a", None), ("b", "render")):
        store, meta = recorded(tmp_path / name, "any_games:Dictionary-v0", frames=frames)
        assert meta["preprocessing"] == {
            "from": "render",
            "crop": [0, 0, 0, 0],
            "pad": [0, 0, 0, 0],
            "resize": [64, 64],
        }
        assert meta["max_steps"] == 5 and store.truncations.sum() == 2
        assert meta["frames_per_second"] == 20.0
    observed = made("numbered", frames="observation")
    assert start_game(observed).reset(seed=0)[0].shape == (64, 64, 3)
    with pytest.raises(ValueError, match="the observations of .* are Dict.*give --frames render"):
        recorded(tmp_path / "c", "any_games:Dictionary-v0", frames="observation")
    with pytest.raises(ValueError, match="has the render mode None; --frames render expects 'rgb_"):
        made("numbered", frames="render").frame_size  # noqa: B018
        made("numbered", frames="render").actions  # noqa: B018


def test_pictures_are_cropped_padded_and_resized_in_this_order(tmp_path: Path) -> None:
    store, meta = recorded(
        tmp_path,
        "cropped",
        make="any_games:numbered",
        crop="2,2,2,2",
        pad="0,0,3,3",
        frame_size="native",
    )
    assert store.frames.shape[1:] == (16, 32, 3)
    assert not store.frames[:, :, :3].any() and not store.frames[:, :, -3:].any()
    assert store.frames[3, :, 3:-3].min() == store.frames[3].max() == 3
    assert meta["preprocessing"] == {
        "from": "observation",
        "crop": [2, 2, 2, 2],
        "pad": [0, 0, 3, 3],
        "resize": None,
    }
    game = game_as_recorded(meta)
    env = start_game(game)
    np.testing.assert_array_equal(env.reset(seed=EpisodeSeeds.of(0, 0).game)[0], store.frames[0])
    assert (game.frame_size, game.actions) == ((16, 32), made("numbered").actions)
    assert game_as_recorded({**meta, "game": game.name}) == game


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"crop": "1,2,3"},
            "--crop is '1,2,3'; expected four numbers of pixels: top,bottom,left,ri",
        ),
        ({"pad": "a,b,c,d"}, "--pad is 'a,b,c,d'; expected four numbers"),
        (
            {"crop": "10,10,0,0"},
            "nothing is left of pictures of 20 x 30 (height x width) without 10",
        ),
        ({"game": "doom-take-cover"}, "'doom-take-cover' is a game of its own, and the one that"),
        ({"game": "doom-take-cover", "make": None, "pad": "1,1,1,1"}, "leave out --frames, --crop"),
        (
            {"make": "numbered"},
            "the function that makes the game is 'numbered'; expected module:fun",
        ),
        (
            {"make": "no_such_module:make"},
            "no module 'no_such_module' is in this folder or install",
        ),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], words: str, tmp_path: Path) -> None:
    chosen = {"game": "mine", "make": "any_games:numbered", **arguments}
    with pytest.raises(ValueError, match=re.escape(words)):
        record(out=tmp_path / "out", episodes=1, workers=1, **chosen)
    assert not (tmp_path / "out").exists()


def test_recordings_that_were_cropped_otherwise_are_not_of_one_game(tmp_path: Path) -> None:
    directories, stores = [tmp_path / "a", tmp_path / "b"], []
    for directory, crop in zip(directories, ("0,0,0,0", "0,0,4,0"), strict=True):
        store, _ = recorded(directory, "mine", make="any_games:numbered", crop=crop, episodes=1)
        stores.append(store)
    with pytest.raises(
        ValueError, match=r"crop is \(0, 0, 0, 0\) in .*a but \(0, 0, 4, 0\) in .*b"
    ):
        recorded_game(directories, stores)


def test_preprocessing_reads_what_it_wrote() -> None:
    for each in (Preprocessing(), Preprocessing((1, 2, 3, 4), (0, 0, 1, 0), (48, 64))):
        assert Preprocessing.of_json(each.as_json()) == each
    for wrong in (None, {}, {"crop": [1], "pad": [0] * 4}, {"crop": [0.5] * 4, "pad": [0] * 4}):
        with pytest.raises(ValueError, match='"preprocessing" is .*; expected "crop" and "pad" as'):
            Preprocessing.of_json(wrong)


# Games of others.


def test_cartpole_is_recorded_as_it_renders(tmp_path: Path) -> None:
    pytest.importorskip("pygame")
    store, meta = recorded(
        tmp_path, "CartPole-v1", frames="render", crop="140,60,100,100", frame_size="48x80"
    )
    assert store.frames.shape[1:] == (48, 80, 3)
    assert (meta["frames_per_second"], meta["max_steps"]) == (50.0, 500)
    assert store.terminations.sum() == 2 and store.final_frames is not None
    # The final frame is the next one that the environment renders.
    env = start_game(game_as_recorded(meta))
    frame, _ = env.reset(seed=EpisodeSeeds.of(0, 0).game)
    for index in range(int(store.episode_starts[1])):
        np.testing.assert_array_equal(frame, store.frames[index])
        frame, *_ = env.step(int(store.actions[index]))
    np.testing.assert_array_equal(frame, store.final_frames[0])
    env.close()


def test_pendulum_is_recorded_and_inspected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pygame")
    shorter = '{"max_episode_steps": 40}'
    store, meta = recorded(tmp_path, "Pendulum-v1", episodes=1, policy=["held"], env_args=shorter)
    assert meta["max_steps"] == 40
    assert meta["actions"] == {"type": "box", "shape": [1], "low": [-2.0], "high": [2.0]}
    assert store.actions.shape == (40, 1) and store.truncations.sum() == 1
    capsys.readouterr()
    inspect(tmp_path)
    printed = capsys.readouterr().out
    row = next(line.split() for line in printed.splitlines() if line.endswith("-2 to 2 "))
    assert [float(number) for number in row[1:5]] == pytest.approx(
        [store.actions.mean(), store.actions.std(), store.actions.min(), store.actions.max()],
        rel=0.01,
    )
    assert "the frame after each episode's last action is kept as well" in printed
    assert "pictures from the render, resized to 64 x 64" in printed


def test_minigrid_names_its_actions() -> None:
    pytest.importorskip("minigrid")
    game = find_game("minigrid:MiniGrid-Empty-5x5-v0")
    assert isinstance(game.actions, DiscreteActions)
    assert game.actions.meanings[:3] == ("left", "right", "forward") and game.actions.count == 7
    assert game.max_steps is None or game.max_steps > 0


def test_atari_names_its_actions() -> None:
    pytest.importorskip("ale_py")
    game = find_game("ale_py:ALE/Breakout-v5", frame_size=(64, 64))
    assert game.actions == DiscreteActions(("NOOP", "FIRE", "RIGHT", "LEFT"))
    assert BlindPlayer(game, 0, ("random",)).game.frame_size == (64, 64)


def test_a_game_that_holds_actions_itself_says_so() -> None:
    pytest.importorskip("ale_py")
    (notice,) = find_game("ale_py:ALE/Breakout-v5", frame_skip=3).notices
    assert "ale_py:ALE/Breakout-v5 holds an action itself for 4 of its frames" in notice
    assert "--env-args '{\"frameskip\": 1}'" in notice
    once = find_game("ale_py:ALE/Breakout-v5", frame_skip=3, env_args={"frameskip": 1})
    assert once.notices == find_game("ale_py:ALE/Breakout-v5").notices == ()


def test_a_wrapper_that_changes_actions_takes_their_names() -> None:
    pytest.importorskip("ale_py")

    class Mirrored(gymnasium.ActionWrapper[Any, Any, Any]):
        def action(self, action: Any) -> Any:
            return action

    from genie_env.games.env_actions import actions_of

    env = Mirrored(gymnasium.make("ale_py:ALE/Breakout-v5"))
    assert actions_of(env) == DiscreteActions(("0", "1", "2", "3"))
    env.close()

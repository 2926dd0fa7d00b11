"""What an environment gives and its spaces do not promise: converted where that is exact, otherwise
refused at the first frame, before anything is recorded."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import toy_games
from gymnasium import spaces

from genie_env._core import EpisodeStore
from genie_env.cli.app import APP
from genie_env.cli.record import record
from genie_env.data.players import BlindPlayer, start_game
from genie_env.data.workers import play_episodes
from genie_env.games.base import Game
from genie_env.games.recorded_env import BadEnvironment, RecordedEnv
from genie_env.games.registry import find_game

RAMP = toy_games.RAMP
GREY = RAMP[..., :1].repeat(3, axis=2)
PICTURE = {"rendered": True, "space": "numbers"}


def odd(**arguments: Any) -> Game:
    return find_game("toy_games:Odd-v0", env_args=arguments)


@pytest.fixture(autouse=True)
def no_warnings() -> Any:
    """Gymnasium's own check would warn of the first step, in lines beside the error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"frame": "float64"},
            "float64 [64, 64, 3] from 0 to 1; expected uint8 [64, 64, 3] from 0",
        ),
        ({"frame": "black-floats"}, "float64 [64, 64, 3] from 0 to 0; expected uint8"),
        ({"frame": "whole-floats"}, "float64 [64, 64, 3] from 0 to 255; expected uint8"),
        ({"frame": "bools"}, "bool [64, 64, 3] from 0 to 1; expected uint8"),
        ({"frame": "negative"}, "int16 [64, 64, 3] from -1 to 254; expected uint8"),
        ({"frame": "above-255"}, "int16 [64, 64, 3] from 1 to 256; expected uint8"),
        ({"frame": "grey"}, "uint8 [64, 64] from 0 to 255; expected uint8 [64, 64, 3]"),
        ({"frame": "grey-1"}, "uint8 [64, 64, 1] from 0"),
        ({"frame": "opaque"}, "uint8 [64, 64, 4] from 0"),
        ({"frame": "channels-first"}, "uint8 [3, 64, 64] from"),
        ({"frame": "batch"}, "uint8 [1, 64, 64, 3] from"),
        ({"frame": "small"}, "uint8 [32, 32, 3] from"),
        ({"frame": "ragged"}, "[[1, 2], [3]] (list); expected uint8"),
        ({"frame": "objects"}, "(ndarray); expected uint8"),
        ({"frame": "none"}, "None (NoneType); expected uint8"),
        ({"frame": "text"}, "'1' (str); expected uint8"),
        (
            {"space": "floats", "frame": "not-finite"},
            "not finite; expected float32 [64, 64, 3] from 0",
        ),
        ({"space": "floats", "frame": "above-1"}, "float64 [64, 64, 3] from 0 to 1.02; expected"),
        ({"space": "floats", "frame": "ramp"}, "uint8 [64, 64, 3] from 0 to 255; expected float32"),
        (
            {"space": "bits", "frame": "ramp"},
            "from 0 to 255; expected uint8 [64, 64, 3] from 0 to 1,",
        ),
        (
            {**PICTURE, "picture": "float32"},
            "float32 [64, 64, 3] from 0 to 1; expected uint8 [height",
        ),
        ({**PICTURE, "picture": "see-through"}, "uint8 [64, 64, 4] from 0 to 255; expected uint8"),
        ({**PICTURE, "picture": "batch"}, "uint8 [1, 64, 64, 3] from"),
        (
            {**PICTURE, "picture": "none"},
            "None (NoneType); expected uint8 [height, width, 3], as of",
        ),
        ({"reward": "nan"}, "reward of Odd-v0 is nan; expected a finite number"),
        ({"reward": "infinite"}, "is inf; expected a finite number"),
        ({"reward": "huge"}, "is 1e+300; expected a finite number of type float32"),
        ({"reward": "none"}, "is None (NoneType); expected a finite number"),
        ({"reward": "text"}, "is '1' (str); expected a finite number"),
        ({"reward": "two"}, "is float64 [2] from 1 to 2; expected a finite number"),
        ({"reward": "complex"}, "is 1j (complex); expected a finite number"),
        ({"terminated": "none"}, "terminated of Odd-v0 is None (NoneType); expected True or False"),
        ({"terminated": "0.5"}, "is 0.5 (float); expected True or False"),
        ({"truncated": "2"}, "truncated of Odd-v0 is 2 (int); expected True or False"),
        ({"truncated": "two"}, "is float64 [2] from 1 to 2; expected True or False"),
        ({"truncated": "text"}, "is '1' (str); expected True or False"),
        ({"truncated": "nan"}, "is nan (float); expected True or False"),
        ({"step": ""}, "step() of Odd-v0 is 4 values; expected 5 values, as of Gymnasium"),
        ({"reset": ""}, "reset() of Odd-v0 is uint8 [64, 64, 3] from 0 to 0; expected 2 values"),
    ],
)
def test_what_was_not_promised_is_refused_before_anything_is_recorded(
    given: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(BadEnvironment, match=re.escape(words)) as refused:
        record("toy_games:Odd-v0", tmp_path / "out", env_args=json.dumps(given))
    assert not (tmp_path / "out").exists()
    assert "\n" not in str(refused.value)
    assert str(refused.value).endswith(": change the environment, or wrap it")


def test_record_says_it_in_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """At the first frame, and where it comes later, in a worker."""
    words = "from 0 to 1; expected uint8"
    for since in (0, 2):
        arguments = f'{{"frame": "float64", "since": {since}}}'
        out = tmp_path / str(since)
        with pytest.raises(SystemExit) as ended:
            APP.main(
                ["record", "toy_games:Odd-v0", "--episodes", "1", "--workers", "1"]
                + ["--env-args", arguments, "--out", str(out)],
                prog_name="genie-env",
            )
        assert ended.value.code == 1
        (line,) = capfd.readouterr().err.splitlines()
        assert line.startswith("genie-env: the observation of Odd-v0 is ") and words in line
        assert not out.exists()  # not one episode has been played


def test_a_later_step_is_checked_as_well() -> None:
    for given, words in ((("reward", "nan"), "reward"), (("truncated", "none"), "truncated")):
        player = BlindPlayer(odd(since=3, **dict([given])), 0, ("held",))
        with pytest.raises(BadEnvironment, match=f"the {words} of Odd-v0 is ") as refused:
            list(play_episodes(player, range(1), workers=1))
        assert not getattr(refused.value, "__notes__", [])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"frame": "int64"}, RAMP),
        ({"frame": "list"}, RAMP),
        ({"space": "floats", "frame": "float32"}, RAMP),
        ({"space": "floats", "frame": "float64"}, RAMP),
        ({"space": "bits", "frame": "bits"}, RAMP % 2 * 255),
        ({"space": "grey", "frame": "grey"}, GREY),
        ({"space": "grey-1", "frame": "grey-1"}, GREY),
        ({"space": "grey-floats", "frame": "grey-floats"}, GREY),
        # What is rendered comes before pictures that are not in colours.
        ({"space": "grey", "frame": "grey", "rendered": True, "picture": "ramp"}, RAMP),
        ({"space": "colour", "frame": "ramp", "rendered": True, "picture": "grey"}, RAMP),
        ({**PICTURE, "picture": "int64"}, RAMP),
        ({**PICTURE, "picture": "grey"}, GREY),
        ({**PICTURE, "picture": "grey-1"}, GREY),
        ({**PICTURE, "picture": "opaque"}, RAMP),
    ],
)
def test_frames_are_converted_where_that_is_exact(
    given: dict[str, Any], expected: np.ndarray
) -> None:
    env = start_game(odd(**given))
    for frame in (env.reset(seed=0)[0], env.step(0)[0]):
        assert frame.dtype == np.uint8 and np.array_equal(frame, expected)


@pytest.mark.parametrize(
    ("given", "index", "expected"),
    [
        ({"reward": "one"}, 1, 2.5),
        ({"reward": "scalar"}, 1, 2.5),
        ({"reward": "integer"}, 1, 2.0),
        ({"reward": "true"}, 1, 1.0),
        *[({"terminated": kind}, 2, True) for kind in ("true", "ones", "1.0")],
        *[({"truncated": kind}, 3, True) for kind in ("true", "ones", "1.0")],
    ],
)
def test_rewards_and_flags_are_converted_where_that_is_exact(
    given: dict[str, Any], index: int, expected: float | bool
) -> None:
    env = start_game(odd(**given))
    env.reset(seed=0)
    value = env.step(0)[index]
    assert value == expected and type(value) is type(expected)


def test_the_frames_of_floats_are_recorded(tmp_path: Path) -> None:
    arguments = '{"space": "floats", "frame": "float32"}'
    record("toy_games:Odd-v0", tmp_path, episodes=1, workers=1, env_args=arguments)
    assert all(np.array_equal(frame, RAMP) for frame in EpisodeStore(tmp_path).frames)


def test_rewards_of_held_actions_must_have_a_finite_sum() -> None:
    class Rich(toy_games.Counter):
        def step(self, action: Any) -> Any:
            frame, _, *rest = super().step(action)
            return frame, 3e38, *rest

    env = RecordedEnv(Rich(), 2, (64, 64))
    env.reset(seed=0)
    with pytest.raises(
        BadEnvironment, match="the reward of Rich is 6e.38; expected a finite number"
    ):
        env.step(0)


def test_native_frames_keep_their_size() -> None:
    class Growing(toy_games.Rendered):
        def render(self) -> Any:
            return np.zeros((32 + self._step, 48, 3), np.uint8)

    gymnasium.register("Growing-v0", Growing)
    try:
        resized = start_game(find_game("Growing-v0"))
        native = start_game(find_game("Growing-v0", frame_size="native"))
    finally:
        del gymnasium.registry["Growing-v0"]
    for env in (resized, native):
        env.reset(seed=0)
    assert resized.step(0)[0].shape == (64, 64, 3)
    with pytest.raises(
        BadEnvironment, match="frame of Growing-v0 is 33 x 48; expected 32 x 48 as at f"
    ):
        native.step(0)


def test_the_environment_of_a_game_of_ones_own_is_checked_too() -> None:
    class Mine(type(find_game("toy_games:Counter-v0"))):  # type: ignore[misc]
        def make(self) -> Any:
            env = toy_games.Odd(reward="nan")
            assert isinstance(env.observation_space, spaces.Box)
            return env

    env = start_game(Mine("toy_games:Counter-v0"))
    env.reset(seed=0)
    with pytest.raises(BadEnvironment, match="the reward of Odd is nan; expected a finite number"):
        env.step(0)

"""The keys of actions, and films of `genie-env play` without a browser."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from genie_env.cli.app import APP
from genie_env.data.video_reader import decode, look_through
from genie_env.envs.actions import BoxActions, DiscreteActions
from genie_env.envs.registry import find_world
from genie_env.games.action_map import Meaning
from genie_env.play.controls import BoxControls, DiscreteControls, controls_of
from genie_env.play.offline import read_actions
from PIL import Image


AGENT = find_world("doom-take-cover") / "controller.safetensors"


def test_chords_and_names() -> None:
    atari = DiscreteControls(
        DiscreteActions(("NOOP", "FIRE", "RIGHT", "LEFT", "RIGHTFIRE", "LEFTFIRE"))
    )
    assert atari.rest == 0 and atari.keys["Space"] == 1
    assert atari.action(["ArrowLeft", "Space"], ()) == 5
    assert atari.action(["ArrowLeft", "ArrowRight"], ()) == 2, "the newest key"
    assert atari.action(["KeyP"], ()) == 0
    assert atari.action([], (-0.9, 0)) == 3
    numbered = DiscreteActions(("0", "1", "2"), start=4)
    latent = controls_of(numbered, {4: Meaning("left", 9), 6: Meaning("left", 40, share=0.7)})
    assert isinstance(latent, DiscreteControls)
    assert latent.as_json()["meanings"] == ["left", "", "left"]
    assert latent.keys == {"ArrowLeft": 2, "Digit0": 0, "Digit1": 1}, "the most frequent"
    assert latent.action(["Digit0"], ()) == 4
    assert latent.rest == 2, "the least certain"


def test_continuous_actions() -> None:
    car = BoxControls(BoxActions((3,), (-1.0, 0.0, 0.0), (1.0, 1.0, 1.0)))  # wheel, gas, brake
    assert car.action([], ()).tolist() == [0, 0, 0]
    assert car.action(["ArrowLeft", "ArrowUp"], ()).tolist() == [-1, 1, 0]
    assert car.action(["ArrowDown"], ()).tolist() == [0, 0, 1]
    assert car.action([], (0.5, -0.75)).tolist() == [0.5, 0.75, 0], "up is ahead"
    assert car.action([], (0, 1)).tolist() == [0, 0, 1]
    assert car.action(["ArrowRight"], (-1.0,)).tolist() == [1, 0, 0], "keys before sticks"
    offset = BoxControls(BoxActions((2,), (0.2, -3.0), (1.0, 1.0)))
    assert offset.as_json()["rest"] == pytest.approx([0.2, 0])
    assert offset.action(["ArrowRight", "ArrowDown"], ()).tolist() == pytest.approx([1, -3])
    assert offset.action([], (0.5,)).tolist() == pytest.approx([0.6, 0])
    many = BoxControls(BoxActions((5,), (-1.0,) * 5, (1.0,) * 5))
    assert sorted({number for number, _ in many.keys.values()}) == [0, 1, 2, 3]


def test_a_film_of_actions_without_a_browser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    file, picture = tmp_path / "actions.txt", tmp_path / "start.png"
    film = tmp_path / "film.mp4"
    file.write_text("# a dodge\nleft x 3\n2\n\nRIGHT * 2 # and back\n")
    Image.new("RGB", (90, 70), (200, 30, 30)).save(picture)
    line = ["play", "doom-take-cover", "--record", str(film), "--actions", str(file)]
    with pytest.raises(SystemExit) as ended:
        APP.main([*line, "--picture", str(picture)])
    assert ended.value.code == 0
    video = look_through(film)
    frames = decode(video, np.arange(7), (512, 512))
    red, green, _ = frames[0].reshape(-1, 3).mean(0)
    assert red > green + 30


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"left\nfly", "line 2: 'fly' is no action of this world: it has 3 actions"),
        (b"3", "line 1: '3' is no action"),
        (b"left x 2000000", "has more than 1,000,000 steps"),
        (b"# nothing", "has no action: expected an action a line"),
        (b"\xff", "is no text"),
    ],
)
def test_what_is_no_file_of_actions(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "actions.txt"
    file.write_bytes(content)
    with pytest.raises(ValueError) as refused:
        read_actions(file, controls_of(DiscreteActions(("LEFT", "stay", "RIGHT"))))
    assert words in str(refused.value)


def test_continuous_actions_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "actions.txt"
    wheel = controls_of(BoxActions((2,), (-1.0, 0.0), (1.0, 1.0)))
    file.write_text("0.5, 1 x 2\n-1 0")
    assert [action.tolist() for action in read_actions(file, wheel)] == [[0.5, 1]] * 2 + [[-1, 0]]
    file.write_text("0.5, 2")
    with pytest.raises(ValueError, match="line 1: '0.5, 2' is no action of this world"):
        read_actions(file, wheel)


def test_latent_actions_of_a_file_have_meanings(tmp_path: Path) -> None:
    file = tmp_path / "actions.txt"
    meanings = {0: Meaning("left", 9), 1: Meaning("Left", 40)}
    latent = controls_of(DiscreteActions(("0", "1", "2")), meanings)
    file.write_text("left\n2\n0")
    assert read_actions(file, latent) == [1, 2, 0], "the most frequent of those that mean it"
    file.write_text("right")
    with pytest.raises(ValueError, match=r"it has .*, which mean Left, left"):
        read_actions(file, latent)


@pytest.mark.parametrize("option", ["--agent", "--game", "--host"])
def test_a_film_has_no_page(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, option: str
) -> None:
    line = ["play", "doom-take-cover", "--record", "film.mp4", "--actions", "actions.txt"]
    with pytest.raises(SystemExit):
        APP.main([*line, option, str(AGENT)])
    assert "leave out --agent, --game and --host" in capsys.readouterr().err


def test_a_film_needs_actions(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        APP.main(["play", "doom-take-cover", "--record", str(tmp_path / "film.mp4")])
    assert "--record and --actions go together" in capsys.readouterr().err

"""Frames of any size that a network takes; what none takes is refused before recording starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import toy_games  # noqa: F401  (registers them)

from genie_env._core import EpisodeStore, Tokenizer, Vision, limits
from genie_env.cli.record import record
from genie_env.data.frame_size import (
    check_frame_size,
    networks_that_take,
    parse_frame_size,
    patches,
    vision_takes,
)
from genie_env.data.players import start_game
from genie_env.games.registry import find_game

MAX_SIDE, MAX_PATCHES = limits["frame_side"], limits["positions"]


def tokenizer_takes(height: int, width: int, patch: int) -> bool:
    try:
        Tokenizer(frame=(height, width), patch=patch, width=2, heads=1, codes=2, code_dimensions=2)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    "size",
    [(64, 64), (48, 80), (210, 160), (7, 7), (5, 9), (1, MAX_PATCHES), (1, MAX_PATCHES + 1)],
)
def test_a_tokenizer_takes_just_what_is_said_of_it(size: tuple[int, int]) -> None:
    taken = [patch for patch in range(1, 81) if tokenizer_takes(*size, patch)]
    assert [patch for patch in patches(size) if patch <= 80] == taken


def test_the_longest_side_is_the_tokenizers() -> None:
    assert patches((MAX_SIDE, 64))[0] == 16 and tokenizer_takes(MAX_SIDE, 64, 64)
    assert patches((MAX_SIDE + 64, 64)) == [] and not tokenizer_takes(MAX_SIDE + 64, 64, 64)


@pytest.mark.parametrize(
    ("size", "words"),
    [
        ((MAX_SIDE + 8, 8), "vision takes sides that .*, and the tokenizer takes sides of at most"),
        ((211, 161), "tokenizer cuts them .* at most 4096, and the largest .*, 1 x 1, are 33,971;"),
    ],
)
def test_what_no_network_takes_is_refused_by_name(size: tuple[int, int], words: str) -> None:
    with pytest.raises(ValueError, match=rf"no network takes frames of {size[0]} x .*{words}"):
        check_frame_size(size)


def test_a_recording_has_the_size_that_it_was_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for asked, size in (("native", (32, 48)), ("16x24", (16, 24)), (None, (64, 64))):
        directory = tmp_path / str(asked)
        record("toy_games:Rendered-v0", directory, episodes=1, workers=1, frame_size=asked)
        store = EpisodeStore(directory)
        assert store.frames.shape[1:] == (*size, 3)
        assert json.loads(store.meta)["frame"] == {"height": size[0], "width": size[1]}
        assert [frame.max() for frame in store.frames] == list(range(store.num_frames))
        printed = " ".join(capsys.readouterr().out.split())
        assert f"frames of {size[0]} x {size[1]}, for {networks_that_take(size)}" in printed
    with pytest.raises(ValueError, match="recorded otherwise .frame was .*64.* and is now .*16"):
        record("toy_games:Rendered-v0", tmp_path / "None", frame_size="16x24")


@pytest.mark.parametrize(
    ("game", "asked", "words"),
    [
        ("toy_games:Counter-v0", "211x161", "no network takes frames of 211 x 161: vision takes"),
        ("toy_games:Counter-v0", "big", "the frame size is 'big'; expected height and width in"),
        ("toy_games:Counter-v0", "0x64", "the frame size is '0x64'; expected"),
        (
            "doom-take-cover",
            "48x80",
            "48 x 80, but the frames of doom-take-cover are 64 x 64: leave",
        ),
    ],
)
def test_wrong_sizes_are_refused_before_anything_is_there(
    game: str, asked: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=words):
        record(game, tmp_path / "out", frame_size=asked)
    assert not (tmp_path / "out").exists()


def test_an_environment_that_is_not_what_its_game_says_is_named(tmp_path: Path) -> None:
    class Larger(type(find_game("toy_games:Counter-v0"))):  # type: ignore[misc]
        frame_size = (8, 8)

        def make(self) -> object:
            return find_game("toy_games:Counter-v0").make()

    with pytest.raises(ValueError, match=r"says that its frames are \(8, 8, 3\) and its actions Discrete\(2\)"):
        start_game(Larger("toy_games:Counter-v0"))


def test_sizes_are_written_as_height_and_width() -> None:
    assert parse_frame_size("48x80") == (48, 80)


def test_networks_are_named_with_what_they_need() -> None:
    assert networks_that_take((5, 9)) == "train tokenizer with a --patch of 1"
    both = "train vision, and train tokenizer with a --patch of 1, 2, 4, 8, 16, 32 or 64"
    assert networks_that_take((64, 64)) == both
    assert networks_that_take((40, 64)) == "train tokenizer with a --patch of 1, 2, 4 or 8"


@pytest.mark.parametrize(
    ("size", "taken"),
    [
        ((64, 64), True),
        ((48, 256), True),
        ((80, 112), True),
        ((32, 64), False),
        ((64, 272), False),
        ((64, 72), False),
    ],
)
def test_vision_takes_just_what_is_said_of_it(size: tuple[int, int], taken: bool) -> None:
    assert vision_takes(size) == taken
    try:
        vision = Vision(latents=2, height=size[0], width=size[1])
    except ValueError as error:
        assert not taken and "V takes sides that are multiples of 16 from 48 to 256" in str(error)
    else:
        frames = torch.zeros(2, *size, 3, dtype=torch.uint8)
        assert taken and vision.decode(vision.encode(frames)[0]).shape == frames.shape

"""A second game: recorded, trained on and shown in its own words, all from one file of its own."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import second_game
import torch
from PIL import Image
from rich.console import Console

from genie_env._core import EpisodeStore
from genie_env.agents.controller import LinearController
from genie_env.agents.dreams import Dreams
from genie_env.agents.evolution import Generation
from genie_env.agents.training_progress import describe
from genie_env.cli.app import APP
from genie_env.data.inspection import contact_sheet
from genie_env.evaluation.calibrate import Setting, find_holes, hole_warning
from genie_env.evaluation.evaluate import show_scores
from genie_env.evaluation.statistics import Summary
from genie_env.evaluation.table import Cell, markdown
from genie_env.games.base import Game
from genie_env.games.real_game import real_game, score_of
from genie_env.games.registry import find_game, register_game
from genie_env.training.tokenizer import load_tokenizer

NAME = "second_game:gold-rush"
TINY = (
    *("--patch", "8", "--width", "16", "--heads", "1", "--codes", "16", "--code-dimensions", "4"),
    *("--encoder-blocks", "1", "--decoder-blocks", "1", "--window", "2"),
)


def genie_env(*arguments: object) -> None:
    """Runs a command."""
    with pytest.raises(SystemExit) as ended:
        APP.main([str(argument) for argument in arguments], prog_name="genie-env")
    assert ended.value.code == 0


@pytest.fixture(scope="module")
def game() -> Game:
    return find_game(NAME)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("recordings") / "gold"
    genie_env("record", NAME, "--out", directory, "--episodes", 20, "--workers", 1)
    return directory


def test_it_is_recorded_as_it_says(recording: Path) -> None:
    store = EpisodeStore(recording)
    assert store.frames.shape[1:] == (48, 80, 3)
    assert set(store.actions) == set(range(5)) and set(store.rewards) == {0.0, 5.0}
    meta = json.loads(store.meta)
    assert (meta["game"], meta["policies"]) == ("gold-rush", ["long-held"])
    assert meta["actions"]["meanings"] == ["wait", "up", "down", "west", "east"]
    assert store.final_frames is not None and len(store.final_frames) == store.num_episodes
    assert meta["score"] == {"name": "gold", "unit": "coins", "higher_is_better": True}
    assert meta["frame"] == {"height": 48, "width": 80} and meta["frames_per_second"] == 10
    # The first frame of an episode, as the game itself shows it.
    env = find_game(NAME).make()
    first = [env.reset(seed=seed)[0] for seed in range(2)]
    assert first[0].shape == store.frames[0].shape and not np.array_equal(*first)


def test_it_is_inspected_in_its_own_words(
    recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    genie_env("inspect", recording)
    printed = " ".join(capsys.readouterr().out.split())
    assert "frames 48 x 80; game gold-rush" in printed
    assert re.search(r"gold \(coins\) per episode: mean \d+", printed)
    assert "3 west" in printed and "4 east" in printed
    sheet = np.asarray(Image.open(recording / "contact_sheet.png"))
    assert np.array_equal(sheet, contact_sheet(EpisodeStore(recording)))
    assert sheet.shape == (10 * (48 + 14), 12 * (80 + 2), 3)


def test_a_tokenizer_is_trained_on_it(recording: Path, tmp_path: Path) -> None:
    run = tmp_path / "tokenizer"
    sizes = ("--steps", 3, "--batch", 2, "--clip", 2, *TINY)
    genie_env("train", "tokenizer", "--data", recording, "--out", run, *sizes)
    frames = torch.from_numpy(EpisodeStore(recording).frames[:2].copy())[None]
    tokenizer = load_tokenizer(run)
    tokens = tokenizer.encode(frames)
    assert tokens.shape == (1, 2, 6 * 10)
    assert tokenizer.decode(tokens).shape == frames.shape


def test_its_blind_policies_are_played_and_its_scores_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "scores.json"
    played = ("--game", NAME, "--policy", "eastwards", "--episodes", 3, "--workers", 1)
    genie_env("evaluate", *played, "--json", file)
    assert "gold in the real game, coins" in capsys.readouterr().out
    kept = json.loads(file.read_text())
    # A row of ten places, half of which hold a coin worth 5.
    assert all(score % 5 == 0 and 0 <= score <= 50 for score in kept["scores"])
    assert (kept["game"], kept["policies"], kept["score"]["unit"]) == (
        *("gold-rush", ["eastwards"]),
        "coins",
    )


def test_every_table_uses_its_words(game: Game, capsys: pytest.CaptureFixture[str]) -> None:
    gold = Summary(30.0, 5.0, (29.0, 31.0), 10)
    show_scores(Console(width=100), {"eastwards": gold}, game.score, "fresh dreams")
    assert "gold in fresh dreams, coins" in capsys.readouterr().out
    text = markdown([Cell(1.0, 0, gold, gold)], game.score)
    assert text.startswith("| tau | seed | dream gold (coins) | real gold (coins) |")
    (hole,) = find_holes(Setting("sampled", 1.0, {"eastwards": gold}), lower(gold), game)
    assert "a gold of 30 coins in the dream, 10 in the real game" in hole_warning(
        [hole], game.score
    )
    controller = LinearController(np.zeros(2, np.float32), "zh", "ab" * 32)
    generation = Generation(0, 10, 1.0, 10.0, 20.0, 25.0, 0.1, None, 15.0, controller)
    assert describe(generation, game.score) == (
        "gold mean 20, best 25, controller 15 coins, 10 steps/s"
    )


def lower(summary: Summary) -> dict[str, Summary]:
    return {"eastwards": Summary(summary.mean / 3, 5.0, None, 10)}


def test_a_world_may_name_it(tmp_path: Path, game: Game) -> None:
    config = {
        "real_game": "gold-rush",
        "frame_skip": 2,
        "frame": {"height": 48, "width": 80},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert real_game(tmp_path) == find_game(NAME, frame_skip=2)
    assert score_of(tmp_path) == game.score
    config["frame"] = {"height": 64, "width": 64}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="is 64 x 64, but the frames of gold-rush are 48 x 80"):
        real_game(tmp_path)


@pytest.mark.parametrize(
    ("meta", "played"),
    [
        ({"format_version": 2, "settings": {"level": 3}}, {"level": 3}),  # as Game.describe has it
        ({"format_version": 2, "settings": {"a": 1}, "env_args": {"level": 4}}, {"level": 4}),
        ({"format_version": 1, "settings": {"field": "6 x 10"}}, {}),
    ],
)
def test_a_world_plays_it_with_the_arguments_of_its_recordings(
    meta: dict[str, Any], played: dict[str, int], tmp_path: Path, game: Game
) -> None:
    recorded = {"game": game.name, **meta}
    config = {"real_game": game.name, "frame_skip": 1, "training": {"data": [recorded]}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert real_game(tmp_path).env_args == real_game(tmp_path, game.name).env_args == played


def test_what_does_not_fit_it_is_refused(game: Game, random_world: Path) -> None:
    with pytest.raises(
        ValueError, match=r"has 3 actions \(left, stay, right\) .*, but gold-rush has 5"
    ):
        Dreams.load(random_world).play_blind(game, ["random"], [1])
    with pytest.raises(ValueError, match="'left'; expected one of random, .*eastwards, the blind"):
        game.check_policy("left")


def test_a_name_is_registered_once(game: Game) -> None:
    register_game("gold-rush", second_game.GoldRushGame)  # the same one again
    with pytest.raises(ValueError, match="a game called 'gold-rush' is registered already: give"):
        register_game("gold-rush", type(game).__base__)
    with pytest.raises(ValueError, match="a game's name is 'a:b'; expected a name without a colon"):
        register_game("a:b", second_game.GoldRushGame)

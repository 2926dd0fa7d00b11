"""Real games: scores that grow in a file, agents through a world's eyes, errors."""

import contextlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from random_world import write_random_world
from rich.console import Console

from genie_env.agents.agent import file_hash, load_agent
from genie_env.agents.controller import LinearController
from genie_env.agents.dreams import Dreams
from genie_env.agents.real_play import agent_player, evaluate_in_real_game
from genie_env.cli.evaluate import evaluate
from genie_env.data.episode import Episode
from genie_env.data.files import write_json
from genie_env.data.players import BlindPlayer
from genie_env.evaluation import evaluate as evaluation
from genie_env.evaluation.evaluate import RealScores, show_scores
from genie_env.evaluation.statistics import summarise
from genie_env.games.base import Score
from genie_env.games.frames import Preprocessing
from genie_env.games.real_game import real_game
from genie_env.games.registry import find_game

DOOM = "doom-take-cover"


def blind_player(policy: str, seed: int) -> BlindPlayer:
    return evaluation.blind_player(policy, seed, find_game(DOOM))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def agent(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights: what it does depends on what it sees."""
    dreams = Dreams.load(world)
    size = dreams.features[dreams.observation]
    weight = np.random.default_rng(0).standard_normal(size).astype(np.float32)
    file = tmp_path_factory.mktemp("agent") / "agent.safetensors"
    LinearController(weight, dreams.observation, dreams.fingerprint).save(file)
    return file


def test_a_summary_is_what_it_says() -> None:
    scores = np.random.default_rng(0).exponential(500, 400)
    summary = summarise(scores)
    assert summary.mean == pytest.approx(scores.mean())
    assert summary.std == pytest.approx(scores.std(ddof=1))
    # The bootstrap agrees with the normal interval where that is right: many scores.
    half = 1.96 * scores.std(ddof=1) / 20
    assert summary.ci95 == pytest.approx((summary.mean - half, summary.mean + half), rel=0.02)
    assert summarise(scores) == summary
    assert (summary.spread, summary.interval[3:7]) == (f"{summary.std:,.0f}", " to ")
    with pytest.raises(ValueError, match=r"scores of shape \(0,\) were given"):
        summarise([])


def test_a_single_score_says_nothing_about_its_spread(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = summarise([7.0])
    assert (one.mean, one.std, one.ci95, one.n) == (7, None, None, 1)
    write_json(tmp_path / "one.json", one.as_json())
    kept = json.loads((tmp_path / "one.json").read_text())
    assert (kept["mean"], kept["std"], kept["ci95"]) == (7, None, None)
    show_scores(Console(width=100), {"still": one}, Score())
    row = next(line for line in capsys.readouterr().out.splitlines() if "still" in line)
    assert row.replace("│", " ").split() == ["still", "7", "-", "-", "1"]


def test_scores_grow_in_their_file(tmp_path: Path) -> None:
    pytest.importorskip("vizdoom")
    file = tmp_path / "left.json"
    begun = list(RealScores(blind_player("left", 5), file).play(2, workers=1))
    real = RealScores(blind_player("left", 5), file)
    added = list(real.play(5, workers=2))
    assert (len(begun), len(added)) == (2, 3)
    assert real.scores == begun + added
    at_once = RealScores(blind_player("left", 5))
    list(at_once.play(5, workers=1))
    assert at_once.scores == real.scores
    # Always left, the walls and the fireballs end it early (175 tics on average).
    assert all(20 < score < 1500 for score in real.scores)
    assert list(real.play(4, workers=1)) == []

    kept = json.loads(file.read_text())
    assert kept["scores"] == real.scores
    assert kept["mean"] == pytest.approx(np.mean(real.scores))
    assert kept["ci95"][0] <= kept["mean"] <= kept["ci95"][1]
    assert (kept["n"], kept["seed"], kept["game"]) == (5, 5, "doom-take-cover")
    assert kept["settings"]["skill"] == 4
    assert len({*kept["seeds"]}) == 5


def test_a_kill_loses_only_the_latest_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("vizdoom")
    monkeypatch.setattr(evaluation, "SECONDS_A_WRITE", 0.0)
    file = tmp_path / "left.json"
    real = RealScores(blind_player("left", 5), file)
    with contextlib.closing(real.play(3, workers=1)) as playing:
        for _ in range(2):
            next(playing)
            # What a kill would leave.
            assert json.loads(file.read_text())["scores"] == real.scores


def test_a_full_disk_does_not_hide_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("vizdoom")

    def full(file: Path, _: object) -> None:
        raise OSError(f"{file} could not be written (No space left on device)")

    monkeypatch.setattr(evaluation, "write_json", full)
    with pytest.raises(OSError, match=r"left\.json could not be written .No space left"):
        evaluate(policy="left", episodes=1, workers=1, json_file=tmp_path / "left.json")
    printed = capsys.readouterr().out
    assert "survival in the real game" in printed and "left" in printed


def test_a_place_that_cannot_be_written_is_said_before_anything_is_played(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a file").touch()
    with pytest.raises(OSError, match=r"left\.json could not be written .* give another place"):
        evaluate(policy="left", episodes=1, workers=1, json_file=tmp_path / "a file" / "left.json")
    assert "survival" not in capsys.readouterr().out


def test_ctrl_c_shows_what_there_is_and_goes_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("vizdoom")

    def interrupted(*_: object) -> Iterator[Episode]:
        yield Episode(0, 3, None, np.ones(2, np.int64), np.ones(2, np.float32), True, False)
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluation, "play_episodes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        evaluate(policy="left", json_file=tmp_path / "left.json")
    assert "survival in the real game" in capsys.readouterr().out
    assert json.loads((tmp_path / "left.json").read_text())["scores"] == [2]


def test_scores_of_another_player_are_not_mixed_in(tmp_path: Path) -> None:
    pytest.importorskip("vizdoom")
    file = tmp_path / "left.json"
    list(RealScores(blind_player("left", 5), file).play(1, workers=1))
    with pytest.raises(ValueError, match=r"left\.json holds other scores \(seed was 5 and is"):
        RealScores(blind_player("left", 6), file)
    with pytest.raises(ValueError, match=re.escape("policies was ['left'] and is now ['right']")):
        RealScores(blind_player("right", 5), file)
    kept = json.loads(file.read_text())
    for damage, words in (
        ("[1, 2]", r"left.json holds \[1, 2\], but a JSON object is expected"),
        ('{"mean": 1', "left.json is not JSON"),
        (json.dumps({**kept, "scores": None}), 'left.json: "scores" is None, expected a list'),
    ):
        file.write_text(damage)
        with pytest.raises(ValueError, match=words):
            RealScores(blind_player("left", 5), file)


@pytest.mark.parametrize("given", ["options", "action_map"])
def test_scores_of_what_is_no_longer_given_are_not_mixed_in(
    given: str, world: Path, agent: Path, tmp_path: Path
) -> None:
    """The file names it, and the player does not."""
    pytest.importorskip("vizdoom")
    file, player = tmp_path / "scores.json", agent_player(world, agent, 5)
    identity = {**player.game.describe(), **player.describe(), "seed": 5}
    write_json(file, {**identity, given: {"0": 1}, "scores": [7.0], "seeds": [1]})
    expected = rf"holds other scores \({given} was {{'0': 1}} and is now None\); give the same"
    with pytest.raises(ValueError, match=expected):
        RealScores(player, file)
    write_json(file, {**identity, "scores": [7.0], "seeds": [1]})
    assert RealScores(player, file).scores == [7]


def test_scores_that_an_older_version_wrote_grow_on(tmp_path: Path) -> None:
    """It did not say the score's name, the frames' size or their rate, and listed actions by name."""
    pytest.importorskip("vizdoom")
    file = tmp_path / "left.json"
    first = list(RealScores(blind_player("left", 5), file).play(1, workers=1))
    kept = json.loads(file.read_text())
    later = ("score", "frame", "frames_per_second", "env_args", "max_steps")
    older = {key: kept[key] for key in kept if key not in later}
    file.write_text(json.dumps({**older, "actions": ["left", "stay", "right"]}))
    real = RealScores(blind_player("left", 5), file)
    list(real.play(2, workers=1))
    assert real.scores[:1] == first
    assert json.loads(file.read_text())["score"]["name"] == "survival"


def test_an_agent_plays_the_real_game_alone_and_in_a_population(
    world: Path, agent: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("vizdoom")
    file = tmp_path / "scores.json"
    evaluate(episodes=1, world=str(world), agent=agent, workers=1, seed=7, json_file=file)
    assert "survival in the real game" in capsys.readouterr().out
    kept = json.loads(file.read_text())
    assert (kept["n"], kept["world"]) == (1, Dreams.load(world).fingerprint)
    assert (kept["agent"], kept["dtype"]) == (file_hash(agent), Dreams.load(world).world.spec.dtype)
    assert RealScores(agent_player(world, agent, 7), file).scores == kept["scores"]

    # Evolution in the real game plays it the same way, whoever plays beside it.
    member = load_agent(agent)
    weights = np.stack([-member.weight, member.weight])
    evaluate_both = evaluate_in_real_game(world, member.observation, workers=1)
    played = evaluate_both(weights, np.array([0, 1]), [7, 7])
    assert played.steps == played.scores.sum()
    assert played.scores[1] == kept["scores"][0]


def test_an_agent_plays_with_the_options_of_its_world(world: Path, agent: Path) -> None:
    assert "options" not in agent_player(world, agent, 7).describe()
    player = agent_player(world, agent, 7, {"termination": "thresholded"})
    assert player.describe()["options"] == {"termination": "thresholded"}
    with pytest.raises(ValueError, match="has no option 'passes'; it has: termination"):
        agent_player(world, agent, 7, {"passes": 4})


def test_a_policy_plays_the_worlds_game_or_doom(tmp_path: Path) -> None:
    pytest.importorskip("vizdoom")
    skipping = write_random_world(tmp_path / "skipping")
    config = json.loads((skipping / "config.json").read_text())
    (skipping / "config.json").write_text(json.dumps({**config, "frame_skip": 3}))
    for world, frame_skip in ((str(skipping), 3), (None, 1)):
        file = tmp_path / f"{frame_skip}.json"
        evaluate(policy="left", world=world, episodes=1, workers=1, json_file=file)
        kept = json.loads(file.read_text())
        assert (kept["game"], kept["frame_skip"]) == (DOOM, frame_skip)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"real_game": "this:X-v0"}, "is 'this:X-v0'; expected 'doom-take-cover', .*or the id"),
        ({"real_game": "Nowhere-v0"}, "Nowhere-v0'; .* the id of a Gymnasium environment that is"),
        ({"real_game": 5}, '"real_game" is 5; expected'),
        ({"real_game": ["CartPole-v1"]}, r"\"real_game\" is \['CartPole-v1'\]; expected"),
        ({}, 'has no "real_game", as in worlds .* no game takes. Give a world that has one'),
        ({"real_game": DOOM, "frame_skip": 0}, '"frame_skip" is 0; expected 1 or more'),
        ({"real_game": DOOM, "frame_skip": "1"}, "\"frame_skip\" is '1'; expected 1 or more"),
    ],
)
def test_a_worlds_game_is_known_or_refused_but_never_imported(
    given: dict[str, object], words: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"frame_skip": 1, **given}))
    with pytest.raises(ValueError, match=rf"config\.json.*{words}"):
        real_game(tmp_path)
    assert "this" not in sys.modules


def test_a_registered_environment_is_a_worlds_game(tmp_path: Path) -> None:
    config = {"real_game": "CartPole-v1", "frame_skip": 2}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert real_game(tmp_path) == find_game("CartPole-v1", frame_skip=2)


def test_a_worlds_game_has_the_pictures_of_its_recordings(tmp_path: Path) -> None:
    pytest.importorskip("pygame")
    game = find_game("CartPole-v1", frames="render", crop=(100, 0, 0, 0), frame_size=(48, 80))
    config = {
        "real_game": "CartPole-v1",
        "frame_skip": 2,
        "frame": {"height": 48, "width": 80},
        "training": {"data": {"vision": [{"game": "Pong"}, game.describe()]}},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    played = real_game(tmp_path)
    assert played == find_game(
        "CartPole-v1", frame_skip=2, frames="render", crop=(100, 0, 0, 0), frame_size=(48, 80)
    )


def test_a_world_calls_no_function_that_makes_its_game(tmp_path: Path) -> None:
    recorded = {"game": "mine", "make": "os:abort", "preprocessing": Preprocessing().as_json()}
    config = {"real_game": "mine", "frame_skip": 1, "training": {"data": [recorded]}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="'mine' was made by 'os:abort', which a world may not call"):
        real_game(tmp_path)
    config["real_game"] = recorded["game"] = "CartPole-v1"  # that of another game is not called either
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="'CartPole-v1' is a game of its own"):
        real_game(tmp_path)


def test_words_of_errors(world: Path, agent: Path, tmp_path: Path) -> None:
    pytest.importorskip("vizdoom")
    with pytest.raises(ValueError, match="unknown policy 'dance'; expected one of random, held"):
        evaluate(policy="dance")
    for arguments in (
        {},
        {"agent": agent},
        {"world": str(world)},
        {"policy": "left", "world": str(world), "agent": agent},
    ):
        with pytest.raises(ValueError, match="give either --policy .*, or --world and --agent"):
            evaluate(**arguments)
    with pytest.raises(ValueError, match="episodes is 0; expected 1 or more"):
        evaluate(episodes=0, policy="left")
    with pytest.raises(ValueError, match="unknown world 'nowhere'"):
        evaluate(world="nowhere", agent=agent)

    stranger = tmp_path / "stranger.safetensors"
    fitting = load_agent(agent)
    LinearController(fitting.weight, fitting.observation, "cd" * 32).save(stranger)
    with pytest.raises(ValueError, match="the agent was trained in the world cdcdcdcdcdcd, but"):
        evaluate(world=str(world), agent=stranger)

"""Real games: scores that grow in a file, agents through a world's eyes, errors."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from random_world import write_random_world

from genie_env.controller import LinearController, file_hash
from genie_env.dreams import Dreams
from genie_env.evaluation import RealScores, agent_player, blind_player, evaluate, real_arena
from genie_env.summary import summarise


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
    assert summarise([7.0]).ci95 == (7.0, 7.0)
    assert summarise([7.0]).std == 0
    with pytest.raises(ValueError, match=r"scores of shape \(0,\) were given"):
        summarise([])


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


def test_scores_of_another_player_are_not_mixed_in(tmp_path: Path) -> None:
    pytest.importorskip("vizdoom")
    file = tmp_path / "left.json"
    list(RealScores(blind_player("left", 5), file).play(1, workers=1))
    with pytest.raises(ValueError, match=r"left\.json holds other scores \(seed was 5 and is"):
        RealScores(blind_player("left", 6), file)
    with pytest.raises(ValueError, match=re.escape("policies was ['left'] and is now ['right']")):
        RealScores(blind_player("right", 5), file)


def test_an_agent_plays_the_real_game_alone_and_in_a_population(
    world: Path, agent: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("vizdoom")
    file = tmp_path / "scores.json"
    evaluate(episodes=1, world=str(world), agent=agent, workers=1, seed=7, json_file=file)
    assert "survival in the real game" in capsys.readouterr().out
    kept = json.loads(file.read_text())
    assert (kept["n"], kept["world"]) == (1, Dreams.load(world).fingerprint)
    assert kept["agent"] == file_hash(agent)
    assert RealScores(agent_player(world, agent, 7), file).scores == kept["scores"]

    # Evolution in the real game plays it the same way, whoever plays beside it.
    member = LinearController.load(agent)
    weights = np.stack([-member.weight, member.weight])
    played = real_arena(world, member.observation, workers=1)(weights, np.array([0, 1]), [7, 7])
    assert played.steps == played.scores.sum()
    assert played.scores[1] == kept["scores"][0]


def test_words_of_errors(world: Path, agent: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown policy 'dance'; expected one of random, held"):
        evaluate(policy="dance")
    for arguments in (
        {},
        {"agent": agent},
        {"world": str(world)},
        {"policy": "left", "world": str(world), "agent": agent},
    ):
        with pytest.raises(ValueError, match="give either --policy, or both --world and --agent"):
            evaluate(**arguments)
    with pytest.raises(ValueError, match="episodes is 0; expected 1 or more"):
        evaluate(episodes=0, policy="left")
    with pytest.raises(ValueError, match="unknown world 'nowhere'"):
        evaluate(world="nowhere", agent=agent)

    stranger = tmp_path / "stranger.safetensors"
    fitting = LinearController.load(agent)
    LinearController(fitting.weight, fitting.observation, "cd" * 32).save(stranger)
    with pytest.raises(ValueError, match="the agent was trained in the world cdcdcdcdcdcd, but"):
        evaluate(world=str(world), agent=stranger)

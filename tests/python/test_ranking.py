"""`genie-env rank`: dream scores beside real ones, the orders they make, and what dreams tell of themselves."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_real_env import counter_world

from genie_env.agents.agent import load_agent
from genie_env.agents.controller import LinearController
from genie_env.agents.dreams import Dreams
from genie_env.cli.app import APP
from genie_env.evaluation import ranking as rankings
from genie_env.evaluation.dream_signals import FUTURES, PASTS, SIGNALS, dream_signals
from genie_env.evaluation.rank_correlation import rank_correlation, ranks, spearman
from genie_env.evaluation.ranking import Ranked, Ranking, agent_files

AGENTS = 6


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the toy game: the action, 0 or 1, is its reward, and it ends after 5 to 19 steps."""
    return counter_world(tmp_path_factory.mktemp("worlds") / "counter")


@pytest.fixture(scope="module")
def agents(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Controllers of random weights, each in a run directory."""
    dreams, folder = Dreams.load(world), tmp_path_factory.mktemp("agents")
    for number in range(AGENTS):
        weight = np.random.default_rng(number).standard_normal(dreams.num_features)
        agent = LinearController(
            weight.astype(np.float32), "zch", dreams.fingerprint, actions=dreams.actions
        )
        (folder / f"run-{number}").mkdir()
        agent.save(folder / f"run-{number}" / "agent.safetensors")
    return folder


def test_ranks_against_a_sort() -> None:
    values = np.random.default_rng(0).permutation(20).astype(float)
    assert ranks(values).tolist() == (values + 1).tolist()
    assert ranks(np.array([[2.0, 2.0, 1.0], [0.0, 5.0, 5.0]])).tolist() == [
        [2.5, 2.5, 1],
        [1, 2.5, 2.5],
    ]


def test_spearman_against_a_formula() -> None:
    """Without ties it is 1 - 6 sum(d^2) / (n (n^2 - 1))."""
    random = np.random.default_rng(1)
    for n in (3, 10, 31):
        x, y = random.permutation(n), random.permutation(n)
        expected = 1 - 6 * ((x - y) ** 2).sum() / (n * (n * n - 1))
        assert spearman(np.exp(x), y**3.0).item() == pytest.approx(expected)
    assert np.isnan(spearman(np.ones(4), np.arange(4.0)))


def test_the_interval_is_that_of_a_plain_bootstrap() -> None:
    random = np.random.default_rng(2)
    x = random.normal(0, 1, 15)
    y = x + random.normal(0, 1, 15)
    figure = rank_correlation([*x], [*y])
    assert figure.ci95 is not None and figure.ci95[0] < figure.mean < figure.ci95[1]
    picked = [random.integers(0, 15, 15) for _ in range(4000)]
    expected = np.percentile([spearman(x[rows], y[rows]).item() for rows in picked], [2.5, 97.5])
    assert figure.ci95 == pytest.approx(expected, abs=0.03)
    exact = [float(i) for i in range(12)]
    assert rank_correlation(exact, exact).ci95 == (1, 1)


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        ([1.0, 2.0], [1.0, 2.0], "figures of 2 and 2 agents were given; expected as many, and 3 or"),
        ([1.0] * 4, [1.0] * 3, "figures of 4 and 3 agents were given"),
        ([1.0] * 4, [1.0, 2.0, 3.0, 4.0], "all agents have the same score"),
    ],
)
def test_orders_that_there_are_not(one: Any, other: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        rank_correlation(one, other)


def made(dream: list[float], real: list[float], surprise: list[float | None]) -> list[Ranked]:
    nothing = dict.fromkeys(SIGNALS, None)
    return [
        Ranked(f"agent {i}", [d, d], [r, r], {**nothing, "surprise": s})
        for i, (d, r, s) in enumerate(zip(dream, real, surprise, strict=True))
    ]


def test_what_is_said_of_a_ranking() -> None:
    dream, real = [10.0, 8, 6, 4, 2, 1], [3.0, 7, 6, 4, 2, 1]
    found = Ranking(made(dream, real, [9, 2, 1, 4, 3, 3])).as_json()
    assert found["better_half"]["agents"] == ["agent 0", "agent 1", "agent 2"]
    assert found["better_half"]["rank_correlation"]["mean"] == pytest.approx(-0.5)
    assert found["rank_correlation"]["mean"] == pytest.approx(
        spearman(np.array(dream), np.array(real)).item()
    )
    assert found["chosen_by_the_dream"] == {"agent": "agent 0", "real": 3}
    assert found["best_in_reality"] == {"agent": "agent 1", "real": 7}
    assert found["agents"]["agent 0"]["gap"] == 7
    assert found["signals_and_gap"]["surprise"]["mean"] > 0
    assert found["signals_and_gap"]["spread"] is None


def test_where_less_is_better_the_least_comes_first() -> None:
    found = Ranking(
        made([1.0, 2, 3, 4, 5, 6], [2.0, 1, 3, 4, 5, 6], [None] * 6), higher_is_better=False
    ).as_json()
    assert found["better_half"]["agents"] == ["agent 0", "agent 1", "agent 2"]
    assert found["chosen_by_the_dream"]["agent"] == "agent 0"
    assert found["best_in_reality"]["agent"] == "agent 1"


def test_signals_are_those_of_the_dreams(world: Path, agents: Path) -> None:
    dreams = Dreams.load(world)
    agent = load_agent(agents / "run-0" / "agent.safetensors")
    ended: list[int] = []
    found = dream_signals(dreams, agent, 3, ended.append)
    assert found == dream_signals(dreams, agent, 3) != dream_signals(dreams, agent, 4)
    assert ended == sorted(ended) and ended[-1] == PASTS * FUTURES
    assert found.keys() == SIGNALS.keys()
    # Its dreams last three steps at most, and pay one each.
    assert found["spread"] is not None and 0 < found["spread"] < 1.5
    assert found["round_trip"] is not None and found["round_trip"] > 0
    # An independent mean of the surprise of as many dreams is near.
    env = dreams.make_env(2048)
    observation, told = env.reset(seeds=list(range(2048))), []
    for _ in range(3):
        brought = env.step(agent.act(observation))
        observation = brought.observation
        told.append(brought.surprise)
    expected = torch.cat(told)
    error = expected.std().item() / np.sqrt(PASTS * FUTURES)
    assert found["surprise"] == pytest.approx(expected.mean().item(), abs=5 * error)


def run(world: Path, agents: Path, out: Path, *more: str) -> int:
    line = f"rank --world {world} --agent {agents} --out {out} --dreams 4 --workers 1"
    with pytest.raises(SystemExit) as ended:
        APP.main([*line.split(), *more], prog_name="genie-env")
    return int(ended.value.code or 0)


def test_the_command(
    world: Path,
    agents: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    out = tmp_path / "out"
    code = run(world, agents, out, "--episodes", "3")
    shown = capsys.readouterr()
    if "all agents have the same score" in shown.err:  # dreams of three steps pay three points
        assert code == 1
    else:
        assert code == 0 and "rank correlation of dream and reality" in shown.out
    scores = json.loads((out / "real" / "run-2.json").read_text())["scores"]
    assert len(scores) == 3
    kept = {file: file.stat().st_mtime_ns for file in out.glob("*/*.json")}
    assert len(kept) == 3 * AGENTS
    # Once more: nothing is played again; another agent is not let in.
    run(world, agents, out, "--episodes", "3")
    assert {file: file.stat().st_mtime_ns for file in out.glob("*/*.json")} == kept
    capsys.readouterr()
    assert run(world, agents, out, "--episodes", "3", "--seed", "1") == 1
    assert "other settings (seed was 0 and is now 1)" in capsys.readouterr().err


def test_all_dreams_come_before_the_first_game(
    world: Path, agents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        assert len(list((tmp_path / "out" / "dream").glob("*.json"))) == AGENTS
        raise RuntimeError("the game broke")

    monkeypatch.setattr(rankings, "_real_scores", fail)
    assert run(world, agents, tmp_path / "out") != 0
    settings = json.loads((tmp_path / "out" / "settings.json").read_text())
    assert set(settings["agents"]) == {f"run-{n}" for n in range(AGENTS)}


def test_agents_that_cannot_be_ranked(world: Path, agents: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="5 agents were given; expected 6 or more, of mixed quality"):
        agent_files([agents / f"run-{n}" for n in range(5)])
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path} holds no agent: give an agent file")):
        agent_files([tmp_path])
    twice = tmp_path / "again" / "run-0" / "agent.safetensors"
    load_agent(agents / "run-1" / "agent.safetensors").save(twice)
    with pytest.raises(ValueError, match="would both be called run-0: rename one"):
        agent_files([agents, twice])
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes((agents / "run-1" / "agent.safetensors").read_bytes())
    with pytest.raises(ValueError, match=r"copy.safetensors is the same agent as .*run-1"):
        agent_files([agents, copy])


def test_the_picture_shows_both_halves(tmp_path: Path) -> None:
    from PIL import Image

    from genie_env.games.base import Score

    random = np.random.default_rng(0)
    agents = [
        replace(each, dream=random.normal(i, 1, 20).tolist(), real=random.normal(i, 1, 20).tolist())
        for i, each in enumerate(made([0.0] * 8, [0.0] * 8, [None] * 8))
    ]
    rankings.draw(Ranking(agents), "a world", Score(), tmp_path / "ranking.png")
    assert Image.open(tmp_path / "ranking.png").size == (768, 720)

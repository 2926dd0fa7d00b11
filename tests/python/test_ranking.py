"""`genie-env rank`: dream scores beside real ones, the orders they make, and what dreams tell of themselves."""

from __future__ import annotations

import json
import re
import shutil
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
from genie_env.evaluation import rank_agents as rankings
from genie_env.evaluation.dream_signals import FUTURES, PASTS, SIGNALS, dream_signals
from genie_env.evaluation.rank_correlation import rank_correlation, ranks, spearman
from genie_env.evaluation.rank_agents import agent_files
from genie_env.evaluation.ranking import Ranked, Ranking
from genie_env.evaluation.ranking_report import draw

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
    assert figure is not None and figure.ci95 is not None
    assert figure.ci95[0] < figure.mean < figure.ci95[1]
    picked = [random.integers(0, 15, 15) for _ in range(4000)]
    expected = np.percentile([spearman(x[rows], y[rows]).item() for rows in picked], [2.5, 97.5])
    assert figure.ci95 == pytest.approx(expected, abs=0.03)


def test_few_agents_have_no_interval_and_equal_ones_no_order() -> None:
    figure = rank_correlation([*map(float, range(7))], [*map(float, range(7))])
    assert figure is not None and figure.mean == pytest.approx(1) and figure.ci95 is None
    assert rank_correlation([1.0] * 9, [*map(float, range(9))]) is None
    with pytest.raises(ValueError, match="figures of 2 and 2 agents were given; expected as many, and"):
        rank_correlation([1.0, 2.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="figures of 4 and 3 agents were given"):
        rank_correlation([1.0] * 4, [1.0] * 3)


def test_a_third_figure_is_taken_out_of_both() -> None:
    """As the correlation of what linear regressions on its ranks leave of theirs."""
    random = np.random.default_rng(0)
    for count in (4, 9, 40):
        z = random.integers(0, count, count).astype(float)
        x, y = z + random.normal(size=count) * count / 3, z + random.normal(size=count) * count / 3
        left = []
        for each in (x, y):
            line = np.polyfit(ranks(z), ranks(each), 1)
            left.append(ranks(each) - np.polyval(line, ranks(z)))
        expected = np.corrcoef(*left)[0, 1]
        found = rank_correlation(x.tolist(), y.tolist(), z.tolist())
        assert found is not None and found.mean == pytest.approx(expected)
        assert (found.ci95 is None) == (count < 8)
    assert rank_correlation([1.0, 2, 3, 4], [1.0, 3, 2, 4], [2.0, 4, 6, 8]) is None  # it says all


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
    assert found["chosen_by_the_dream"] == {"agent": "agent 0", "real": 3.0}
    assert found["best_in_reality"] == {"agent": "agent 1", "real": 7}
    assert found["agents"]["agent 0"]["gap"] == 7
    assert found["rank_correlation"]["ci95"] is None  # of six agents
    assert found["signals_and_gap"]["surprise"]["mean"] > 0
    assert found["signals_and_gap"]["spread"] is None
    assert found["signals_and_gap_given_score"].keys() == found["signals_and_gap"].keys()
    assert found["signals_and_gap_given_score"]["surprise"]["mean"] != pytest.approx(
        found["signals_and_gap"]["surprise"]["mean"]
    )


def test_where_less_is_better_the_least_comes_first() -> None:
    found = Ranking(
        made([1.0, 2, 3, 4, 5, 6], [2.0, 1, 3, 4, 5, 6], [None] * 6), higher_is_better=False
    ).as_json()
    assert found["better_half"]["agents"] == ["agent 0", "agent 1", "agent 2"]
    assert found["chosen_by_the_dream"]["agent"] == "agent 0"
    assert found["best_in_reality"]["agent"] == "agent 1"
    # A lower score in the dream than in reality is what flatters.
    assert [found["agents"][f"agent {i}"]["gap"] for i in range(3)] == [1, -1, 0]


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
    line = f"rank --world {world} --agent {agents} --out {out} --dreams 4 --episodes 2 --workers 1"
    with pytest.raises(SystemExit) as ended:
        APP.main([*line.split(), *more], prog_name="genie-env")
    return int(ended.value.code or 0)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Scores and signals that are told instead of played; what was asked for, in order."""
    asked: list[str] = []

    def number(file: Path) -> int:
        return int(file.stem.removeprefix("run-"))

    def dream(dreams: Any, agent: Path, seed: int, count: int, file: Path, console: Any) -> Any:
        asked.append(f"dream {number(file)}")
        return [number(file) + 0.1 * i for i in range(count)]

    def real(player: Any, file: Path, *_: Any) -> list[float]:
        asked.append(f"real {number(file)}")
        n = number(file)
        return [{4: 5.0, 5: 4.0}.get(n, n), {4: 5.0, 5: 4.0}.get(n, n) + 0.5]

    def signals(dreams: Any, agent: Any, seed: int, progress: Any) -> dict[str, float | None]:
        asked.append("signals")
        return {**dict.fromkeys(SIGNALS), "surprise": float(len(asked))}

    monkeypatch.setattr(rankings, "kept_dream_scores", dream)
    monkeypatch.setattr(rankings, "_real_scores", real)
    monkeypatch.setattr(rankings, "dream_signals", signals)
    monkeypatch.setenv("COLUMNS", "400")
    return asked


def test_the_command_tells_both_orders(
    world: Path,
    agents: Path,
    tmp_path: Path,
    scripted: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    assert run(world, agents, out) == 0
    assert scripted == [
        *(word for n in range(AGENTS) for word in (f"dream {n}", "signals")),
        *(f"real {n}" for n in range(AGENTS)),
    ]
    found = json.loads((out / "ranking.json").read_text())
    assert found["rank_correlation"]["mean"] == pytest.approx(1 - 6 * 2 / (6 * 35))
    assert found["better_half"]["agents"] == ["run-5", "run-4", "run-3"]
    assert found["agent_files"].keys() == found["agents"].keys()
    assert found["signals_and_gap"]["surprise"] is not None
    assert found["agents"]["run-3"]["real"]["mean"] == 3.25
    assert (out / "ranking.png").stat().st_size > 0
    shown = capsys.readouterr().out
    assert "rank correlation of dream and reality 0.94, of the better half by the dream 0.50" in shown
    assert "the dream would choose run-5: 4.25 in reality, where the best, run-4, has 5.25" in shown
    assert "surprise and how much the dream flatters" in shown and "round_trip and" not in shown
    # Once more: the signals are kept, unless they were of other dreams.
    scripted.clear()
    assert run(world, agents, out) == 0 and "signals" not in scripted
    file = out / "signals" / "run-1.json"
    file.write_text(file.read_text().replace('"futures": 8', '"futures": 9'))
    assert run(world, agents, out) == 0 and scripted.count("signals") == 1
    capsys.readouterr()
    assert run(world, agents, out, "--seed", "1") == 1
    assert "other settings (seed was 0 and is now 1)" in capsys.readouterr().err


def test_signals_can_be_left_out(
    world: Path, agents: Path, tmp_path: Path, scripted: list[str]
) -> None:
    assert run(world, agents, tmp_path / "out", "--no-signals") == 0 and "signals" not in scripted
    found = json.loads((tmp_path / "out" / "ranking.json").read_text())
    assert set(found["signals_and_gap"].values()) == {None}


def test_equal_scores_leave_a_ranking_without_an_order(
    world: Path,
    agents: Path,
    tmp_path: Path,
    scripted: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(rankings, "_real_scores", lambda *_: [7.0, 7.0])
    assert run(world, agents, tmp_path / "out") == 0
    found = json.loads((tmp_path / "out" / "ranking.json").read_text())
    assert found["rank_correlation"] is found["better_half"]["rank_correlation"] is None
    assert "reality unknown, as all have the same score" in capsys.readouterr().out


def test_an_agent_that_changes_meanwhile_is_not_mixed_in(
    world: Path,
    agents: Path,
    tmp_path: Path,
    scripted: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    copies = tmp_path / "agents"
    shutil.copytree(agents, copies)

    def real(*_: Any) -> list[float]:
        for file in copies.glob("run-1/*"):
            shutil.copy(agents / "run-2" / file.name, file)
        return [1.0, 2.0]

    monkeypatch.setattr(rankings, "_real_scores", real)
    assert run(world, copies, tmp_path / "out") == 1
    assert "run-1/agent.safetensors has changed since the ranking began" in capsys.readouterr().err
    assert not (tmp_path / "out" / "ranking.json").exists()


def test_a_small_ranking_that_is_really_played(
    world: Path, agents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    assert run(world, agents, out) == 0
    scores = json.loads((out / "real" / "run-2.json").read_text())["scores"]
    dreamt = json.loads((out / "dream" / "run-2.json").read_text())["scores"]
    assert (len(scores), len(dreamt)) == (2, 4)
    kept = {file: file.stat().st_mtime_ns for file in out.glob("*/*.json")}
    assert len(kept) == 3 * AGENTS
    assert run(world, agents, out) == 0
    assert {file: file.stat().st_mtime_ns for file in out.glob("*/*.json")} == kept


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
    draw(Ranking(agents), "a world", Score(), tmp_path / "ranking.png")
    assert Image.open(tmp_path / "ranking.png").size == (768, 720)

"""The dream score: fresh dreams, the same for every agent, and what its file says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from genie_env.agents.controller import LinearController, file_hash
from genie_env.agents.dreams import Dreams, derived_seeds
from genie_env.cli.dream_score import dream_score


@pytest.fixture
def agent(random_world: Path, tmp_path: Path) -> Path:
    """Random weights: what it does depends on what it sees."""
    dreams = Dreams.load(random_world)
    weight = np.random.default_rng(0).standard_normal(dreams.num_features).astype(np.float32)
    LinearController(weight, "zch", dreams.fingerprint).save(tmp_path / "agent.safetensors")
    return tmp_path / "agent.safetensors"


def test_an_agents_dreams_are_scored(
    random_world: Path, agent: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "score.json"
    dream_score(str(random_world), agent, episodes=9, temperature=0.9, seed=5, json_file=file)
    printed = capsys.readouterr().out
    assert "survival in fresh dreams, tics" in printed
    assert "temperature 0.9, termination sampled" in printed
    assert "agent.safetensors" in printed and "wrote " in printed

    kept = json.loads(file.read_text())
    dreams = Dreams.load(random_world, temperature=0.9)
    seeds = derived_seeds(5, count=9)
    played = dreams.play_controller(LinearController.load(agent), seeds)
    assert (kept["scores"], kept["seeds"]) == (played.scores.tolist(), seeds)
    assert (kept["n"], kept["mean"]) == (9, pytest.approx(played.scores.mean()))
    assert kept["agent"] == file_hash(agent)
    assert (kept["world"], kept["dtype"]) == (dreams.fingerprint, dreams.world.spec.dtype)
    assert (kept["temperature"], kept["termination"], kept["seed"]) == (0.9, "sampled", 5)


def test_words_of_errors(random_world: Path, agent: Path, tmp_path: Path) -> None:
    for options, words in (
        ({"temperature": 0.0}, "temperature is 0.0; expected a number above 0"),
        ({"option": ["termination=never"]}, '"never"'),
        ({"agent": tmp_path / "nothing"}, "nothing does not exist: give the file that"),
    ):
        with pytest.raises(ValueError, match=re.escape(words)):
            dream_score(**{"world": str(random_world), "agent": agent, **options})
    fitting = LinearController.load(agent)
    LinearController(fitting.weight, "zch", "cd" * 32).save(agent)
    with pytest.raises(ValueError, match="the agent was trained in the world cdcdcdcdcdcd, but"):
        dream_score(str(random_world), agent)

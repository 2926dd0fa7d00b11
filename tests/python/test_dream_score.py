"""The dream score: fresh dreams, the same for every agent, and what its file says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genie_env._core import VecEnv
from genie_env.agents.agent import file_hash, load_agent
from genie_env.agents.controller import LinearController
from genie_env.agents.dreams import Dreams, derived_seeds
from genie_env.cli.dream_score import dream_score
from genie_env.data import midway


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
    played = dreams.play_agent(load_agent(agent), seeds)
    assert (kept["scores"], kept["seeds"]) == (played.scores.tolist(), seeds)
    assert (kept["n"], kept["mean"]) == (9, pytest.approx(played.scores.mean()))
    assert kept["agent"] == file_hash(agent)
    assert (kept["world"], kept["dtype"]) == (dreams.fingerprint, dreams.world.spec.dtype)
    assert (kept["temperature"], kept["termination"], kept["seed"]) == (0.9, "sampled", 5)


@pytest.mark.parametrize("death", ["kill", "Ctrl-C"])
def test_dreams_that_have_ended_are_not_played_again(
    death: str,
    random_world: Path,
    agent: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file, arguments = tmp_path / "score.json", {"world": str(random_world), "agent": agent}
    dream_score(**arguments, episodes=40, json_file=file)
    whole = json.loads(file.read_text())
    file.unlink()

    if death == "kill":  # nothing is written after it
        monkeypatch.setattr(midway, "SECONDS_A_CHECKPOINT", 0)
    step, steps = VecEnv.step, []

    def dies(env: VecEnv, actions: torch.Tensor) -> Any:
        steps.append(env.num_envs)
        if len(steps) > 1 and steps[0] > env.num_envs:
            raise RuntimeError("killed") if death == "kill" else KeyboardInterrupt
        return step(env, actions)

    monkeypatch.setattr(VecEnv, "step", dies)
    with pytest.raises((RuntimeError, KeyboardInterrupt)):
        dream_score(**arguments, episodes=40, json_file=file)
    (kept,) = tmp_path.glob(".score-*.midway")
    content = kept.read_bytes()

    def goes_on(env: VecEnv, actions: torch.Tensor) -> Any:
        steps.append(env.num_envs)
        return step(env, actions)

    monkeypatch.setattr(VecEnv, "step", goes_on)
    steps.clear()
    dream_score(**arguments, episodes=40, json_file=file)
    assert max(steps) < 40
    assert json.loads(file.read_text()) == whole
    assert not list(tmp_path.glob("*.midway"))

    # What is damaged, or was kept for other dreams, is not believed.
    kept.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    steps.clear()
    capsys.readouterr()
    dream_score(**arguments, episodes=40, json_file=file)
    assert f"{kept} is damaged (its checksum is of another content)" in capsys.readouterr().out
    assert max(steps) == 40 and json.loads(file.read_text()) == whole
    kept.write_bytes(content)
    dream_score(**arguments, episodes=40, seed=1, json_file=file)
    assert json.loads(file.read_text())["scores"] != whole["scores"]
    assert kept.read_bytes() == content


def test_words_of_errors(random_world: Path, agent: Path, tmp_path: Path) -> None:
    for options, words in (
        ({"temperature": 0.0}, "temperature is 0.0; expected a number above 0"),
        ({"option": ["termination=never"]}, '"never"'),
        ({"agent": tmp_path / "nothing"}, "nothing does not exist: give the file that"),
    ):
        with pytest.raises(ValueError, match=re.escape(words)):
            dream_score(**{"world": str(random_world), "agent": agent, **options})
    fitting = load_agent(agent)
    LinearController(fitting.weight, "zch", "cd" * 32).save(agent)
    with pytest.raises(ValueError, match="the agent was trained in the world cdcdcdcdcdcd, but"):
        dream_score(str(random_world), agent)

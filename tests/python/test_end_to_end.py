"""From a Gymnasium id to an agent that plays it: every command's output loads and plays."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from test_documentation import ROOT, blocks

from genie_env.cli.app import APP

TUTORIAL = ROOT / "docs" / "your-own-game.md"
SMALL: dict[str, dict[str, object]] = {
    "record": {"--episodes": 60},
    "train vision": {"--steps": 5, "--batch": 4, "--latents": 8, "--dtype": "float32"},
    "train memory": {"--steps": 5, "--batch": 4, "--window": 8, "--hidden": 16, "--dtype": "float32"},
    "train ppo": {"--steps": 200, "--dreams": 4, "--horizon": 32},
    "train controller": {"--steps": 200, "--dreams": 4, "--population": 4},
    "outcomes": {"--windows": 20},
    "dream-score": {"--episodes": 4},
    "evaluate": {"--episodes": 2},
    "film": {"--episodes": 2},
    "dream": {"--frames": 2},
}
"""By command of the tutorial: the options that a test gives instead of its own."""


def run(*words: object) -> None:
    with pytest.raises(SystemExit) as ended:
        APP.main([str(word) for word in words], prog_name="genie-env")
    assert ended.value.code == 0


def follow_the_tutorial(options: dict[str, dict[str, object]]) -> list[list[str]]:
    """Runs its commands in this folder, each with `options` in place of its own; returns them."""
    text = re.sub(r"\\\n\s*", "", "".join(blocks(TUTORIAL, "bash")))
    lines = [shlex.split(line)[1:] for line in text.splitlines() if line.startswith("genie-env ")]
    for words in lines:
        command = " ".join(words[:2]) if words[0] in ("train", "freeze") else words[0]
        for option, value in options.get(command, {}).items():
            if option in words:
                del words[words.index(option) : words.index(option) + 2]
            words += [option, str(value)]
        run(*words)
    return lines


@pytest.mark.long
def test_an_agent_trained_in_the_dream_alone_is_better_than_random(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """30 real games each: one and a half times the score, and p below 0.01 (Mann and Whitney 1947)."""
    monkeypatch.chdir(tmp_path)
    float32 = {"--dtype": "float32"}
    networks = {"train vision": float32, "train memory": float32}
    follow_the_tutorial({**networks, "evaluate": {"--episodes": 30}, "film": {"--episodes": 2}})
    world, agent = "runs/cartpole-world", "runs/cartpole-agent/agent.safetensors"
    of_agent, of_random = Path("agent.json"), Path("random.json")
    count = ("--episodes", 30, "--json")
    run("evaluate", "--world", world, "--agent", agent, *count, of_agent)
    run("evaluate", "--world", world, "--policy", "random", *count, of_random)
    trained, random = (np.array(json.loads(f.read_text())["scores"]) for f in (of_agent, of_random))
    assert trained.mean() > 1.5 * random.mean()
    pairs = np.sign(trained[:, None] - random[None, :])
    u, n = ((pairs + 1) / 2).sum(), 30  # ties count half
    assert (u - n * n / 2) / np.sqrt(n * n * (2 * n + 1) / 12) > 2.326


def test_the_tutorial_in_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = follow_the_tutorial(SMALL)
    assert {word for line in lines for word in line} >= {"ppo", "outcomes", "film", "evaluate"}
    config = json.loads(Path("runs/cartpole-world/config.json").read_text())
    assert config["reward"]["type"] == "constant" and config["termination"] == "sampled"
    assert config["termination_reads"] == "next_frame"
    assert config["max_episode_steps"] == 500  # the game's own
    assert "## Reward and termination" in Path("runs/cartpole-world/README.md").read_text()
    assert Path("runs/film.mp4").stat().st_size > 1000


def test_continuous_actions_and_frames_that_are_not_square(tmp_path: Path) -> None:
    data, vision, memory = tmp_path / "data", tmp_path / "vision", tmp_path / "memory"
    world, short = tmp_path / "world", ("--steps", 5, "--batch", 4, "--dtype", "float32")
    pictures = ("--frame-skip", 10, "--frame-size", "48x80")
    run("record", "Pendulum-v1", "--out", data, "--episodes", 40, *pictures)
    run("train", "vision", "--data", data, "--out", vision, "--latents", 8, *short)
    sizes = ("--window", 8, "--hidden", 16)
    run("train", "memory", "--data", data, "--vision", vision, "--out", memory, *sizes, *short)
    run("freeze", "vision-memory", "--vision", vision, "--memory", memory, "--out", world)
    config = json.loads((world / "config.json").read_text())
    assert config["reward"]["type"] == "learned" and config["termination"] == "never"
    assert config["max_episode_steps"] == 20

    told = tmp_path / "outcomes.json"
    run("outcomes", "--world", world, "--data", data, "--windows", 20, "--json", told)
    found = json.loads(told.read_text())
    assert found["followed"]["r2"] is not None and found["bins"] == []

    learning = ("--steps", 200, "--dreams", 4, "--out")
    run("train", "ppo", "--world", world, "--horizon", 32, *learning, tmp_path / "ppo")
    population = ("--population", 4)
    run("train", "controller", "--world", world, *population, *learning, tmp_path / "controller")
    for kind in ("ppo", "controller"):
        agent = tmp_path / kind / "agent.safetensors"
        scored = tmp_path / f"{kind}.json"
        run("dream-score", "--world", world, "--agent", agent, "--episodes", 4)
        run("evaluate", "--world", world, "--agent", agent, "--episodes", 2, "--json", scored)
        assert len(json.loads(scored.read_text())["scores"]) == 2

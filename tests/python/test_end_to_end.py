"""From a Gymnasium id to an agent that plays it: every command's output loads and plays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from genie_env.cli.app import APP


def run(*words: object) -> None:
    with pytest.raises(SystemExit) as ended:
        APP.main([str(word) for word in words], prog_name="genie-env")
    assert ended.value.code == 0


@pytest.mark.parametrize(
    ("game", "options", "episodes", "reward", "ends", "limit"),
    [
        ("CartPole-v1", ("--frames", "render"), 60, "constant", True, 500),
        (
            "Pendulum-v1",
            ("--frame-skip", "10", "--frame-size", "48x80"),
            40,
            "learned",
            False,
            20,
        ),
    ],
)
def test_from_an_id_to_an_agent_that_plays_it(
    game: str,
    options: tuple[str, ...],
    episodes: int,
    reward: str,
    ends: bool,
    limit: int,
    tmp_path: Path,
) -> None:
    data, vision, memory = tmp_path / "data", tmp_path / "vision", tmp_path / "memory"
    world, short = tmp_path / "world", ("--steps", 5, "--batch", 4, "--dtype", "float32")
    run("record", game, "--out", data, "--episodes", episodes, *options)
    run("train", "vision", "--data", data, "--out", vision, "--latents", 8, *short)
    sizes = ("--window", 8, "--hidden", 16)
    run("train", "memory", "--data", data, "--vision", vision, "--out", memory, *sizes, *short)
    run("freeze", "vision-memory", "--vision", vision, "--memory", memory, "--out", world)
    config = json.loads((world / "config.json").read_text())
    assert config["reward"]["type"] == reward and config["termination_reads"] == "next_frame"
    assert config["termination"] == ("sampled" if ends else "never")
    assert config["max_episode_steps"] == limit  # the game's own

    told = tmp_path / "outcomes.json"
    run("outcomes", "--world", world, "--data", data, "--windows", 20, "--json", told, "--card")
    found = json.loads(told.read_text())
    assert len(found["followed"]) == 3
    assert len(found["bins"]) == (10 if ends else 0)
    assert "## Reward and termination" in (world / "README.md").read_text()

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
    run("evaluate", "--world", world, "--policy", "random", "--episodes", 2)
    run("dream", "--world", world, "--frames", 2, "--out", tmp_path / "clips")

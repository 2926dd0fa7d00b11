"""The paths of the documentation, from a game or from video to an agent that plays: every command's
output loads and plays."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_documentation import ROOT, blocks

from genie_env._core import EpisodeStore
from genie_env.cli.app import APP

TUTORIAL = ROOT / "docs" / "your-own-game.md"
AGENTS_IN_GENIE = ROOT / "docs" / "agents-in-genie.md"
SMALL: dict[str, dict[str, object]] = {
    "record": {"--episodes": 40, "--workers": 1},
    "train vision": {"--steps": 5, "--batch": 4, "--latents": 8, "--dtype": "float32"},
    "train memory": {"--steps": 5, "--batch": 4, "--window": 8, "--hidden": 16, "--dtype": "float32"},
    "train ppo": {"--steps": 200, "--dreams": 4, "--horizon": 32},
    "train controller": {"--steps": 200, "--dreams": 4, "--population": 4},
    "outcomes": {"--windows": 20},
    "dream-score": {"--episodes": 4},
    "evaluate": {"--episodes": 2, "--workers": 1},
    "film": {"--episodes": 2, "--workers": 1},
    "dream": {"--frames": 2},
}
"""By command of the tutorial: the options that a test gives instead of its own."""
TINY = {"--steps": 3, "--width": 16, "--heads": 1, "--patch": 16, "--dtype": "float32"}
SMALL_VIDEO: dict[str, dict[str, object]] = {
    **SMALL,
    "record": {"--episodes": 20, "--workers": 1},
    "train tokenizer": {**TINY, "--batch": 2, "--clip": 4, "--codes": 64},
    "train latent-actions": {**TINY, "--batch": 2, "--clip": 4},
    "train dynamics": {"--steps": 3, "--width": 16, "--heads": 1, "--blocks": 1, "--dtype": "float32"},
    "map-actions": {"--steps": 2},
    "train heads": {"--steps": 5},
    "calibrate": {"--dreams": 2, "--episodes": 2, "--workers": 1},
    "train ppo": {"--steps": 64, "--dreams": 4, "--horizon": 16},
    "train clone": {"--steps": 5},
    "examples/python/clone_from_video.py": {"--draws": 2, "--episodes": 2, "--workers": 1},
}
"""The same of the path from video."""


@pytest.fixture(autouse=True)
def quick_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes that play are forked from one that has imported what they need, which else takes
    most of the time of these tests."""
    context = multiprocessing.get_context("forkserver")
    needed = ["genie_env.agents.players", "genie_env.data.recording", "minigrid", "ale_py", "pygame"]
    context.set_forkserver_preload(needed)
    monkeypatch.setattr("genie_env.games.worker_process.multiprocessing.get_context", lambda _: context)


def run(*words: object) -> None:
    with pytest.raises(SystemExit) as ended:
        APP.main([str(word) for word in words], prog_name="genie-env")
    assert ended.value.code == 0


def follow(
    page: Path, options: dict[str, dict[str, object]], until: str | None = None
) -> list[list[str]]:
    """Runs a page's commands and examples in this folder, up to the first that has the word `until`,
    each with `options` in place of its own; returns them."""
    text = re.sub(r"\\\n\s*", "", "".join(blocks(page, "bash")))
    started = ("genie-env ", "python examples/")
    lines = [shlex.split(line)[1:] for line in text.splitlines() if line.startswith(started)]
    last = next((index for index, words in enumerate(lines) if until in words), len(lines))
    for words in lines[:last]:
        command = " ".join(words[:2]) if words[0] in ("train", "freeze") else words[0]
        for option, value in options.get(command, {}).items():
            if option in words:
                del words[words.index(option) : words.index(option) + 2]
            words += [option, str(value)]
        if words[0].endswith(".py"):
            runpy.run_path(str(ROOT / words[0]))["main"](words[1:])
        else:
            run(*words)
    return lines


@pytest.fixture
def every_core() -> Iterator[None]:
    """Other tests share the machine; one that trains at length is alone."""
    before = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    yield
    torch.set_num_threads(before)


@pytest.mark.long
@pytest.mark.usefixtures("every_core")
def test_an_agent_trained_in_the_dream_alone_is_better_than_random(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """30 real games each: one and a half times the score, and p below 0.01 (Mann and Whitney 1947)."""
    monkeypatch.chdir(tmp_path)
    options: dict[str, dict[str, object]] = {
        "train vision": {"--dtype": "float32"},
        "train memory": {"--dtype": "float32", "--hidden": 128},
        "train ppo": {"--steps": 200_000},
        "evaluate": {"--episodes": 30},
        "film": {"--episodes": 2},
    }
    follow(TUTORIAL, options, until="data/cartpole-2")
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
    lines = follow(TUTORIAL, SMALL)
    assert {word for line in lines for word in line} >= {"ppo", "outcomes", "film", "evaluate"}
    config = json.loads(Path("runs/cartpole-world/config.json").read_text())
    assert config["reward"]["type"] == "constant" and config["termination"] == "sampled"
    assert config["termination_reads"] == "next_frame"
    assert config["max_episode_steps"] == 500  # the game's own
    assert "## Reward and termination" in Path("runs/cartpole-world/README.md").read_text()
    assert Path("runs/film.mp4").stat().st_size > 1000
    assert Path("runs/cartpole-agent-2/agent.safetensors").exists()
    world = ("--world", "runs/cartpole-world", "--temperature", 1)
    run("calibrate", *world, "--out", "calibration", "--dreams", 8, "--episodes", 2, "--workers", 1)
    assert read("calibration/calibration.json")["compared"] == {"by": "ratio"}


def test_from_video_to_the_real_game_in_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "worlds").symlink_to(ROOT / "worlds")
    follow(AGENTS_IN_GENIE, SMALL_VIDEO)
    config = json.loads(Path("runs/world/config.json").read_text())
    assert (config["family"], config["termination"]) == ("genie", "sampled")
    assert len(read("runs/calibration/calibration.json")["dream"]) == 3
    for agent in ("agent", "clone", "clone-recorded"):
        assert len(read(f"runs/{agent}.json")["scores"]) == 2
    assert Path("runs/few-labels/few-labels.png").stat().st_size > 1000


def the_whole_path(
    game: str, *, record: tuple[object, ...], agents: tuple[str, ...]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """From recording to film in this folder, in small: what each command writes, the next ones load.
    Returns the world's config.json and calibration.json."""
    module, colon, _ = game.rpartition(":")
    plugin = ("--import", module) if colon else ()
    short = ("--steps", 5, "--batch", 4, "--dtype", "float32")
    run("record", game, "--out", "data", "--workers", 1, *record)
    run("train", "vision", "--data", "data", "--out", "vision", "--latents", 8, *short)
    sizes = ("--window", 8, "--hidden", 16, "--vision", "vision")
    run("train", "memory", "--data", "data", "--out", "memory", *sizes, *short)
    run("freeze", "vision-memory", "--vision", "vision", "--memory", "memory", "--out", "world")
    world = ("--world", "world")
    small = ("--dreams", 8, "--episodes", 4, "--workers", 1, "--temperature", 1, 1.3)
    run(*plugin, "calibrate", *world, "--out", "calibration", *small)
    for kind in agents:
        learning = ("--steps", 200, "--dreams", 4, "--out", kind, *LEARNING[kind])
        run("train", kind, *world, *learning)
        agent = ("--agent", f"{kind}/agent.safetensors")
        run("dream-score", *world, *agent, "--episodes", 4, "--json", f"{kind}/dreamt.json")
        played = ("--episodes", 2, "--workers", 1)
        run(*plugin, "evaluate", *world, *agent, *played, "--json", f"{kind}/real.json")
        for file, episodes in (("dreamt", 4), ("real", 2)):
            assert len(read(f"{kind}/{file}.json")["scores"]) == episodes
    run(*plugin, "film", *world, *agent, "--episodes", 1, "--workers", 1, "--out", "film.mp4")
    assert Path("film.mp4").stat().st_size > 1000
    return read("world/config.json"), read("calibration/calibration.json")


LEARNING: dict[str, tuple[object, ...]] = {"ppo": ("--horizon", 32), "controller": ("--population", 4)}


def read(file: str) -> dict[str, Any]:
    return dict(json.loads(Path(file).read_text()))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_continuous_actions_and_frames_that_are_not_square(folder: Path) -> None:
    record = ("--episodes", 20, "--frame-skip", 10, "--frame-size", "48x80")
    config, calibrated = the_whole_path("Pendulum-v1", record=record, agents=("ppo", "controller"))
    assert config["reward"]["type"] == "learned" and config["termination"] == "never"
    assert config["max_episode_steps"] == 20
    # Its scores are below 0.
    assert calibrated["compared"]["by"] == "difference" and calibrated["compared"]["deviation"] > 0
    windows = ("--windows", 20, "--horizon", 5)
    run("outcomes", "--world", "world", "--data", "data", *windows, "--json", "told.json")
    found = read("told.json")
    assert found["followed"]["r2"] is not None and found["bins"] == []


def test_a_sparse_reward(folder: Path) -> None:
    """The observations are dictionaries, whose picture is symbols: frames are what is rendered."""
    game = "minigrid:MiniGrid-Empty-Random-5x5-v0"
    record = ("--episodes", 40, "--env-args", '{"max_steps": 30}')
    config, _ = the_whole_path(game, record=record, agents=("ppo",))
    rewards = EpisodeStore(Path("data")).rewards
    assert 0 < np.count_nonzero(rewards) < 40
    assert config["reward"] == {"type": "learned", "low": 0.0, "high": pytest.approx(rewards.max())}
    assert config["termination"] == "sampled" and config["max_episode_steps"] == 30
    names = ["left", "right", "forward", "pickup", "drop", "toggle", "done"]
    assert config["actions"]["meanings"] == names
    data = config["training"]["data"]["memory"]
    assert data[0]["preprocessing"]["from"] == "render" and data[0]["settings"] == {"max_steps": 30}


def test_an_atari_game(folder: Path) -> None:
    """Its own frame skip is left to ours; an agent that never fires would play for an hour."""
    own = '{"frameskip": 1, "max_num_frames_per_episode": 160}'
    record = ("--episodes", 20, "--frame-skip", 4, "--env-args", own)
    config, _ = the_whole_path("ale_py:ALE/Breakout-v5", record=record, agents=("controller",))
    assert config["actions"]["meanings"] == ["NOOP", "FIRE", "RIGHT", "LEFT"]
    assert config["frame_skip"] == 4
    starts = EpisodeStore(Path("data")).episode_starts
    assert np.diff(starts).max() == 40
    data = config["training"]["data"]["memory"]
    assert data[0]["preprocessing"]["from"] == "observation"

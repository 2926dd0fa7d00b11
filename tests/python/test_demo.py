"""`genie-env demo`, short, on small random worlds, with their real games."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from random_world import write_car_world, write_random_world
from rich.console import Console

from genie_env._core import World
from genie_env.agents.agent import load_agent
from genie_env.agents.controller import LinearController
from genie_env.agents.dreams import Dreams
from genie_env.cli.demo import (
    AGENT,
    CURVE,
    FILM,
    RESULTS,
    SHIPPED,
    SHIPPED_AGENT,
    TRAINED,
    UNTRAINED,
    Findings,
    demo,
    shipped_controller,
    train,
)
from genie_env.cli.demo_training import ControllerTraining
from genie_env.data.workers import play_episodes
from genie_env.evaluation.comparison_video import dream_frames, dream_results
from genie_env.evaluation.evaluate import FRESH_GAMES, blind_player
from genie_env.games.registry import find_game

DOOM = find_game("doom-take-cover")

OUTPUTS = sorted([AGENT, CURVE, RESULTS])
ROWS = ("random play", "best blind sweep", UNTRAINED, TRAINED)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def vizdoom() -> None:
    pytest.importorskip("vizdoom", reason="the real game needs ViZDoom, which is not installed")


@pytest.mark.usefixtures("vizdoom")
def test_from_dream_to_reality(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    demo(minutes=0.02, episodes=2, out=out, workers=1, world=str(world))
    printed = capsys.readouterr().out
    for name in ROWS:
        assert name in printed
    assert "generation 0: survival mean" in printed and "steps/s" in printed
    assert printed.count("final survival") == 1

    results = json.loads((out / "results.json").read_text())
    assert results["world"] == World.load(world).spec.fingerprint
    assert [g["index"] for g in results["generations"]] == list(range(len(results["generations"])))
    assert list(results["real"]) == list(ROWS)
    for played in results["real"].values():
        assert played["n"] == 2 and all(40 < score <= 2100 for score in played["scores"])
    assert (out / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    controller = load_agent(out / "agent.safetensors")
    assert controller.world == results["world"]

    with av.open(str(out / "dream_and_reality.mp4")) as film:
        pictures = [f.to_ndarray(format="rgb24") for f in film.decode(video=0)]
    survived = sorted(results["real"]["trained in the dream"]["scores"])[1]
    assert len(pictures) == max(survived, 100) + 35, "the median episode, and a second more"
    assert pictures[0].shape == (592, 1032, 3)
    reality, dream = pictures[0][40:552, :512], pictures[0][40:552, 520:]
    # Games that no recording holds, whose seeds begin at 0.
    player = blind_player("random", FRESH_GAMES, DOOM)
    games = [episode.score for episode in play_episodes(player, range(2), workers=1)]
    assert results["real"]["random play"]["scores"] == games
    # Doom's ceiling is grey and even; a random world's pictures are not.
    assert reality[:80].std() < 25 and np.abs(reality.astype(int) - dream).mean() > 20


def driver_of(world: Path) -> LinearController:
    """Drives straight ahead, without brake."""
    dreams = Dreams.load(world)
    weight = np.zeros((3, dreams.num_features), np.float32)
    return LinearController(weight, "zch", dreams.fingerprint, {"steps": "5000"}, dreams.actions)


def test_continuous_actions_are_learned_by_ppo(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in ("Box2D", "pygame", "stable_baselines3"):
        pytest.importorskip(module)
    world, out = write_car_world(tmp_path / "world"), tmp_path / "out"
    driver_of(world).save(world / SHIPPED_AGENT)
    demo(minutes=1e-3, episodes=2, out=out, workers=1, world=str(world))
    printed = " ".join(capsys.readouterr().out.split())
    assert "PPO: 64 dreams at a time, about 0.00 M steps" in printed
    assert "update 0: score mean" in printed
    assert "in the dream the network reaches a score of" in printed
    assert "points, after 1 updates and 0.0 M dream steps" in printed
    assert "ships with the world: it was trained in the dream before, for 0.0 M steps" in printed
    results = json.loads((out / RESULTS).read_text())
    rows = ["random play", "full gas", "scripted driver", TRAINED, SHIPPED]
    assert list(results["real"]) == rows
    assert [update["score"] is None for update in results["updates"]] == [True, False]
    assert all(played["n"] == 2 for played in results["real"].values())
    assert load_agent(out / AGENT).kind == "policy-network"
    assert not (out / "untrained.safetensors").exists()
    with av.open(str(out / FILM)) as film:
        frame = next(film.decode(video=0)).to_ndarray(format="rgb24")
        assert frame.shape == (592, 1032, 3)


def test_what_continuous_actions_need_is_said_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("Box2D", "pygame"):
        pytest.importorskip(module)
    world, out = write_car_world(tmp_path / "world"), tmp_path / "out"
    driver_of(world).save(world / "controller.safetensors")
    with pytest.raises(ValueError, match="starts from a linear controller, but .* by PPO: leave it"):
        demo(warm=True, out=out, world=str(world))
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    with pytest.raises(ImportError, match=r"Stable-Baselines3: pip install 'genie_env\[sb3\]'"):
        demo(out=out, world=str(world))
    monkeypatch.setitem(sys.modules, "Box2D", None)
    with pytest.raises(ImportError, match=r"needs Box2D, .* pip install 'genie_env\[car\]'"):
        demo(out=out, world=str(world))
    assert not out.exists()


@pytest.mark.usefixtures("vizdoom")
def test_an_agent_that_ships_must_be_of_the_world(tmp_path: Path) -> None:
    world = write_random_world(tmp_path / "world")
    dreams = Dreams.load(world)
    weight = np.zeros(dreams.num_features, np.float32)
    LinearController(weight, "zch", "0" * 64).save(world / SHIPPED_AGENT)
    with pytest.raises(ValueError, match="was trained in the world 000000000000, but the world given"):
        demo(out=tmp_path / "out", world=str(world))


@pytest.mark.usefixtures("vizdoom")
def test_ctrl_c_keeps_what_there_is(world: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "genie_env.cli.app", "demo", "--world", str(world)]
    running = subprocess.Popen(
        [*command, "--minutes", "10", "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert running.stdout is not None
    printed = ""
    for line in running.stdout:
        printed += line
        if line.startswith("generation 1"):
            running.send_signal(signal.SIGINT)
            break
    printed += running.communicate(timeout=300)[0]
    assert running.returncode == 130
    assert printed.endswith("stopped\n") and "Traceback" not in printed
    assert printed.count("in the dream the controller reaches a survival of") == 1
    assert sorted(file.name for file in out.iterdir()) == OUTPUTS
    results = json.loads((out / "results.json").read_text())
    assert len(results["generations"]) >= 2 and results["real"] == {}


def test_warm_starts_from_the_controller_that_ships(tmp_path: Path) -> None:
    world = write_random_world(tmp_path / "world")
    dreams = Dreams.load(world)
    weight = np.random.default_rng(0).normal(0, 3, dreams.num_features).astype(np.float32)
    LinearController(weight, "zch", dreams.fingerprint).save(world / "controller.safetensors")
    training = ControllerTraining(dreams, 0.001, 0, shipped_controller(world))
    train(dreams, Findings(DOOM, training), tmp_path, Console())
    learnt = load_agent(tmp_path / "agent.safetensors").weight
    assert np.corrcoef(weight, learnt)[0, 1] > 0.9


@pytest.mark.parametrize("earlier", [AGENT, RESULTS, CURVE, FILM])
def test_an_earlier_demos_results_are_not_touched(
    world: Path, tmp_path: Path, earlier: str
) -> None:
    (tmp_path / earlier).write_text("earlier")
    with pytest.raises(ValueError, match=f"holds an earlier demo's {earlier}: give another --out"):
        demo(out=tmp_path, world=str(world))
    assert [file.read_text() for file in tmp_path.iterdir()] == ["earlier"]


def test_ctrl_c_while_filming_reports_once(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("vizdoom")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    def play(*given: Any) -> None:
        given[3].filmed.append(SimpleNamespace(score=1.0))

    monkeypatch.setattr("genie_env.cli.demo._play", play)
    monkeypatch.setattr("genie_env.cli.demo.film_side_by_side", stop)
    with pytest.raises(KeyboardInterrupt):
        demo(minutes=0.001, out=tmp_path / "out", world=str(world))
    assert capsys.readouterr().out.count("in the dream the controller reaches a survival of") == 1


def test_the_dream_that_is_filmed_is_the_one_that_was_measured(world: Path) -> None:
    """Also in float32, where a dream depends on the size of its batch."""
    dreams = Dreams(World.load(world, dtype="float32"), 1.0, "zch")
    weight = np.random.default_rng(0).standard_normal(dreams.num_features).astype(np.float32)
    controller = LinearController(weight, "zch", dreams.fingerprint)
    results = dream_results(dreams, controller, range(6))
    assert len({length for _, length in results}) > 1
    for row, (score, length) in enumerate(results):
        moments = list(dream_frames(dreams, controller, range(6), row))
        assert len(moments) == length == score
        assert [moment.score for moment in moments] == [*range(length)]
        assert (moments[0].frame.dtype, moments[0].frame.shape) == (np.uint8, (64, 64, 3))


@pytest.mark.usefixtures("vizdoom")
def test_warm_without_a_controller(tmp_path: Path) -> None:
    bare = write_random_world(tmp_path / "bare")
    with pytest.raises(ValueError, match="has no controller.safetensors to start from"):
        demo(warm=True, out=tmp_path / "out", world=str(bare))


def test_missing_vizdoom_is_said_before_training(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vizdoom", None)
    with pytest.raises(ImportError, match=r"needs ViZDoom, .* pip install 'genie_env\[doom\]'"):
        demo(out=tmp_path / "out", world=str(world))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"episodes": 0}, "episodes is 0; expected 1 or more"),
        ({"workers": 0}, "workers is 0; expected 1 or more"),
        ({"minutes": 0}, "minutes is 0; expected a number above 0"),
        ({"world": "nowhere"}, "unknown world 'nowhere'"),
    ],
)
def test_wrong_arguments(options: dict[str, object], words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=words):
        demo(**{"out": tmp_path / "out", **options})  # type: ignore[arg-type]

"""A world of CarRacing: its real game, its agents, and what is said where the game is not installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import av
import gymnasium
import numpy as np
import pytest
from random_world import write_car_world

from genie_env import RealEnv, RealVectorEnv, World
from genie_env.agents.controller import LinearController
from genie_env.agents.dreams import Dreams
from genie_env.cli.app import APP
from genie_env.envs.actions import BoxActions, DiscreteActions
from genie_env.evaluation.comparison_video import dream_results, median
from genie_env.media.action_strip import action_strip
from genie_env.play.real import Real
from genie_env.play.shared import Shared

EXAMPLES = Path(__file__).parents[2] / "examples" / "python"
WITHOUT = r"needs Box2D, which is not installed: pip install 'genie_env\[car\]'"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With an agent beside it, which turns with what it sees."""
    directory = write_car_world(tmp_path_factory.mktemp("car") / "world")
    dreams = Dreams.load(directory)
    weight = np.random.default_rng(0).normal(0, 1, (3, dreams.num_features)).astype(np.float32)
    agent = LinearController(weight, "zch", dreams.fingerprint, {}, dreams.actions)
    agent.save(directory / "agent.safetensors")
    return directory


@pytest.fixture
def box2d() -> None:
    for module in ("Box2D", "pygame"):
        pytest.importorskip(module, reason="CarRacing: pip install 'genie_env[car]'")


@pytest.fixture
def no_box2d(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "Box2D", None)


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        APP.main([*words], prog_name="genie-env")
    return int(ended.value.code or 0)


@pytest.mark.usefixtures("no_box2d")
@pytest.mark.parametrize(
    "line",
    [
        "film --world {world} --agent {agent} --out {out}/film.mp4",
        "evaluate --world {world} --agent {agent} --json {out}/scores.json",
        "evaluate --game car-racing --policy driver",
        "train controller --reality --world {world} --out {out}",
        "train ppo --reality --world {world} --out {out}",
        "table --world {world} --out {out}",
        "demo --world {world} --out {out}",
        "record car-racing --out {out}",
        "play {world} --game car-racing --no-browser --recordings {out}",
    ],
)
def test_what_plays_the_game_says_what_to_install(
    line: str, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"world": world, "agent": world / "agent.safetensors", "out": tmp_path / "out"}
    assert run(*(word.format(**names) for word in line.split())) == 1
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and "Traceback" not in said.out
    assert "needs Box2D, which is not installed: pip install 'genie_env[car]'" in said.err
    assert [*(tmp_path / "out").rglob("*")] == [], "nothing was begun"


@pytest.mark.parametrize("example", ["ppo.py", "planning.py"])
def test_an_example_for_numbered_actions_says_so(example: str, world: Path) -> None:
    line = [sys.executable, str(EXAMPLES / example), "--world", str(world)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "has the actions Box(" in done.stderr and "numbered ones: give another" in done.stderr


@pytest.mark.usefixtures("no_box2d")
def test_the_real_environment_says_what_to_install(world: Path) -> None:
    with pytest.raises(ImportError, match=WITHOUT):
        RealEnv(world)
    with pytest.raises(ImportError, match=WITHOUT):
        RealVectorEnv(world, num_envs=2)


@pytest.mark.usefixtures("no_box2d")
def test_the_dream_needs_no_game(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    agent = str(world / "agent.safetensors")
    assert run("worlds") == run("worlds", str(world)) == run("check", str(world)) == 0
    line = ("dream-score", "--world", str(world), "--agent", agent, "--episodes", "4")
    assert run(*line) == 0
    assert "points" in capsys.readouterr().out
    shared = Shared.of(World.load(world), tmp_path)
    assert shared.no_real_game is not None and "pip install" in shared.no_real_game


@pytest.mark.usefixtures("box2d")
def test_the_real_environment_is_the_game_seen_through_the_world(world: Path) -> None:
    env = RealEnv(world)
    assert env.action_space.shape == (3,)
    env.reset(seed=3)
    words = r"\[2.0, 0.0, 0.0\]"
    with pytest.raises(gymnasium.error.InvalidAction, match=words):
        env.step(np.array([2, 0, 0], np.float32))
    steps, ended = 0, False
    while not ended:
        observation, _, terminated, truncated, info = env.step(env.action_space.sample())
        steps, ended = steps + 1, terminated or truncated
        assert observation in env.observation_space and np.isfinite(info["surprise"])
    assert steps <= 25
    env.close()


@pytest.mark.usefixtures("box2d")
def test_an_agent_is_evaluated_and_filmed(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--world", str(world), "--agent", str(world / "agent.safetensors"), "--workers", "1")
    scores, film = tmp_path / "scores.json", tmp_path / "film.mp4"
    assert run("evaluate", *given, "--episodes", "2", "--json", str(scores)) == 0
    assert "score in the real game, points" in capsys.readouterr().out
    known = json.loads(scores.read_text())
    assert known["frame_skip"] == 40 and len(known["scores"]) == 2
    assert run("film", *given, "--episodes", "1", "--out", str(film)) == 0
    with av.open(str(film)) as container:
        assert float(container.streams.video[0].average_rate or 0) == 50 / 40
        pictures = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    assert 25 <= len(pictures) <= 25 + 2 and pictures[0].shape == (592, 1032, 3)
    strips = np.stack(pictures)[:, 552:].astype(int)
    assert (strips[:25, :, :512].max(axis=(1, 2, 3)) > 200).all(), "an action for every frame"
    assert np.abs(np.diff(strips[:20], axis=0)).max() > 100, "which changes"
    assert strips[-1].max() < 40, "and none at the end"


def test_the_median_dream_is_that_of_the_median_score(world: Path) -> None:
    """Its episodes mostly end by their limit: all lengths are alike."""
    dreams = Dreams.load(world)
    weight = np.zeros((3, dreams.num_features), np.float32)
    straight = LinearController(weight, "zch", dreams.fingerprint, {}, dreams.actions)
    results = dream_results(dreams, straight, range(7))
    scores = [score for score, _ in results]
    assert np.allclose(scores, dreams.play_agent(straight, range(7)).scores, atol=1e-4)
    assert scores[median(results)] == np.median(scores)


def test_the_strip_of_an_action() -> None:
    car = BoxActions((3,), (-1.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    rest, left, gas = (
        action_strip(car, np.array(action, np.float32), 512).astype(int)
        for action in ([0, 0, 0], [-1, 0, 0], [0, 1, 0])
    )
    assert rest.shape == (40, 512, 3)
    middle = 20
    gauge = slice(12, 95)  # of the first number
    assert left[middle, gauge].mean() > rest[middle, gauge].mean() + 50
    half = 53
    assert left[middle, 20:half].min() > 200 and left[middle, half + 2 : 90].max() < 100
    assert (gas[:, :170] == rest[:, :170]).all(), "each number has a third"
    assert gas[middle, 190:260].min() > 200 and rest[middle, 190:260].max() < 100
    numbered = action_strip(DiscreteActions(("left", "right")), 1, 512)
    assert numbered.shape == (40, 512, 3) and numbered.max() > 200
    assert not action_strip(car, None, 512).any()
    many = BoxActions((100,), (0.0,) * 100, (1.0,) * 100)
    assert action_strip(many, np.ones(100, np.float32), 512).shape == (40, 512, 3)


def test_the_pages_keys_have_the_names_of_the_game(world: Path, tmp_path: Path) -> None:
    shared = Shared.of(World.load(world), tmp_path)
    told = shared.controls.as_json()
    assert told["axes"] == ["steering", "gas", "brake"]
    assert told["keys"] == {
        "ArrowLeft": (0, -1.0),
        "ArrowRight": (0, 1.0),
        "ArrowUp": (1, 1.0),
        "ArrowDown": (2, 1.0),
    }


@pytest.mark.usefixtures("box2d")
def test_the_page_plays_the_real_game(world: Path, tmp_path: Path) -> None:
    loaded = World.load(world)
    shared = Shared.of(loaded, tmp_path)
    assert shared.no_real_game is None
    real = Real(loaded, shared.controls, None, None, None)
    real.reset(2000)
    before = real.frame
    assert before.shape == (64, 64, 3)
    assert real.take(shared.controls.action(["ArrowUp"], ()))
    assert np.abs(real.frame.astype(int) - before).mean() > 1, "the car has moved"
    assert real.progress.as_json()["action"] == [0, 1, 0]
    real.close()

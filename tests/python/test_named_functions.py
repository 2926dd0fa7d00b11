"""`--reward-fn module:function` and `--termination-fn`: what they decide, what is kept of them, and
what is refused."""

from __future__ import annotations

import functools
import hashlib
import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from random_world import write_boxed_world, write_random_world
from test_documentation import ROOT, blocks

from genie_env.agents.agent import load_agent
from genie_env.agents.controller import LinearController
from genie_env.agents.dreams import Dreams
from genie_env.cli.app import APP
from genie_env.envs import plugins
from genie_env.envs.step_functions import name_of, named_function, source_of
from genie_env.evaluation import calibrate as calibration
from genie_env.evaluation.statistics import summarise
from genie_env.families.genie.random_world import GenieSizes, random_genie_world
from genie_env.games.doom import DoomGame

MODULE = """
import numpy as np

seen = []

def ones(observations, actions, next_observations):
    seen.append((observations, actions, next_observations))
    return np.ones(len(actions))

def twos(observations, actions, next_observations):
    return np.full(len(actions), 2.0)

def never(observations, actions, next_observations):
    return np.zeros(len(actions), bool)

def always(observations, actions, next_observations):
    return np.ones(len(actions), bool)

def rows(observations, actions, next_observations):
    return np.ones((len(actions), 1))

def nothing(observations, actions, next_observations):
    return None

def words(observations, actions, next_observations):
    return ["one"] * len(actions)

def infinite(observations, actions, next_observations):
    return np.full(len(actions), np.nan)

def fails(observations, actions, next_observations):
    return {}["a key"]

number = 3

class Payer:
    def __call__(self, observations, actions, next_observations):
        return np.ones(len(actions))

    def pay(self, observations, actions, next_observations):
        return np.ones(len(actions))

def scaled(scale, observations, actions, next_observations, by=None):
    return np.full(len(actions), float(scale))
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, whose modules nothing else in this process has imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(plugins, "_imported", [])  # which workers of later tests would import
    for module in ("own_rewards", "own_broken", "own_ending", "own_missing", "my_rewards"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    (tmp_path / "own_rewards.py").write_text(MODULE)
    (tmp_path / "own_broken.py").write_text("1 / 0\n")
    (tmp_path / "own_ending.py").write_text("import sys\nsys.exit()\n")
    (tmp_path / "own_missing.py").write_text("import nothing_like_it\n")
    return tmp_path


def run(*words: object, code: int = 0) -> None:
    with pytest.raises(SystemExit) as ended:
        APP.main([str(word) for word in words], prog_name="genie-env")
    assert ended.value.code == code


TRAININGS = {
    "controller": ("--steps", 1, "--dreams", 1, "--population", 4),
    "ppo": ("--steps", 4, "--dreams", 2, "--horizon", 2, "--units", 4),
}


@pytest.mark.parametrize("kind", TRAININGS)
def test_an_agent_is_trained_with_them_and_says_so(
    kind: str, random_world: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--world", random_world, "--termination-fn", "own_rewards:never")
    line = ("train", kind, *TRAININGS[kind], "--out", "run", *given, "--reward-fn")
    run(*line, "own_rewards:ones")
    agent = folder / "run" / "agent.safetensors"
    notes = load_agent(agent).notes
    assert (notes["reward_fn"], notes["termination_fn"]) == ("own_rewards:ones", "own_rewards:never")
    before, actions, after = sys.modules["own_rewards"].seen[0]
    assert isinstance(before, np.ndarray) and before.shape == after.shape == (len(actions), 80)
    assert (before.dtype, actions.dtype) == (np.float32, np.int64)
    capsys.readouterr()

    run(*line, "own_rewards:twos", code=1)
    assert "reward_fn was 'own_rewards:ones' and is now 'own_rewards:twos'" in capsys.readouterr().err
    run(*line[:-1], code=1)
    assert "reward_fn was 'own_rewards:ones' and is now None" in capsys.readouterr().err

    scored = ("dream-score", *given, "--agent", agent, "--episodes", 3, "--json", "dreamt.json")
    run(*scored, "--reward-fn", "own_rewards:twos")
    found = json.loads(Path("dreamt.json").read_text())
    assert found["scores"] == [200.0] * 3  # the world's limit is 100 steps
    assert (found["reward_fn"], found["termination_fn"]) == ("own_rewards:twos", "own_rewards:never")
    printed = capsys.readouterr().out
    assert (
        "the agent was trained with reward_fn own_rewards:ones, and is scored here with "
        "own_rewards:twos\n"
    ) in printed
    assert "trained with termination_fn" not in printed
    assert "score in fresh dreams, points" in printed and "own_rewards:twos" in printed


def edit_the_module() -> None:
    Path("own_rewards.py").write_text(f"{MODULE}\n# a longer file\n")
    del sys.modules["own_rewards"]


def test_an_agents_functions_are_told_from_edited_and_missing_ones(
    random_world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ("train", "controller", *TRAININGS["controller"], "--out", "run", "--world", random_world)
    run(*line, "--reward-fn", "own_rewards:ones")
    before = load_agent(Path("run/agent.safetensors")).notes["reward_fn_source"]
    scored = ("dream-score", "--world", random_world, "--agent", "run/agent.safetensors")
    capsys.readouterr()
    run(*scored, "--episodes", 2, "--reward-fn", "own_rewards:ones")
    assert "the agent was trained with" not in capsys.readouterr().out
    run(*scored, "--episodes", 2)
    said = capsys.readouterr().out
    assert said.count("trained with reward_fn own_rewards:ones, and is scored here without one\n") == 1

    edit_the_module()
    run(*scored, "--episodes", 2, "--reward-fn", "own_rewards:ones")
    assert "with own_rewards:ones as it is now, whose source is another" in capsys.readouterr().out
    run(*line, "--reward-fn", "own_rewards:ones", code=1)
    assert f"reward_fn_source was '{before}' and is now '" in capsys.readouterr().err


def test_names_and_sources_that_last(random_world: Path) -> None:
    named_function("reward_fn", "own_rewards:ones")
    functions = sys.modules["own_rewards"]
    payer, made = functions.Payer(), functools.partial
    names = {
        "own_rewards:ones": functions.ones,
        "own_rewards:Payer": payer,
        "own_rewards:Payer.pay": payer.pay,
        "own_rewards:scaled(2, by=own_rewards:ones)": made(functions.scaled, 2, by=functions.ones),
    }
    for name, function in names.items():
        found = Dreams.load(random_world, reward_fn=function).functions
        expected = hashlib.sha256(MODULE.encode()).hexdigest()[:12]
        assert found == {"reward_fn": name, "reward_fn_source": expected}
    edit_the_module()
    assert source_of(functions.ones) == expected  # what this process imported, not what the file is now
    edited = named_function("reward_fn", "own_rewards:ones")
    assert edited is not None and name_of(edited) == "own_rewards:ones"
    assert source_of(edited) == source_of(sys.modules["own_rewards"].ones) != expected
    assert source_of(len) == ""


def test_calibrate_says_what_pays_and_dreams_again_where_the_source_changed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("vizdoom")
    world = write_random_world(folder / "world")
    real = {"left": summarise([1.0, 2.0]), "still": summarise([2.0, 3.0])}
    monkeypatch.setattr(DoomGame, "baselines", tuple(real))
    monkeypatch.setattr(calibration, "play_real_game", lambda *_: real)
    line = ("calibrate", "--world", world, "--out", "out", "--temperature", 1.0, "--dreams", 2)
    line += ("--option", "termination=sampled", "--reward-fn", "own_rewards:ones")
    found = []
    for kept in (1, 1, 2):
        if kept == 2:
            edit_the_module()
        run(*line)
        assert "the function must pay what the game pays" in capsys.readouterr().out
        assert len([*Path("out/dreams").glob("*.json")]) == kept
        found.append(json.loads(Path("out/calibration.json").read_text()))
    assert found[0] == found[1] and found[0]["reward_fn"] == "own_rewards:ones"
    assert len(found[0]["reward_fn_source"]) == 12
    assert found[0]["reward_fn_source"] != found[2]["reward_fn_source"]


def test_a_film_tries_its_function_before_the_games_are_played(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = write_random_world(folder / "world")
    dreams = Dreams.load(world)
    weights = np.zeros(dreams.num_features, np.float32)
    LinearController(weights, dreams.observation, dreams.fingerprint).save(folder / "agent")
    monkeypatch.setattr("genie_env.cli.film.play_episodes", lambda *_: pytest.fail("it was played"))
    line = ("film", "--world", world, "--agent", "agent", "--out", "film.mp4")
    run(*line, "--termination-fn", "own_rewards:ones", code=1)
    assert "termination_fn own_rewards:ones gave: got float64, expected b" in capsys.readouterr().err


def test_a_dream_that_a_function_ends_at_once_is_one_step_long(random_world: Path) -> None:
    functions = {
        "reward_fn": named_function("reward_fn", "own_rewards:twos"),
        "termination_fn": named_function("termination_fn", "own_rewards:always"),
    }
    dreams = Dreams.load(random_world, **functions)
    weights, owners = np.zeros((1, dreams.num_features), np.float32), np.zeros(5, np.int64)
    assert dreams.play_controllers(weights, owners, range(5)).scores.tolist() == [2.0] * 5


@pytest.mark.parametrize(
    ("option", "name", "words"),
    [
        ("reward", "ones", "reward_fn is 'ones'; expected module:function, a function of this"),
        ("reward", "nowhere:ones", "reward_fn is 'nowhere:ones': no module 'nowhere' is in this"),
        ("reward", "own_rewards:one", "the module 'own_rewards' has no function 'one'; expected mo"),
        ("reward", "own_rewards:number", "the module 'own_rewards' has no function 'number'"),
        (
            "reward",
            "own_broken:ones",
            "its module cannot be imported (ZeroDivisionError: division by zero): correct it",
        ),
        (
            "reward",
            "own_ending:ones",
            "reward_fn is 'own_ending:ones': the module 'own_ending' ends the program when it is "
            "imported: put what it does under if __name__ ==",
        ),
        (
            "reward",
            "own_missing:ones",
            "reward_fn is 'own_missing:ones', but its module cannot be imported (No module named "
            "'nothing_like_it'): install what is missing",
        ),
        ("reward", "own_rewards:rows", "what reward_fn gave: got float32 [4, 1], expected float32 [4]"),
        (
            "reward",
            "own_rewards:nothing",
            "what reward_fn own_rewards:nothing gave: got object, expected numbers",
        ),
        ("reward", "own_rewards:words", "what reward_fn own_rewards:words gave: got <U3, expected"),
        ("reward", "own_rewards:infinite", "nan in rows 0, 1 and 2 more, expected finite"),
        (
            "reward",
            "own_rewards:fails",
            "reward_fn own_rewards:fails raised KeyError: 'a key' (",
        ),
        (
            "termination",
            "own_rewards:ones",
            "what termination_fn own_rewards:ones gave: got float64, expected bool",
        ),
    ],
)
@pytest.mark.parametrize("command", ["dream-score", "train ppo"])
def test_what_they_cannot_be_is_said_in_one_sentence(
    command: str,
    option: str,
    name: str,
    words: str,
    random_world: Path,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    dreams = Dreams.load(random_world)
    weights = np.zeros(dreams.num_features, np.float32)
    LinearController(weights, dreams.observation, dreams.fingerprint).save(folder / "agent")
    given = {
        "dream-score": ("--agent", "agent", "--episodes", 4),
        "train ppo": ("--out", "run", "--steps", 8, "--dreams", 4, "--horizon", 2),
    }[command]
    run(*command.split(), "--world", random_world, *given, f"--{option}-fn", name, code=1)
    said = capsys.readouterr().err
    assert said.startswith("genie-env: ") and said.count("\n") == 1, said
    assert words in said
    if ":fails" in name:
        line = MODULE.splitlines().index('    return {}["a key"]') + 1
        assert said.endswith(f"own_rewards.py, line {line})\n")
    assert not [file for file in folder.glob("run/*") if file.name == "settings.json"]


@pytest.mark.parametrize("trainer", ["controller", "ppo"])
def test_the_real_game_pays_and_ends_by_itself(
    random_world: Path, capsys: pytest.CaptureFixture[str], trainer: str
) -> None:
    line = ("train", trainer, "--world", random_world, "--out", "run", "--reality")
    for name in ("reward", "termination"):
        run(*line, f"--{name}-fn", "own_rewards:ones", code=1)
        assert f"--{name}-fn is for dreams, but with --reality the game" in capsys.readouterr().err
    run(*line, "--temperature", 1.5, code=1)
    assert "--temperature is for dreams, but with --reality the" in capsys.readouterr().err


def test_continuous_actions(folder: Path) -> None:
    world = write_boxed_world(folder / "boxed")
    run("train", "controller", *TRAININGS["controller"], "--world", world, "--out", "run",
        "--reward-fn", "own_rewards:ones")  # fmt: skip
    _, actions, _ = sys.modules["own_rewards"].seen[0]
    assert actions.dtype == np.float32 and actions.shape[1:] == (2,)


def test_the_documented_example_of_a_genie_world(folder: Path) -> None:
    """Its module and its command lines, in small, in a world of random weights."""
    page = ROOT / "docs" / "genie.md"
    (module,) = [block for block in blocks(page, "python") if block.startswith("# my_rewards.py")]
    Path("my_rewards.py").write_text(module)
    sizes = GenieSizes(T=4, S=64, d=16, blocks=1, heads=2, codes=16, K=1)
    world = random_genie_world(folder / "world", sizes)
    config = json.loads((world / "config.json").read_text())
    (world / "config.json").write_text(json.dumps({**config, "max_episode_steps": 4}))
    small = {
        "train": ("--steps", 4, "--dreams", 2, "--horizon", 2, "--units", 4),
        "dream-score": ("--episodes", 2),
    }
    texts = [block for block in blocks(page, "bash") if "my_rewards:unhurt" in block]
    lines = re.sub(r"\\\n\s*", "", "".join(texts)).splitlines()
    assert [shlex.split(line)[1] for line in lines] == ["train", "dream-score"]
    for line in lines:
        _, *words = shlex.split(line.replace("doom-genie", str(world)))
        run(*words, *small[words[0]])
    assert load_agent(Path("runs/unhurt/agent.safetensors")).notes["reward_fn"] == "my_rewards:unhurt"

    rewards = sys.modules["my_rewards"]
    pictures = np.zeros((3, 64, 64, 3), np.uint8)
    pictures[1] = (200, 30, 20)
    pictures[2] = 255
    before, actions = np.zeros_like(pictures), np.zeros(3, np.int64)
    assert rewards.hurt(before, actions, pictures).tolist() == [False, True, False]
    assert rewards.unhurt(before, actions, pictures).tolist() == [1.0, -1.0, 1.0]

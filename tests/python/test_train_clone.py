"""`genie-env train clone`: what it learns of recorded players, what it leaves, and what it refuses."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from random_world import BOX, write_boxed_world, write_random_world
from safetensors.numpy import load_file, save_file

import genie_env
from genie_env._core import EpisodeStore, EpisodeWriter
from genie_env.agents.agent import load_agent
from genie_env.agents.clone import CloneSettings, held_out_words, train_clone
from genie_env.agents.dreams import Dreams
from genie_env.agents.policy_network import PolicyNetwork
from genie_env.cli.app import APP
from genie_env.evaluation.dream_score import dream_scores

SMALL = CloneSettings(steps=300, batch=32, learning_rate=3e-3, units=32)
NUMBERED = {"type": "discrete", "meanings": ["left", "stay", "right"], "start": 0}
DOOM: dict[str, Any] = {"game": "doom-take-cover", "frame_skip": 1, "actions": NUMBERED}


def record(
    directory: Path, episodes: int = 40, *, side: int = 64, noise: float = 0.0, **meta: Any
) -> Path:
    """Grey frames, each as bright as chance has it. Of numbered actions the player takes the one of
    the frame's third of brightnesses, of a box the numbers of `rule`; with the probability `noise`
    the highest ones instead."""
    told = {**DOOM, **meta}
    actions = told["actions"] or NUMBERED
    numbered = actions["type"] == "discrete"
    dtype, shape = ("int64", []) if numbered else ("float32", actions["shape"])
    picture = {"dtype": "uint8", "shape": [side, side, 3]}
    columns = {
        "frames": picture,
        "actions": {"dtype": dtype, "shape": shape},
        "rewards": {"dtype": "float32", "shape": []},
        **{name: {"dtype": "bool", "shape": []} for name in ("terminations", "truncations")},
    }
    draws = np.random.default_rng(1)
    text = json.dumps({"format_version": 2, "columns": columns, **told})
    with EpisodeWriter(directory, side, side, text) as writer:
        for _ in range(episodes):
            length = int(draws.integers(5, 20))
            level = draws.integers(20, 236, length)
            frames = np.broadcast_to(level[:, None, None, None], (length, side, side, 3))
            taken = np.array([rule(each, actions) for each in level]).astype(dtype)
            taken[draws.random(length) < noise] = 2 if numbered else actions["high"]
            last = np.arange(length) == length - 1
            rewards = np.ones(length, np.float32)
            writer.append(frames.astype(np.uint8), taken, rewards, last, last & False)
    return directory


def rule(level: float, actions: dict[str, Any]) -> Any:
    """What the player does on seeing a frame of this brightness, without noise."""
    share = (level - 20) / 216
    if actions["type"] == "discrete":
        return actions["start"] + int(3 * share)
    low, high = np.array(actions["low"]), np.array(actions["high"])
    return low + (high - low) * np.array([share, 1 - share])


def acts(agent: PolicyNetwork, world: Path, levels: list[int]) -> NDArray[Any]:
    """What an agent does at the beginning of an episode, on frames of these brightnesses."""
    env = genie_env.make_vec(world, len(levels), observation=agent.observation, output="torch")
    frames = np.broadcast_to(np.array(levels)[:, None, None, None], (len(levels), 64, 64, 3))
    seen, _ = env.reset(seed=9, options={"frames": frames.astype(np.uint8)})
    return agent.act(seen).numpy()


def see_clearly(world: Path) -> Path:
    """Hardly anything is random in what the world sees of a frame."""
    weights = load_file(world / "model.safetensors")
    weights["vision.logvar.weight"][:] = 0
    weights["vision.logvar.bias"][:] = -12
    save_file(weights, world / "model.safetensors")
    return world


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return see_clearly(write_random_world(tmp_path_factory.mktemp("worlds") / "numbered"))


@pytest.fixture(scope="module")
def boxed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return see_clearly(write_boxed_world(tmp_path_factory.mktemp("worlds") / "boxed"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("data") / "numbered")


@pytest.fixture(scope="module")
def boxed_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("data") / "boxed", game="a", actions=BOX)


def test_numbered_actions_are_those_of_the_player(numbered: Path, data: Path) -> None:
    agent = train_clone(Dreams.load(numbered), [data], SMALL)
    agreement, commonest = (float(agent.notes[n]) for n in ("agreement", "commonest_agreement"))
    assert agreement > 0.9 and commonest < 0.6
    levels = [*range(20, 236, 4)]
    wanted = np.array([rule(level, NUMBERED) for level in levels])
    assert (acts(agent, numbered, levels) == wanted).mean() > 0.85


def test_actions_keep_their_numbers(tmp_path: Path) -> None:
    """Those of a game whose first one is 5."""
    actions = {**NUMBERED, "start": 5}
    world = see_clearly(write_random_world(tmp_path / "world"))
    config = json.loads((world / "config.json").read_text())
    reward = {"type": "constant", "per_step": config.pop("reward_per_step")}
    config |= {"format_version": 3, "actions": actions, "reward": reward}
    config["termination_reads"] = "action"
    (world / "config.json").write_text(json.dumps(config))
    weights = load_file(world / "model.safetensors")
    inputs = weights["memory.weight_ih"]  # of an action it now reads a number each
    weights["memory.weight_ih"] = np.concatenate([inputs, np.zeros_like(inputs[:, :2])], axis=1)
    save_file(weights, world / "model.safetensors")
    agent = train_clone(Dreams.load(world), [record(tmp_path / "data", actions=actions)], SMALL)
    acted = acts(agent, world, [24, 128, 232])
    assert acted.dtype == np.int64 and acted.tolist() == [5, 6, 7]


def test_continuous_actions_are_those_of_the_player(boxed: Path, boxed_data: Path) -> None:
    agent = train_clone(Dreams.load(boxed), [boxed_data], SMALL)
    errors, constant = (
        np.array(agent.notes[n].split(", "), float) for n in ("error", "median_error")
    )
    assert errors.shape == constant.shape == (2,) and (errors < constant / 4).all()
    levels = [*range(20, 236, 4)]
    wanted = np.array([rule(level, BOX) for level in levels])
    acted = acts(agent, boxed, levels)
    assert acted.shape == (54, 2) and acted.dtype == np.float32
    assert (np.abs(acted - wanted).mean(0) < constant / 3).all()
    assert all(agent.actions.space.contains(each) for each in acted)


def test_noise_of_a_player_is_not_learned(boxed: Path, tmp_path: Path) -> None:
    """The median of what it did; the mean would be off by 0.3 of the way to the highest action."""
    noisy = record(tmp_path / "noisy", 100, noise=0.3, game="a", actions=BOX)
    agent = train_clone(Dreams.load(boxed), [noisy], replace(SMALL, steps=600))
    levels = [*range(40, 200, 4)]
    wanted = np.array([rule(level, BOX) for level in levels])
    noise = 0.3 * (np.array(BOX["high"]) - wanted)
    off = acts(agent, boxed, levels) - wanted
    assert (np.abs(off.mean(0)) < noise.mean(0) / 3).all()


def test_the_held_out_figure_is_that_of_episodes_it_has_not_seen(
    boxed: Path, boxed_data: Path, tmp_path: Path
) -> None:
    """Where the held-out episodes' player does the opposite, the clone agrees with none of them."""
    store = EpisodeStore(boxed_data)
    actions = np.array(store.actions)
    for episode in (19, 39):
        place = slice(*store.episode_starts[episode : episode + 2])
        actions[place] = np.float32([0, 0.5]) - actions[place] * np.float32([1, 1])
    opposite = tmp_path / "opposite"
    opposite.mkdir()
    for file in boxed_data.iterdir():
        (opposite / file.name).write_bytes(file.read_bytes())
    np.save(opposite / "actions.npy", actions)
    errors = [
        np.array(train_clone(Dreams.load(boxed), [d], SMALL).notes["error"].split(", "), float)
        for d in (boxed_data, opposite)
    ]
    assert (errors[1] > 4 * errors[0]).all()


@pytest.mark.parametrize("observation", ["zch", "zh"])
def test_an_agent_file_plays_as_what_was_trained(
    random_world: Path, data: Path, tmp_path: Path, observation: str
) -> None:
    dreams = Dreams.load(random_world, observation=observation)
    learned = train_clone(dreams, [data], replace(SMALL, steps=20), out=tmp_path)
    agent = load_agent(tmp_path / "agent.safetensors")
    assert isinstance(agent, PolicyNetwork) and agent.observation == observation
    agent.check_world(dreams.world)
    assert agent.notes["trained_in"] == "recordings" and agent.notes["steps"] == "20"
    one, other = (dreams.play_agent(each, [1, 2, 3]).scores for each in (learned, agent))
    assert one.tolist() == other.tolist()
    assert len(dream_scores(dreams, tmp_path / "agent.safetensors", seed=0, episodes=4)["scores"])


def test_a_seed_gives_one_agent_and_nobody_elses_draws_change(
    random_world: Path, data: Path
) -> None:
    def learned(seed: int) -> dict[str, torch.Tensor]:
        settings = replace(SMALL, steps=20, seed=seed)
        return train_clone(Dreams.load(random_world), [data], settings).weights

    torch.manual_seed(5), np.random.seed(5), random.seed(5)
    before = torch.rand(2), np.random.rand(2), random.random()
    torch.manual_seed(5), np.random.seed(5), random.seed(5)
    one = learned(0)
    after = torch.rand(2), np.random.rand(2), random.random()
    assert torch.equal(before[0], after[0]) and before[2] == after[2]
    assert (before[1] == after[1]).all()
    torch.manual_seed(6)
    same, other = learned(0), learned(1)
    assert one.keys() == same.keys() and all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["output.weight"], other["output.weight"])
    assert not torch.equal(one["mean"], other["mean"]), "the world draws by the seed too"


def test_a_finished_run_is_shown_and_one_that_was_stopped_begins_again(
    random_world: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dreams, settings, run = Dreams.load(random_world), replace(SMALL, steps=20), tmp_path / "run"

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("genie_env.agents.clone.clone", stop)
        with pytest.raises(KeyboardInterrupt):
            train_clone(dreams, [data], settings, out=run)
        assert not run.exists()
    first = train_clone(dreams, [data], settings, out=run)
    monkeypatch.setattr("genie_env.agents.clone.clone", stop)
    again = train_clone(dreams, [data], settings, out=run)
    assert held_out_words(again) == held_out_words(first)
    assert all(torch.equal(first.weights[name], again.weights[name]) for name in first.weights)
    for changes, words in (
        ({"seed": 1}, "seed was 0 and is now 1"),
        ({"steps": 9}, "steps was 20"),
    ):
        with pytest.raises(ValueError, match=rf"holds a run with other settings \({words}"):
            train_clone(dreams, [data], replace(settings, **changes), out=run)
    more = record(tmp_path / "more", 60)
    with pytest.raises(
        ValueError, match=r"other settings \(recordings was \['\w{16}'\] and is now"
    ):
        train_clone(dreams, [more], settings, out=run)
    (run / "settings.json").unlink()
    with pytest.raises(ValueError, match=r"holds agent.safetensors but no settings.json"):
        train_clone(dreams, [data], settings, out=run)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"game": "lines"}, "recordings are of lines, but the game of the world random is doom-take"),
    ({"side": 32}, r"holds frames of 32 x 32, but those of the world random are 64 x 64"),
    ({"frame_skip": 4}, r'"frame_skip" is 4, but a step of the world random stands for 1'),
    (
        {"actions": BOX},
        r"have actions \[2\] from .*, the world random 3 actions .*: give recordings",
    ),
    ({"actions": None}, "has no actions, as it was decoded from video files"),
    ({"episodes": 19}, "too few episodes: there are 19, and the held-out part, every 20th episode"),
    (
        {"episodes": 20, "batch": 4096},
        "one batch takes 4,096; record on .* or give a smaller --batch",
    ),
    ({"observation": "pixels"}, "not from pictures or tokens: give --observation zch or zh"),
]


@pytest.mark.parametrize(("given", "words"), REFUSED)
def test_what_cannot_be_cloned_is_refused_at_the_start(
    given: dict[str, Any], words: str, random_world: Path, tmp_path: Path
) -> None:
    own = {name: given.pop(name) for name in ("observation", "batch") if name in given}
    dreams = Dreams.load(random_world, observation=own.get("observation"))
    data = record(tmp_path / "data", **given)
    settings = replace(SMALL, batch=own.get("batch", 2))
    with pytest.raises(ValueError, match=words) as refused:
        train_clone(dreams, [data], settings, out=tmp_path / "run")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 0}, "steps is 0; expected 1 or more"),
        ({"batch": 0}, "batch is 0; expected 1 or more"),
        ({"units": 0}, "units is 0; expected 1 or more"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; expected a number above 0"),
        ({"seed": -1}, "seed is -1; expected 0 to"),
    ],
)
def test_settings_that_cannot_be(
    random_world: Path, data: Path, changes: dict[str, float], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        train_clone(Dreams.load(random_world), [data], replace(SMALL, **changes))


def test_a_training_that_diverges_says_so(random_world: Path, data: Path, tmp_path: Path) -> None:
    words = r"learning_rate is 1e\+30, with which the weights are no longer finite after 10 updates"
    with pytest.raises(ValueError, match=words):
        settings = replace(SMALL, steps=100, learning_rate=1e30)
        train_clone(Dreams.load(random_world), [data], settings, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_command(
    random_world: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    line = f"train clone --world {random_world} --data {data} --data {data} --out {out} --steps 30"

    def run(words: str, code: int = 0) -> str:
        with pytest.raises(SystemExit) as ended:
            APP.main(words.split(), prog_name="genie-env")
        assert (ended.value.code or 0) == code
        said = capsys.readouterr()
        return said.out if code == 0 else said.err

    shown = run(f"{line} --units 8 --batch 16 --option termination=thresholded").splitlines()[-1]
    words = r"agent.safetensors: \d+\.\d% of held-out actions agree \(with the commonest one \d"
    assert re.search(words, shown) and shown.endswith("after 30 updates")
    assert load_agent(out / "agent.safetensors").notes["termination"] == "thresholded"
    again = run(f"{line} --units 8 --batch 16 --option termination=thresholded")
    assert again.splitlines()[-1] == shown
    assert "other settings (units was 8 and is now 9)" in run(
        f"{line} --units 9 --batch 16 --option termination=thresholded", code=1
    )
    scored = f"dream-score --world {random_world} --agent {out}/agent.safetensors --episodes 4"
    assert "score" in run(scored) or "survival" in run(scored)

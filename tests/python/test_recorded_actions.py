"""Genie worlds of recorded actions: their dynamics learn the game's own actions, which are the world's
then, everywhere."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dots
import numpy as np
import pytest
import torch
from gymnasium.error import InvalidAction
from safetensors.torch import load_file

import genie_env
from genie_env._core import Dynamics, EpisodeStore, FormatError, RowCounters, Trainer, World
from genie_env.cli.fidelity import fidelity
from genie_env.cli.outcomes import outcomes
from genie_env.cli.record import record
from genie_env.data.datasets import held_out
from genie_env.data.following import follow
from genie_env.data.recording_metadata import numbered_actions
from genie_env.envs.latent_actions import action_inference, has_latent_actions
from genie_env.envs.start_bank import draw_contexts
from genie_env.evaluation.fidelity import actions_of
from genie_env.families.genie.commands import (
    freeze_genie,
    freeze_heads_command,
    train_dynamics,
    train_heads,
    train_tokenizer,
)
from genie_env.training.dynamics import likeliest_next
from genie_env.training.heads import labelled_steps, load_follower
from genie_env.training.labelled import labelled_parts
from genie_env.training.runs import read_reports
from genie_env.training.tokenizer import load_tokenizer

GAME = "dots:Dots-v0"
SIZES: dict[str, Any] = {"width": 16, "heads": 2, "window": 3}
TRAINING: dict[str, Any] = {"batch": 8, "dtype": "float32", "learning_rate": 2e-2}
DYNAMICS: dict[str, Any] = {
    **SIZES,
    **{"actions": "recorded", "blocks": 2, "steps": 200},
    **TRAINING,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 played episodes of a game whose actions are numbered from -1 on."""
    directory = tmp_path_factory.mktemp("recorded") / "data"
    record(GAME, directory, episodes=40, workers=1, frame_size="native", policy=["random"])
    return directory


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer, and dynamics of recorded actions."""
    runs = tmp_path_factory.mktemp("runs")
    blocks = {"encoder_blocks": 1, "decoder_blocks": 1, "clip": 4, "codes": 20, "patch": 8}
    train_tokenizer([data], runs / "tokenizer", **SIZES, **blocks, **TRAINING, steps=120)
    train(runs, runs / "dynamics", data)
    return runs


def train(runs: Path, out: Path, *data: Path, **change: Any) -> None:
    train_dynamics(
        **{"data": [*data], "tokenizer": runs / "tokenizer", "out": out} | DYNAMICS | change
    )


@pytest.fixture(scope="module")
def world(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("worlds") / "world"
    freeze_genie(runs / "dynamics", directory)
    return directory


@pytest.fixture(scope="module")
def judging(world: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same world with heads."""
    directory = tmp_path_factory.mktemp("judging")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(directory / "cache"))
        heads = directory / "heads"
        train_heads(world=str(world), data=[data], out=heads, steps=40, batch=32, dtype="float32")
        freeze_heads_command(heads, directory / "world")
    return directory / "world"


def test_the_worlds_actions_and_game_are_those_of_its_recordings(world: Path, runs: Path) -> None:
    config = json.loads((world / "config.json").read_text())
    meanings = ["-1", "0"]
    assert config["actions"] == {
        **{"type": "discrete", "meanings": meanings, "start": -1},
        "recorded": True,
    }
    assert config["real_game"] == GAME and config["max_episode_steps"] == 12
    assert not (world / "latent-actions").exists() and "latent_actions" not in config["training"]
    assert not has_latent_actions("genie", world)
    settings = json.loads((runs / "dynamics" / "settings.json").read_text())
    assert settings["latent_actions"] is None and "actions" not in settings
    env = genie_env.make_vec(world, 2)
    assert env.world.spec.actions.meanings == meanings and env.world.spec.game == GAME
    assert (env.single_action_space.start, env.single_action_space.n) == (-1, 2)
    env.reset(seed=0)
    env.step([-1, 0])
    for wrong in (-2, 1):
        with pytest.raises(InvalidAction, match=rf"actions\[1\] is {wrong}, expected -1 to 0"):
            env.step([0, wrong])


def test_a_step_is_what_the_dynamics_predict_for_the_recorded_action(
    world: Path, runs: Path, data: Path
) -> None:
    """Whatever number the first action has, it is the dynamics' action 0."""
    config = json.loads((world / "config.json").read_text())
    weights = {n: t.float() for n, t in load_file(world / "model.safetensors").items()}
    assert torch.equal(weights["action_codes"], torch.eye(2))
    dynamics = Dynamics(torch.eye(2), **config["dynamics"], positions=4, codes=20)
    prefix = "dynamics."
    Trainer(dynamics).load_weights(
        {n.removeprefix(prefix): t for n, t in weights.items() if n.startswith(prefix)}
    )
    store, loaded = EpisodeStore(data), World.load(world, dtype="float32")
    first = torch.from_numpy(store.frames[store.episode_starts[[5, 7]]])
    state, rng = loaded.make_state(2), RowCounters([3, 4], [0, 0], [0, 0])
    loaded.begin(state, torch.ones(2, dtype=torch.bool), rng, first)
    seen = load_tokenizer(runs / "tokenizer").encode(first[:, None])
    taken = torch.empty(2, 0, dtype=torch.int64)
    for now in ([-1, 0], [0, 0], [-1, 0]):
        loaded.step(state, torch.tensor(now), torch.full((2,), 1e-6), rng)
        taken = torch.cat([taken, torch.tensor(now)[:, None] + 1], dim=1)
        seen = torch.cat([seen, likeliest_next(dynamics, seen, taken, passes=4)], dim=1)
        assert torch.equal(loaded.observe(state, "tokens"), seen[:, -1])


def test_actions_that_decide_the_next_frame_are_learned(runs: Path) -> None:
    """On the ring a frame and the action decide the next one. Actions of another moment are wrong half
    of the time, and then one or two of four tokens are."""
    figures = read_reports(runs / "dynamics")[-1]["held_out"]
    assert figures["hidden_frame_4"] < 0.3 < figures["action_gain"]


def test_the_dot_of_a_dream_goes_where_the_action_says(world: Path, data: Path) -> None:
    """Against the recorded next frame of held-out episodes, and against where it does not go."""
    store, loaded = EpisodeStore(data), World.load(world, dtype="float32")
    firsts = (store.episode_starts[[19, 39]][:, None] + np.arange(8)).ravel()
    frames, actions = torch.from_numpy(store.frames.copy()), torch.from_numpy(store.actions.copy())
    rows = len(firsts)
    rng = RowCounters(np.arange(rows), [0] * rows, [0] * rows)
    state = loaded.make_state(rows)
    loaded.begin(state, torch.ones(rows, dtype=torch.bool), rng, frames[firsts])
    for ahead in (1, 2):
        loaded.follow(state, actions[firsts + ahead - 1], frames[firsts + ahead], rng, "tokens")
    shown, taken, cold = {}, actions[firsts + 2], torch.full((rows,), 1e-6)
    for name, action in (("right", taken), ("wrong", -1 - taken)):
        dreamt = state.clone()
        loaded.step(dreamt, action, cold, rng)
        shown[name] = loaded.observe(dreamt, "tokens")
    loaded.follow(state, taken, frames[firsts + 3], rng, "tokens")
    real = loaded.observe(state, "tokens")
    same = {name: (tokens == real).all(1).float().mean() for name, tokens in shown.items()}
    assert same["right"] > 0.7 and same["wrong"] < 0.2


def test_dreams_begin_from_recordings_by_their_own_actions(world: Path, data: Path) -> None:
    loaded = World.load(world, dtype="float32")
    assert action_inference(loaded) is None
    drawn = draw_contexts([EpisodeStore(data)], 3, 1000)
    rows = len(drawn.frames)
    env = genie_env.DreamVectorEnv(loaded, rows, observation="features")
    expected = env.reset(seed=0, options={"frames": drawn.frames, "actions": drawn.actions})[0]
    shown = genie_env.make_vec(
        loaded, 16, starts=[data], burn_in=3, starts_count=1000, observation="features"
    ).reset(seed=1)[0]
    nearest = [abs(expected - each).max(axis=1).min() for each in shown]
    np.testing.assert_allclose(nearest, 0, atol=1e-4)


def test_fidelity_takes_the_recorded_actions(world: Path, data: Path, tmp_path: Path) -> None:
    store, loaded = EpisodeStore(data), World.load(world)
    (actions,) = actions_of(loaded, world, [data], [store], None, [held_out(store)])
    np.testing.assert_array_equal(actions, store.actions)
    file = tmp_path / "figures.json"
    fidelity(str(world), [data], starts=4, burn_in=1, horizon=2, json_file=file)
    found = json.loads(file.read_text())
    assert found["latent_actions"] is None and len(found["dpsnr"]) == 2
    words = (
        "the actions of the world world are those of its recordings (2 actions from -1 (-1, 0)): "
        "leave out --latent-actions, which is for worlds learned without them"
    )
    with pytest.raises(ValueError, match=re.escape(words)):
        fidelity(str(world), [data], tmp_path, starts=4, burn_in=1, horizon=2)


def test_heads_read_the_recorded_actions(
    judging: Path, world: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    follower, store = load_follower(world), EpisodeStore(data)
    parts = labelled_parts([data], [store], None)
    trained, unseen = labelled_steps(follower, parts, pressed=True)
    every = np.concatenate([s.take(slice(None))["actions"] for s in (trained, unseen)])
    out = np.repeat(held_out(store), np.diff(store.episode_starts))
    taken = numbered_actions(store)
    np.testing.assert_array_equal(every, np.concatenate([taken[~out], taken[out]]))
    assert set(every.tolist()) == {0, 1}
    # What is followed is what the world is given, by the game's own numbers.
    first, last = store.episode_starts[:2]
    actions = [np.append(taken[first:last], 0) + follower.spec.actions.start]
    seen = follow(follower, [parts[0].pictures(0)], actions, "features", np.arange(1))[0]
    batch = trained.take(slice(0, int(last - first)))
    np.testing.assert_allclose(batch["before"], seen[:-1], atol=2e-3)
    np.testing.assert_allclose(batch["after"], seen[1:], atol=2e-3)
    assert not list(tmp_path.rglob("labelled-actions*"))

    config = json.loads((judging / "config.json").read_text())
    assert config["actions"]["recorded"] and config["reward"]["type"] == "learned"
    assert not (judging / "latent-actions").exists()
    env = genie_env.make_vec(judging, 16)
    env.reset(seed=0)
    rewards = [env.step(env.action_space.sample())[1] for _ in range(5)]
    assert np.std(rewards) > 0
    outcomes(str(judging), [data], horizon=4, json_file=tmp_path / "told.json")
    assert json.loads((tmp_path / "told.json").read_text())["steps"] == out.sum()


def test_the_features_of_equal_frames_under_other_actions_are_others(
    world: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    other = tmp_path / "other"
    shutil.copytree(data, other)
    np.save(other / "actions.npy", -1 - np.load(data / "actions.npy"))
    follower = load_follower(world)

    def features(directory: Path) -> torch.Tensor:
        parts = labelled_parts([directory], [EpisodeStore(directory)], 20)
        return labelled_steps(follower, parts, pressed=True)[0].take(slice(None))["after"]

    one = features(data)
    assert not torch.equal(one, features(other))
    assert torch.equal(one, features(data))


def test_agents_play_the_game_without_a_dictionary(world: Path) -> None:
    with genie_env.RealEnv(world) as env:
        assert env.game.name == GAME
        env.reset(seed=1)
        for action in (0, 0, -1):
            env.step(action)
        assert env.game.actions.space == env.action_space


def test_a_finished_run_stays_as_it_is(runs: Path, data: Path) -> None:
    before = (runs / "dynamics" / "checkpoint.safetensors").read_bytes()
    train(runs, runs / "dynamics", data)
    assert (runs / "dynamics" / "checkpoint.safetensors").read_bytes() == before


def recorded(directory: Path, **meta: Any) -> Path:
    """A recording of dots whose meta.json says something else."""
    dots.record_dots(directory, finals=False)
    file = directory / "meta.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | meta))
    return directory


def boxed(directory: Path) -> Path:
    record("steer", directory, 40, 1, frame_size="16x16", make="any_games:steering")
    return directory


def many(directory: Path) -> Path:
    actions = {"type": "discrete", "meanings": [str(i) for i in range(257)], "start": 0}
    return recorded(directory, actions=actions)


def frames_alone(directory: Path) -> Path:
    return recorded(directory, actions=None)


def a_video(directory: Path) -> Path:
    directory.write_bytes(b"a film")
    return directory


REFUSED: list[tuple[Callable[[Path], Path], dict[str, Any], str]] = [
    (
        boxed,
        {},
        r"the recordings have actions \[1, 2\] from .*, but dynamics read numbered actions: give "
        r"recordings of a game that has those, or learn latent actions from these \(--actions latent",
    ),
    (
        many,
        {},
        "the recordings have 257 actions, but dynamics read at most 256: give recordings of",
    ),
    (
        frames_alone,
        {},
        "has no actions, as it was decoded from video files: .*; give a recording of",
    ),
    (
        a_video,
        {},
        "is a file, and a directory of recorded episodes is expected; a video has no act",
    ),
    (
        recorded,
        {"frames_per_second": 10.0},
        "--frames-per-second 10.0 is for video files, and the data is directories",
    ),
    (
        recorded,
        {"latent_actions": Path("runs/actions")},
        "--latent-actions is runs/actions, but --actions recorded takes the actions of the "
        "recordings: leave out one of the two",
    ),
    (
        recorded,
        {"actions": "latent"},
        "--actions latent needs --latent-actions, the run directory of `train latent-actions`: give "
        "it, or --actions recorded where the recordings have actions",
    ),
    (recorded, {"actions": "random"}, "actions is 'random', expected 'latent' or 'recorded'"),
]


@pytest.mark.parametrize(("make", "asked", "words"), REFUSED)
def test_what_dynamics_cannot_learn_is_refused_at_the_start(
    make: Callable[[Path], Path], asked: dict[str, Any], words: str, runs: Path, tmp_path: Path
) -> None:
    made = make(tmp_path / "data")
    with pytest.raises(ValueError, match=words):
        train(runs, tmp_path / "out", made, **asked)
    assert not (tmp_path / "out").exists()


def test_recordings_of_other_actions_are_refused(
    data: Path, runs: Path, world: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(data, other)
    file = other / "meta.json"
    told = json.loads(file.read_text())
    told["actions"] = {**told["actions"], "meanings": ["left", "right"]}
    file.write_text(json.dumps(told))
    named = r"2 actions from -1 \(left, right\)"
    with pytest.raises(ValueError, match=rf"not of one game: actions is .* but {named} in"):
        train(runs, tmp_path / "out", data, other)
    theirs = rf"{named}, (but )?the world world 2 actions from -1 \(-1, 0\): give recordings of its"
    with pytest.raises(ValueError, match=theirs):
        genie_env.make_vec(world, 2, starts=[other], burn_in=2)
    with pytest.raises(ValueError, match=theirs):
        fidelity(str(world), [other], starts=4, burn_in=1, horizon=2)
    with pytest.raises(ValueError, match=theirs):
        train_heads(world=str(world), data=[other], out=tmp_path / "heads", batch=32)
    assert not (tmp_path / "heads").exists()
    told["actions"] = None
    file.write_text(json.dumps(told))
    with pytest.raises(ValueError, match="has no actions, but the world world 2 actions from -1"):
        genie_env.make_vec(world, 2, starts=[other], burn_in=2)


def test_a_freeze_that_cannot_be_says_so(runs: Path, data: Path, tmp_path: Path) -> None:
    mapping, out = tmp_path / "mapping.json", tmp_path / "world"
    mapping.write_text("{}")
    words = "those of its recordings: leave out --actions-map"
    with pytest.raises(ValueError, match=words):
        freeze_genie(runs / "dynamics", out, real_game=GAME, actions_map=mapping)
    copy = tmp_path / "dynamics"
    shutil.copytree(runs / "dynamics", copy)
    settings = copy / "settings.json"
    told = json.loads(settings.read_text())
    # Recordings that have other actions than when the dynamics learned from them.
    three = {"type": "discrete", "meanings": ["a", "b", "c"], "start": 0}
    others = {"data": [str(recorded(tmp_path / "others", actions=three))]}
    settings.write_text(json.dumps(told | others))
    with pytest.raises(
        ValueError,
        match="with other action codes than those given: give the recordings that it was trained on, "
        "as they were then, or train it again",
    ):
        freeze_genie(copy, out)
    settings.write_text(json.dumps(told | {"weights": told["weights"][:1]}))
    with pytest.raises(ValueError, match=r'settings.json: "weights" is .*, expected a list of 2'):
        freeze_genie(copy, out)
    assert not out.exists()


CONFIGS: list[tuple[dict[str, Any], str]] = [
    ({"recorded": 1}, '"actions.recorded" is 1, expected true or false'),
    ({"type": "box"}, '"actions.type" is "box", expected "discrete"'),
    ({"type": None}, '"actions.type" is null, expected "discrete"'),
    ({"start": "0"}, '"actions.start" is "0", expected an integer'),
    ({"meanings": ["a"] * 257}, ", expected at most 256 texts"),
    ({"meanings": ["a"]}, 'action_codes" has shape [2, 2], expected [1, 1]'),
    ({"recorded": False}, 'has no "actions.code_dimensions"'),
]


@pytest.mark.parametrize(("change", "words"), CONFIGS)
def test_a_damaged_config_names_the_field(
    change: dict[str, Any], words: str, world: Path, tmp_path: Path
) -> None:
    shutil.copytree(world, tmp_path / "world")
    file = tmp_path / "world" / "config.json"
    config = json.loads(file.read_text())
    config["actions"] |= change
    file.write_text(json.dumps(config))
    with pytest.raises(FormatError, match=re.escape(words)):
        World.load(tmp_path / "world")

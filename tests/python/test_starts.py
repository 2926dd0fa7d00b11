"""Dreams that begin anywhere in recorded episodes: contexts that the world has followed."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from random_world import BOX, write_boxed_world, write_random_world

import genie_env
from genie_env._core import EpisodeStore, EpisodeWriter, World
from genie_env.agents.agent import load_agent
from genie_env.agents.dreams import Dreams
from genie_env.cli.app import APP
from genie_env.envs.latent_actions import action_inference
from genie_env.envs.registry import find_world
from genie_env.envs.start_bank import Contexts, draw_contexts, start_bank
from genie_env.families.genie.random_world import GenieSizes, random_genie_world

MEANINGS = ["left", "stay", "right"]
META = {"format_version": 1, "game": "doom-take-cover", "frame_skip": 1, "actions": MEANINGS}
LENGTHS = (9, 1, 5, 12)
T = 3


def write(
    directory: Path, meta: Any = META, size: tuple[int, int] = (64, 64), seed: int = 0
) -> Path:
    """Episodes of LENGTHS; the first two bytes of every frame are its episode and its step."""
    random = np.random.default_rng(seed)
    with EpisodeWriter(str(directory), *size, json.dumps(meta)) as writer:
        for episode, length in enumerate(LENGTHS):
            frames = random.integers(0, 256, (length, *size, 3)).astype(np.uint8)
            frames[:, 0, 0, 0], frames[:, 0, 0, 1] = episode, np.arange(length)
            last = np.arange(length) == length - 1
            actions = random.integers(0, 3, length)
            writer.append(frames, actions, np.ones(length, np.float32), last, last & False)
    return directory


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("recorded") / "data")


@pytest.fixture(scope="module")
def world(random_world: Path) -> World:
    return World.load(random_world, dtype="float32")


def test_contexts_lie_within_episodes_and_cover_all_of_them(data: Path) -> None:
    store = EpisodeStore(data)
    drawn = draw_contexts([store, store], T, 1000)
    places = [tuple(frames[0, 0, 0, :2]) for frames in drawn.frames]
    every = [(e, f) for e, length in enumerate(LENGTHS) for f in range(length - T)]
    assert places == 2 * every  # those of each recording, none twice
    for frames, actions in zip(drawn.frames, drawn.actions, strict=True):
        assert (frames[:, 0, 0, 0] == frames[0, 0, 0, 0]).all()
        assert (np.diff(frames[:, 0, 0, 1].astype(int)) == 1).all()
        first = store.episode_starts[frames[0, 0, 0, 0]] + frames[0, 0, 0, 1]
        np.testing.assert_array_equal(actions, store.actions[first : first + T])
    few = draw_contexts([store, store], T, 9)
    assert len(few.frames) == 9
    assert {tuple(frames[0, 0, 0, :2]) for frames in few.frames} != {tuple(p) for p in every[:9]}
    again = draw_contexts([store, store], T, 9)
    np.testing.assert_array_equal(few.frames, again.frames)


def followed(world: World, drawn: Contexts, observation: str = "pixels") -> np.ndarray:
    """What a world shows at the end of each context: against a reset with the same frames."""
    env = genie_env.DreamVectorEnv(world, len(drawn.frames), observation=observation)
    given = {"frames": drawn.frames, "actions": drawn.actions}
    shown: np.ndarray = env.reset(seed=0, options=given)[0]
    return shown


def test_what_a_bank_holds_is_follow(world: World, data: Path) -> None:
    """Without any noise in V, a start is bit for bit what following gives."""
    quiet = quiet_world(Path(world.directory), data.parent / "quiet")
    drawn = draw_contexts([EpisodeStore(data)], T, 1000)
    expected = followed(quiet, drawn, "zch")
    env = genie_env.make_vec(quiet, 128, starts=[data], burn_in=T)
    shown = env.reset(seed=1)[0]
    nearest = [int(abs(expected - each).sum(axis=1).argmin()) for each in shown]
    np.testing.assert_allclose(shown, expected[nearest], atol=1e-4)
    assert set(nearest) == set(range(len(expected)))
    single = genie_env.make_vec(quiet, 1, starts=data, burn_in=0, starts_count=1, seed=0)
    one = draw_contexts([EpisodeStore(data)], 0, 1)
    np.testing.assert_allclose(single.reset()[0], followed(quiet, one, "zch"), atol=1e-4)


def quiet_world(world: Path, out: Path) -> World:
    """The same with a V that is certain of its latents."""
    from safetensors.numpy import load_file, save_file

    write_random_world(out)
    weights = load_file(world / "model.safetensors")
    weights["vision.logvar.weight"] *= 0
    weights["vision.logvar.bias"] = weights["vision.logvar.bias"] * 0 - 60
    save_file(weights, out / "model.safetensors")
    return World.load(out, dtype="float32")


@pytest.mark.parametrize("mode", ["NEXT_STEP", "SAME_STEP"])
def test_seeds_decide_also_in_autoresets(world: World, data: Path, mode: str) -> None:
    def make(rows: int, **options: Any) -> Any:
        return genie_env.make_vec(
            world, rows, starts=data, burn_in=T, autoreset_mode=mode, max_episode_steps=2, **options
        )

    one, same, other = make(3, seed=8), make(3), make(3, seed=9)
    firsts = one.reset()[0], same.reset(seed=8)[0], other.reset()[0]
    np.testing.assert_array_equal(firsts[0], firsts[1])
    np.testing.assert_array_equal(firsts[0][1:], firsts[2][:-1])  # by the row's seed alone
    seen = [firsts[0]]
    for _ in range(9):
        steps = one.step([0, 1, 2]), same.step([0, 1, 2])
        for mine, others in zip(steps[0][:4], steps[1][:4], strict=True):
            np.testing.assert_array_equal(mine, others)
        seen.append(steps[0][0])
    bank = start_bank(world, [data], T)
    begun = genie_env.make_vec(world, 200, starts=bank, seed=0).reset()[0]
    known = {row.tobytes() for row in begun}
    assert sum(row.tobytes() in known for step in seen for row in step) >= 9


def test_snapshots_know_their_starts(world: World, data: Path, tmp_path: Path) -> None:
    def make(**options: Any) -> Any:
        env = genie_env.make_vec(world, 2, max_episode_steps=3, **options)
        env.reset(seed=1)
        return env

    given = {"starts": [str(data)], "burn_in": T}
    env = make(**given)
    env.step([0, 1])
    snapshot = pickle.loads(pickle.dumps(env.snapshot()))
    again = pickle.loads(pickle.dumps(env))  # the recordings are read again
    again.reset(seed=77)
    again.restore(snapshot)
    for _ in range(7):
        for mine, others in zip(env.step([0, 1])[:4], again.step([0, 1])[:4], strict=True):
            np.testing.assert_array_equal(mine, others)
    other = write(tmp_path / "other", seed=1)
    for wrong in (make(), make(starts=other, burn_in=T), make(starts=data, burn_in=T + 1)):
        with pytest.raises(
            ValueError, match="episodes begin from the starts .*; restore it in one"
        ):
            wrong.restore(snapshot)
    with pytest.raises(
        ValueError, match="begin from the world's own starts, but .* begin from the"
    ):
        env.restore(make().snapshot())
    assert "starts=" in repr(env) and "burn_in=3" in repr(env)


def test_other_environments_take_them(world: World, data: Path) -> None:
    from genie_env.sb3 import DreamVecEnv
    from genie_env.torchrl import DreamTorchRLEnv

    bank = start_bank(world, [data], T)
    assert bank.size == sum(max(0, length - T) for length in LENGTHS)
    options: dict[str, Any] = {"starts": data, "burn_in": T}
    plain = genie_env.make_vec(world, 2, seed=4, **options).reset()[0]
    shared = genie_env.make_vec(world, 2, seed=4, starts=bank)
    assert shared.options.starts is not None and shared.options.starts.hash == bank.hash
    np.testing.assert_array_equal(shared.reset()[0], plain)
    np.testing.assert_array_equal(genie_env.DreamEnv(world, seed=4, **options).reset()[0], plain[0])
    made = gymnasium.make("genie_env/DoomTakeCover-v0", world=world, seed=4, **options)
    np.testing.assert_array_equal(made.reset()[0], plain[0])
    baselines = DreamVecEnv(world, 2, seed=4, **options)
    np.testing.assert_array_equal(baselines.reset(), plain)
    torchrl = DreamTorchRLEnv(world, 2, seed=4, **options)
    np.testing.assert_array_equal(torchrl.reset()["observation"].numpy(), plain)


def test_continuous_actions_are_followed(tmp_path: Path) -> None:
    world = World.load(write_boxed_world(tmp_path / "boxed"), dtype="float32")
    meta = {
        **META,
        "format_version": 2,
        "actions": BOX,
        "columns": {
            "frames": {"dtype": "uint8", "shape": [64, 64, 3]},
            "actions": {"dtype": "float32", "shape": [2]},
            "rewards": {"dtype": "float32", "shape": []},
            "terminations": {"dtype": "bool", "shape": []},
            "truncations": {"dtype": "bool", "shape": []},
        },
        "episode_columns": {},
    }
    random = np.random.default_rng(0)
    with EpisodeWriter(str(tmp_path / "data"), 64, 64, json.dumps(meta)) as writer:
        frames = random.integers(0, 256, (6, 64, 64, 3)).astype(np.uint8)
        last = np.arange(6) == 5
        actions = random.random((6, 2), np.float32) / 2
        writer.append(frames, actions, np.ones(6, np.float32), last, last & False)
    env = genie_env.make_vec(world, 4, starts=tmp_path / "data", burn_in=2, seed=0)
    assert len(np.unique(env.reset()[0], axis=0)) > 1
    env.step(np.zeros((4, 2), np.float32))


def test_latent_actions_are_inferred(tmp_path: Path) -> None:
    """Each by all the frames that it depends on, and what is followed is what a reset follows."""
    from genie_env.training.latent_actions import load_latent_actions

    directory = find_world("doom-genie")
    data = write(tmp_path / "data", {**META, "frame_skip": 4})
    env = genie_env.make_vec(
        directory, 24, starts=data, burn_in=T, starts_count=4, observation="tokens", seed=0
    )
    store, inference = EpisodeStore(data), action_inference(env.world)
    assert inference is not None
    drawn = draw_contexts([store], T, 4, inference)
    model = load_latent_actions(directory / "latent-actions")
    for frames, codes in zip(drawn.frames, drawn.actions, strict=True):
        episode, step = map(int, frames[0, 0, 0, :2])
        first, stop = store.episode_starts[episode : episode + 2]
        whole = model.encode(torch.from_numpy(store.frames[first:stop].copy())[None])
        np.testing.assert_array_equal(codes, whole[0, step : step + T])
    shown = {row.tobytes() for row in env.reset()[0]}
    other = genie_env.make_vec(env.world, 4, observation="tokens")
    given = {"frames": drawn.frames, "actions": drawn.actions}
    assert shown == {row.tobytes() for row in other.reset(options=given)[0]}
    env.step(np.zeros(24, np.int64))


def test_a_world_without_their_model_follows_no_latent_actions(tmp_path: Path) -> None:
    world = random_genie_world(
        tmp_path / "world", GenieSizes.parse("T=4,S=16,d=16,blocks=1,heads=1,codes=16,K=1")
    )
    height, width, _ = World.load(world).spec.frame.shape
    data = write(tmp_path / "data", {"format_version": 1, "actions": MEANINGS}, (height, width))
    with pytest.raises(ValueError, match="has no latent-actions/ that infers them: give burn_in 0"):
        genie_env.make_vec(world, 2, starts=data, burn_in=2)
    env = genie_env.make_vec(world, 2, starts=data, burn_in=0)
    env.reset(seed=0)
    env.step([0, 1])


def test_starts_of_another_game_are_refused(world: World, data: Path, tmp_path: Path) -> None:
    def refused(words: str, error: type[Exception] = ValueError, **options: Any) -> None:
        with pytest.raises(error, match=words) as caught:
            genie_env.make_vec(world, 2, **options)
        assert "\n" not in str(caught.value)

    def recorded(name: str, size: tuple[int, int] = (64, 64), **changes: Any) -> Path:
        return write(tmp_path / name, {**META, **changes}, size)

    small = recorded("small", (48, 64))
    refused(
        "small holds frames of 48 x 64, but those of the world random are 64 x 64", starts=small
    )
    other = recorded("other", game="my-game")
    refused("other is of 'my-game', but the world random .* 'doom-take-cover'", starts=other)
    slow = recorded("slow", frame_skip=4)
    refused("slow holds one of 4 frames of its game, but a step of .* is 1", starts=slow)
    turned = recorded("turned", actions=MEANINGS[::-1])
    refused(r"turned has 3 actions \(right, stay, left\), but the world", starts=turned, burn_in=1)
    genie_env.make_vec(world, 2, starts=turned, burn_in=0)  # no action is followed
    refused("turned has", starts=[data, turned], burn_in=1)
    refused(
        "burn_in 12 has 13 frames, but the longest recorded episode 12", starts=data, burn_in=12
    )
    refused("burn_in 16 has 17 frames", starts=data)
    refused("nowhere is no directory of recorded episodes", starts=tmp_path / "nowhere")
    refused("is not a directory of episodes", genie_env.FormatError, starts=tmp_path)
    refused("starts is empty", starts=[])
    refused("starts is 5, expected directories", TypeError, starts=5)
    refused("starts is 5, expected directories", TypeError, starts=[data, 5])
    refused("starts is None, expected directories", TypeError, starts=[None])
    refused("burn_in is 3, but starts is None: it is for", burn_in=3)
    refused("burn_in is -1, expected 0 or more", starts=data, burn_in=-1)
    refused("burn_in is 0.5, expected an integer", TypeError, starts=data, burn_in=0.5)
    refused("starts_count is 0, expected 1 or more", starts=data, burn_in=1, starts_count=0)
    bank = start_bank(world, [data], T)
    refused("burn_in is 3, but starts is StartBank", starts=bank, burn_in=3)
    again = World.load(world.directory, dtype="float32")
    with pytest.raises(ValueError, match='starts: they were encoded by another world, "random"'):
        genie_env.make_vec(again, 2, starts=bank)


def test_the_count_bounds_the_memory(world: World, data: Path) -> None:
    assert start_bank(world, [data], T, count=5).size == 5
    with pytest.raises(ValueError, match="starts_count is 5, but starts is None: it is for starts"):
        genie_env.make_vec(world, 1, starts_count=5)
    shared = genie_env.make_vec(world, 1, starts=data, burn_in=T, starts_count=3)
    bank = genie_env.make_vec(shared.world, 1, starts=shared.options.starts)
    with pytest.raises(TypeError, match="cannot be pickled: give the directories"):
        pickle.dumps(bank)
    env = genie_env.make_vec(world, 64, starts=data, burn_in=T, starts_count=5, seed=0)
    assert len(np.unique(env.reset()[0], axis=0)) == 5


def genie(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        APP.main([str(argument) for argument in arguments], prog_name="genie-env")
    return int(ended.value.code or 0)


def test_trainers_and_scores_begin_there(
    random_world: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    starts = ("--starts", data, "--burn-in", T)
    where = ("--world", random_world)
    sizes = ("--population", 4, "--dreams", 2, "--steps", 500)
    train = ("train", "controller", *where, "--out", tmp_path / "c", *sizes)
    assert genie(*train, *starts) == 0
    agent = tmp_path / "c" / "agent.safetensors"
    bank = Dreams.load(random_world, starts=[data], burn_in=T).starts
    assert bank is not None and load_agent(agent).notes["starts"] == bank.hash
    capsys.readouterr()
    assert genie(*train) == 1  # another run
    assert "starts" in capsys.readouterr().err
    assert genie(*train, *starts, "--reality") == 1
    assert "--starts says where dreams begin, but with --reality" in capsys.readouterr().err
    assert genie(*train, "--reality", "--burn-in", T) == 1
    assert "--burn-in says where dreams begin, but with --reality" in capsys.readouterr().err
    ppo = ("--dreams", 4, "--horizon", 8, "--batch", 8, "--steps", 64)
    assert genie("train", "ppo", *where, "--out", tmp_path / "p", *ppo, *starts) == 0
    assert load_agent(tmp_path / "p" / "agent.safetensors").notes["starts"] == bank.hash
    capsys.readouterr()
    score = ("dream-score", *where, "--agent", agent, "--episodes", 8)
    assert genie(*score, *starts, "--json", tmp_path / "a.json") == 0
    assert f"starts {bank.hash[:12]}" in capsys.readouterr().out
    assert genie(*score, "--json", tmp_path / "b.json") == 0
    files = [json.loads((tmp_path / f"{name}.json").read_text()) for name in "ab"]
    assert files[0]["starts"] == bank.hash and "starts" not in files[1]
    assert genie(*score, "--starts", tmp_path) == 1
    assert genie(*score, "--burn-in", 2) == 1
    assert "burn_in is 2, but starts is None" in capsys.readouterr().err

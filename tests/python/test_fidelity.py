"""Fidelity: dPSNR against NumPy and against VecEnv, alignment, held-out starts, words of errors."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from random_world import random_config, random_weights, write_random_world
from safetensors.numpy import save_file

from genie_env._core import EpisodeStore, EpisodeWriter, VecEnv, World
from genie_env.cli.fidelity import fidelity
from genie_env.cli.record import record
from genie_env.data.datasets import held_out
from genie_env.data.midway import Midway
from genie_env.envs.actions import DiscreteActions
from genie_env.evaluation import fidelity as command
from genie_env.evaluation import rollouts
from genie_env.evaluation.fidelity import actions_of
from genie_env.evaluation.rollouts import GREEDY, Starts, measure, psnr
from genie_env.evaluation.statistics import summarise_groups
from genie_env.families.genie.commands import train_latent_actions
from genie_env.training.encoded import weights_fingerprint
from genie_env.training.latent_actions import LATENT_ACTIONS, load_latent_actions
from genie_env.training.runs import freeze_network

LIMIT = 10 * np.log10(255**2 * 12)
"""Of equal frames, in dB."""


def write_episodes(
    directory: Path,
    lengths: list[int],
    frames: Callable[[np.random.Generator, NDArray[np.int64]], NDArray[np.uint8]],
    **meta: Any,
) -> Path:
    """Episodes of random actions 0 to 2, whose frames [T, H, W, 3] are a function of them."""
    named = {"game": "toy", "frame_skip": 1, "actions": ["left", "stay", "right"]}
    told = {"format_version": 1, **named, **meta}
    random = np.random.default_rng(1)
    writer = None
    for length in lengths:
        actions = random.integers(3, size=length)
        shown = frames(random, actions)
        writer = writer or EpisodeWriter(directory, *shown.shape[1:3], json.dumps(told))
        ended = np.arange(length) == length - 1
        writer.append(shown, actions, np.ones(length, np.float32), ended, np.zeros(length, bool))
    assert writer is not None
    writer.close()
    return directory


def noise(random: np.random.Generator, actions: NDArray[np.int64]) -> NDArray[np.uint8]:
    small = random.integers(0, 256, (len(actions), 8, 8, 3)).astype(np.uint8)
    return small.repeat(8, axis=1).repeat(8, axis=2)


def sliding(random: np.random.Generator, actions: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Every action makes the whole frame 3 darker or lighter, or leaves it."""
    level = random.integers(100, 156) + 3 * np.concatenate([[0], (actions - 1)[:-1].cumsum()])
    return np.broadcast_to(level[:, None, None, None], (len(actions), 16, 16, 3)).astype(np.uint8)


@dataclass
class Level:
    x: torch.Tensor

    def clone(self) -> Level:
        return Level(self.x.clone())


THREE = DiscreteActions(("left", "stay", "right"))


class Slider:
    """A world, by the seam alone, that knows exactly how `sliding` episodes go on.

    Its surprise is by how much a given frame is not the one that it expected."""

    device = torch.device("cpu")

    def __init__(self, family: str = "slider", actions: int = 3) -> None:
        self.spec = SimpleNamespace(
            name="slider",
            family=family,
            fingerprint="ab" * 32,
            actions=SimpleNamespace(
                meanings=THREE.meanings if actions == 3 else [f"{i}" for i in range(actions)],
                start=0,
                shape=None,
            ),
            frame=SimpleNamespace(name="frame", shape=(16, 16, 3)),
            frame_skip=1,
            dtype="float32",
            options={},
        )

    def make_state(self, rows: int) -> Level:
        return Level(torch.full((rows,), torch.nan))

    def begin(self, state: Level, mask: torch.Tensor, rng: Any, frames: torch.Tensor) -> None:
        assert mask.all() and len(rng) == len(state.x)
        state.x = frames[:, 0, 0, 0].float()

    def step(
        self, state: Level, actions: torch.Tensor, tau: torch.Tensor, rng: Any, kind: str
    ) -> Any:
        assert (tau > 0).all() and len(rng) == len(state.x)
        state.x = state.x + 3 * (actions - 1)
        return SimpleNamespace(observation=self._shown(state, kind))

    def follow(
        self,
        state: Level,
        actions: torch.Tensor,
        frames: torch.Tensor,
        rng: Any,
        kind: str | None,
    ) -> Any:
        expected = state.x + 3 * (actions - 1)
        state.x = frames[:, 0, 0, 0].float()
        shown = None if kind is None else self._shown(state, kind)
        return SimpleNamespace(surprise=(expected - state.x).abs(), observation=shown)

    def _shown(self, state: Level, kind: str) -> torch.Tensor:
        assert kind == "frame"
        return state.x.byte()[:, None, None, None].expand(-1, 16, 16, 3)


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 episodes, of which 19, 39 and 59 are held out; 39 is short."""
    lengths = [9 if e == 39 else 20 + e % 5 for e in range(60)]
    return write_episodes(tmp_path_factory.mktemp("slides"), lengths, sliding)


@pytest.fixture(scope="module")
def noises(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64 x 64, which the random world takes; episodes 19 and 39 are held out."""
    return write_episodes(tmp_path_factory.mktemp("noises"), [12] * 40, noise)


def draw(directory: Path, **change: Any) -> Starts:
    store = EpisodeStore(directory)
    options = {"burn_in": 4, "horizon": 6, "count": 12, "seed": 0, **change}
    return Starts.draw([store], [store.actions], THREE, **options)


def test_starts_are_held_out_fit_their_episodes_and_repeat(slides: Path) -> None:
    starts = draw(slides, count=20)
    store = starts.stores[0]
    first = starts.places[:, 1]
    assert len(np.unique(first)) == 20 and (starts.places[:, 0] == 0).all()
    episodes = np.searchsorted(store.episode_starts, first, side="right") - 1
    assert held_out(store)[episodes].all() and set(episodes) == {19, 59}
    assert (first + 4 + 6 < store.episode_starts[episodes + 1]).all()
    assert starts.episodes.tolist() == np.unique(episodes, return_inverse=True)[1].tolist()
    assert starts.too_short == 1

    again, other = draw(slides, count=20), draw(slides, count=20, seed=1)
    for field in ("places", "seeds", "random_actions"):
        assert (getattr(starts, field) == getattr(again, field)).all()
        assert (getattr(starts, field) != getattr(other, field)).any()
    assert set(starts.random_actions.flatten()) == {0, 1, 2}


def test_episodes_of_several_recordings_are_told_apart(slides: Path) -> None:
    stores = [EpisodeStore(slides), EpisodeStore(slides)]
    actions = [store.actions for store in stores]
    starts = Starts.draw(stores, actions, THREE, burn_in=4, horizon=6, count=40, seed=0)
    assert set(starts.episodes) == {0, 1, 2, 3} and set(starts.places[:, 0]) == {0, 1}
    assert starts.too_short == 2


def test_a_perfect_world_is_right_at_every_frame_and_random_actions_are_wrong_by_as_much(
    slides: Path,
) -> None:
    """One frame off, in the actions or the frames, and nothing of this holds."""
    starts = draw(slides, count=15)
    found = measure(Slider(), starts)  # type: ignore[arg-type]
    assert found["psnr"] == pytest.approx(np.full((15, 6), LIMIT))
    assert found["psnr_given"] == pytest.approx(np.full((15, 6), LIMIT))
    assert (found["surprise"] == np.zeros((15, 10))).all()

    store = starts.stores[0]
    frames = np.array(store.frames, np.float64)
    for row, (_, first) in enumerate(starts.places):
        last_given = frames[first + 4]
        random = last_given[0, 0, 0]
        for t in range(1, 7):
            random += 3 * (starts.random_actions[row, t - 1] - 1)
            real = frames[first + 4 + t]
            expected = 10 * np.log10(255**2 / max(((random - real) ** 2).mean(), 1 / 12))
            still = 10 * np.log10(255**2 / max(((last_given - real) ** 2).mean(), 1 / 12))
            assert found["psnr_random"][row, t - 1] == pytest.approx(expected)
            assert found["psnr_still"][row, t - 1] == pytest.approx(still)
            assert found["dpsnr"][row, t - 1] == pytest.approx(LIMIT - expected)


def endless_world(directory: Path) -> Path:
    """A random world that never ends an episode, which a VecEnv would not go on with, and whose
    pictures differ."""
    write_random_world(directory)
    weights = random_weights()
    weights["memory.output.bias"][-1] = -1000
    for name in ("expand", "deconv1", "deconv2", "deconv3", "deconv4"):
        weights[f"vision.{name}.weight"] *= 3  # pictures that tell one latent from another
    save_file(weights, directory / "model.safetensors")
    return directory


def test_a_world_of_the_library_against_vec_env_and_numpy(tmp_path: Path, noises: Path) -> None:
    world = World.load(endless_world(tmp_path / "world"))
    starts = draw(noises, burn_in=3, horizon=5, count=6)
    found = measure(world, starts)
    store = starts.stores[0]
    first = starts.places[:, 1]
    rows = torch.arange(6)

    def recorded(index: int) -> torch.Tensor:
        return torch.from_numpy(store.frames[first + index])

    def decibels(env: VecEnv, index: int) -> NDArray[np.float64]:
        difference = env.render(rows).numpy().astype(float) - store.frames[first + index]
        return 10 * np.log10(255**2 / (difference**2).mean(axis=(1, 2, 3)))

    for name, random in (("psnr", False), ("psnr_random", True)):
        env = VecEnv(world, num_envs=6, temperature=GREEDY, autoreset_mode="Disabled")
        env.reset(seeds=starts.seeds.tolist(), frames=recorded(0))
        for index in range(1, 4):
            chosen = torch.from_numpy(store.actions[first + index - 1])
            surprise = env.follow(chosen, recorded(index)).surprise
            assert found["surprise"][:, index - 1] == pytest.approx(surprise.double().numpy())
        for t in range(5):
            actions = starts.random_actions[:, t] if random else store.actions[first + 3 + t]
            env.step(torch.from_numpy(actions))
            assert found[name][:, t] == pytest.approx(decibels(env, 4 + t), abs=1e-4)
    assert found["dpsnr"] == pytest.approx(found["psnr"] - found["psnr_random"])
    assert np.abs(found["dpsnr"]).max() > 0.05


def test_many_starts_go_in_several_batches(slides: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []
    whole = measure(Slider(), draw(slides), progress=done.append)  # type: ignore[arg-type]
    assert done == [12] * 10
    monkeypatch.setattr(rollouts, "ROWS", 5)
    parts = measure(Slider(), draw(slides))  # type: ignore[arg-type]
    assert all((parts[name] == whole[name]).all() for name in whole)


def stopped_at_the_second_batch(patch: pytest.MonkeyPatch) -> list[int]:
    """Ctrl-C arrives there, once, in batches of 5. The number of starts of every batch that begins."""
    batches, measured = rollouts._measure_batch, list[int]()

    def stopped(world: World, part: Starts, *rest: Any) -> Any:
        measured.append(len(part))
        if len(measured) == 2:
            raise KeyboardInterrupt
        return batches(world, part, *rest)

    patch.setattr(rollouts, "_measure_batch", stopped)
    patch.setattr(rollouts, "ROWS", 5)
    return measured


def test_a_measurement_that_is_stopped_goes_on_after_its_last_batch(
    slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = draw(slides)
    whole = measure(Slider(), starts)  # type: ignore[arg-type]
    measured = stopped_at_the_second_batch(monkeypatch)
    results = tmp_path / "fidelity.json"
    for error in (pytest.raises(KeyboardInterrupt), nullcontext()):
        with error, Midway(results, {"seed": 0}) as midway:
            found = measure(Slider(), starts, midway=midway)  # type: ignore[arg-type]
    assert measured == [5, 5, 5, 2]
    assert {*found} == {*whole} and all((found[name] == whole[name]).all() for name in whole)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["out", "json"])
def test_the_command_goes_on_from_what_it_measured(
    place: str, random_world: Path, noises: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = stopped_at_the_second_batch(monkeypatch)
    where: dict[str, Any] = {"json_file": tmp_path / "found.json"}
    if place == "out":
        where["out"] = tmp_path / "out"
    arguments = {"world": str(random_world), "data": [noises], "burn_in": 2, "horizon": 3}
    for error in (pytest.raises(KeyboardInterrupt), nullcontext()):
        with error:
            fidelity(**arguments, starts=8, **where)
    assert measured == [5, 3, 3]
    assert (tmp_path / "found.json").exists()
    assert not list(tmp_path.rglob("*.midway"))


@pytest.mark.parametrize("temperature", [GREEDY, 1.0])
def test_where_actions_do_nothing_dpsnr_is_nothing(
    tmp_path: Path, noises: Path, temperature: float
) -> None:
    """Even at temperature 1: both dreams of a start draw the same."""
    world = write_random_world(tmp_path / "world")
    idle = {"meanings": ["left", "stay", "right"], "inputs": [0.0] * 3}
    config = random_config() | {"actions": idle}
    (world / "config.json").write_text(json.dumps(config))
    found = measure(World.load(world), draw(noises, burn_in=2, horizon=4), temperature)
    assert (found["dpsnr"] == 0).all()


def test_psnr() -> None:
    black = torch.zeros(2, 4, 4, 3, dtype=torch.uint8)
    other = black.clone()
    other[0] += 5
    other[1, 0, 0, 0] = 1  # an error of 1/48, less than what rounding leaves
    assert psnr(other, black) == pytest.approx([10 * np.log10(255**2 / 25), LIMIT])
    assert psnr(black, black) == pytest.approx([LIMIT, LIMIT])


def test_intervals_resample_whole_episodes() -> None:
    """Ten equal rows an episode say no more than one does."""
    random = np.random.default_rng(0)
    levels = random.normal(size=(30, 2))
    rows, groups = levels.repeat(10, axis=0), np.arange(30).repeat(10)
    curve = summarise_groups(rows, groups)
    assert curve.mean == pytest.approx(levels.mean(axis=0))
    assert curve.ci95 is not None
    half = (curve.ci95[1] - curve.ci95[0]) / 2
    assert half == pytest.approx(1.96 * levels.std(axis=0) / np.sqrt(30), rel=0.1)
    # Episodes of unequal size: the mean is over rows.
    uneven = summarise_groups(np.array([[1.0], [1.0], [4.0]]), np.array([0, 0, 1]))
    assert uneven.mean == pytest.approx([2.0])
    assert uneven.ci95 is not None and (uneven.ci95[0], uneven.ci95[1]) == (1.0, 4.0)
    alone = summarise_groups(np.ones((3, 2)), np.zeros(3, np.int64))
    assert alone.ci95 is None
    assert alone.as_json() == {"1": {"mean": 1.0, "ci95": None}, "2": {"mean": 1.0, "ci95": None}}


SMALL: dict[str, Any] = {"starts": 5, "burn_in": 2, "horizon": 5}


def test_the_command_measures_and_writes(
    random_world: Path, noises: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, file = tmp_path / "out", tmp_path / "figures.json"
    fidelity(str(random_world), [noises, noises], out=out, json_file=file, **SMALL)
    printed = capsys.readouterr().out
    assert "5 starts in " in printed and "each after 2 given frames" in printed
    assert f"wrote {file}" in printed.replace("\n", "")

    found = json.loads(file.read_text())
    world = World.load(random_world)
    stores = [EpisodeStore(noises)] * 2
    starts = Starts.draw(
        stores, [s.actions for s in stores], THREE, burn_in=2, horizon=5, count=5, seed=0
    )
    expected = measure(world, starts)
    for name, values in expected.items():
        assert list(found[name]) == [str(t + 1) for t in range(values.shape[1])]
        for t, mean in enumerate(values.mean(axis=0)):
            assert found[name][str(t + 1)]["mean"] == pytest.approx(mean)
            low, high = found[name][str(t + 1)]["ci95"]
            assert low <= mean <= high
    assert len(found["surprise"]) == 7
    assert (found["starts"], found["burn_in"], found["horizon"], found["seed"]) == (5, 2, 5, 0)
    assert found["episodes"] == len(set(starts.episodes))
    assert (found["world"], found["fingerprint"]) == ("random", world.spec.fingerprint)
    assert (found["temperature"], found["data"]) == (GREEDY, [str(noises)] * 2)
    assert found["latent_actions"] is None

    assert (out / "fidelity.png").read_bytes()[:4] == b"\x89PNG"
    with av.open(str(out / "fidelity.mp4")) as video:
        pictures = [f.to_ndarray(format="rgb24") for f in video.decode(video=0)]
    assert len(pictures) == 5 * (2 + 5 + 7)  # the burn-in, the dream, the last picture held
    assert pictures[0].shape == (64 * 6 + 40, 3 * 64 * 6 + 2 * 6, 3)
    given = [pictures[0][40:, i * 390 : i * 390 + 384].astype(int) for i in range(3)]
    real = stores[0].frames[starts.places[0, 1] + 1].repeat(6, axis=0).repeat(6, axis=1)
    assert all(np.abs(panel - real).mean() < 8 for panel in given)

    once = file.read_text()
    fidelity(str(random_world), [noises, noises], json_file=file, **SMALL)
    assert file.read_text() == once


def test_episodes_that_are_too_short_are_left_out_with_words(
    slides: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(command, "World", SimpleNamespace(load=lambda *_, **__: Slider()))
    fidelity(str(tmp_path), [slides], starts=8, burn_in=4, horizon=5)
    printed = capsys.readouterr().out
    assert "8 starts in 2 held-out episodes" in printed
    assert "left out: 1 held-out episodes of less than 10 frames" in printed
    # One episode alone has no interval, in no table and no picture.
    fidelity(str(tmp_path), [slides], starts=1, burn_in=4, horizon=5, out=tmp_path / "out")
    assert "1 starts in 1 held-out episodes" in capsys.readouterr().out


@pytest.fixture(scope="module")
def latent_run(slides: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "actions"
    sizes = {"width": 8, "heads": 2, "window": 3, "encoder_blocks": 1, "decoder_blocks": 1}
    train_latent_actions([slides], run, steps=3, batch=2, clip=4, bf16=False, actions=4, **sizes)
    return run


def test_latent_actions_are_inferred_from_the_frames(
    slides: Path, latent_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = EpisodeStore(slides)
    world: Any = Slider("genie", actions=4)
    directory = world_of_codes(tmp_path / "world", latent_run)
    (actions,) = actions_of(world, directory, [slides], [store], latent_run, [held_out(store)])
    model = load_latent_actions(latent_run)
    first, end = store.episode_starts[19:21]
    clip = torch.from_numpy(store.frames[first:end].copy())[None]
    assert actions[first : end - 1].tolist() == model.encode(clip)[0].tolist()

    monkeypatch.setattr(command, "World", SimpleNamespace(load=lambda *_, **__: world))
    file = tmp_path / "figures.json"
    fidelity(str(directory), [slides], latent_run, json_file=file, **SMALL)
    assert json.loads(file.read_text())["latent_actions"] == str(latent_run)

    # The world's own, where it has them; of episodes that training saw, nothing is asked.
    freeze_network(latent_run, LATENT_ACTIONS, directory / "latent-actions")
    kept = directory / "latent-actions"
    (own,) = actions_of(world, directory, [slides], [store], kept, [held_out(store)])
    seen = np.repeat(~held_out(store), np.diff(store.episode_starts))
    assert not own[seen].any()
    assert (own == actions)[~seen].mean() > 0.95
    fidelity(str(directory), [slides], json_file=file, **SMALL)
    assert json.loads(file.read_text())["latent_actions"] == str(kept)
    assert json.loads(file.read_text())["latent_actions_weights"] == weights_fingerprint(kept)


def world_of_codes(directory: Path, run: Path, change: float = 0) -> Path:
    """A world's directory as far as it says which latent actions it was learned from."""
    directory.mkdir(exist_ok=True)
    (directory / "config.json").write_text("{}")
    codes = load_latent_actions(run).codes() + change
    save_file({"action_codes": codes.half().numpy()}, directory / "model.safetensors")
    return directory


def test_latent_actions_of_another_codebook_are_refused(
    slides: Path, latent_run: Path, tmp_path: Path
) -> None:
    world: Any = Slider("genie", actions=4)
    words = re.escape(
        f"the codes of {latent_run} are not the actions of the world slider, whose codebook is "
        "another: give the run that it was learned from, as it was then"
    )
    store = EpisodeStore(slides)
    for change in (0.001, 0.01):
        directory = world_of_codes(tmp_path / "world", latent_run, change=change)
        with pytest.raises(ValueError, match=words):
            actions_of(world, directory, [slides], [store], latent_run, [held_out(store)])
    codes = load_latent_actions(latent_run).codes()[:, :-1].half().contiguous()
    save_file({"action_codes": codes.numpy()}, directory / "model.safetensors")
    with pytest.raises(ValueError, match=words):
        actions_of(world, directory, [slides], [store], latent_run, [held_out(store)])


def test_a_world_says_which_actions_it_takes(
    slides: Path, latent_run: Path, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text("{}")

    def refused(world: Slider, run: Path | None, words: str, directory: Path = slides) -> None:
        with pytest.raises(ValueError, match=re.escape(words)):
            stores = [EpisodeStore(directory)]
            actions_of(world, tmp_path, [directory], stores, run, [held_out(s) for s in stores])  # type: ignore[arg-type]

    refused(
        Slider("genie", actions=4),
        None,
        "the actions of the world slider are latent, no recording holds them, and it has no "
        "latent-actions/ that infers them: give --latent-actions, the run of `train latent-actions` "
        "that it was learned from",
    )
    refused(
        Slider(),
        latent_run,
        "the actions of the world slider are those of its recordings (3 actions (left, stay, "
        "right)): leave out --latent-actions",
    )
    refused(
        Slider("genie", actions=6),
        latent_run,
        f"{latent_run} has 4 latent actions, the world slider 6: give the run",
    )
    refused(Slider("genie", actions=4), tmp_path, "holds no settings.json: give the --out of")
    record("toy_games:Counter-v0", tmp_path / "counted", episodes=1, workers=1)
    refused(
        Slider(),
        None,
        "the world slider 3 actions (left, stay, right): give recordings of its game",
        tmp_path / "counted",
    )


def test_a_world_without_pictures_is_refused(
    slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = Slider()
    world.spec.frame = None
    monkeypatch.setattr(command, "World", SimpleNamespace(load=lambda *_, **__: world))
    with pytest.raises(
        ValueError, match="the world slider has no pictures, so nothing can be comp"
    ):
        fidelity(str(tmp_path), [slides], **SMALL)


def test_options_go_to_the_worlds_family(random_world: Path, noises: Path, tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    fidelity(
        str(random_world), [noises], json_file=file, option=["termination=thresholded"], **SMALL
    )
    assert json.loads(file.read_text())["options"] == {"termination": "thresholded"}
    with pytest.raises(ValueError, match=r"random \(vision-memory\) has no option 'passes'"):
        fidelity(str(random_world), [noises], option=["passes=2"], **SMALL)


def test_words_of_errors(random_world: Path, noises: Path, slides: Path, tmp_path: Path) -> None:
    def refused(words: str, data: list[Path] = [noises], **options: Any) -> None:
        with pytest.raises(ValueError, match=re.escape(words)):
            fidelity(str(random_world), data, **{**SMALL, **options})

    refused("starts is 0; expected 1 or more", starts=0)
    refused("burn-in is 0; expected 1 or more", burn_in=0)
    refused("horizon is 0; expected 1 or more", horizon=0)
    refused("seed is -1; expected 0 or more", seed=-1)
    refused("the temperature is 0.0; expected a number above 0", temperature=0.0)
    refused("the temperature is nan; expected a number above 0", temperature=float("nan"))
    refused("no data was given: name at least one directory", data=[])
    refused("nothing is not a directory of episodes", data=[tmp_path / "nothing"])
    refused("holds frames of 16 x 16, but those of the world random are 64 x 64", data=[slides])
    refused(
        "a start takes 13 frames of one episode (the first, 6 of the burn-in, 6 of the horizon), "
        "but the longest held-out episode, of every 20th, has 12: lower --burn-in or --horizon",
        burn_in=6,
        horizon=6,
    )
    refused(
        "9 starts were asked for, but only 8 frames of the held-out episodes have another 8 after "
        "them: lower --starts, or record more",
        starts=9,
        burn_in=3,
    )
    few = write_episodes(tmp_path / "few", [12] * 19, noise)
    refused("too few episodes: there are 19, and the held-out part", data=[few])
    skipping = write_episodes(tmp_path / "skipping", [12] * 20, noise, frame_skip=4)
    refused(
        'meta.json: "frame_skip" is 4, but a step of the world random stands for 1: give '
        "recordings made with `genie-env record --frame-skip 1`",
        data=[skipping],
    )
    silent = write_episodes(tmp_path / "silent", [12] * 20, noise, frame_skip=None)
    refused('"frame_skip" is None, but a step of the world', data=[silent])
    with pytest.raises(ValueError, match="unknown world 'nowhere'"):
        fidelity("nowhere", [noises])

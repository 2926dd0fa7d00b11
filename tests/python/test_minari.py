"""Minari datasets as recordings: what is kept of them, what is refused, in its words."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs
from gymnasium.wrappers import AddRenderObservation

from genie_env._core import EpisodeStore
from genie_env.cli.app import APP
from genie_env.cli.import_minari import import_minari
from genie_env.families.vision_memory.commands import (
    freeze_vision_memory,
    train_memory,
    train_vision,
)
from genie_env.games.frames import resize
from genie_env.games.real_game import real_game
from genie_env.games.registry import game_as_recorded

MISSING = any(importlib.util.find_spec(each) is None for each in ("minari", "h5py", "jax"))
WHY = "the datasets of these tests are written by minari[hdf5,create], which is not installed"
pytestmark = pytest.mark.skipif(MISSING, reason=WHY)

HEIGHT, WIDTH = 40, 60
COLOURS = spaces.Box(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
GREY = spaces.Box(0, 255, (HEIGHT, WIDTH), np.uint8)
SPACES: dict[str, spaces.Space[Any]] = {
    "colours": COLOURS,
    "several": spaces.Dict(
        {"near": COLOURS, "far": GREY, "speed": spaces.Box(-1, 1, (2,), np.float32)}
    ),
    "numbered": spaces.Discrete(3, start=2),
    "steering": spaces.Box(-0.1, 0.3, (2,), np.float64),
}


class Noise(gymnasium.Env[Any, Any]):
    """Shows noise, and pays the step's number; ends after 5 steps, which is a truncation in the second
    of every four episodes."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 12}

    def __init__(
        self, observations: Any = "colours", actions: Any = "numbered", render_mode: Any = None
    ) -> None:
        """Spaces, or their names, which datasets keep."""
        self.observation_space, self.action_space = (
            SPACES[each] if isinstance(each, str) else each for each in (observations, actions)
        )
        self.render_mode = render_mode
        self._t = self._episode = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._t, self._episode = 0, self._episode + 1
        return self._observed(self.observation_space), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._t += 1
        over, ends = self._t == 5, self._episode % 4 != 2
        seen = self._observed(self.observation_space)
        return seen, float(self._t), over and ends, over and not ends, {}

    def render(self) -> Any:
        return self._observed(COLOURS)

    def _observed(self, space: Any) -> Any:
        if isinstance(space, spaces.Dict):
            return {name: self._observed(each) for name, each in space.spaces.items()}
        if space.dtype == np.uint8:
            return self.np_random.integers(0, 256, space.shape).astype(np.uint8)
        return self.np_random.normal(size=space.shape).astype(space.dtype)


for _id, _arguments in {
    "genie_env_tests/Noise-v0": {},
    "genie_env_tests/Steering-v0": {"actions": "steering"},
    "genie_env_tests/Several-v0": {"observations": "several"},
}.items():
    gymnasium.register(_id, f"{__name__}:Noise", max_episode_steps=50, kwargs=_arguments)


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    return tmp_path / "minari"


Collect = Callable[..., Any]


def collect(env: gymnasium.Env[Any, Any], name: str = "noise-v0", episodes: int = 4) -> Any:
    """A lossless dataset of random actions, the last episode of which is cut off after two steps."""
    import minari

    collector = minari.DataCollector(env, jpeg_encoding=False)
    for seed in range(episodes):
        collector.reset(seed=seed)
        collector.action_space.seed(seed)
        for _ in range(2 if seed == episodes - 1 else 1000):
            _, _, terminated, truncated, _ = collector.step(collector.action_space.sample())
            if terminated or truncated:
                break
    # Without these scores, Minari would play random episodes.
    return collector.create_dataset(name, ref_min_score=0.0, ref_max_score=1.0)


def imported(dataset: Any, out: Path, **options: Any) -> EpisodeStore:
    import_minari(dataset if isinstance(dataset, str) else dataset.id, out, **options)
    return EpisodeStore(out)


def refused(words: str, dataset: Any, out: Path, **options: Any) -> None:
    with pytest.raises(ValueError, match=words):
        imported(dataset, out, **options)
    assert not out.exists()


def test_everything_that_a_dataset_holds_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = collect(gymnasium.make("genie_env_tests/Noise-v0"))
    store = imported(dataset, tmp_path / "out", frame_size="native")
    assert store.episode_starts.tolist() == [0, 5, 10, 15, 17]
    for index, episode in enumerate(dataset):
        at = slice(*store.episode_starts[index : index + 2])
        assert np.array_equal(store.frames[at], episode.observations[:-1])
        assert np.array_equal(store.final_frames[index], episode.observations[-1])
        assert np.array_equal(store.actions[at], episode.actions)
        assert np.array_equal(store.rewards[at], episode.rewards)
        assert np.array_equal(store.terminations[at], episode.terminations)
        assert np.array_equal(store.truncations[at], episode.truncations)
    assert store.terminations.sum() == 2 and store.truncations.sum() == 2
    meta = json.loads(store.meta)
    assert (meta["game"], meta["frame_skip"]) == ("genie_env_tests/Noise-v0", 1)
    assert (meta["frames_per_second"], meta["max_steps"]) == (12, 50)
    assert meta["actions"] == {"type": "discrete", "meanings": ["2", "3", "4"], "start": 2}
    assert meta["minari"]["dataset"] == "noise-v0"
    out = capsys.readouterr().out
    assert "out holds 0 episodes" in out and "frames of 40 x 60, for train tokenizer" in out
    assert "importing 4/4 episodes, 17 new frames" in out


def test_a_folder_is_as_good_as_an_id(tmp_path: Path, installed: Path) -> None:
    collect(gymnasium.make("genie_env_tests/Noise-v0"))
    one = imported("noise-v0", tmp_path / "one")
    moved = shutil.move(installed / "noise-v0", tmp_path / "moved")
    for name, folder in (("two", moved), ("three", moved / "data")):
        other = imported(str(folder), tmp_path / name)
        assert np.array_equal(one.frames, other.frames) and one.meta == other.meta


def test_pictures_are_prepared_as_those_of_recordings(tmp_path: Path) -> None:
    dataset = collect(gymnasium.make("genie_env_tests/Noise-v0"))
    store = imported(dataset, tmp_path / "out", crop="2,6,0,4", pad="0,0,8,0", frame_size="16x32")
    picture = np.pad(dataset[0].observations[0][2:34, :56], ((0, 0), (8, 0), (0, 0)))
    assert np.array_equal(store.frames[0], resize(picture, 16, 32))
    meta = json.loads(store.meta)
    how = {"crop": [2, 6, 0, 4], "pad": [0, 0, 8, 0], "resize": [16, 32]}
    assert meta["preprocessing"] == {"from": "observation", **how}
    # The real game shows its pictures so, too.
    game = game_as_recorded(meta)
    with game.make() as env:
        frame, _ = env.reset(seed=0)
    assert np.array_equal(frame, store.frames[0])
    assert EpisodeStore(tmp_path / "out").frames.shape[1:] == (16, 32, 3)


def test_a_box_of_float64_becomes_float32(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = collect(gymnasium.make("genie_env_tests/Steering-v0"))
    store = imported(dataset, tmp_path / "out")
    given = np.concatenate([episode.actions for episode in dataset])
    assert given.dtype == np.float64 and store.actions.dtype == np.float32
    low, high = np.float32(-0.1), np.float32(0.3)
    assert np.array_equal(store.actions, given.astype(np.float32).clip(low, high))
    assert "actions of float64 are recorded as float32" in capsys.readouterr().out
    bounds = {"low": [float(low)] * 2, "high": [float(high)] * 2}
    assert json.loads(store.meta)["actions"] == {"type": "box", "shape": [2], **bounds}


def test_one_picture_of_a_dictionary(tmp_path: Path) -> None:
    dataset = collect(gymnasium.make("genie_env_tests/Several-v0"))
    out = tmp_path / "out"
    refused("noise-v0 are dictionaries: give --picture far or near$", dataset, out)
    refused(
        "--picture is 'speed'; expected a picture among the observations of noise-v0: far, near",
        dataset,
        out,
        picture="speed",
    )
    store = imported(dataset, out, picture="far", frame_size="native")
    grey = dataset[0].observations["far"]
    assert np.array_equal(store.frames[:5], np.stack([grey[:-1]] * 3, axis=-1))
    meta = json.loads(store.meta)
    assert meta["preprocessing"]["from"] == "observation" and meta["frames_per_second"] == 12
    with game_as_recorded(meta).make() as env:
        frame, _ = env.reset(seed=0)
    assert np.array_equal(frame, store.frames[0])


def test_rendered_pictures_are_rendered_again_by_the_real_game(tmp_path: Path) -> None:
    env = AddRenderObservation(gymnasium.make("CartPole-v1", render_mode="rgb_array"))
    store = imported(collect(env, episodes=2), tmp_path / "out")
    meta = json.loads(store.meta)
    assert (meta["game"], meta["preprocessing"]["from"]) == ("CartPole-v1", "render")
    assert (meta["settings"], meta["frames_per_second"]) == ({}, 50)
    with game_as_recorded(meta).make() as real:
        frame, _ = real.reset(seed=0)
    assert np.array_equal(frame, store.frames[0])


def test_an_import_goes_on_where_it_was_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = collect(gymnasium.make("genie_env_tests/Noise-v0"))
    whole = imported(dataset, tmp_path / "whole")
    out = tmp_path / "out"
    assert imported(dataset, out, episodes=2).num_episodes == 2
    capsys.readouterr()
    store = imported(dataset, out)
    assert "out holds 2 episodes" in capsys.readouterr().out
    for name in ("frames", "actions", "rewards", "terminations", "truncations", "final_frames"):
        assert np.array_equal(getattr(store, name), getattr(whole, name))
    with pytest.raises(ValueError, match="recorded otherwise .*; give the same arguments to go on"):
        imported(dataset, out, crop="1,1,1,1")
    with pytest.raises(ValueError, match="--episodes is 9, but noise-v0 holds 4: give fewer, or"):
        imported(dataset, tmp_path / "more", episodes=9)
    assert imported(dataset, out).num_episodes == 4


class Halved(gymnasium.ObservationWrapper[Any, Any, Any], RecordConstructorArgs):
    """Halves the pictures."""

    def __init__(self, env: Any) -> None:
        RecordConstructorArgs.__init__(self)
        super().__init__(env)
        self.observation_space = spaces.Box(0, 255, (20, 30, 3), np.uint8)

    def observation(self, observation: Any) -> Any:
        return observation[::2, ::2]


def test_a_game_that_shows_other_pictures_is_not_taken_for_the_real_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = imported(collect(Halved(gymnasium.make("genie_env_tests/Noise-v0"))), tmp_path / "out")
    meta = json.loads(store.meta)
    assert meta["game"] == "noise-v0" and meta["max_steps"] == 50
    said = capsys.readouterr().out
    assert (
        "genie_env_tests/Noise-v0 does not play here as it was recorded (observation: 40 x 60"
        in said
    )
    assert "to play it, register a game of that name (docs/games.md)" in said


def test_an_unknown_environment_keeps_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = collect(gymnasium.make("genie_env_tests/Noise-v0"))
    monkeypatch.delitem(gymnasium.registry, "genie_env_tests/Noise-v0")
    meta = json.loads(imported(dataset, tmp_path / "out").meta)
    assert meta["game"] == "genie_env_tests/Noise-v0" and "frames_per_second" not in meta
    assert "Noise-v0 is not registered here: its frames a second" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"observations": spaces.Box(-1, 1, (4,), np.float32)},
            r"noise-v0 has no pictures: its observations are Box\(-1.0, 1.0, \(4,\), float32\); expec",
        ),
        (
            {"observations": spaces.Dict({"speed": spaces.Box(-1, 1, (4,), np.float32)})},
            "noise-v0 has no pictures: its observations are Dict",
        ),
        (
            {"actions": spaces.Box(-np.inf, np.inf, (1,), np.float32)},
            r"the actions of noise-v0 are Box\(-inf, inf, .*: the bounds of an action are -inf and inf",
        ),
        (
            {"actions": spaces.MultiDiscrete([2, 3])},
            r"the actions of noise-v0 are MultiDiscrete\(\[2 3\]\); expected Discrete of at most 1,024",
        ),
        (
            {"actions": spaces.Discrete(1025)},
            r"noise-v0 are Discrete\(1025\); expected Discrete of at most 1,024 actions, or a bounded",
        ),
    ],
)
def test_what_cannot_be_recorded_is_refused_at_the_start(
    arguments: dict[str, Any], words: str, tmp_path: Path
) -> None:
    refused(words, collect(Noise(**arguments)), tmp_path / "out")


def test_what_cannot_be_meant_is_refused(tmp_path: Path, installed: Path) -> None:
    out = tmp_path / "out"
    refused(
        "there is no Minari dataset 'none-v0', as a directory or installed in .*/minari: `minari li",
        "none-v0",
        out,
    )
    assert not installed.exists()
    dataset = collect(gymnasium.make("genie_env_tests/Noise-v0"))
    refused("--picture is 'x', but the observations of noise-v0 are Box", dataset, out, picture="x")
    refused("no network takes frames of 67 x 97", dataset, out, frame_size="67x97")
    refused("nothing is left of pictures of 40 x 60", dataset, out, crop="20,20,0,0")
    (installed / "noise-v0" / "data" / "metadata.json").write_text("{")
    refused(r"noise-v0 cannot be read \(JSONDecodeError: .*\): download or write", "noise-v0", out)


def edit(dataset: Any, change: Callable[[Any], None]) -> None:
    import h5py

    with h5py.File(Path(dataset.storage.data_path) / "main_data.hdf5", "a") as file:
        change(file["episode_2"])


def test_damage_names_the_episode_and_costs_only_what_follows(tmp_path: Path) -> None:
    def set_number(name: str, at: Any, value: float) -> Callable[[Any], None]:
        def change(episode: Any) -> None:
            episode[name][at] = value

        return change

    def remove(episode: Any) -> None:
        del episode["rewards"]

    for number, (change, words) in enumerate(
        [
            (set_number("rewards", 1, np.nan), "has a reward that is not a finite number of type"),
            (set_number("terminations", 1, True), "goes on after a termination or a truncation"),
            (
                set_number("actions", 1, 9),
                r"has actions of int64 \[5\] that are not 5 of its space, Discrete\(3, start=2\)",
            ),
            (remove, r"cannot be read \(KeyError: .*\): download or write it again"),
            (
                lambda e: e["observations"].resize(3, axis=0),
                "has 5 steps and pictures of uint8 .3,",
            ),
        ]
    ):
        name = f"noise-v{number}"
        dataset = collect(gymnasium.make("genie_env_tests/Noise-v0"), name)
        edit(dataset, change)
        with pytest.raises(ValueError, match=f"episode 2 of {name} .*{words}"):
            imported(dataset, tmp_path / name)
        assert EpisodeStore(tmp_path / name).num_episodes == 2


def test_an_episode_that_does_not_end_is_truncated(tmp_path: Path) -> None:
    dataset = collect(gymnasium.make("genie_env_tests/Noise-v0"))
    edit(dataset, lambda episode: episode["terminations"].write_direct(np.zeros(5, bool)))
    store = imported(dataset, tmp_path / "out")
    assert np.flatnonzero(store.truncations).tolist() == [9, 14, 16]


def test_a_world_that_learned_from_it_knows_its_real_game(tmp_path: Path) -> None:
    imported(collect(gymnasium.make("genie_env_tests/Noise-v0"), episodes=41), tmp_path / "data")
    runs, world = tmp_path / "runs", tmp_path / "world"
    small: dict[str, Any] = {"data": [tmp_path / "data"], "steps": 1, "batch": 2, "bf16": False}
    train_vision(out=runs / "vision", latents=4, **small)
    train_memory(
        out=runs / "memory", vision=runs / "vision", window=5, hidden=8, components=2, **small
    )
    freeze_vision_memory(runs / "vision", runs / "memory", world)
    game = real_game(world)
    assert game.name == "genie_env_tests/Noise-v0" and game.frames_per_second == 12
    with game.make() as real:
        frame, _ = real.reset(seed=0)
    assert np.array_equal(frame, EpisodeStore(tmp_path / "data").frames[0])


def test_without_minari_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collect(gymnasium.make("genie_env_tests/Noise-v0"))
    monkeypatch.setitem(__import__("sys").modules, "minari", None)
    with pytest.raises(ImportError, match=r"needs Minari: pip install 'genie_env\[minari\]'"):
        imported("noise-v0", tmp_path / "out")


def test_the_command_line_knows_it(tmp_path: Path) -> None:
    collect(gymnasium.make("genie_env_tests/Noise-v0"))
    with pytest.raises(SystemExit) as exit:
        APP.main(["import", "minari", "noise-v0", "--out", str(tmp_path / "out")])
    assert exit.value.code == 0 and EpisodeStore(tmp_path / "out").num_episodes == 4

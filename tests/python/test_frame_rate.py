"""Dreams are shown as fast as the game that they are of: one figure, wherever it is asked for."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any, ClassVar

import av
import gymnasium
import pytest
import second_game  # registers a game of 10 steps a second
from gymnasium.wrappers import RecordVideo
from random_world import random_config, write_random_world

import genie_env
from genie_env import World
from genie_env._core import EpisodeStore, EpisodeWriter
from genie_env.cli.dream import dream
from genie_env.cli.worlds import describe
from genie_env.data.frame_rate import pace
from genie_env.envs.frame_rate import UNKNOWN_RATE
from genie_env.envs.registry import environment_id, installed_worlds
from genie_env.games.gymnasium import GymnasiumGame
from genie_env.games.registry import find_game, register_game

SHIPPED = {"doom-take-cover": 35.0, "doom-genie": 8.75, "car-racing": 12.5}
"""35 tics a second, 1 and 4 of which are a step, and 50 steps of the other game, 4 of which are one."""


@pytest.mark.parametrize("world", installed_worlds())
def test_shipped_worlds_are_as_fast_as_their_game(
    world: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rate = SHIPPED[world]
    clip = "moviepy.video.io.ImageSequenceClip"  # which Gymnasium imports to record
    for module in ("moviepy", "moviepy.video", "moviepy.video.io", clip):
        monkeypatch.setitem(sys.modules, module, types.ModuleType(module))
    monkeypatch.setattr(sys.modules[clip], "ImageSequenceClip", object, raising=False)
    env = genie_env.DreamEnv(world, render_mode="rgb_array")
    assert env.metadata["render_fps"] == rate
    assert RecordVideo(env, str(tmp_path / "recorded")).frames_per_sec == rate
    many = genie_env.make_vec(world, 2)
    assert many.metadata["render_fps"] == rate
    assert genie_env.make_vec(many.world).metadata["render_fps"] == rate
    registered = gymnasium.make(gymnasium.spec(environment_id(world)))
    assert registered.metadata["render_fps"] == rate
    assert describe(world)["frames_per_second"] == rate
    dream(world, tmp_path / "clips", frames=1)
    file = next((tmp_path / "clips").glob("*.mp4"))
    with av.open(str(file)) as container:
        assert float(container.streams.video[0].average_rate or 0) == rate


RECORDED = {"game": "CartPole-v1", "frame_skip": 2}


@pytest.mark.parametrize(
    ("config", "rate"),
    [
        ({"frames_per_second": 12.5}, 12.5),
        # Of worlds that do not say it themselves:
        ({"training": {"data": [{**RECORDED, "frames_per_second": 25.0}]}}, 25.0),
        ({"training": {"data": {"vision": [RECORDED], "memory": [RECORDED]}}}, UNKNOWN_RATE),
        ({"real_game": "gold-rush", "frame_skip": 4}, 2.5),
        ({"training": {"data": [{"game": "gold-rush", "frame_skip": 4}]}, "frame_skip": 4}, 2.5),
        ({}, UNKNOWN_RATE),
    ],
)
def test_a_world_says_its_rate_or_its_recordings_or_their_game(
    config: dict[str, Any], rate: float, tmp_path: Path
) -> None:
    directory = write_random_world(tmp_path / "world")
    known = {**random_config(), **config}
    if "real_game" not in config:
        del known["real_game"]
    (directory / "config.json").write_text(json.dumps(known))
    assert genie_env.make_vec(directory).metadata["render_fps"] == rate
    assert genie_env.make_vec(World.load(directory)).metadata["render_fps"] == rate


class Crawl(second_game.GoldRush):
    """Says its rate once it is made."""

    metadata: ClassVar = {"render_fps": 3, "render_modes": []}
    made = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).made += 1


gymnasium.register("Crawl-v0", Crawl)
register_game("crawl", lambda name, skip, args: GymnasiumGame("Crawl-v0", skip, args))


def test_no_game_is_made_to_know_its_rate(tmp_path: Path) -> None:
    """A registered game says a constant, or nothing: a real one may take seconds to start."""
    directory = write_random_world(tmp_path / "world")
    config = {**random_config(), "real_game": "crawl"}
    (directory / "config.json").write_text(json.dumps(config))
    assert genie_env.make_vec(directory).metadata["render_fps"] == UNKNOWN_RATE
    meta = json.dumps({"format_version": 1, "game": "crawl", "frame_skip": 2})
    EpisodeWriter(tmp_path / "data", 8, 8, meta).close()
    assert pace(tmp_path / "data", EpisodeStore(tmp_path / "data")) == {"frame_skip": 2}
    assert Crawl.made == 0


def test_a_game_without_a_rate_is_recorded_with_the_one_of_its_environment() -> None:
    """Worlds of it then say it themselves."""
    assert find_game("crawl").describe()["frames_per_second"] == 3 and Crawl.made > 0

"""Recordings of a game of dots, and genie worlds that are learned from them: small, hence fast."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from genie_env._core import EpisodeWriter
from genie_env.families.genie.commands import (
    freeze_genie,
    train_dynamics,
    train_latent_actions,
    train_tokenizer,
)

SIDE = 16
META: dict[str, Any] = {
    "format_version": 2,
    "game": "dots",
    "frame_skip": 1,
    "actions": {"type": "discrete", "meanings": ["left", "right"], "start": 0},
}
SMALL: dict[str, Any] = {"steps": 3, "batch": 2, "dtype": "float32"}
SIZES: dict[str, Any] = {"width": 8, "heads": 2, "window": 3}
BLOCKS: dict[str, Any] = {"encoder_blocks": 1, "decoder_blocks": 1}


def record_dots(
    directory: Path,
    episodes: int = 40,
    *,
    finals: bool = True,
    actions: int = 2,
    side: int = SIDE,
    ends: bool = True,
    pays: bool = True,
    **meta: Any,
) -> Path:
    """A dot goes left or right, from the middle of four columns on. A step into the right half pays
    1, one to the rim ends the episode; after 12 steps it is truncated. actions: how many of the two
    are taken."""
    column = {name: {"dtype": "bool", "shape": []} for name in ("terminations", "truncations")}
    picture = {"dtype": "uint8", "shape": [side, side, 3]}
    declared = {
        "columns": {
            "frames": picture,
            "actions": {"dtype": "int64", "shape": []},
            "rewards": {"dtype": "float32", "shape": []},
            **column,
        }
    }
    if finals:
        declared["episode_columns"] = {"final_frames": picture}
    random = np.random.default_rng(len(str(finals)))
    with EpisodeWriter(directory, side, side, json.dumps({**META, **declared, **meta})) as writer:
        for _ in range(episodes):
            place, places, taken = 3, [3], []
            while 0 < place < 7 and len(taken) < 12:
                taken.append(int(random.integers(actions)))
                place += 2 * taken[-1] - 1
                places.append(place)
            frames = np.zeros((len(places), side, side, 3), np.uint8)
            for frame, at in zip(frames, places, strict=True):
                frame[:, at * side // 8 : (at + 1) * side // 8] = 255
            rewards = (np.array(places[1:]) > 3).astype(np.float32) * pays
            last = np.arange(len(taken)) == len(taken) - 1
            ended = last & (not 0 < place < 7) & ends
            arrays = (frames[:-1], np.array(taken), rewards, ended, last & ~ended)
            writer.append(*arrays, *([frames[-1]] if finals else []))
    return directory


class Dots(gymnasium.Env[Any, Any]):
    """The dot on a ring of eight columns: actions are -1, left, and 0, right."""

    metadata = {"render_modes": ["rgb_array"]}

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.action_space = spaces.Discrete(2, start=-1)
        self.observation_space = spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8)
        self._place = 3

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._place = 3
        return self._frame(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._place = (self._place + 2 * int(action) + 1) % 8
        return self._frame(), float(self._place > 3), False, False, {}

    def _frame(self) -> Any:
        frame = np.zeros((SIDE, SIDE, 3), np.uint8)
        frame[:, self._place * SIDE // 8 : (self._place + 1) * SIDE // 8] = 255
        return frame


gymnasium.register("Dots-v0", Dots, max_episode_steps=12)


def dots_world(directory: Path, data: Path) -> Path:
    """Trains and freezes a genie world of the recordings `data`."""
    runs, out = directory / "runs", directory / "world"
    train_tokenizer(
        [data], runs / "tokenizer", **SMALL, **SIZES, **BLOCKS, clip=4, codes=20, patch=4
    )
    train_latent_actions([data], runs / "actions", **SMALL, **SIZES, **BLOCKS, clip=4, patch=4)
    codes = {"tokenizer": runs / "tokenizer", "latent_actions": runs / "actions"}
    train_dynamics([data], out=runs / "dynamics", blocks=2, **codes, **SMALL, **SIZES)
    freeze_genie(runs / "dynamics", out)
    return out

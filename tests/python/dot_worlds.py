"""Recordings of a dot whose place and size are known, and exported worlds that dream of it: one that
is right, one that forgets it, and one that is as uncertain as its game."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from genie_env import export_world
from genie_env._core import EpisodeStore, EpisodeWriter
from genie_env.data.labels import write_labels
from genie_env.games.labels import packed

HEIGHT, WIDTH = 16, 64
STEP = 2
"""Pixels that an action moves the dot by."""
WIND = 3
"""Steps that the wind moves it by."""
ACTIONS = {"type": "discrete", "meanings": ["left", "stay", "right"], "start": 0}
Tensors = dict[str, torch.Tensor]


def record_dot(
    directory: Path,
    episodes: int = 60,
    *,
    length: int = 16,
    windy: bool = False,
    without: int = 4,
    starts: tuple[int, int] = (12, WIDTH - 18),
    seed: int = 0,
    labelled: bool = True,
    known_actions: bool = True,
) -> Path:
    """A bright square of 3 to 6 pixels, which actions move, and in a `windy` recording the wind as
    well: left, right or not at all, each as likely. One of `without` episodes has no dot.
    starts: where dots begin; one that leaves the frame comes back on the other side."""
    column = {name: {"dtype": "bool", "shape": []} for name in ("terminations", "truncations")}
    meta: dict[str, Any] = {
        "format_version": 2,
        "game": "dot",
        "frame_skip": 1,
        "actions": ACTIONS if known_actions else None,
        "columns": {
            "frames": {"dtype": "uint8", "shape": [HEIGHT, WIDTH, 3]},
            "actions": {"dtype": "int64", "shape": []},
            "rewards": {"dtype": "float32", "shape": []},
            **column,
        },
    }
    random = np.random.default_rng(seed)
    labels = []
    with EpisodeWriter(directory, HEIGHT, WIDTH, json.dumps(meta)) as writer:
        for episode in range(episodes):
            size, actions = int(random.integers(3, 7)), random.integers(3, size=length)
            moves = actions - 1 + windy * WIND * random.integers(-1, 2, length)
            start = int(random.integers(*starts))
            places = (start + STEP * np.concatenate([[0], moves[:-1].cumsum()])) % WIDTH
            frames = np.full((length, HEIGHT, WIDTH, 3), 20, np.uint8)
            for frame, place in zip(frames, places, strict=True):
                there = episode % without > 0
                if there:
                    frame[5 : 5 + size, (place + np.arange(size)) % WIDTH] = 220
                box = (place + size / 2) / WIDTH, (5 + size / 2) / HEIGHT
                sides = size / WIDTH, size / HEIGHT
                labels.append(packed([(0, *box, *sides, 7)] if there else []))
            ended = np.arange(length) == length - 1
            writer.append(frames, actions, np.ones(length, np.float32), ended, ended & False)
    if labelled:
        write_labels(directory, ["dot"], np.stack(labels), EpisodeStore(directory))
    return directory


class Dot(nn.Module):
    """Moves all that a frame shows as the action says, and by the wind of its noise."""

    def __init__(self, *, windy: bool = False, forgets: bool = False) -> None:
        super().__init__()
        self.windy, self.forgets = windy, forgets

    def initial(self, context: Tensors, noise: Tensors) -> tuple[Tensors, Tensors]:
        return self._known(context["frame"].float())

    def _known(self, frame: torch.Tensor) -> tuple[Tensors, Tensors]:
        return {"frame": frame}, {"columns": frame.mean((1, 3)) / 255}

    def _moved(self, frame: torch.Tensor, move: torch.Tensor) -> torch.Tensor:
        ways = move[:, None, None, None]
        left, right = torch.roll(frame, -STEP, 2), torch.roll(frame, STEP, 2)
        return torch.where(ways < 0, left, torch.where(ways > 0, right, frame))

    def step(
        self, state: Tensors, action: torch.Tensor, temperature: torch.Tensor, noise: Tensors
    ) -> tuple[Tensors, torch.Tensor, None, Tensors]:
        frame = self._moved(state["frame"], action - 1)
        if self.windy:
            wind = (noise["wind"][:, 0] * 3).floor() - 1
            for _ in range(WIND):
                frame = self._moved(frame, wind)
        if self.forgets:
            frame = torch.full_like(frame, 20.0)
        after, seen = self._known(frame)
        return after, frame.mean((1, 2, 3)), None, seen

    def follow(
        self, state: Tensors, action: torch.Tensor, frame: torch.Tensor, noise: Tensors
    ) -> tuple[Tensors, torch.Tensor, None, Tensors]:
        after, seen = self._known(frame.float())
        return after, frame.float().mean((1, 2, 3)), None, seen

    def render(self, state: Tensors) -> torch.Tensor:
        return state["frame"].to(torch.uint8)


def export_dot(out: Path, **kind: bool) -> Path:
    export_world(
        Dot(**kind).eval(),
        out,
        action_space=gymnasium.spaces.Discrete(3),
        action_names=ACTIONS["meanings"],
        observations={"columns": gymnasium.spaces.Box(0, 1, (WIDTH,), np.float32)},
        noise={"wind": ("uniform", (1,))},
        starts={"frame": torch.full((1, HEIGHT, WIDTH, 3), 20, dtype=torch.uint8)},
        max_episode_steps=100,
    )
    return out


def frames_of(store: EpisodeStore) -> NDArray[np.float64]:
    """[N, H, W, 3], from 0 to 1."""
    return np.asarray(store.frames, np.float64) / 255

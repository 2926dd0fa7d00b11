"""Modules that become worlds, with random weights: what tests export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from genie_env import World, export_world

Tensors = dict[str, torch.Tensor]
UNBOUNDED = np.inf


def box(*shape: int) -> gymnasium.spaces.Box:
    return gymnasium.spaces.Box(-UNBOUNDED, UNBOUNDED, shape, np.float32)


class Walk(nn.Module):
    """An LSTM that moves a point: two actions, drawn starts, a reward, an end."""

    SIZE, HIDDEN = 3, 16

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(self.SIZE + 2, self.HIDDEN)
        self.head = nn.Linear(self.HIDDEN, 2 * self.SIZE + 2)

    def initial(self, context: Tensors, noise: Tensors) -> tuple[Tensors, Tensors]:
        x = context["x"] + 0.1 * noise["start"]
        zero = x.new_zeros(x.shape[0], self.HIDDEN)
        return {"x": x, "h": zero, "c": zero, "before": x}, {"xh": torch.cat([x, zero], 1)}

    def step(
        self,
        state: Tensors,
        action: torch.Tensor,
        temperature: torch.Tensor,
        noise: Tensors,
    ) -> tuple[Tensors, torch.Tensor, torch.Tensor, Tensors]:
        read = torch.cat([state["x"], F.one_hot(action, 2).float()], 1)
        h, c = self.cell(read, (state["h"], state["c"]))
        mean, scale, reward, end = self.head(h).split([self.SIZE, self.SIZE, 1, 1], 1)
        spread = torch.exp(scale) * temperature[:, None].sqrt()
        x = state["x"] + mean + spread * noise["step"]
        after = {"x": x, "h": h, "c": c, "before": state["x"]}
        return (
            after,
            reward[:, 0],
            torch.sigmoid(end[:, 0] - 5),
            {"xh": torch.cat([x, h], 1)},
        )


WALK: dict[str, Any] = {
    "action_space": gymnasium.spaces.Discrete(2),
    "observations": {"xh": box(Walk.SIZE + Walk.HIDDEN)},
    "noise": {"start": ("normal", (Walk.SIZE,)), "step": ("normal", (Walk.SIZE,))},
    "starts": {"x": torch.linspace(-1, 1, 15).reshape(5, 3)},
    "max_episode_steps": 20,
}


class Picture(nn.Module):
    """A picture that is blurred and pushed: a Box of actions, frames that can be given, no ends."""

    SIDE = 16

    def __init__(self) -> None:
        super().__init__()
        self.blur = nn.Conv2d(3, 3, 3, padding=1)
        self.push = nn.Linear(2, 3)

    def initial(self, context: Tensors, noise: Tensors) -> tuple[Tensors, Tensors]:
        frame = context["frame"].float() / 255
        return {
            "frame": frame,
            "age": torch.zeros_like(frame[:, 0, 0, 0], dtype=torch.int64),
        }, {}

    def _after(
        self, state: Tensors, frame: torch.Tensor
    ) -> tuple[Tensors, torch.Tensor, None, Tensors]:
        return (
            {"frame": frame, "age": state["age"] + 1},
            frame.mean((1, 2, 3)),
            None,
            {},
        )

    def step(
        self,
        state: Tensors,
        action: torch.Tensor,
        temperature: torch.Tensor,
        noise: Tensors,
    ) -> tuple[Tensors, torch.Tensor, None, Tensors]:
        seen = state["frame"].permute(0, 3, 1, 2)
        drawn = self.blur(seen) + self.push(action)[:, :, None, None]
        drawn = torch.sigmoid(drawn + 0.1 * temperature[:, None, None, None] * noise["pixels"])
        return self._after(state, drawn.permute(0, 2, 3, 1))

    def follow(
        self, state: Tensors, action: torch.Tensor, frame: torch.Tensor, noise: Tensors
    ) -> tuple[Tensors, torch.Tensor, None, Tensors]:
        return self._after(state, frame.float() / 255)

    def render(self, state: Tensors) -> torch.Tensor:
        return (state["frame"] * 255).round().clamp(0, 255).to(torch.uint8)


PICTURE: dict[str, Any] = {
    "action_space": gymnasium.spaces.Box(-1, 1, (2,), np.float32),
    "observations": {},
    "noise": {"pixels": ("uniform", (3, Picture.SIDE, Picture.SIDE))},
    "starts": {
        "frame": torch.arange(4 * Picture.SIDE**2 * 3, dtype=torch.int32)
        .remainder(251)
        .to(torch.uint8)
        .reshape(4, Picture.SIDE, Picture.SIDE, 3)
    },
    "max_episode_steps": 12,
}


def seeded(kind: type[nn.Module], seed: int = 0) -> nn.Module:
    """A module of random weights, that moves no global generator."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return kind().eval()


def export_walk(out: Path, **changed: Any) -> World:
    return export_world(seeded(Walk), out, **{**WALK, **changed})


def export_picture(out: Path, **changed: Any) -> World:
    return export_world(seeded(Picture), out, **{**PICTURE, **changed})

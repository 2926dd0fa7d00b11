"""Torch's own recurrent modules, whose whole sequences a model may be trained with, as worlds."""

from __future__ import annotations

import warnings
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from torch import nn

from genie_env import export_world

SIZE, HIDDEN = 3, 8


class Recurrent(nn.Module):
    """Its state is the module's own, [layers, N, HIDDEN], with the rows first."""

    def __init__(self, cell: type[nn.RNNBase], layers: int) -> None:
        super().__init__()
        self.layers = layers
        self.cell = cell(SIZE, HIDDEN, layers, batch_first=True)

    def initial(self, context, noise):
        x = context["x"]
        zero = x.new_zeros(x.shape[0], self.layers, HIDDEN)
        return {"x": x, "h": zero, "c": zero}, {"x": x}

    def step(self, state, action, temperature, noise):
        h, c = (state[name].transpose(0, 1).contiguous() for name in ("h", "c"))
        hidden = (h, c) if isinstance(self.cell, nn.LSTM) else h
        read, after = self.cell(state["x"][:, None], hidden)
        h, c = after if isinstance(after, tuple) else (after, c)
        x = read[:, 0, :SIZE] + action[:, None]
        after = {"x": x, "h": h.transpose(0, 1), "c": c.transpose(0, 1)}
        return after, x[:, 0], None, {"x": x}


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", [nn.LSTM, nn.GRU])
def test_a_recurrent_module_is_exported(
    cell: type[nn.RNNBase], layers: int, tmp_path: Path
) -> None:
    """Its numbers are compared with the module's by `export_world` itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        world = export_world(
            Recurrent(cell, layers).eval(),
            tmp_path / "world",
            action_space=gymnasium.spaces.Discrete(2),
            observations={"x": gymnasium.spaces.Box(-np.inf, np.inf, (SIZE,))},
            starts={"x": torch.linspace(-1, 1, 4 * SIZE).view(4, SIZE)},
            max_episode_steps=9,
        )
    assert world.make_state(5).fields["h"].shape == (5, layers, HIDDEN)

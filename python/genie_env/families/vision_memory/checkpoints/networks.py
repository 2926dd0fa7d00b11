"""V and M of a checkpoint in the terms of this library, before it is said what actions are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from genie_env.families.vision_memory.checkpoints.files import Tensors
from genie_env.families.vision_memory.checkpoints.shapes import Shapes

IMAGE = 3
FEATURES = 1024
"""Numbers that the encoder ends with, and the decoder starts from."""
CONVOLUTIONS = ((IMAGE, 32, 4), (32, 64, 4), (64, 128, 4), (128, 256, 4))
DECONVOLUTIONS = ((FEATURES, 128, 5), (128, 64, 5), (64, 32, 6), (32, IMAGE, 6))
"""Input channels, output channels and kernel of V's layers for images of 64 x 64."""


@dataclass(frozen=True)
class Linear:
    """A linear layer, or some outputs of one: float32 [outputs, inputs] and [outputs]."""

    weight: torch.Tensor
    bias: torch.Tensor

    def rows(self, first: int, count: int) -> Linear:
        return Linear(self.weight[first : first + count], self.bias[first : first + count])

    def reordered(self, shape: Sequence[int], order: Sequence[int]) -> Linear:
        """The same with its outputs, laid out as `shape`, permuted."""
        rows = torch.arange(len(self.bias)).reshape(*shape).permute(*order).reshape(-1)
        return Linear(self.weight[rows], self.bias[rows])


@dataclass(frozen=True)
class ReadMemory:
    """M. Its LSTM's gates are in torch's order: input, forget, cell, output."""

    mixture: Literal["independent", "joint"]
    components: int
    of_z: torch.Tensor
    """[4 hidden, latents]: what the gates multiply the latents by."""
    of_action: torch.Tensor
    """[4 hidden, numbers of an action]"""
    of_restart: torch.Tensor | None
    """[4 hidden]: of the restart flag, where M reads it."""
    of_hidden: torch.Tensor
    """[4 hidden, hidden]"""
    bias: torch.Tensor
    """float64 [4 hidden]: a sum that has not been rounded yet."""
    log_weights: Linear
    """Outputs [mixtures, components]."""
    means: Linear
    """Outputs [latents, components]."""
    log_stds: Linear
    """Outputs [latents, components]."""
    reward: Linear | None = None
    """One output, from the hidden state after the action."""
    termination: Linear | None = None
    """One output, the logit, from the same."""


@dataclass(frozen=True)
class ReadNetworks:
    """What a layout makes of two files."""

    latents: int
    hidden: int
    vision: Tensors
    """By the names of this library's V."""
    rectified_features: bool
    memory: ReadMemory


def vision_shapes(
    convolutions: Sequence[str], heads: Sequence[str], expand: str, deconvolutions: Sequence[str]
) -> Shapes:
    """The shapes that torch's modules of these names have."""
    shapes: dict[str, tuple[int | str, ...]] = {}
    for name, (inputs, outputs, kernel) in zip(convolutions, CONVOLUTIONS, strict=True):
        shapes |= {f"{name}.weight": (outputs, inputs, kernel, kernel), f"{name}.bias": (outputs,)}
    for name in heads:
        shapes |= {f"{name}.weight": ("latents", FEATURES), f"{name}.bias": ("latents",)}
    shapes |= {f"{expand}.weight": (FEATURES, "latents"), f"{expand}.bias": (FEATURES,)}
    for name, (inputs, outputs, kernel) in zip(deconvolutions, DECONVOLUTIONS, strict=True):
        shapes |= {f"{name}.weight": (inputs, outputs, kernel, kernel), f"{name}.bias": (outputs,)}
    return shapes


def vision_of(tensors: Tensors, names: Mapping[str, str], log_std: bool = False) -> Tensors:
    """V's parameters. `names`: by our module, theirs. log_std: whether the head that is called logvar
    here gives logarithms of standard deviations: the variance's is twice that, which is exact."""
    found = {
        f"{ours}.{kind}": tensors[f"{theirs}.{kind}"]
        for ours, theirs in names.items()
        for kind in ("weight", "bias")
    }
    if log_std:
        for kind in ("weight", "bias"):
            found[f"logvar.{kind}"] = 2 * found[f"logvar.{kind}"]
    return found


def lstm_shapes(name: str) -> Shapes:
    """The shapes of torch's LSTM of one layer."""
    return {
        f"{name}.weight_ih_l0": ("4*hidden", "inputs"),
        f"{name}.weight_hh_l0": ("4*hidden", "hidden"),
        f"{name}.bias_ih_l0": ("4*hidden",),
        f"{name}.bias_hh_l0": ("4*hidden",),
    }


def linear(tensors: Tensors, name: str) -> Linear:
    return Linear(tensors[f"{name}.weight"], tensors[f"{name}.bias"])

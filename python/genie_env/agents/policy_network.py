"""An agent that is a small network: what PPO and cloning train, without what trained it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn import functional

from genie_env.agents.agent import Agent, AgentFile
from genie_env.envs.actions import Actions, DiscreteActions

CLIP = 10.0
"""Normalised observations are cut at this."""

CONVOLUTIONS = ((8, 4), (4, 2), (3, 1))
"""Kernel and stride of the layers that read pictures (Mnih et al. 2015)."""


@dataclass(frozen=True)
class PolicyNetwork(Agent):
    """Layers of tanh units on floats, normalised, or, for pictures, on three rectified
    convolutions and a rectified layer; then an output a numbered action, of which the greatest is
    chosen, or a mean a number of a box, which is cut at its bounds.

    `weights`: "convolutions.I", "picture", "layers.I" and "output", each with ".weight" and ".bias"
    (the first two for pictures alone); "mean" and "deviation" of the observations, for floats alone.
    All float32.
    """

    kind: ClassVar[str] = "policy-network"

    weights: dict[str, torch.Tensor]
    observation: str
    world: str
    notes: Mapping[str, str]
    actions: Actions

    @property
    def reads_pictures(self) -> bool:
        return "picture.weight" in self.weights

    def act(self, observation: torch.Tensor) -> torch.Tensor:
        output = self.output(observation)
        if isinstance(self.actions, DiscreteActions):
            return self.actions.start + output.argmax(1)
        low, high = (torch.from_numpy(bound).to(output) for bound in self.actions.bounds)
        return torch.clamp(output.reshape(-1, *self.actions.shape), low, high)

    def output(self, observation: torch.Tensor) -> torch.Tensor:
        """float32 [N, outputs]: logits of numbered actions, or the means."""
        weights = {name: tensor.to(observation.device) for name, tensor in self.weights.items()}

        def layer(name: str, x: torch.Tensor) -> torch.Tensor:
            return functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

        if self.reads_pictures:
            x = observation.permute(0, 3, 1, 2).float() / 255
            for index, (_, stride) in enumerate(CONVOLUTIONS):
                name = f"convolutions.{index}"
                x = functional.conv2d(
                    x, weights[f"{name}.weight"], weights[f"{name}.bias"], stride=stride
                )
                x = functional.relu(x)
            x = functional.relu(layer("picture", x.flatten(1)))
        else:
            x = (observation - weights["mean"]) / weights["deviation"]
            x = x.clamp(-CLIP, CLIP).flatten(1)
        index = 0
        while f"layers.{index}.weight" in weights:
            x = torch.tanh(layer(f"layers.{index}", x))
            index += 1
        return layer("output", x)

    def check_shape(self, shape: tuple[int, ...], world: str) -> None:
        expected = "pictures" if self.reads_pictures else str([*self.weights["mean"].shape])
        wrong = len(shape) != 3 if self.reads_pictures else shape != self.weights["mean"].shape
        if not wrong:
            try:
                self.output(torch.zeros(1, *shape))
            except RuntimeError:  # pictures of another size
                wrong = True
        if wrong:
            raise ValueError(
                f"the agent reads {expected}, but {self.observation!r} has the shape {list(shape)} "
                f"in the world {world}: it was trained for a world of another size"
            )

    def tensors(self) -> dict[str, torch.Tensor]:
        return self.weights

    @classmethod
    def of_file(cls, read: AgentFile) -> PolicyNetwork:
        if read.actions is None:
            raise ValueError(f'{read.file} has no "actions" in its metadata, which agent files have')
        agent = cls(read.tensors, read.observation, read.world, read.notes, read.actions)
        reads = "picture.weight" if agent.reads_pictures else "mean"
        for name in (reads, "output.weight", "output.bias"):
            if name not in read.tensors:
                raise ValueError(f'{read.file} has no tensor "{name}"')
        outputs = len(read.tensors["output.bias"])
        if outputs != read.actions.width:
            raise ValueError(
                f"{read.file} has {outputs} outputs, expected {read.actions.width} for "
                f"{read.actions}"
            )
        return agent

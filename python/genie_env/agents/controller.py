"""The agent of World Models (Ha & Schmidhuber 2018): one linear layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from genie_env.agents.agent import Agent, AgentFile
from genie_env.envs.actions import Actions, BoxActions, DiscreteActions

ORDERED = 3
"""Up to as many numbered actions are chosen by one output: in [-1, 1], cut into equal parts in the
order of the actions (of left, stay and right the lowest third is left, as in the paper)."""

FIRST_ACTIONS = DiscreteActions(("left", "stay", "right"))
"""Of agent files that do not say them."""


def outputs(actions: Actions) -> int:
    """The outputs of a controller that chooses among these actions: one, or, of more than ORDERED
    numbered actions, one each (the greatest is chosen), or a number each of a box."""
    if isinstance(actions, DiscreteActions):
        return 1 if actions.count <= ORDERED else actions.count
    return actions.width


def steer(actions: Actions, weight: torch.Tensor, observation: torch.Tensor) -> torch.Tensor:
    """The actions of linear controllers for float32 observation [N, F]: int64 [N], or float32 [N,
    *shape].

    `weight` is float32 [F] or, of several outputs, [outputs, F]: one controller for all rows, or,
    with N in front, one a row.
    """
    several = outputs(actions) > 1
    output = torch.linalg.vecdot(observation[:, None] if several else observation, weight)
    if isinstance(actions, BoxActions):
        low, high = (torch.from_numpy(bound).to(output) for bound in actions.bounds)
        share = (torch.tanh(output) + 1) / 2
        return torch.clamp(low + share.reshape(-1, *actions.shape) * (high - low), low, high)
    if several:
        best: torch.Tensor = output.argmax(1)
        return actions.start + best
    output = torch.tanh(output)
    chosen = torch.full_like(output, actions.start, dtype=torch.int64)
    for part in range(1, actions.count):
        bound = 2 * part / actions.count - 1
        # What lies on a bound belongs to the part towards the middle.
        chosen += (output > bound) if bound >= 0 else (output >= bound)
    return chosen


@dataclass(frozen=True)
class LinearController(Agent):
    """Acts on a linear function of the observation; see `steer`.

    >>> controller = LinearController(np.array([1.0, -1.0], np.float32), "zch", "0" * 64)
    >>> controller.act(torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]))
    tensor([2, 1, 0])
    """

    kind: ClassVar[str] = "linear-controller"

    weight: NDArray[np.float32]
    """float32 [F], or [outputs, F] of several outputs."""
    observation: str
    world: str
    notes: Mapping[str, str] = field(default_factory=dict)
    actions: Actions = FIRST_ACTIONS

    @property
    def num_features(self) -> int:
        """F."""
        return int(self.weight.shape[-1])

    def act(self, observation: torch.Tensor) -> torch.Tensor:
        if observation.ndim != 2 or observation.shape[1] != self.num_features:
            raise ValueError(
                f"observations of shape {tuple(observation.shape)} were given to a controller that "
                f"reads [N, {self.num_features}] ({self.observation})"
            )
        weight = torch.from_numpy(self.weight).to(observation.device)
        return steer(self.actions, weight, observation)

    def check_shape(self, shape: tuple[int, ...], world: str) -> None:
        if shape != (self.num_features,):
            raise ValueError(
                f"the agent has {self.num_features} weights, but {self.observation!r} has the shape "
                f"{list(shape)} in the world {world}: it was trained for a world of another size"
            )

    def tensors(self) -> dict[str, torch.Tensor]:
        return {"weight": torch.from_numpy(self.weight)}

    @classmethod
    def of_file(cls, read: AgentFile) -> LinearController:
        names, actions = list(read.tensors), read.actions or FIRST_ACTIONS
        if names != ["weight"]:
            raise ValueError(
                f'{read.file} holds the tensors {names}; the file of a controller holds one, "weight"'
            )
        weight = read.tensors["weight"].numpy()
        several = [outputs(actions)] if outputs(actions) > 1 else []
        if weight.ndim != 1 + len(several) or list(weight.shape[:-1]) != several:
            raise ValueError(
                f'{read.file}: "weight" is {list(weight.shape)}, expected {[*several, "F"]} for '
                f"{actions}"
            )
        return cls(weight, read.observation, read.world, read.notes, actions)

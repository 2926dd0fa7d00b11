"""The agent that learns inside a dream: one weight a feature, three actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from genie_env._core import safetensors_bytes
from genie_env.data.files import sha256_of, write_atomically
from genie_env.data.paths import in_utf8

KIND = "linear-controller"
THRESHOLD = 1 / 3
"""Outputs below minus this are action 0, above it action 2, between them action 1 (Ha, Schmidhuber
2018)."""
NUM_ACTIONS = 3
"""Actions that it chooses among, in order: the lower, the middle and the upper one."""


def check_actions(actions: Sequence[str], where: str) -> None:
    """Raises ValueError unless a linear controller can choose among these actions of `where`."""
    if len(actions) != NUM_ACTIONS:
        raise ValueError(
            f"a linear controller chooses among {NUM_ACTIONS} ordered actions, lower, middle and "
            f"upper, but {where} has {len(actions)} ({', '.join(actions)}): "
            "give a world with three, or train another kind of agent"
        )


def steer(weight: torch.Tensor, observation: torch.Tensor) -> torch.Tensor:
    """The actions of linear controllers: int64 [N], for float32 observation [N, F].

    `weight` is float32 [F], one controller for all rows, or [N, F], one a row.
    """
    output = torch.tanh(torch.linalg.vecdot(observation, weight))
    return 1 + (output > THRESHOLD).long() - (output < -THRESHOLD).long()


@dataclass(frozen=True)
class LinearController:
    """Acts on tanh(weight . observation): one of three ordered actions.

    >>> controller = LinearController(np.array([1.0, -1.0], np.float32), "zch", "0" * 64)
    >>> controller.act(np.array([[1, 0], [0, 0], [0, 1]], np.float32))
    array([2, 1, 0])
    """

    weight: NDArray[np.float32]
    """float32 [F]."""
    observation: str
    """The kind of observation it reads, for instance "zch"."""
    world: str
    """Fingerprint of the world that it was trained in."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """How it was trained: temperature, options of the world, dream score, ..."""

    def act(self, observation: NDArray[np.float32]) -> NDArray[np.int64]:
        """int64 [N] actions for float32 [N, F] observations."""
        if observation.ndim != 2 or observation.shape[1] != len(self.weight):
            raise ValueError(
                f"observations of shape {observation.shape} were given to a controller that reads "
                f"[N, {len(self.weight)}] ({self.observation})"
            )
        return steer(torch.from_numpy(self.weight), torch.from_numpy(observation)).numpy()

    def save(self, file: Path) -> None:
        """Writes an agent file, under a temporary name first."""
        metadata = {
            **self.notes,
            "kind": KIND,
            "observation": self.observation,
            "world": self.world,
        }
        content = safetensors_bytes({"weight": torch.from_numpy(self.weight)}, metadata)
        write_atomically(file, lambda temporary: temporary.write_bytes(content))

    @classmethod
    def load(cls, file: Path) -> LinearController:
        """Reads an agent file. Raises ValueError naming the file and what is wrong with it."""
        try:
            with in_utf8(file) as path, safe_open(path, "numpy") as opened:
                metadata = dict(opened.metadata() or {})
                names = list(opened.keys())
                weight = opened.get_tensor("weight") if "weight" in names else None
        except FileNotFoundError:
            raise ValueError(
                f"{file} does not exist: give the file that `genie-env train controller` wrote"
            ) from None
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{file} is not a readable safetensors file: {error}") from error
        kind = metadata.pop("kind", None)
        if kind != KIND:
            raise ValueError(f'{file} has "kind": {kind!r}, but an agent file says {KIND!r}')
        for name in ("observation", "world"):
            if name not in metadata:
                raise ValueError(f'{file} has no "{name}" in its metadata, which agent files have')
        if weight is None or names != ["weight"]:
            raise ValueError(f'{file} holds the tensors {names}; an agent file holds one, "weight"')
        if weight.dtype != np.float32 or weight.ndim != 1:
            raise ValueError(
                f'{file}: "weight" is {weight.dtype} {list(weight.shape)}, expected float32 [F]'
            )
        if not np.isfinite(weight).all():
            raise ValueError(f'{file}: "weight" holds NaN or infinity')
        return cls(weight, metadata.pop("observation"), metadata.pop("world"), metadata)

    def check_fits(self, features: Mapping[str, int]) -> None:
        """Raises ValueError unless a world gives what this controller reads.

        `features`: the number of features of every observation that the world offers.
        """
        expected = features.get(self.observation)
        if expected is None:
            raise ValueError(
                f"the agent reads {self.observation!r}, but the world offers only "
                f"{', '.join(sorted(features))}: it was trained for another kind of world"
            )
        if expected != len(self.weight):
            raise ValueError(
                f"the agent has {len(self.weight)} weights, but {self.observation!r} has "
                f"{expected} features in this world: it was trained for a world of another size"
            )

    def check_world(self, fingerprint: str, features: Mapping[str, int]) -> None:
        """Raises ValueError unless this is the world that the controller was trained in."""
        self.check_fits(features)
        if self.world != fingerprint:
            raise ValueError(
                f"the agent was trained in the world {self.world[:12]}, but the world given is "
                f"{fingerprint[:12]}: give the world it was trained in, or train again in this one"
            )


def file_hash(file: Path) -> str:
    """SHA-256 of an agent file, in hexadecimal digits; goes with every result."""
    return sha256_of(file)

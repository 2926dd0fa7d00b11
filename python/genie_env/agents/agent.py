"""The seam of agents: what plays dreams and real games, and how agent files are read.

A kind of agent is one class in a file of its own and one line in `load_agent`.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from safetensors import SafetensorError, safe_open

from genie_env._core import World, WorldSpec, safetensors_bytes
from genie_env.data.files import sha256_of, write_atomically
from genie_env.data.paths import in_utf8
from genie_env.envs.actions import Actions, actions_of_json, actions_of_world

AGENT = "agent.safetensors"
"""The file of an agent in the run that trains it."""


class Agent(ABC):
    """Acts on one kind of observation of one world. Immutable."""

    kind: ClassVar[str]

    observation: str
    """The kind of observation that it reads, for instance "zch"."""
    world: str
    """Fingerprint of the world that it was trained in."""
    actions: Actions
    """What it chooses among."""
    notes: Mapping[str, str]
    """How it was trained: temperature, options of the world, dream score, ..."""

    @abstractmethod
    def act(self, observation: torch.Tensor) -> torch.Tensor:
        """Actions for observations [N, ...]: int64 [N], or float32 [N, *shape]."""

    @abstractmethod
    def check_shape(self, shape: tuple[int, ...], world: str) -> None:
        """Raises ValueError unless it reads observations of this shape, those of `world`."""

    @abstractmethod
    def tensors(self) -> dict[str, torch.Tensor]:
        """Its weights, as `load_agent` gives them back."""

    @property
    def codes(self) -> dict[int, int] | None:
        """Of an agent that chooses among a game's own actions, though those of its world are latent:
        the latent action that the world follows each of them with. None of any other agent."""
        if (text := self.notes.get("codes")) is None:
            return None
        taken = self.actions.examples().tolist()
        numbers = re.fullmatch(r"\[(\d{1,9}(?:, \d{1,9})*)\]", text)
        found = [] if numbers is None else [int(each) for each in numbers[1].split(", ")]
        if len(found) != len(taken):
            raise ValueError(
                f'the agent has the "codes" {text[:200]!r}, expected a latent action for each of '
                f"{self.actions}: bring its file back from a copy, or train again"
            )
        return dict(zip(taken, found, strict=True))

    @property
    def action_repeat(self) -> int:
        """Steps of the world that it holds an action for: `Decisions` does."""
        text = self.notes.get("action_repeat", "1")
        if re.fullmatch(r"[1-9]\d{0,8}", text) is None:
            raise ValueError(
                f'the agent has the "action_repeat" {text[:200]!r}, expected a number of steps: bring '
                "its file back from a copy, or train again"
            )
        return int(text)

    def check_fits(self, spec: WorldSpec) -> None:
        """Raises ValueError unless a world gives what this agent reads, and takes what it does."""
        self.check_reads(spec)
        if self.codes is not None:
            raise ValueError(
                f"the agent was cloned from recorded actions, {self.actions}, but those of the world "
                f"{spec.name} are latent: it plays the real game alone (`genie-env evaluate`)"
            )
        actions = actions_of_world(spec.actions)
        if self.actions != actions:
            raise ValueError(
                f"the agent chooses among {self.actions}, but the world {spec.name} has {actions}: "
                "it was trained for another kind of world"
            )

    def check_reads(self, spec: WorldSpec) -> None:
        """Raises ValueError unless a world gives what this agent reads."""
        shapes = {o.name: tuple(o.shape) for o in spec.observations}
        if self.observation not in shapes:
            raise ValueError(
                f"the agent reads {self.observation!r}, but the world offers only "
                f"{', '.join(sorted(shapes))}: it was trained for another kind of world"
            )
        self.check_shape(shapes[self.observation], spec.name)

    def check_world(self, world: World) -> None:
        """Raises ValueError unless this is the world that the agent was trained in, and it can dream
        there."""
        self.check_fits(world.spec)
        self.check_sees(world)

    def check_sees(self, world: World) -> None:
        """Raises ValueError unless this is the world that the agent was trained to see by."""
        self.check_reads(world.spec)
        if self.world != world.spec.fingerprint:
            raise ValueError(
                f"the agent was trained in the world {self.world[:12]}, but the world given is "
                f"{world.spec.fingerprint[:12]}: give the world it was trained in, or train again "
                "in this one"
            )

    def save(self, file: Path) -> None:
        """Writes an agent file, under a temporary name first."""
        metadata = {
            **self.notes,
            "kind": self.kind,
            "observation": self.observation,
            "world": self.world,
            "actions": json.dumps(self.actions.as_json()),
        }
        content = safetensors_bytes(self.tensors(), metadata)
        write_atomically(file, lambda temporary: temporary.write_bytes(content))


@dataclass(frozen=True)
class AgentFile:
    """What an agent file holds."""

    file: Path
    kind: str
    observation: str
    world: str
    actions: Actions | None
    """None in files of earlier versions: a linear controller's three."""
    notes: dict[str, str]
    tensors: dict[str, torch.Tensor]


def read_agent_file(file: Path) -> AgentFile:
    """Raises ValueError, naming the file and what is wrong with it."""
    try:
        with in_utf8(file) as path, safe_open(path, "pt") as opened:
            metadata = dict(opened.metadata() or {})
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}
    except FileNotFoundError:
        raise ValueError(
            f"{file} does not exist: give the file that `genie-env train controller`, `train ppo` or "
            "`train clone` wrote"
        ) from None
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{file} is not a readable safetensors file: {error}") from error
    for name in ("kind", "observation", "world"):
        if name not in metadata:
            raise ValueError(f'{file} has no "{name}" in its metadata, which agent files have')
    for name, tensor in tensors.items():
        if tensor.dtype != torch.float32:
            raise ValueError(f'{file}: "{name}" is {tensor.dtype}, expected float32')
        if not tensor.isfinite().all():
            raise ValueError(f'{file}: "{name}" holds NaN or infinity')
    actions = None
    if "actions" in metadata:
        try:
            actions = actions_of_json(json.loads(metadata.pop("actions")))
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from None
    kind, observation, world = (metadata.pop(name) for name in ("kind", "observation", "world"))
    return AgentFile(file, kind, observation, world, actions, metadata, tensors)


def load_agent(file: Path) -> Agent:
    """Reads an agent of any kind. Raises ValueError, naming the file and what is wrong with it."""
    from genie_env.agents.controller import LinearController
    from genie_env.agents.policy_network import PolicyNetwork

    read = read_agent_file(file)
    for kind in (LinearController, PolicyNetwork):
        if read.kind == kind.kind:
            return kind.of_file(read)
    raise ValueError(
        f'{file} has "kind": {read.kind!r}; expected {LinearController.kind!r} or '
        f"{PolicyNetwork.kind!r}"
    )


def file_hash(file: Path) -> str:
    """SHA-256 of an agent file, in hexadecimal digits; goes with every result."""
    return sha256_of(file)

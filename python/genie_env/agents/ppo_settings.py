"""What a training by PPO is given, and what it gives."""

from __future__ import annotations

import math
from dataclasses import dataclass

from genie_env.agents.policy_network import PolicyNetwork

RECENT = 100
"""Episodes whose mean return is shown."""


@dataclass(frozen=True)
class PpoSettings:
    """All that decides a training run, besides its world."""

    steps: int = 1_000_000
    """Steps to spend; the update that passes it is the last."""
    seed: int = 0
    num_envs: int = 64
    """Dreams, or real games, stepped together."""
    horizon: int = 128
    """Steps of each of them between two updates."""
    batch: int = 2048
    """Steps a minibatch."""
    epochs: int = 4
    """Passes over the steps of an update."""
    learning_rate: float = 3e-4
    """At the beginning; it falls to 0."""
    discount: float = 0.99
    gae_lambda: float = 0.95
    """Of generalised advantage estimation (Schulman et al. 2016): with 1 advantages are sums of what
    was played, with 0 they trust the value of the next step."""
    entropy: float = 0.01
    """The weight of the policy's entropy."""
    units: int = 256
    """Of each of the two hidden layers."""
    action_repeat: int = 1
    """Steps of the world that every action is held for; all steps above count actions."""
    max_episode_steps: int | None = None
    """Steps of the world after which a dream is cut off, and counts as worth what the value network
    says of its last observation; None: as many as the world says. For dreams that drift."""
    deviation: float = 1.0
    """Of the actions of a box around their means, in the actions' units, at the beginning; numbered
    actions have none."""

    def check(self) -> None:
        # Advantages are divided by their standard deviation: one alone has none.
        least = dict.fromkeys(("steps", "num_envs", "epochs", "units", "action_repeat"), 1)
        least |= dict.fromkeys(("horizon", "batch"), 2)
        for name, smallest in least.items():
            if getattr(self, name) < smallest:
                raise ValueError(f"{name} is {getattr(self, name)}; expected {smallest} or more")
        if self.max_episode_steps is not None and self.max_episode_steps < self.action_repeat:
            raise ValueError(
                f"max_episode_steps is {self.max_episode_steps}; expected action_repeat, "
                f"{self.action_repeat}, or more"
            )
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed is {self.seed}; expected 0 to 2**32 - 1")
        positive = {"learning_rate": math.inf, "discount": 1.0, "deviation": math.inf}
        for name, most in positive.items():
            value = getattr(self, name)
            if not 0 < value <= most:
                raise ValueError(f"{name} is {value}; expected a number above 0, at most {most:g}")
        if not 0 <= self.gae_lambda <= 1:
            raise ValueError(f"gae_lambda is {self.gae_lambda}; expected a number from 0 to 1")
        if not 0 <= self.entropy < math.inf:
            raise ValueError(f"entropy is {self.entropy}; expected a number of at least 0")


@dataclass(frozen=True)
class PpoUpdate:
    """After one update of the policy."""

    steps: int
    """Steps since the beginning of the run."""
    steps_per_s: float
    """Of the last horizon and its update; nan where the run was finished before."""
    mean_return: float | None
    """Of the last RECENT episodes; None before one has ended."""
    agent: PolicyNetwork

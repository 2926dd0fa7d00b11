"""Supervised learning of what a recorded player did."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from genie_env.agents.demonstrations import Demonstrations
from genie_env.agents.policy_network import PolicyNetwork
from genie_env.data.datasets import shuffled
from genie_env.envs.actions import Actions, BoxActions, DiscreteActions, Taken

EVALUATIONS = 10
"""Moments of a training at which the held-out steps are looked at."""
WEIGHT_DECAY = 0.5
"""Latents hold numbers that are noise alone, and few episodes are easily learned by heart: of a
scripted driver's 80 episodes the held-out errors are 0.74 to 0.93 of those with AdamW's usual 0.01."""
LEAST_DEVIATION = 0.01
"""Of a number of an observation, as a share of all numbers' root mean square: one that hardly varies in
the recordings must not say much elsewhere."""
AT_ONCE = 8192
"""Held-out steps that the network reads together."""

Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class CloneSettings:
    """All that decides a training, besides its world and its recordings."""

    steps: int = 5000
    """Updates."""
    seed: int = 0
    batch: int = 256
    """Recorded steps an update."""
    learning_rate: float = 1e-3
    """At the beginning; it falls to 0."""
    units: int = 256
    """Of each of the two hidden layers."""

    def check(self) -> None:
        for name in ("steps", "batch", "units"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 1 or more")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed is {self.seed}; expected 0 to 2**63 - 1")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate is {self.learning_rate}; expected a number above 0")


@dataclass(frozen=True)
class Learned:
    """What a training has found."""

    weights: Weights
    """Of a PolicyNetwork."""
    errors: NDArray[np.float64]
    """On the held-out steps, see `errors_of`."""
    constant_errors: NDArray[np.float64]
    """The same of the best constant action: the commonest of the steps trained on, or their median."""


def clone(
    blank: PolicyNetwork,
    trained: Demonstrations,
    unseen: Demonstrations,
    settings: CloneSettings,
    advance: Callable[[int], None],
) -> Learned:
    """Weights for `blank`, which has none. The best of EVALUATIONS moments on `unseen` are kept.

    Numbered actions are learned by cross-entropy. Those of a box are scaled to -1 .. 1, and what is
    minimised is the mean absolute error of the means, which are not cut. That gives the median of what
    the player did where it saw the same: what it now and then did at random is not learned, unless the
    observation tells of it. A state that holds the last action tells of random actions that last.
    `advance` is called with the number of updates made. Nothing is drawn from global generators. Raises
    ValueError where the weights become infinite or NaN.
    """
    actions = blank.actions
    weights = _first_weights(trained.observations, actions.width, settings)
    learned = [weight for name, weight in weights.items() if name not in ("mean", "deviation")]
    for weight in learned:
        weight.requires_grad_(True)
    network = replace(blank, weights=weights)
    loss = functional.cross_entropy if _numbered(actions) else functional.l1_loss
    optimizer = torch.optim.AdamW(
        learned, lr=settings.learning_rate, weight_decay=WEIGHT_DECAY, foreach=True
    )
    best, least = weights, math.inf
    a_round = len(trained) // settings.batch
    for step in range(settings.steps):
        epoch, place = divmod(step, a_round)
        if place == 0:
            order = shuffled(len(trained), settings.seed, epoch)
        rows = order[place * settings.batch : (place + 1) * settings.batch]
        for group in optimizer.param_groups:
            group["lr"] = (
                settings.learning_rate * (1 + math.cos(math.pi * step / settings.steps)) / 2
            )
        seen = trained.observations[torch.from_numpy(rows).to(trained.observations.device)]
        wanted = torch.from_numpy(actions.inputs(trained.actions[rows])).to(seen.device)
        optimizer.zero_grad()
        loss(network.output(seen), wanted).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        advance(1)
        if (step + 1) * EVALUATIONS // settings.steps > step * EVALUATIONS // settings.steps:
            now = _finished(weights, actions)
            if not all(weight.isfinite().all() for weight in now.values()):
                raise ValueError(
                    f"learning_rate is {settings.learning_rate:g}, with which the weights are no longer "
                    f"finite after {step + 1:,} updates: give a smaller one"
                )
            acted = _acts(replace(blank, weights=now), unseen.observations)
            errors = errors_of(actions, acted, unseen.actions)
            if (total := float((errors / _ranges(actions)).sum())) <= least:
                best, least, found = now, total, errors
    constant = np.broadcast_to(_constant(actions, trained.actions), unseen.actions.shape)
    return Learned(best, found, errors_of(actions, constant, unseen.actions))


def errors_of(actions: Actions, acted: Taken, recorded: Taken) -> NDArray[np.float64]:
    """Of numbered actions the share that differ, [1]; of a box each number's mean absolute error,
    [width]."""
    if _numbered(actions):
        return np.array([(acted != recorded).mean()])
    apart: NDArray[Any] = np.abs(acted.astype(np.float64) - recorded).reshape(len(acted), -1)
    return np.asarray(apart.mean(0))


def _numbered(actions: Actions) -> bool:
    return isinstance(actions, DiscreteActions)


def _ranges(actions: Actions) -> NDArray[np.float64]:
    """Of every number of a box, [width]; 1 of numbered actions."""
    if not isinstance(actions, BoxActions):
        return np.ones(1)
    return np.subtract(actions.high, actions.low)


def _constant(actions: Actions, taken: Taken) -> NDArray[Any]:
    """The commonest numbered action, or the median of a box's."""
    if not _numbered(actions):
        return np.asarray(np.median(taken, axis=0))
    values, counts = np.unique(taken, return_counts=True)
    return np.asarray(values[counts.argmax()])


def _first_weights(seen: torch.Tensor, outputs: int, settings: CloneSettings) -> Weights:
    """Random layers, and the mean and deviation of the observations [M, ...]."""
    deviation, mean = torch.std_mean(seen, dim=0, correction=0)
    least = LEAST_DEVIATION * float(deviation.square().mean().sqrt())
    weights = {"mean": mean, "deviation": deviation.clamp(min=max(least, 1e-6))}
    random = torch.Generator().manual_seed(settings.seed)
    sizes = (mean.numel(), settings.units, settings.units, outputs)
    for name, (inputs, units) in zip(
        ("layers.0", "layers.1", "output"), pairwise(sizes), strict=True
    ):
        weight = torch.randn(units, inputs, generator=random) / math.sqrt(inputs)
        weights[f"{name}.weight"] = weight.to(seen.device)
        weights[f"{name}.bias"] = torch.zeros(units, device=seen.device)
    return weights


def _finished(weights: Weights, actions: Actions) -> Weights:
    """A copy on the CPU, of which a box's outputs are no longer scaled to -1 .. 1."""
    copies = {name: weight.detach().cpu().clone() for name, weight in weights.items()}
    if isinstance(actions, BoxActions):
        low, high = (torch.tensor(bound) for bound in (actions.low, actions.high))
        copies["output.weight"] *= ((high - low) / 2)[:, None]
        copies["output.bias"] = (low + high) / 2 + copies["output.bias"] * (high - low) / 2
    return copies


def _acts(agent: PolicyNetwork, seen: torch.Tensor) -> Taken:
    with torch.no_grad():
        return torch.cat([agent.act(part) for part in torch.split(seen, AT_ONCE)]).cpu().numpy()

"""What holds of a loaded world, and what does not: `genie-env check`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from genie_env._core import RowCounters, World, WorldState, WorldStep
from genie_env.envs.actions import DiscreteActions, actions_of_world

ROWS = (1, 2, 7, 64)
"""Numbers of rows that are compared."""
STEPS = 4
RTOL = 1e-5
"""Of one step, where rows may differ by rounding."""
SEED = 7


@dataclass(frozen=True)
class Finding:
    """One promise of a world."""

    promise: str
    holds: bool
    detail: str = ""

    def __str__(self) -> str:
        return f"{'ok ' if self.holds else 'NO '} {self.promise}{self.detail and ': '}{self.detail}"


@dataclass(frozen=True)
class Rows:
    """How a row depends on the rows beside it."""

    exact: bool
    """Whether its bits depend on it alone."""
    error: str
    """Why not even its numbers do; empty where they do."""


def check_world(world: World) -> Iterator[Finding]:
    """Every promise in turn."""
    yield from check_dreams(world)
    yield _repeats(world)
    rows = check_rows(world)
    yield Finding("a row depends on itself alone", not rows.error, rows.error)
    if not rows.error:
        said = "exact" if world.spec.exact_rows else "tolerance"
        found = "exact" if rows.exact else "tolerance"
        detail = f"they are {found}" + (
            "" if said == found else f", but config.json says {said}: export the world again"
        )
        yield Finding("its bits are as config.json says", rows.exact or said == found, detail)


def check_rows(world: World) -> Rows:
    """Rows alone beside the same rows together, one step from an equal state, at every number of
    ROWS and with one thread and two."""
    most = max(ROWS)
    together = _played(world, most)
    expected = _stepped(world, together.clone(), range(most))
    exact, threads = True, torch.get_num_threads()
    try:
        for count, used in [(count, threads) for count in ROWS] + [
            (most, 1),
            (most, 2),
        ]:
            torch.set_num_threads(used)
            for first in range(0, most - count + 1, max(count, most // 8)):
                chosen = range(first, first + count)
                state = together.select(torch.tensor(chosen))
                got = _stepped(world, state, chosen)
                for name, tensor in got.items():
                    beside = expected[name][first : first + count]
                    if torch.equal(tensor, beside):
                        continue
                    exact = False
                    if not _close(tensor, beside):
                        return Rows(False, _difference(name, tensor, beside, count, most))
    finally:
        torch.set_num_threads(threads)
    return Rows(exact, "")


def _difference(name: str, alone: torch.Tensor, beside: torch.Tensor, count: int, most: int) -> str:
    gap = (alone.double() - beside.double()).abs().max().item()
    return (
        f"{name} of {count} rows differs by {gap:.3g} from that of the same rows among {most}: "
        "something is computed over the batch (a mean, a norm, a sort or softmax of dimension 0)"
    )


def check_dreams(world: World) -> Iterator[Finding]:
    """Some steps, whose numbers must be finite and whose observations within their bounds."""
    state = _played(world, max(ROWS))
    step = _step(world, state, range(max(ROWS)), STEPS + 1)
    finite = bool(step.surprise.isfinite().all() and step.reward.isfinite().all())
    yield Finding(
        f"{STEPS + 1} steps stay finite",
        finite,
        "" if finite else "a row's state overflows",
    )
    probability = step.termination_probability
    if probability is not None:
        low, high = probability.min().item(), probability.max().item()
        yield Finding(
            "termination probabilities are within 0 and 1",
            0 <= low and high <= 1,
            f"{low:.3g} to {high:.3g}",
        )
    for spec in world.spec.observations:
        shown = world.observe(state, spec.name).double()
        low, high = shown.min().item(), shown.max().item()
        yield Finding(
            f"observation {spec.name} is within its bounds",
            spec.low <= low and high <= spec.high,
            f"{low:.3g} to {high:.3g}",
        )


def _repeats(world: World) -> Finding:
    first, second = (_played(world, 7).fields for _ in range(2))
    same = all(torch.equal(first[name], second[name]) for name in first)
    return Finding("the same seeds give the same bits", same)


def _played(world: World, rows: int) -> WorldState:
    """A state of rows that have dreamed some steps."""
    state = world.make_state(rows)
    world.begin(state, torch.ones(rows, dtype=torch.bool), _counters(range(rows), 0))
    for step in range(1, STEPS + 1):
        _step(world, state, range(rows), step)
    return state


def _stepped(world: World, state: WorldState, rows: range) -> dict[str, torch.Tensor]:
    """What one more step makes of a state, and brings; rows: their numbers."""
    step = _step(world, state, rows, STEPS + 1)
    made = {f"state {name}": tensor for name, tensor in state.fields.items()}
    made["reward"] = step.reward
    if step.termination_probability is not None:
        made["termination probability"] = step.termination_probability
    if world.spec.frame is not None:
        made["pixels"] = world.observe(state, world.spec.frame.name)
    return {name: tensor.clone().cpu() for name, tensor in made.items()}


def _step(world: World, state: WorldState, rows: range, step: int) -> WorldStep:
    actions = actions_of_world(world.spec.actions)
    if isinstance(actions, DiscreteActions):
        taken = actions.start + torch.tensor([row + step for row in rows]) % actions.count
    else:
        low, high = map(torch.from_numpy, actions.bounds)
        places = torch.tensor([(row * 7 + step * 3) % 11 / 10 for row in rows])
        taken = low + (high - low) * places.view(len(rows), *(1,) * low.dim())
    tau = torch.full((len(rows),), world.spec.temperature)
    return world.step(state, taken, tau, _counters(rows, step))


def _counters(rows: range, step: int) -> RowCounters:
    seeds = [SEED + row for row in rows]
    return RowCounters(seeds, [0] * len(rows), [step] * len(rows))


def _close(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.is_floating_point():
        scale = other.abs().max().item()
        return torch.allclose(one, other, rtol=RTOL, atol=RTOL * max(scale, 1e-30))
    if one.dtype == torch.uint8:
        return (one.int() - other.int()).abs().max().item() <= 1
    return torch.equal(one, other)

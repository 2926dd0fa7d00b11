"""An exported world beside the module that it was made of, in plain PyTorch: `bench --module`."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file

from genie_env._core import ExportedGraph, RowCounters, World
from genie_env.bench.timing import REPEATS, interleaved
from genie_env.data.progress import Progress
from genie_env.envs.actions import BoxActions, DiscreteActions, actions_of_world
from genie_env.envs.vector_env import make_vec
from genie_env.envs.world_card import read_config
from genie_env.families.exported.archive import ARCHIVE

Tensors = dict[str, torch.Tensor]
RIVALS = {
    "environment": "genie_env.make_vec, torch tensors",
    "graph": "the exported graph alone, always from one state: no draws, no copy, no episodes",
    "eager": "the module in PyTorch, in a loop with the same states, draws and episodes",
    "compiled": "the same loop with torch.compile",
    "copy": "the copy of a state into another alone: what a step copies at most",
}


@dataclass(frozen=True)
class Rate:
    """Steps per second (rows x calls) of one rival, the median of the repeats."""

    batch: int
    rival: str
    steps_per_s: float
    of_eager: float


def draws(noise: Sequence[Mapping[str, Any]], rows: int) -> Tensors:
    """What a config's "noise" declares, drawn by torch."""
    draw = {"normal": torch.randn, "uniform": torch.rand}
    return {n["name"]: draw[n["distribution"]](rows, *n["shape"]) for n in noise}


class EagerLoop:
    """What a world does, as one would write it for a module in PyTorch: rows that end begin again."""

    def __init__(
        self,
        module: torch.nn.Module,
        step: Callable[..., Any],
        world: World,
        config: Mapping[str, Any],
        batch: int,
    ) -> None:
        self._module = module
        self._step = step
        self._noise = config["noise"]
        self._limit = int(config["max_episode_steps"])
        self._temperature = torch.full((batch,), world.spec.temperature)
        self._ends = config["termination"] != "never"
        self._starts = load_file(world.directory / "starts.safetensors")
        self._actions = random_actions(world, batch)
        self._turn = 0
        with torch.inference_mode():
            self._state = self._begin(batch)
            self._age = torch.zeros(batch, dtype=torch.int64)

    def _begin(self, rows: int) -> Tensors:
        context = {}
        if self._starts:
            chosen = torch.randint(len(next(iter(self._starts.values()))), (rows,))
            context = {name: start[chosen] for name, start in self._starts.items()}
        return dict(self._module.initial(context, draws(self._noise, rows))[0])  # type: ignore[operator]

    @torch.inference_mode()
    def __call__(self) -> object:
        self._turn = (self._turn + 1) % len(self._actions)
        action, rows = self._actions[self._turn], len(self._age)
        state, reward, probability, observations = self._step(
            self._state, action, self._temperature, draws(self._noise, rows)
        )
        self._age += 1
        ended = self._age >= self._limit
        if self._ends:
            ended |= torch.rand(rows) < probability
        if ended.any():
            places = ended.nonzero()[:, 0]
            begun = self._begin(len(places))
            state = {name: t.index_copy(0, places, begun[name]) for name, t in state.items()}
            self._age[places] = 0
        self._state = state
        return observations, reward, ended


def random_actions(world: World, batch: int, turns: int = 16) -> list[torch.Tensor]:
    """Actions as a module takes them: counted from 0."""
    actions: DiscreteActions | BoxActions = actions_of_world(world.spec.actions)
    first = actions.start if isinstance(actions, DiscreteActions) else 0
    drawn = actions.draw(np.random.default_rng(0), (turns, batch)) - first
    return list(torch.from_numpy(drawn))


def _environment(world: World, batch: int) -> Callable[[], object]:
    env = make_vec(world, num_envs=batch, output="torch", seed=0)
    env.reset()
    first = int(getattr(actions_of_world(world.spec.actions), "start", 0))
    turns = [action + first for action in random_actions(world, batch)]
    count = iter(range(2**62))
    return lambda: env.step(turns[next(count) % len(turns)])


def _graph(world: World, config: Mapping[str, Any], batch: int) -> Callable[[], object]:
    """The step's graph on the state of some dreams; nothing is kept."""
    state = world.make_state(batch)
    zeros = [0] * batch
    everywhere = torch.ones(batch, dtype=torch.bool)
    world.begin(state, everywhere, RowCounters(range(batch), zeros, zeros))
    own = [state.fields[tensor["name"]].clone() for tensor in config["state"]]
    noise = draws(config["noise"], batch).values()
    tau = torch.full((batch,), world.spec.temperature)
    inputs = [*own, random_actions(world, batch, 1)[0], tau, *noise]
    graph = ExportedGraph(world.directory / ARCHIVE, "step")
    return lambda: graph.run(inputs)


def _copy(world: World, batch: int) -> Callable[[], object]:
    one, other = world.make_state(batch).fields, world.make_state(batch).fields
    pairs = [(one[name], other[name]) for name in one]

    def copy() -> None:
        for to, of in pairs:
            to.copy_(of)

    return copy


def check(world: World, module: torch.nn.Module) -> None:
    """Raises ValueError unless the world is an exported one, and `module` can be what it was made of."""
    if world.spec.family != "exported":
        raise ValueError(
            f"--module is for exported worlds, but {world.spec.name} is of the family "
            f"{world.spec.family}: leave it out"
        )
    if not isinstance(module, torch.nn.Module) or not hasattr(module, "step"):
        raise ValueError(
            f"--module gives a {type(module).__name__}, expected the torch.nn.Module that "
            f"{world.spec.name} was exported from"
        )


def compare(
    world: World,
    module: torch.nn.Module,
    batches: Sequence[int],
    seconds: float,
    progress: Progress,
) -> list[Rate]:
    """All rivals at all batches, interleaved."""
    config = read_config(Path(world.directory))
    task = progress.add_task("compiling", total=None)
    step: Callable[..., Any] = getattr(module, "step")  # noqa: B009
    torch._dynamo.config.recompile_limit = 64  # one of its compilations for every batch
    compiled = torch.compile(step, dynamic=False)
    steps: dict[tuple[int, str], Callable[[], object]] = {}
    for batch in batches:
        steps[batch, "environment"] = _environment(world, batch)
        steps[batch, "graph"] = _graph(world, config, batch)
        steps[batch, "eager"] = EagerLoop(module, step, world, config, batch)
        steps[batch, "compiled"] = EagerLoop(module, compiled, world, config, batch)
        steps[batch, "compiled"]()
        steps[batch, "copy"] = _copy(world, batch)
    progress.update(task, description="measuring", total=(REPEATS + 1) * len(steps))
    rates = interleaved(steps, seconds, world.device, tick=lambda: progress.advance(task))
    medians = {cell: statistics.median(rate) * cell[0] for cell, rate in rates.items()}
    return [
        Rate(batch, rival, round(rate, 1), round(rate / medians[batch, "eager"], 3))
        for (batch, rival), rate in medians.items()
    ]


def show(console: Console, rates: Sequence[Rate]) -> None:
    """A line per batch; in brackets, the share of the eager loop."""
    caption = "; ".join(f"{name}: {meaning}" for name, meaning in RIVALS.items())
    table = Table(title="steps/s beside the module in PyTorch", caption=caption)
    table.add_column("batch", justify="right")
    for rival in RIVALS:
        table.add_column(rival, justify="right")
    for batch in dict.fromkeys(rate.batch for rate in rates):
        cells = {rate.rival: rate for rate in rates if rate.batch == batch}
        step = 1 / cells["environment"].steps_per_s
        shown = [
            f"{1 / cells[name].steps_per_s / step:.1%} of a step"
            if name == "copy"
            else f"{cells[name].steps_per_s:,.0f} ({cells[name].of_eager:.2f})"
            for name in RIVALS
        ]
        table.add_row(f"{batch:,}", *shown)
    console.print(table)

"""Measures steps per second of a world, beside what the machine's matrix products allow: the limit.

That is the larger of torch's matrix product and of ours (packed weights), each at the shapes of the
step's own products and at 1024 x 1024.
"""

from __future__ import annotations

import functools
import itertools
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from genie_env._core import PackedProduct, RowCounters, World, build_info
from genie_env.bench import rivals
from genie_env.bench.timing import REPEATS, interleaved, wait
from genie_env.data.files import write_atomically, write_json
from genie_env.data.progress import Progress, busy
from genie_env.data.threads import cores_of_this_process, warn_of_threads
from genie_env.envs.actions import actions_of_world
from genie_env.envs.preparations import prepare_world
from genie_env.envs.vector_env import DreamVectorEnv, make_vec
from genie_env.envs.world_card import read_config
from genie_env.families import Costs, Product, family_of_world

TIERS = {
    "features": "features alone, torch tensors",
    "pixels": "every frame decoded, torch tensors",
    "numpy": "features alone, NumPy arrays",
}
SQUARE = 1024
"""Side of the square matrices whose product may be the limit."""
_PRODUCTS = {"features": "features", "numpy": "features", "pixels": "pixels"}
"""The products that a tier is compared with."""
MULTIPLIERS: tuple[str, ...] = ("torch", "packed")
"""Whose product: torch's, or that of packed weights, which there is on the CPU alone."""


@dataclass(frozen=True)
class Result:
    """One cell of the table."""

    batch: int
    tier: str
    dtype: str
    steps_per_s: float
    """Environment steps (rows x calls) per second, the median over repeats."""
    best: float
    limit_steps_per_s: float | None
    """Steps per second of which the matrix products run at the limit; the median. None where the
    world's family does not say what they are, as is the share."""
    limit_share: float | None
    """steps_per_s / limit_steps_per_s."""


def _stepper(env: DreamVectorEnv, tier: str, warm: int) -> Callable[[], object]:
    """A call that steps the environment with random actions; rows that have ended begin again. Has
    stepped `warm` times."""
    env.reset(seed=0)
    drawn = actions_of_world(env.world.spec.actions).draw(np.random.default_rng(0), (64, env.num_envs))
    turns = itertools.cycle(drawn if tier == "numpy" else torch.from_numpy(drawn).to(env.device))
    for _ in range(warm):
        env.step(next(turns))
    return lambda: env.step(next(turns))


def multiplier(
    who: str, products: Sequence[Product], batch: int, dtype: str, device: torch.device
) -> Callable[[], object]:
    """A call that computes the matrix products of a step of `batch` rows, and nothing else. `who`:
    one of MULTIPLIERS. Raises ValueError where that cannot multiply `dtype`."""
    number = getattr(torch, dtype)
    rand = functools.partial(torch.rand, device=device)
    inputs = {(p.rows, p.inner): rand(batch * p.rows, p.inner).to(number) for p in products}
    layers: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {}
    for p in products:
        weight = rand(p.outer, p.inner)
        layers[p.layer] = (
            PackedProduct(weight, dtype)
            if who == "packed"
            else functools.partial(torch.nn.functional.linear, weight=weight.to(number))
        )

    @torch.inference_mode()
    def multiply() -> object:
        for p in products:
            result = layers[p.layer](inputs[p.rows, p.inner])
        return result

    return multiply


def machine(device: torch.device) -> dict[str, Any]:
    """What the figures were measured on."""
    facts: dict[str, Any] = {
        "cpu": _cpu_name(),
        "cores": cores_of_this_process(),
        "threads": torch.get_num_threads(),
        "instruction_sets": build_info()["instruction_sets"],
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "load": round(os.getloadavg()[0], 2),
    }
    if device.type == "cuda":
        facts["gpu"] = torch.cuda.get_device_name(device)
    return facts


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@dataclass(frozen=True)
class Cost:
    """How much longer a step of an environment takes than its world's own."""

    batch: int
    dtype: str
    step_ms: float
    """The world's own step; the median over calls."""
    overhead_share: float
    """What the environment's step takes in addition, as a share of that time: bookkeeping, episodes
    that begin again, Python."""


def environment_cost(world: World, batch: int, seconds: float) -> Cost:
    """Times the environment's step and the world's call by call in turns."""
    env = make_vec(world, num_envs=batch, output="torch")
    step = _stepper(env, "features", warm=1)
    state = world.make_state(batch)
    zeros = [0] * batch
    begin, rng = (RowCounters(range(batch), zeros, [t] * batch) for t in (0, 1))
    world.begin(state, torch.ones(batch, dtype=torch.bool), begin)
    tau = torch.full((batch,), world.spec.temperature)
    drawn = actions_of_world(world.spec.actions).draw(np.random.default_rng(0), (batch,))
    actions = torch.from_numpy(drawn)
    calls: tuple[Callable[[], object], ...] = (
        lambda: world.step(state, actions.to(world.device), tau, rng),
        step,
    )
    times: list[list[float]] = [[] for _ in calls]
    began = time.perf_counter()
    while time.perf_counter() - began < seconds or not times[0]:
        for call, taken in zip(calls, times, strict=True):
            start = time.perf_counter()
            call()
            wait(world.device)
            taken.append(time.perf_counter() - start)
    stepped, whole = map(statistics.median, times)
    return Cost(
        batch=batch,
        dtype=world.spec.dtype,
        step_ms=round(1e3 * stepped, 3),
        overhead_share=round(whole / stepped - 1, 4),
    )


@dataclass(frozen=True)
class Cell:
    """What is measured: environment steps of a tier, or matrix products."""

    dtype: str
    batch: int
    tier: str
    who: str = ""
    """Of products, one of MULTIPLIERS: those of the tier's step, or of the tier "square"."""


@dataclass(frozen=True)
class Loader:
    """Loads a world as it is measured."""

    directory: Path
    device: torch.device
    options: dict[str, bool | int | float | str] = field(default_factory=dict)

    def load(self, dtype: str) -> World:
        prepare_world(self.directory, self.options)
        return World.load(
            self.directory, device=str(self.device), dtype=dtype, options=self.options
        )


def options_in_force(world: World) -> dict[str, bool | int | float | str]:
    """The values of a world's options, by name."""
    return {name: option.value for name, option in world.spec.options.items()}


def costs_of(world: World, directory: Path) -> Costs | None:
    """What a step multiplies, where the world's family says it."""
    family = family_of_world(world.spec.family)
    if family.costs is None:
        return None
    return family.costs(read_config(directory), options_in_force(world))


def measure(
    loader: Loader,
    batches: Sequence[int],
    dtypes: Sequence[str],
    seconds: float,
    progress: Progress,
) -> tuple[list[Result], dict[str, dict[str, float]]]:
    """All cells, interleaved. Returns the results, and what products of SQUARE x SQUARE matrices
    reach, in FLOP/s, by dtype and multiplier: also in dtypes that are not measured."""
    task = progress.add_task("making environments", total=None)
    steps: dict[Cell, Callable[[], object]] = {}
    products: dict[str, list[Product]] = {}
    for name in dtypes:
        world = loader.load(name)
        costs = costs_of(world, loader.directory)
        if costs is not None:
            products["features"] = list(costs.step)
            if world.spec.frame is not None:
                products["pixels"] = [*costs.step, *costs.decoding]
        warm = 0 if costs is None else costs.warm_up_steps
        steps |= _cells(world, products, batches, warm)

    square = [Product("square", 1, SQUARE, SQUARE)]
    for name in ("float32", "bfloat16"):
        for who, multiply in multipliers(square, SQUARE, name, loader.device).items():
            steps[Cell(name, SQUARE, "square", who)] = multiply

    progress.update(task, description="measuring", total=len(steps) * (REPEATS + 1))
    rates = interleaved(steps, seconds, loader.device, tick=lambda: progress.advance(task))
    flops = {"square": SQUARE * square[0].flops}
    squares: dict[str, dict[str, float]] = {}
    for cell, rate in rates.items():
        if cell.tier == "square":
            reached = flops["square"] * statistics.median(rate)
            squares.setdefault(cell.dtype, {})[cell.who] = reached
    return list(_results(rates, products, squares)), squares


def _cells(
    world: World, products: dict[str, list[Product]], batches: Sequence[int], warm: int
) -> Iterator[tuple[Cell, Callable[[], object]]]:
    """The steps and products of one world, by batch."""
    name = world.spec.dtype
    for batch in batches:
        for tier in TIERS:
            if tier == "pixels" and world.spec.frame is None:
                continue
            env = make_vec(
                world,
                num_envs=batch,
                observation="pixels" if tier == "pixels" else None,
                output="numpy" if tier == "numpy" else "torch",
            )
            yield Cell(name, batch, tier), _stepper(env, tier, warm)
        for tier, multiplied in products.items():
            for who, multiply in multipliers(multiplied, batch, name, world.device).items():
                yield Cell(name, batch, tier, who), multiply


def usable_dtypes() -> list[str]:
    """float32, and bfloat16 where worlds on this CPU can have it."""
    try:
        PackedProduct(torch.zeros(2, 2), "bfloat16")
    except ValueError:
        return ["float32"]
    return ["float32", "bfloat16"]


def multipliers(
    products: Sequence[Product], batch: int, dtype: str, device: torch.device
) -> dict[str, Callable[[], object]]:
    """`multiplier` of all that can multiply `dtype` on `device`; on the CPU none where ours cannot,
    as torch's is then many times slower than in float32."""
    who = MULTIPLIERS[:1]
    if device.type == "cpu":
        who = MULTIPLIERS if dtype in usable_dtypes() else ()
    return {each: multiplier(each, products, batch, dtype, device) for each in who}


def _results(
    rates: dict[Cell, list[float]],
    products: dict[str, list[Product]],
    squares: dict[str, dict[str, float]],
) -> Iterator[Result]:
    for cell, rate in rates.items():
        if cell.who or cell.tier not in TIERS:
            continue
        median = statistics.median(rate) * cell.batch
        limit: float | None = None
        tier = _PRODUCTS[cell.tier]
        if tier in products:
            flops = sum(product.flops for product in products[tier])
            own = (replace(cell, tier=tier, who=who) for who in squares[cell.dtype])
            limit = max(
                *(cell.batch * statistics.median(rates[each]) for each in own),
                *(reached / flops for reached in squares[cell.dtype].values()),
            )
        yield Result(
            batch=cell.batch,
            tier=cell.tier,
            dtype=cell.dtype,
            steps_per_s=round(median, 1),
            best=round(max(rate) * cell.batch, 1),
            limit_steps_per_s=limit and round(limit, 1),
            limit_share=limit and round(median / limit, 4),
        )


def show(console: Console, results: Sequence[Result], title: str) -> None:
    """Prints the table, a line per batch and tier."""
    table = Table(
        title=title,
        caption="limit: the arithmetic of the step's matrix products, as a share of the larger of "
        f"torch's and our product, at their shapes and at {SQUARE} x {SQUARE}",
    )
    for column in ("batch", "tier", "dtype", "steps/s", "best", "limit"):
        table.add_column(column, justify="left" if column in ("tier", "dtype") else "right")
    for batch, lines in itertools.groupby(results, key=lambda result: result.batch):
        for line in lines:
            table.add_row(
                f"{batch:,}",
                line.tier,
                line.dtype,
                f"{line.steps_per_s:,.0f}",
                f"{line.best:,.0f}",
                _percent(line.limit_share),
            )
        table.add_section()
    console.print(table)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def plot(file: Path, results: Sequence[Result], title: str) -> None:
    """Steps per second against the batch, beside the limit."""
    figure = Figure(figsize=(7.5, 5), layout="constrained")
    axes = figure.subplots()
    colours = dict(zip(TIERS, ("tab:blue", "tab:red", "tab:green"), strict=True))
    dtypes = list(dict.fromkeys(result.dtype for result in results))
    for dtype, marker in zip(dtypes, "osv", strict=False):
        for tier, colour in colours.items():
            line = [r for r in results if (r.tier, r.dtype) == (tier, dtype)]
            if not line:
                continue
            batches = [r.batch for r in line]
            axes.plot(
                batches,
                [r.steps_per_s for r in line],
                color=colour,
                marker=marker,
                label=f"{tier}, {dtype}",
            )
            limits = [r.limit_steps_per_s for r in line if r.limit_steps_per_s is not None]
            if limits and tier != "numpy":
                axes.plot(
                    batches,
                    limits,
                    color=colour,
                    marker=marker,
                    markersize=3,
                    linestyle=":",
                    label=f"limit of {tier}, {dtype}",
                )
    axes.set(xscale="log", yscale="log", xlabel="dreams per batch", ylabel="steps/s", title=title)
    ticks = sorted({result.batch for result in results})
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    kind = file.suffix.removeprefix(".") or "png"
    write_atomically(file, lambda temporary: figure.savefig(temporary, format=kind, dpi=150))


def bench(
    loader: Loader,
    batches: Sequence[int] | None = None,
    dtypes: Sequence[str] = ("auto",),
    seconds: float = 2.0,
    json_file: Path | None = None,
    plot_file: Path | None = None,
    module: torch.nn.Module | None = None,
) -> None:
    """Measures a world, prints a table, and writes `json_file` and `plot_file` where given.

    batches: those of the world's family where None. dtypes: "auto", "float32" or "bfloat16".
    seconds: time of every cell, its repeats together. module: that an exported world was made of, to
    be measured beside it. Raises ValueError for wrong numbers, and a module of another world.
    """
    for value in batches or []:
        if value < 1:
            raise ValueError(f"batch is {value}; expected 1 or more")
    if not seconds > 0:
        raise ValueError(f"seconds is {seconds}; expected a number above 0")
    warn_of_threads()
    console = Console()
    dtypes = list(dict.fromkeys(dtypes))
    world = loader.load("auto")
    spec, options = world.spec, options_in_force(world)
    if module is not None:
        rivals.check(world, module)
    batches = sorted(set(batches or family_of_world(spec.family).default_batches))
    with Progress(console=console, transient=True) as progress:
        results, squares = measure(loader, batches, dtypes, seconds, progress)
    with busy("measuring what the environment adds", console=console):
        costs = [environment_cost(loader.load(dtype), max(batches), seconds) for dtype in dtypes]
    beside: list[rivals.Rate] = []
    if module is not None:
        with Progress(console=console, transient=True) as progress:
            beside = rivals.compare(world, module, batches, seconds, progress)
    facts = machine(loader.device)
    how = "".join(f", {name}={value}" for name, value in options.items())
    where = facts.get("gpu", f"{facts['cpu']} ({facts['instruction_sets']})")
    title = f"{spec.name}{how} on {where}, threads: {facts['threads']}"
    show(console, results, title)
    for name, reached in squares.items():
        each = ", ".join(f"{who} {flops / 1e9:,.0f}" for who, flops in reached.items())
        console.print(f"products of {SQUARE} x {SQUARE} in {name}, GFLOP/s: {each}")
    for cost in costs:
        console.print(
            f"environment: a step of {cost.batch:,} dreams in {cost.dtype} takes "
            f"{cost.overhead_share:.1%} more than the world's own ({cost.step_ms} ms): "
            "bookkeeping, episodes that begin again, Python"
        )
    if beside:
        rivals.show(console, beside)
    if json_file is not None:
        report = {
            "results": [asdict(result) for result in results],
            "beside_the_module": [asdict(rate) for rate in beside],
            "environment": [asdict(cost) for cost in costs],
            "machine": {**facts, "square_flops_per_s": squares},
            "world": {"name": spec.name, "fingerprint": spec.fingerprint, "options": options},
            "seconds": seconds,
            "repeats": REPEATS,
        }
        write_json(json_file, report)
        console.print(f"wrote {json_file}", soft_wrap=True)
    if plot_file is not None:
        plot(plot_file, results, title)
        console.print(f"wrote {plot_file}", soft_wrap=True)

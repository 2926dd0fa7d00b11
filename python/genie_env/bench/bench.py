"""`genie-env bench`: steps a second of a world, beside what the machine's matrix products allow."""

from __future__ import annotations

import functools
import itertools
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from genie_env._core import RowCounters, World
from genie_env.bench.flops import Product, decoding_products, step_products, window
from genie_env.data.files import read_json, write_json
from genie_env.envs.registry import find_world
from genie_env.envs.vector_env import DreamVectorEnv, make_vec
from genie_env.families.genie.random_world import GenieSizes, random_genie_world

TIERS = {
    "latents": "features alone, torch tensors",
    "pixels": "every frame decoded, torch tensors",
    "numpy": "features alone, NumPy arrays",
}
REPEATS = 5
_PEAK = 1024
"""Side of the square matrices whose product gives the machine's peak."""


@dataclass(frozen=True)
class Result:
    """One cell of the table."""

    batch: int
    tier: str
    dtype: str
    steps_per_s: float
    """Environment steps (rows x calls) a second, the median over repeats."""
    best: float
    products_per_s: float
    """Steps a second of the step's matrix products alone, at the same batch; the median."""
    products_share: float
    """steps_per_s / products_per_s."""
    peak_share: float
    """The arithmetic of the step's matrix products, as a share of the machine's peak."""


def repeat(step: Callable[[], object], seconds: float, device: torch.device) -> float:
    """Calls of `step` a second, over at least `seconds`."""
    calls = 0
    _wait(device)
    began = time.perf_counter()
    while True:
        step()
        calls += 1
        if time.perf_counter() - began >= seconds:
            _wait(device)
            return calls / (time.perf_counter() - began)


def interleaved(
    steps: dict[Any, Callable[[], object]],
    seconds: float,
    device: torch.device,
    tick: Callable[[], None] = lambda: None,
) -> dict[Any, list[float]]:
    """Calls a second of every cell, REPEATS times, in turns, so that whatever else the machine does
    falls on all cells alike. `seconds` is the time of a cell, all its repeats together; a turn more
    comes first, to warm up."""
    rates: dict[Any, list[float]] = {cell: [] for cell in steps}
    for turn in range(1 + REPEATS):
        for cell, step in steps.items():
            rate = repeat(step, seconds / REPEATS, device)
            if turn > 0:
                rates[cell].append(rate)
            tick()
    return rates


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _stepper(env: DreamVectorEnv, tier: str, warm: int) -> Callable[[], object]:
    """A call that steps the environment with random actions; rows that have ended begin anew. Has
    stepped `warm` times."""
    env.reset(seed=0)
    generator = torch.Generator().manual_seed(0)
    shape = (64, env.num_envs)
    actions = torch.randint(int(env.single_action_space.n), shape, generator=generator)
    turns = itertools.cycle(actions.numpy() if tier == "numpy" else actions.to(env.device))
    for _ in range(warm):
        env.step(next(turns))
    return lambda: env.step(next(turns))


def _multiplier(
    products: Sequence[Product], batch: int, dtype: torch.dtype, device: torch.device
) -> Callable[[], object]:
    """A call that computes the matrix products of a step of `batch` rows, and nothing else."""
    rand = functools.partial(torch.rand, dtype=dtype, device=device)
    inputs = {(p.rows, p.inner): rand(batch * p.rows, p.inner) for p in products}
    weights = {p.layer: rand(p.outer, p.inner) for p in products}

    @torch.inference_mode()
    def multiply() -> object:
        for p in products:
            result = torch.nn.functional.linear(inputs[p.rows, p.inner], weights[p.layer])
        return result

    return multiply


def machine(device: torch.device) -> dict[str, Any]:
    """What the figures were measured on."""
    facts: dict[str, Any] = {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
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
    """What a step of an environment takes beside its world's own."""

    batch: int
    dtype: str
    step_ms: float
    """The world's own step, without any observation; the median over calls."""
    overhead_share: float
    """Of that time, how much more the environment's step takes: the observation, bookkeeping,
    episodes that begin anew, Python."""


def environment_cost(world: World, batch: int, seconds: float) -> Cost:
    """Times the environment's step and the world's call by call in turns."""
    env = make_vec(world, num_envs=batch, output="torch")
    step = _stepper(env, "latents", warm=1)
    state = world.make_state(batch)
    zeros = [0] * batch
    begin, rng = (RowCounters(range(batch), zeros, [t] * batch) for t in (0, 1))
    world.begin(state, torch.ones(batch, dtype=torch.bool), begin)
    tau = torch.full((batch,), world.spec.temperature)
    generator = torch.Generator().manual_seed(0)
    actions = torch.randint(int(env.single_action_space.n), (batch,), generator=generator)
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
            _wait(world.device)
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
    """What is measured: environment steps of a tier, or ("products of ...") what they multiply."""

    dtype: str
    batch: int
    what: str


@dataclass(frozen=True)
class Loader:
    """Loads a world as it is measured."""

    directory: Path
    device: torch.device
    passes: int | None
    order: str | None

    def load(self, dtype: str) -> World:
        return World.load(
            self.directory,
            device=str(self.device),
            dtype=dtype,
            passes=self.passes,
            order=self.order,
        )

    def config(self) -> dict[str, Any]:
        """What config.json says, but for the passes that were asked for."""
        config: dict[str, Any] = read_json(self.directory / "config.json")
        if self.passes is not None:
            config["dynamics"]["passes"] = self.passes
        return config


def measure(
    world: Loader,
    batches: Sequence[int],
    dtypes: Sequence[str],
    seconds: float,
    progress: Progress,
) -> tuple[list[Result], dict[str, float]]:
    """All cells, interleaved. Returns the results, and the machine's peak (FLOP/s) by dtype."""
    config, device = world.config(), world.device
    products = {"latents": step_products(config)}
    products["numpy"] = products["latents"]
    products["pixels"] = products["latents"] + decoding_products(config)

    steps: dict[Cell, Callable[[], object]] = {}
    for name in dtypes:
        loaded = world.load(name)
        dtype = getattr(torch, loaded.spec.dtype)
        steps[Cell(loaded.spec.dtype, _PEAK, "peak")] = _multiplier(
            [Product("peak", 1, _PEAK, _PEAK)], _PEAK, dtype, device
        )
        for batch in batches:
            for tier in TIERS:
                env = make_vec(
                    loaded,
                    num_envs=batch,
                    observation="pixels" if tier == "pixels" else None,
                    output="numpy" if tier == "numpy" else "torch",
                )
                steps[Cell(loaded.spec.dtype, batch, tier)] = _stepper(env, tier, window(config))
            for tier in ("latents", "pixels"):
                steps[Cell(loaded.spec.dtype, batch, f"products of {tier}")] = _multiplier(
                    products[tier], batch, dtype, device
                )

    task = progress.add_task("measuring", total=len(steps) * (REPEATS + 1))
    rates = interleaved(steps, seconds, device, tick=lambda: progress.advance(task))
    peak_flops = Product("peak", _PEAK, _PEAK, _PEAK).flops
    peaks = {
        cell.dtype: peak_flops * statistics.median(rate)
        for cell, rate in rates.items()
        if cell.what == "peak"
    }
    results = []
    for cell, rate in rates.items():
        if cell.what not in TIERS:
            continue
        tier = "pixels" if cell.what == "pixels" else "latents"
        multiplied = statistics.median(rates[replace(cell, what=f"products of {tier}")])
        flops = sum(product.flops for product in products[tier])
        median = statistics.median(rate) * cell.batch
        results.append(
            Result(
                batch=cell.batch,
                tier=cell.what,
                dtype=cell.dtype,
                steps_per_s=round(median, 1),
                best=round(max(rate) * cell.batch, 1),
                products_per_s=round(multiplied * cell.batch, 1),
                products_share=round(median / (multiplied * cell.batch), 4),
                peak_share=round(median * flops / peaks[cell.dtype], 4),
            )
        )
    return results, peaks


def show(console: Console, results: Sequence[Result], title: str) -> None:
    """The table: a line a batch and tier."""
    table = Table(
        title=title,
        caption="products: share of what the step's matrix products alone do at that batch; "
        "peak: their arithmetic as a share of the machine's peak",
    )
    for column in ("batch", "tier", "dtype", "steps/s", "best", "products", "peak"):
        table.add_column(column, justify="left" if column in ("tier", "dtype") else "right")
    for batch, lines in itertools.groupby(results, key=lambda result: result.batch):
        for line in lines:
            table.add_row(
                f"{batch:,}",
                line.tier,
                line.dtype,
                f"{line.steps_per_s:,.0f}",
                f"{line.best:,.0f}",
                f"{line.products_share:.0%}",
                f"{line.peak_share:.0%}",
            )
        table.add_section()
    console.print(table)


def plot(file: Path, results: Sequence[Result], title: str) -> None:
    """Steps a second against the batch, beside what the step's matrix products alone would do."""
    figure = Figure(figsize=(7.5, 5), layout="constrained")
    axes = figure.subplots()
    colours = dict(zip(TIERS, ("tab:blue", "tab:red", "tab:green"), strict=True))
    dtypes = list(dict.fromkeys(result.dtype for result in results))
    for dtype, marker in zip(dtypes, "osv", strict=False):
        for tier, colour in colours.items():
            line = [r for r in results if (r.tier, r.dtype) == (tier, dtype)]
            batches = [r.batch for r in line]
            axes.plot(
                batches,
                [r.steps_per_s for r in line],
                color=colour,
                marker=marker,
                label=f"{tier}, {dtype}",
            )
            if tier != "numpy":
                axes.plot(
                    batches,
                    [r.products_per_s for r in line],
                    color=colour,
                    marker=marker,
                    markersize=3,
                    linestyle=":",
                    label=f"matrix products of {tier} alone, {dtype}",
                )
    axes.set(xscale="log", yscale="log", xlabel="dreams a batch", ylabel="steps/s", title=title)
    ticks = sorted({result.batch for result in results})
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150)


def bench(
    world: Annotated[
        str | None, typer.Argument(help="a shipped world's name, or a world directory")
    ] = None,
    batch: Annotated[
        list[int] | None,
        typer.Option(
            help="dreams stepped together; several numbers (default: 1 16 64 256 1024, and up to "
            "64 for worlds of the genie family)"
        ),
    ] = None,
    dtype: Annotated[
        list[str], typer.Option(help="float32, bfloat16 or auto; may be repeated")
    ] = ["auto"],
    seconds: Annotated[float, typer.Option(help="time of every cell, its repeats together")] = 2.0,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    genie: Annotated[
        str | None,
        typer.Option(
            help="instead of a world: sizes of one of the genie family with random weights, as "
            "T=16,S=64,d=256,blocks=6,heads=8,codes=1024,K=8"
        ),
    ] = None,
    passes: Annotated[
        int | None, typer.Option(help="of MaskGIT a frame; the world's own unless given")
    ] = None,
    order: Annotated[
        str | None, typer.Option(help="confidence or random; the world's own unless given")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="file for all figures")] = None,
    plot_file: Annotated[Path | None, typer.Option("--plot", help="file for a picture")] = None,
) -> None:
    """Measure steps/s against batch size: features only, with decoding, and as NumPy arrays.

    Every cell runs five times, in turns with all others; the table has the median and the best.
    Beside them stands the share of what the step's own matrix products allow at that batch, and of
    the machine's peak, both measured in the same run. Dreams of the genie family have as many
    frames behind them as they look at.
    """
    for value in batch or []:
        if value < 1:
            raise ValueError(f"batch is {value}; expected 1 or more")
    if not seconds > 0:
        raise ValueError(f"seconds is {seconds}; expected a number above 0")
    if (world is None) == (genie is None):
        raise ValueError("give either a world or --genie with sizes")
    with tempfile.TemporaryDirectory(prefix="genie_env_bench_") as folder:
        if genie is not None:
            sizes = GenieSizes.parse(genie)
            try:
                directory = random_genie_world(Path(folder) / "world", sizes)
            except ValueError as error:
                raise ValueError(
                    f"--genie is {genie!r}: {error} (T is the window, S the number of patches, d the "
                    "width, K the passes)"
                ) from error
        else:
            directory = find_world(world or "")
        loader = Loader(directory, torch.device(device), passes, order)
        _bench(loader, batch, dtype, seconds, json_file, plot_file)


def _bench(
    world: Loader,
    batch: Sequence[int] | None,
    dtype: Sequence[str],
    seconds: float,
    json_file: Path | None,
    plot_file: Path | None,
) -> None:
    console = Console()
    spec = world.load("auto").spec
    batches = batch or ([1, 4, 16, 64] if spec.family == "genie" else [1, 16, 64, 256, 1024])
    with Progress(console=console, transient=True) as progress:
        results, peaks = measure(
            world, sorted(set(batches)), list(dict.fromkeys(dtype)), seconds, progress
        )
    costs = [
        environment_cost(world.load(name), max(batches), seconds)
        for name in dict.fromkeys(dtype)
    ]
    facts = machine(world.device)
    how = f", {spec.passes} passes, order: {spec.order}" if spec.passes else ""
    title = f"{spec.name}{how} on {facts.get('gpu', facts['cpu'])}, threads: {facts['threads']}"
    show(console, results, title)
    for name, peak in peaks.items():
        console.print(f"peak: {peak / 1e9:,.0f} GFLOP/s in {name} ({_PEAK} x {_PEAK} matrices)")
    for cost in costs:
        console.print(
            f"environment: a step of {cost.batch:,} dreams in {cost.dtype} takes "
            f"{cost.overhead_share:.1%} more than the world's own ({cost.step_ms} ms): "
            "observation, bookkeeping, episodes that begin anew, Python"
        )
    if json_file is not None:
        write_json(
            json_file,
            {
                "results": [asdict(result) for result in results],
                "environment": [asdict(cost) for cost in costs],
                "machine": {**facts, "peak_flops_per_s": peaks},
                "world": {
                    "name": spec.name,
                    "fingerprint": spec.fingerprint,
                    "passes": spec.passes,
                    "order": spec.order,
                },
                "seconds": seconds,
                "repeats": REPEATS,
            },
        )
        console.print(f"wrote {json_file}")
    if plot_file is not None:
        plot(plot_file, results, title)
        console.print(f"wrote {plot_file}")

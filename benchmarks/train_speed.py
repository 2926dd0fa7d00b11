"""Training steps of all networks: our C++ Trainer against the same in plain Python PyTorch, and the limit.

    python benchmarks/train_speed.py
    python benchmarks/train_speed.py --dtype float32 --compile --only V

All take turns in one process, so that whatever else the machine does falls on all alike; the median
of seven turns counts. Beside the ratio by the clock stands the ratio of processor time, which
other processes disturb less. V: 100 frames; M: 64 windows of 256 steps, always in float32; tokenizer,
latent actions and dynamics: clips as their commands take them, of 64 x 64 frames and of 64 tokens. A
step is loss, gradients and Adam.

The limit is the larger of torch's matrix product and ours (packed weights), at the shapes of the
network's own layers and at 1024 x 1024. A step's arithmetic is that of its forward pass three times:
products and convolutions (multiply-adds), attention included.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from plain_torch_genie import PlainDynamics, PlainLatentAction, PlainTokenizer
from plain_torch_models import PlainMemory, PlainVision
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from genie_env._core import Dynamics, LatentAction, Memory, Model, Tokenizer, Trainer, Vision
from genie_env.bench.bench import SQUARE, machine, multipliers, usable_dtypes
from genie_env.bench.timing import repeat
from genie_env.families import Product

FRAMES = 100
WINDOWS, STEPS = 64, 256
TURNS = 7
CPU = torch.device("cpu")

COMPILER = {"layout_optimization": False}
"""Of torch.compile. V is laid out channels-last already; with its own layout optimisation and AVX-512,
torch 2.11's compiled step of V writes outside its tensors and aborts."""

Step = Callable[[], object]


@dataclass(frozen=True)
class Contest:
    """A network, twice: ours, and a loss of the plain one."""

    unit: str
    items: int  # units a step
    model: Model
    batch: dict[str, Tensor]
    plain: nn.Module
    loss: Callable[[], tuple[Tensor, object]]


def vision() -> Contest:
    pixels = torch.randint(256, (FRAMES, 64, 64, 3), dtype=torch.uint8)
    network = PlainVision().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Contest(
        "frames/s",
        FRAMES,
        Vision(),
        {"frames": pixels},
        network,
        lambda: network.loss(pixels, torch.randn(FRAMES, 64)),
    )


def memory() -> Contest:
    restarts = torch.zeros(WINDOWS, STEPS)
    restarts[::2, STEPS // 2] = 1
    batch = {
        "mu": torch.randn(WINDOWS, STEPS, 64),
        "logvar": torch.randn(WINDOWS, STEPS, 64) - 2,
        "actions": torch.randint(-1, 2, (WINDOWS, STEPS, 1)).float(),
        "finals": torch.zeros(WINDOWS, STEPS),
        "restarts": restarts,
        "terminations": restarts.roll(-1, dims=1),
    }
    network = PlainMemory()

    def loss() -> tuple[Tensor, dict[str, Tensor]]:
        kept = torch.rand(WINDOWS, 512) < 0.5
        return network.loss(batch, torch.randn(WINDOWS, STEPS, 64), kept)

    return Contest("steps/s", WINDOWS * STEPS, Memory(), batch, network, loss)


def tokenizer() -> Contest:
    clips = torch.randint(256, (8, 8, 64, 64, 3), dtype=torch.uint8)
    network = PlainTokenizer()
    return Contest(
        "frames/s", 64, Tokenizer(), {"frames": clips}, network, lambda: network.loss(clips)
    )


def latent_actions() -> Contest:
    clips = torch.randint(256, (6, 12, 64, 64, 3), dtype=torch.uint8)
    network = PlainLatentAction()
    return Contest(
        "frames/s", 72, LatentAction(), {"frames": clips}, network, lambda: network.loss(clips)
    )


def dynamics() -> Contest:
    clips, length, action_codes = 4, 32, torch.randn(6, 8)
    batch = {
        "tokens": torch.randint(1024, (clips, length, 64)),
        "actions": torch.randint(6, (clips, length - 1)),
    }
    network = PlainDynamics(action_codes)
    draws = network.draws(clips, length, 64)
    return Contest(
        "frames/s",
        clips * length,
        Dynamics(action_codes),
        batch,
        network,
        lambda: network.loss(batch["tokens"], batch["actions"], torch.rand(draws)),
    )


NETWORKS = {
    "V": (vision, 6),
    "M": (memory, 4),
    "tokenizer": (tokenizer, 2),
    "latent actions": (latent_actions, 2),
    "dynamics": (dynamics, 2),
}
"""Each with the steps of a turn."""


def our_step(contest: Contest, bf16: bool) -> Step:
    trainer = Trainer(contest.model, learning_rate=1e-4, bf16=bf16)

    def step() -> None:
        trainer.backward(contest.batch)
        trainer.update()

    return step


def plain_step(contest: Contest, bf16: bool, *, compiled: bool) -> Step:
    adam = torch.optim.Adam(contest.plain.parameters(), lr=1e-4, fused=True)
    loss = torch.compile(contest.loss, options=COMPILER) if compiled else contest.loss

    def step() -> float:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            total, _ = loss()
        adam.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        adam.step()
        return total.item()

    return step


class Layers(TorchDispatchMode):
    """Notes the products and convolutions that a forward pass computes."""

    def __init__(self) -> None:
        super().__init__()
        self.products: set[Product] = set()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        aten = torch.ops.aten
        if function in (aten.mm.default, aten.addmm.default):
            (rows, inner), (_, outer) = (matrix.shape for matrix in args[-2:])
            self._note(rows, inner, outer)
        elif function == aten.convolution.default:
            x, weight, transposed = args[0], args[1], args[6]
            pixels = x if transposed else result
            rows, columns = pixels.numel() // pixels.shape[1], weight[0].numel()
            outer, inner = weight.shape[0], columns
            self._note(rows, *((outer, inner) if transposed else (inner, outer)))
        return result

    def _note(self, rows: int, inner: int, outer: int) -> None:
        self.products.add(Product(f"{rows} x {inner} x {outer}", rows, inner, outer))


def arithmetic(contest: Contest) -> tuple[int, list[Product]]:
    """The FLOP of a step, and the products of its layers."""
    with (
        torch.no_grad(),
        torch.backends.mkldnn.flags(enabled=False),  # an LSTM is then made of products
        FlopCounterMode(display=False) as counter,
        Layers() as layers,
    ):
        contest.loss()
    return 3 * counter.get_total_flops(), sorted(layers.products, key=lambda each: -each.flops)


class Limit:
    """The rates of products alone, by multiplier and shape: of squares, and of the layers with the most
    arithmetic."""

    def __init__(self, products: list[Product], dtype: str) -> None:
        square = Product("square", SQUARE, SQUARE, SQUARE)
        self._steps = {
            f"{who}, {each.layer}": (each.flops, multiply)
            for each in (square, *products[:6])
            for who, multiply in multipliers([each], 1, dtype, CPU).items()
        }
        self._rates: dict[str, list[float]] = {name: [] for name in self._steps}

    def take_turn(self) -> None:
        for name, (flops, multiply) in self._steps.items():
            self._rates[name].append(repeat(multiply, 0.05, CPU) * flops)

    def medians(self) -> dict[str, float]:
        """FLOP/s."""
        return {name: statistics.median(each) for name, each in self._rates.items()}


def compare(
    steps: dict[str, Step], limit: Limit, repeats: int
) -> dict[str, dict[str, list[float]]]:
    """Seconds a step of each, TURNS times, in turns, `repeats` steps a turn; by clock, then who. The
    limit has its turns between them."""
    clocks = {"wall": time.perf_counter, "processor": time.process_time}
    seconds: dict[str, dict[str, list[float]]] = {
        clock: {who: [] for who in steps} for clock in clocks
    }
    for step in steps.values():
        step()
    for _ in range(TURNS):
        limit.take_turn()
        for who, step in steps.items():
            began = {clock: read() for clock, read in clocks.items()}
            for _ in range(repeats):
                step()
            for clock, read in clocks.items():
                seconds[clock][who].append((read() - began[clock]) / repeats)
    return seconds


def measure(name: str, dtype: str, repeats: int | None, *, compiled: bool) -> dict[str, Any]:
    """All figures of one network in one dtype; prints a line."""
    build, usual = NETWORKS[name]
    contest, bf16 = build(), dtype == "bfloat16"
    flops, products = arithmetic(contest)
    steps = {"ours": our_step(contest, bf16), "plain": plain_step(contest, bf16, compiled=False)}
    if compiled:
        steps["compiled"] = plain_step(contest, bf16, compiled=True)
    limit = Limit(products, dtype)
    seconds = compare(steps, limit, repeats or usual)
    limits = limit.medians()
    best = max(limits, key=limits.__getitem__)
    median = {
        clock: {who: statistics.median(values) for who, values in by.items()}
        for clock, by in seconds.items()
    }
    rate = {who: contest.items / value for who, value in median["wall"].items()}
    share = {who: flops / value / limits[best] for who, value in median["wall"].items()}
    others = {
        clock: {who: value / m["ours"] for who, value in m.items() if who != "ours"}
        for clock, m in median.items()
    }
    print(
        f"{name}, {dtype}: {rate['ours']:,.0f} {contest.unit}, {share['ours']:.0%} of the limit "
        f"({limits[best] / 1e9:,.0f} GFLOP/s: {best}); "
        + ", ".join(
            f"{who} PyTorch {rate[who]:,.0f}, ratio {ratio:.2f} "
            f"(processor time: {others['processor'][who]:.2f})"
            for who, ratio in others["wall"].items()
        ),
        flush=True,
    )
    return {
        "unit": contest.unit,
        "median": rate,
        "limit_share": share,
        "limits": limits,
        "flops_a_step": flops,
        "ratio": others,
        "seconds_a_step": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=NETWORKS, action="append", help="a network; repeatable")
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        action="append",
        help="repeatable; by default float32, and bfloat16 where our products can",
    )
    parser.add_argument("--compile", action="store_true", help="against torch.compile as well")
    parser.add_argument("--repeats", type=int, help="steps a turn, instead of each network's own")
    parser.add_argument("--json", type=Path, help="file for all figures")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    facts = machine(CPU)
    print(f"{facts['cpu']} ({facts['instruction_sets']}), threads: {facts['threads']}")
    dtypes = arguments.dtype or usable_dtypes()
    report: dict[str, Any] = {"machine": facts}
    for name in arguments.only or NETWORKS:
        for dtype in ("float32",) if name == "M" else dtypes:
            report[f"{name}, {dtype}"] = measure(
                name, dtype, arguments.repeats, compiled=arguments.compile
            )
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()

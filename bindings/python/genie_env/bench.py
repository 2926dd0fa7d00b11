"""`genie-env bench`: steps a second of a world, beside what the machine's matrix products allow."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from genie_env.files import write_json
from genie_env.shipped import find_world
from genie_env.vector_env import DreamVectorEnv, make_vec

TIERS = {
    "latents": "features alone, torch tensors",
    "pixels": "every frame decoded, torch tensors",
    "numpy": "features alone, NumPy arrays",
}
REPEATS = 5
_WARM_UP = 0.2
"""Seconds that every cell runs before any is measured."""
_PEAK = 1024
"""Side of the square matrices whose product gives the machine's peak."""


@dataclass(frozen=True)
class Product:
    """A matrix product of one row of a world's step: [rows, inner] x [inner, outer]."""

    rows: int
    inner: int
    outer: int

    @property
    def flops(self) -> int:
        return 2 * self.rows * self.inner * self.outer


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


def step_products(config: dict[str, Any]) -> list[Product]:
    """The matrix products of one step without pixels."""
    sizes = _vision_memory_sizes(config)
    latents, hidden = sizes["latents"], sizes["hidden"]
    return [
        Product(1, latents + 2, 4 * hidden),
        Product(1, hidden, 4 * hidden),
        Product(1, hidden, 3 * latents * sizes["components"] + 1),
    ]


def decoding_products(config: dict[str, Any]) -> list[Product]:
    """Those of decoding one frame: every transposed convolution as a product over its input."""
    latents = _vision_memory_sizes(config)["latents"]
    return [
        Product(1, latents, 1024),
        Product(1 * 1, 1024, 128 * 5 * 5),
        Product(5 * 5, 128, 64 * 5 * 5),
        Product(13 * 13, 64, 32 * 6 * 6),
        Product(30 * 30, 32, 3 * 6 * 6),
    ]


def _vision_memory_sizes(config: dict[str, Any]) -> dict[str, int]:
    if config["family"] != "vision-memory":
        raise ValueError(
            f"the world's family is {config['family']!r}; bench knows the matrix products of "
            "'vision-memory' alone"
        )
    sizes: dict[str, int] = config["sizes"]
    return sizes


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
    repeats: int,
    device: torch.device,
    tick: Callable[[], None] = lambda: None,
) -> dict[Any, list[float]]:
    """Calls a second of every cell, `repeats` times, in turns: what else the machine does, and its
    heat, then fall on all cells alike. `seconds` is the time of a cell, all repeats together."""
    rates: dict[Any, list[float]] = {cell: [] for cell in steps}
    for step in steps.values():
        repeat(step, _WARM_UP, device)
        tick()
    for _ in range(repeats):
        for cell, step in steps.items():
            rates[cell].append(repeat(step, seconds / repeats, device))
            tick()
    return rates


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _stepper(env: DreamVectorEnv, tier: str) -> Callable[[], object]:
    """A call that steps the environment with random actions, which end episodes now and then."""
    env.reset(seed=0)
    generator = torch.Generator().manual_seed(0)
    shape = (64, env.num_envs)
    actions = torch.randint(env.single_action_space.n, shape, generator=generator)
    turns = list(actions.numpy()) if tier == "numpy" else list(actions.to(env.device))
    turn = 0

    def step() -> object:
        nonlocal turn
        turn = (turn + 1) % len(turns)
        return env.step(turns[turn])

    return step


def _multiplier(
    products: Sequence[Product], batch: int, dtype: torch.dtype, device: torch.device
) -> Callable[[], object]:
    """A call that computes the matrix products of a step of `batch` rows, and nothing else."""
    pairs = [
        (
            torch.rand(batch * p.rows, p.inner, dtype=dtype, device=device),
            torch.rand(p.outer, p.inner, dtype=dtype, device=device),
        )
        for p in products
    ]

    @torch.inference_mode()
    def multiply() -> object:
        return [torch.nn.functional.linear(x, weight) for x, weight in pairs]

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

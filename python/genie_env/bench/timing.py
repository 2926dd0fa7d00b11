"""Timing calls that take turns."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

REPEATS = 7


def repeat(step: Callable[[], object], seconds: float, device: torch.device) -> float:
    """Calls of `step` per second, over at least `seconds`."""
    calls = 0
    wait(device)
    began = time.perf_counter()
    while True:
        step()
        calls += 1
        if time.perf_counter() - began >= seconds:
            wait(device)
            return calls / (time.perf_counter() - began)


def interleaved(
    steps: dict[Any, Callable[[], object]],
    seconds: float,
    device: torch.device,
    tick: Callable[[], None] = lambda: None,
) -> dict[Any, list[float]]:
    """Calls per second of every cell, REPEATS times. Cells take turns, so that whatever else the
    machine does slows all of them alike. `seconds` is the time of a cell, all its repeats together;
    one more turn comes first, to warm up."""
    rates: dict[Any, list[float]] = {cell: [] for cell in steps}
    for turn in range(1 + REPEATS):
        for cell, step in steps.items():
            rate = repeat(step, seconds / REPEATS, device)
            if turn > 0:
                rates[cell].append(rate)
            tick()
    return rates


def wait(device: torch.device) -> None:
    """Until a GPU has done what it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)

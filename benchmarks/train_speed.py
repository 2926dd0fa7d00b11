"""Training steps of V and M: our C++ Trainer against the same networks in plain Python PyTorch.

    python benchmarks/train_speed.py

Both take turns in one process, so that whatever else the machine does falls on both alike; the
median of five turns counts. Beside the ratio by the clock stands the ratio of processor time, which
other processes disturb less. V: 128 frames in bfloat16 autocast; M: 64 windows of 256 steps in
float32. A step is loss, gradients and Adam.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from plain_torch_models import PlainMemory, PlainVision
from torch import Tensor

from genie_env._core import Memory, Trainer, Vision
from genie_env.bench import machine

FRAMES = 128
WINDOWS, STEPS = 64, 256
TURNS = 5


def frames() -> Tensor:
    return torch.randint(256, (FRAMES, 64, 64, 3), dtype=torch.uint8)


def windows() -> dict[str, Tensor]:
    restarts = torch.zeros(WINDOWS, STEPS)
    restarts[::2, STEPS // 2] = 1
    return {
        "mu": torch.randn(WINDOWS, STEPS, 64),
        "logvar": torch.randn(WINDOWS, STEPS, 64) - 2,
        "actions": torch.randint(-1, 2, (WINDOWS, STEPS)).float(),
        "restarts": restarts,
        "terminations": restarts.roll(-1, dims=1),
    }


def ours(trainer: Trainer, batch: dict[str, Tensor]) -> Callable[[], object]:
    def step() -> None:
        trainer.backward(batch)
        trainer.update()

    return step


def plain_vision(pixels: Tensor) -> Callable[[], object]:
    vision = PlainVision()
    adam = torch.optim.Adam(vision.parameters(), lr=1e-4, fused=True)

    def step() -> float:
        with torch.autocast("cpu", torch.bfloat16):
            loss, _ = vision.loss(pixels, torch.randn(FRAMES, 64))
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        return loss.item()

    return step


def plain_memory(batch: dict[str, Tensor]) -> Callable[[], object]:
    memory = PlainMemory()
    adam = torch.optim.Adam(memory.parameters(), lr=1e-3, fused=True)

    def step() -> float:
        kept = torch.rand(WINDOWS, 512) < 0.5
        loss, _ = memory.loss(batch, torch.randn(WINDOWS, STEPS, 64), kept)
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        return loss.item()

    return step


def compare(
    steps: dict[str, Callable[[], object]], repeats: int
) -> dict[str, dict[str, list[float]]]:
    """Seconds a step of each, TURNS times, in turns, `repeats` steps a turn; by clock, then who."""
    clocks = {"wall": time.perf_counter, "processor": time.process_time}
    seconds: dict[str, dict[str, list[float]]] = {
        clock: {who: [] for who in steps} for clock in clocks
    }
    for step in steps.values():
        step()
    for _ in range(TURNS):
        for who, step in steps.items():
            began = {clock: read() for clock, read in clocks.items()}
            for _ in range(repeats):
                step()
            for clock, read in clocks.items():
                seconds[clock][who].append((read() - began[clock]) / repeats)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vision-repeats", type=int, default=10, help="steps a turn of V")
    parser.add_argument("--memory-repeats", type=int, default=4, help="steps a turn of M")
    parser.add_argument("--json", type=Path, help="file for all figures")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    pixels, batch = frames(), windows()
    report: dict[str, object] = {"machine": machine(torch.device("cpu"))}
    for name, unit, repeats, items, steps in (
        (
            "V",
            "frames/s",
            arguments.vision_repeats,
            FRAMES,
            {
                "ours": ours(Trainer(Vision(), learning_rate=1e-4, bf16=True), {"frames": pixels}),
                "plain": plain_vision(pixels),
            },
        ),
        (
            "M",
            "steps/s",
            arguments.memory_repeats,
            WINDOWS * STEPS,
            {
                "ours": ours(Trainer(Memory(), learning_rate=1e-3), batch),
                "plain": plain_memory(batch),
            },
        ),
    ):
        seconds = compare(steps, repeats)
        median = {
            clock: {who: statistics.median(values) for who, values in by.items()}
            for clock, by in seconds.items()
        }
        ratio = {clock: m["plain"] / m["ours"] for clock, m in median.items()}
        rate = {who: items / value for who, value in median["wall"].items()}
        report[name] = {"unit": unit, "median": rate, "ratio": ratio, "seconds_a_step": seconds}
        print(
            f"{name}: {rate['ours']:,.0f} {unit}, plain PyTorch {rate['plain']:,.0f}, "
            f"ratio {ratio['wall']:.2f} (processor time: {ratio['processor']:.2f})",
            flush=True,
        )
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""Training steps of all networks: our C++ Trainer against the same in plain Python PyTorch.

    python benchmarks/train_speed.py

Both take turns in one process, so that whatever else the machine does falls on both alike; the
median of five turns counts. Beside the ratio by the clock stands the ratio of processor time, which
other processes disturb less. V: 128 frames in bfloat16 autocast; M: 64 windows of 256 steps in
float32; tokenizer, latent actions and dynamics: clips as their commands take them, of 64 x 64 frames
and of 64 tokens, in bfloat16 autocast. A step is loss, gradients and Adam.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from plain_torch_genie import PlainDynamics, PlainLatentAction, PlainTokenizer
from plain_torch_models import PlainMemory, PlainVision
from torch import Tensor, nn

from genie_env._core import Dynamics, LatentAction, Memory, Tokenizer, Trainer, Vision
from genie_env.bench.bench import machine

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


def plain(
    network: nn.Module, compute_loss: Callable[[], tuple[Tensor, object]], bf16: bool
) -> Callable[[], object]:
    adam = torch.optim.Adam(network.parameters(), lr=1e-4, fused=True)

    def step() -> float:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss, _ = compute_loss()
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        return loss.item()

    return step


@dataclass(frozen=True)
class Contest:
    """A network, twice."""

    unit: str
    items: int  # units a step
    ours: Callable[[], object]
    plain: Callable[[], object]


def vision() -> Contest:
    pixels, network = frames(), PlainVision()
    return Contest(
        "frames/s",
        FRAMES,
        ours(Trainer(Vision(), learning_rate=1e-4, bf16=True), {"frames": pixels}),
        plain(network, lambda: network.loss(pixels, torch.randn(FRAMES, 64)), bf16=True),
    )


def memory() -> Contest:
    batch, network = windows(), PlainMemory()

    def loss() -> tuple[Tensor, dict[str, Tensor]]:
        kept = torch.rand(WINDOWS, 512) < 0.5
        return network.loss(batch, torch.randn(WINDOWS, STEPS, 64), kept)

    return Contest(
        "steps/s",
        WINDOWS * STEPS,
        ours(Trainer(Memory(), learning_rate=1e-4), batch),
        plain(network, loss, bf16=False),
    )


def tokenizer() -> Contest:
    clips = torch.randint(256, (8, 8, 64, 64, 3), dtype=torch.uint8)
    network = PlainTokenizer()
    return Contest(
        "frames/s",
        64,
        ours(Trainer(Tokenizer(), learning_rate=1e-4, bf16=True), {"frames": clips}),
        plain(network, lambda: network.loss(clips), bf16=True),
    )


def latent_actions() -> Contest:
    clips = torch.randint(256, (6, 12, 64, 64, 3), dtype=torch.uint8)
    network = PlainLatentAction()
    return Contest(
        "frames/s",
        72,
        ours(Trainer(LatentAction(), learning_rate=1e-4, bf16=True), {"frames": clips}),
        plain(network, lambda: network.loss(clips), bf16=True),
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
        ours(Trainer(Dynamics(action_codes), learning_rate=1e-4, bf16=True), batch),
        plain(
            network,
            lambda: network.loss(batch["tokens"], batch["actions"], torch.rand(draws)),
            bf16=True,
        ),
    )


NETWORKS = {
    "V": (vision, 10),
    "M": (memory, 4),
    "tokenizer": (tokenizer, 3),
    "latent actions": (latent_actions, 3),
    "dynamics": (dynamics, 2),
}
"""Each with the steps of a turn."""


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
    parser.add_argument("--only", choices=NETWORKS, action="append", help="a network; repeatable")
    parser.add_argument("--repeats", type=int, help="steps a turn, instead of each network's own")
    parser.add_argument("--json", type=Path, help="file for all figures")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    report: dict[str, object] = {"machine": machine(torch.device("cpu"))}
    for name in arguments.only or NETWORKS:
        build, repeats = NETWORKS[name]
        contest = build()
        steps = {"ours": contest.ours, "plain": contest.plain}
        seconds = compare(steps, arguments.repeats or repeats)
        median = {
            clock: {who: statistics.median(values) for who, values in by.items()}
            for clock, by in seconds.items()
        }
        ratio = {clock: m["plain"] / m["ours"] for clock, m in median.items()}
        rate = {who: contest.items / value for who, value in median["wall"].items()}
        report[name] = {
            "unit": contest.unit,
            "median": rate,
            "ratio": ratio,
            "seconds_a_step": seconds,
        }
        print(
            f"{name}: {rate['ours']:,.0f} {contest.unit}, plain PyTorch {rate['plain']:,.0f}, "
            f"ratio {ratio['wall']:.2f} (processor time: {ratio['processor']:.2f})",
            flush=True,
        )
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()

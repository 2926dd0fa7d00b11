"""What fresh arrays cost a step, and what a learner gains that updates while the world dreams.

    python benchmarks/copy_and_async.py

Dreams of doom-take-cover, in alternating turns, for each observation: steps that give fresh arrays
and steps that write to two in turn (`copy=False`); and a learner's update (two layers, forward
and backward on the whole batch) after each step, and beside the next one (`step_async`).
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch is loaded

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

import genie_env


def medians(calls: dict[str, Callable[[], object]], turns: int, steps: int) -> dict[str, float]:
    """Seconds a call: the median of turns that alternate."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(turns):
        for name, call in calls.items():
            begin = time.perf_counter()
            for _ in range(steps):
                call()
            times[name].append((time.perf_counter() - begin) / steps)
    return {name: statistics.median(each) for name, each in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--world", default="doom-take-cover")
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--observation", nargs="+", default=["zch", "pixels"])
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--steps", type=int, default=2, help="steps a turn")
    parser.add_argument("--updates", type=int, default=1, help="a learner's updates for each step")
    given = parser.parse_args()
    actions = np.zeros(given.rows, np.int64)
    print(f"{'observation':12} {'step':28} {'ms':>9}  ratio")
    for observation in given.observation:
        envs = {
            copy: genie_env.make_vec(
                given.world, given.rows, observation=observation, copy=copy, seed=0, output="torch"
            )
            for copy in (True, False)
        }
        latest = {copy: env.reset()[0] for copy, env in envs.items()}
        inputs = latest[True][0].numel()
        learner = torch.nn.Sequential(
            torch.nn.Linear(inputs, 256), torch.nn.Tanh(), torch.nn.Linear(256, 3)
        )

        def update() -> None:
            for _ in range(given.updates):
                batch = latest[False].flatten(1).float()
                learner(batch).square().mean().backward()

        def after() -> None:
            latest[False] = envs[False].step(actions)[0]
            update()

        def beside() -> None:
            envs[False].step_async(actions)
            update()
            latest[False] = envs[False].step_wait()[0]

        found = medians(
            {
                "fresh arrays": lambda: envs[True].step(actions),
                "copy=False": lambda: envs[False].step(actions),
                "copy=False, then an update": after,
                "copy=False beside an update": beside,
            },
            given.turns,
            given.steps,
        )
        base = {
            "copy=False": "fresh arrays",
            "copy=False beside an update": "copy=False, then an update",
        }
        for name, seconds in found.items():
            ratio = f"{seconds / found[base[name]]:.3f}" if name in base else ""
            print(f"{observation:12} {name:28} {1000 * seconds:9.2f}  {ratio}", flush=True)
        for env in envs.values():
            env.close()


if __name__ == "__main__":
    main()

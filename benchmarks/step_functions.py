"""What a reward function of the user's costs an environment, besides its own time.

    python benchmarks/step_functions.py

A step of 64 rows of doom-genie that observes pixels, without a function and with one that returns
zeros, in alternating turns; the medians, their ratio, and the bytes that a step saves so that a
failing function could take it back.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch is loaded

import argparse
import statistics
import time

import numpy as np
import torch

import genie_env


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--world", default="doom-genie")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--observation", default="pixels")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--steps", type=int, default=5, help="steps a turn")
    arguments = parser.parse_args()

    options = {
        "num_envs": arguments.rows,
        "observation": arguments.observation,
        "output": "torch",
        "seed": 0,
    }
    zeros = torch.zeros(arguments.rows)
    envs = {
        "without": genie_env.make_vec(arguments.world, **options),
        "with": genie_env.make_vec(arguments.world, reward_fn=lambda *_: zeros, **options),
    }
    times: dict[str, list[float]] = {name: [] for name in envs}
    actions = np.zeros(arguments.rows, np.int64)
    for env in envs.values():
        env.reset()
        for _ in range(20):  # more than the attention window holds
            env.step(actions)
    for _ in range(arguments.turns):
        for name, env in envs.items():
            begin = time.perf_counter()
            for _ in range(arguments.steps):
                env.step(actions)
            times[name].append((time.perf_counter() - begin) / arguments.steps)
    medians = {name: statistics.median(turns) for name, turns in times.items()}
    for name, median in medians.items():
        print(f"{name:8} {1000 * median:8.1f} ms a step")
    saved = envs["with"].rollback_bytes
    whole = envs["with"].world.spec.state_bytes_per_row * arguments.rows
    print(f"ratio    {medians['with'] / medians['without']:8.3f}")
    print(f"saved    {saved / 1e6:8.1f} MB a step, of {whole / 1e6:.1f} MB of state")


if __name__ == "__main__":
    main()

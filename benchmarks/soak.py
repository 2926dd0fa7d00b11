"""Does memory stay flat? Steps dreams for long, with random resets, and watches the process.

    python benchmarks/soak.py --world doom-take-cover --steps 100M
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.progress import track

import genie_env
from genie_env.cli.options import parse_steps

REPORTS = 20
RESET_EVERY = 100
"""Steps of the batch between two masked resets, each of about a tenth of the rows."""


def resident_mib() -> float:
    """Memory of this process that is in use, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def soak(
    world: Annotated[str, typer.Option(help="a shipped world's name, or a world directory")],
    steps: Annotated[str, typer.Option(help="dream steps of all rows together")] = "100M",
    batch: Annotated[int, typer.Option(help="rows")] = 1024,
    seed: Annotated[int, typer.Option(help="of actions, resets and dreams")] = 0,
) -> None:
    """Steps dreams under random actions with random resets; prints resident memory as it goes."""
    calls = -(-parse_steps(steps) // batch)
    rng = np.random.default_rng(seed)
    env = genie_env.make_vec(world, batch)
    env.reset(seed=seed)
    print(f"{'steps':>14} {'MiB':>9} {'steps/s':>10}")
    began, reported = time.perf_counter(), 0
    for call in track(range(calls), transient=True):
        env.step(rng.integers(env.single_action_space.n, size=batch))
        if call % RESET_EVERY == RESET_EVERY - 1:
            env.reset(options={"reset_mask": rng.random(batch) < 0.1})
        if (call + 1) * REPORTS // calls > reported:
            reported += 1
            done = (call + 1) * batch
            rate = done / (time.perf_counter() - began)
            print(f"{done:14,} {resident_mib():9.1f} {rate:10,.0f}", flush=True)
    env.close()


if __name__ == "__main__":
    typer.run(soak)

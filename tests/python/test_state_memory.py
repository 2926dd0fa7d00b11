"""What environments take of memory: as their spec says, and refused where it is not there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import genie_env
from genie_env import _core
from genie_env.families.genie.random_world import GenieSizes, random_genie_world

MEASURE = """
import json, os, sys
import numpy as np
import genie_env
from genie_env._core import World

def resident():
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")

directory, rows, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
make_vec = genie_env.make_vec  # loads all that is imported
before = resident()
world = World.load(directory, dtype="float32")
env = make_vec(world, rows)
made = resident()
env.reset(seed=0)
for step in range(steps):
    env.step(np.full(rows, step % env.single_action_space.n))
told = rows * world.spec.state_bytes_per_row
print(json.dumps({"told": told, "made": made - before, "stepped": resident() - before}))
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux tells what is resident")
def test_256_rows_take_what_the_spec_says(tmp_path: Path) -> None:
    """Through more than a whole window, in a process of its own."""
    sizes = GenieSizes(T=32, S=16, d=64, blocks=4, heads=1, codes=64, K=1)
    world = random_genie_world(tmp_path / "world", sizes)
    weights = 2 * (world / "model.safetensors").stat().st_size  # float16 there
    command = [sys.executable, "-c", MEASURE, str(world), "256", "34"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    taken = json.loads(done.stdout)
    assert taken["told"] > 300e6
    for when in ("made", "stepped"):
        assert 0.95 * taken["told"] < taken[when] < 1.25 * taken["told"] + weights, (when, taken)


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="Linux tells what is free")
def test_more_than_there_is_is_refused_before_anything_is_taken(
    random_world: Path, tmp_path: Path
) -> None:
    sizes = GenieSizes(T=16, S=64, d=192, blocks=4, heads=3, codes=8, K=1)
    genie = random_genie_world(tmp_path / "world", sizes)
    for directory in (random_world, genie):
        world = _core.World.load(directory, dtype="float32")
        bytes_of_row = world.spec.state_bytes_per_row
        words = (
            rf"1000000000 rows need {re.escape(_in_units(10**9 * bytes_of_row))} of state "
            rf"\({bytes_of_row} bytes each\), but .* of memory are free on cpu: ask for at most "
            r"(\d+) rows$"
        )
        for make in (world.make_state, lambda rows, world=world: genie_env.make_vec(world, rows)):
            with pytest.raises(ValueError, match=words) as refused:
                make(10**9)
            found = re.search(words, str(refused.value))
            assert found is not None and int(found[1]) < 10**9
        assert genie_env.make_vec(world, 2).reset(seed=0)[0].shape[0] == 2


def _in_units(size: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB"):
        if size < 1024:
            break
        size /= 1024
    return f"{size:.1f} {unit}"

"""What is closed, or no longer referred to, holds no memory of its rows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from genie_env.families.genie.random_world import GenieSizes, random_genie_world

MEASURE = """
import gc, json, os, sys, types
import numpy as np
import torch
import genie_env
from genie_env._core import World
from genie_env.agents import players
from genie_env.envs.actions import actions_of_world
from genie_env.sb3 import DreamVecEnv
from genie_env.torchrl import DreamTorchRLEnv

torch.set_num_threads(1)
world = World.load(sys.argv[1], dtype="float32")
rows = int(sys.argv[2])
size = rows * world.spec.state_bytes_per_row

def resident():
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")

freed = {}

def measure(name, make, close):
    made = make()
    before = resident()
    close(made)
    freed[name] = (before - resident()) / size

def stepped(**options):
    env = genie_env.make_vec(world, rows, **options)
    env.reset(seed=0)
    return env

def close(env):
    env.close()  # and `made` still refers to it

class Holder:
    '''Its environment calls its methods.'''

    def __init__(self, **functions):
        self.env = stepped(**{name: getattr(self, name) for name in functions})

    def reward_fn(self, observations, actions, following):
        return np.zeros(rows)

    def termination_fn(self, observations, actions, following):
        return np.zeros(rows, bool)

def holders():
    return [Holder(reward_fn=1, termination_fn=1)]

def forget(made):
    made.clear()
    gc.collect()

def subclass():
    class Own(genie_env.DreamVectorEnv):
        def reward(self, *step):
            return np.zeros(rows)
        def __init__(self):
            super().__init__(world, rows, reward_fn=self.reward)
    return [Own()]

def core():
    own = []
    own.append(genie_env._core.VecEnv(world, num_envs=rows, reward_fn=lambda *step: own))
    return [own]

measure("vector environment", stepped, close)
measure("with a method of its holder", holders, lambda made: close(made[0].env))
measure("its holder forgotten", holders, forget)
measure("its own method", subclass, forget)
measure("the compiled part", core, forget)
measure("single environments",
        lambda: [genie_env.DreamEnv(world) for _ in range(rows)],
        lambda made: [env.close() for env in made])
measure("Stable-Baselines3", lambda: DreamVecEnv(world, rows), close)
measure("TorchRL", lambda: DreamTorchRLEnv(world, rows), close)

def taken(of):
    env = stepped()
    return env, env.snapshot(of)

measure("an environment whose snapshot is kept", lambda: taken([0]), lambda made: close(made[0]))

def snapshot():
    env, snapshot = taken(None)
    env.close()
    return [snapshot]

measure("a snapshot", snapshot, forget)

class Interrupted(Exception):
    pass

def take(block):
    freed["before"] = resident()
    raise Interrupted

def play():
    height, width, _ = world.spec.frame.shape
    actions = actions_of_world(world.spec.actions)
    game = types.SimpleNamespace(
        frame_size=(height, width), actions=actions, has_final_frame=False
    )
    lanes = [players._Lane(game, False, 0.0) for _ in range(rows)]
    jobs = types.SimpleNamespace(take=take)
    players._play_in_lanes(jobs, game, lanes, sys.argv[1], {}, "latents", None, None)

own = rows * World.load(sys.argv[1]).spec.state_bytes_per_row
try:
    play()
except Interrupted as error:  # which refers to the frames of all calls
    freed["a player"] = (freed.pop("before") - resident()) / own
print(json.dumps(freed))
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux tells what is resident")
def test_95_percent_of_the_state_is_freed(tmp_path: Path) -> None:
    sizes = GenieSizes(T=32, S=16, d=64, blocks=4, heads=1, codes=64, K=1)
    world = random_genie_world(tmp_path / "world", sizes)
    command = [sys.executable, "-c", MEASURE, str(world), "128"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    freed = json.loads(done.stdout)
    assert len(freed) == 11
    assert {name: share for name, share in freed.items() if share < 0.95} == {}

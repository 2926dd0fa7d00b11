"""What the shipped worlds dreamt when `data/dreams/NAME.npz` was written: 200 steps of four rows.

    python tests/python/dream_recordings.py worlds/*/    # adds this processor

A recording holds two things. The hash of every step, one list a processor and dtype, because bits are
promised on one device and instruction set only: a processor that is not listed adds its own. And a
few states of the first row, rounded to what 16 bits hold, with the step that follows each in
float32: within a tolerance that step is the same on every processor.

A change that means to alter arithmetic deletes the lists and writes them again; the stored states
and their steps stay as they are.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genie_env import _core
from genie_env.envs.actions import actions_of_world

ROWS, STEPS = 4, 200
KEPT = {"doom-take-cover": (3, 40, 120, 199), "doom-genie": (4, 40), "car-racing": (3, 40, 120)}
"""Steps before which a state is stored."""
OBSERVED = {"doom-take-cover": "zch", "doom-genie": "tokens", "car-racing": "zch"}
"""The observation that is stored of the step after it."""
SHOWN = "features"
"""A field that a step writes to be observed, and that no step of these worlds reads: it was added when
the recordings were there already."""
FOLDER = Path(__file__).parents[1] / "data" / "dreams"


def processor() -> str:
    """What bits depend on, besides the dtype: whose processor it is and what it can do."""
    fields = dict(
        line.split(":", 1)
        for line in Path("/proc/cpuinfo").read_text().split("\n\n")[0].split("\n")
    )
    fields = {name.strip(): value.strip() for name, value in fields.items()}
    flags = fields["flags"].split()
    known = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
    return "-".join([fields["vendor_id"], *(flag for flag in known if flag in flags)])


def actions(world: _core.World, step: int, rows: int = ROWS) -> torch.Tensor:
    """Each row holds an action for a few steps, another for each row."""
    row = torch.arange(rows)
    examples = torch.from_numpy(actions_of_world(world.spec.actions).examples())
    return examples[(row + step // (4 + row)) % len(examples)]


def rng(step: int, rows: int = ROWS) -> _core.RowCounters:
    return _core.RowCounters(range(70, 70 + rows), [0] * rows, [step] * rows)


def begun(world: _core.World) -> _core.WorldState:
    state = world.make_state(ROWS)
    world.begin(state, torch.ones(ROWS, dtype=torch.bool), rng(0))
    return state


def temperature(world: _core.World, rows: int = ROWS) -> torch.Tensor:
    return torch.full((rows,), world.spec.temperature, dtype=torch.float32)


def hashes(world: _core.World, steps: int = STEPS) -> list[str]:
    """One for each of the first steps: of the state after it and of what it brought."""
    state, tau, found = begun(world), temperature(world), []
    for step in range(1, steps + 1):
        outcome = world.step(state, actions(world, step), tau, rng(step))
        digest = hashlib.sha256()
        tensors = [outcome.reward, outcome.terminated, outcome.surprise]
        if step % 50 == 0:
            tensors.append(world.observe(state, "pixels"))
        tensors += [tensor for name, tensor in sorted(state.fields.items()) if name != SHOWN]
        for tensor in tensors:
            digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
        found.append(digest.hexdigest()[:16])
    return found


def stored_fields(world: _core.World, kept: dict[str, np.ndarray], step: int) -> _core.WorldState:
    """A state that holds what was stored before `step`."""
    state = world.make_state(1)
    for name, tensor in state.fields.items():
        if name != SHOWN:
            tensor.copy_(torch.from_numpy(kept[f"{step}/state/{name}"]).to(tensor.dtype))
    return state


def outcome_of(world: _core.World, kept: dict[str, np.ndarray], step: int) -> dict[str, np.ndarray]:
    """The step from a stored state, as arrays."""
    state = stored_fields(world, kept, step)
    tau, kind = temperature(world, 1), OBSERVED[world.spec.name]
    step_ = world.step(state, actions(world, step, 1), tau, rng(step, 1), kind)
    found = {
        "terminated": step_.terminated,
        "surprise": step_.surprise,
        "observation": step_.observation,
        "pixels": world.observe(state, "pixels"),
    }
    return {name: tensor.numpy() for name, tensor in found.items()}


def _record(name: str, directory: Path) -> None:
    world = _core.World.load(directory, dtype="float32")
    file = FOLDER / f"{name}.npz"
    if not file.exists():
        kept: dict[str, Any] = {}
        state, tau = begun(world), temperature(world)
        for step in range(1, STEPS + 1):
            if step in KEPT[name]:
                for field, tensor in state.select(torch.tensor([0])).fields.items():
                    half = torch.float16 if tensor.is_floating_point() else tensor.dtype
                    kept[f"{step}/state/{field}"] = tensor.to(half).numpy()
                for field, array in outcome_of(world, kept, step).items():
                    kept[f"{step}/{field}"] = array
            world.step(state, actions(world, step), tau, rng(step))
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(file, **kept)
    bits = file.with_suffix(".json")
    known = json.loads(bits.read_text()) if bits.exists() else {}
    for dtype in ("float32", "bfloat16"):
        try:
            known[f"{processor()} {dtype}"] = hashes(_core.World.load(directory, dtype=dtype))
        except ValueError as error:  # no bfloat16 here
            print(error)
    bits.write_text(json.dumps(known, indent=0) + "\n")


if __name__ == "__main__":
    for directory_ in map(Path, sys.argv[1:]):
        _record(directory_.name, directory_)

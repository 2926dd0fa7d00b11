"""Small worlds of random weights, laid out as `genie-env freeze` lays them out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

STARTS = 7


def random_weights(
    latents: int = 16, hidden: int = 32, components: int = 3, seed: int = 0, joint: bool = False
) -> dict[str, NDArray[np.float16]]:
    """V and M under their names in model.safetensors, of such sizes that M has something to say;
    about one step in fifty ends an episode."""
    generator = np.random.default_rng(seed)

    def weight(*shape: int, inputs: int, gain: float = 1.0) -> NDArray[np.float16]:
        bound = gain / np.sqrt(inputs)
        return generator.uniform(-bound, bound, shape).astype(np.float16)

    weights: dict[str, NDArray[np.float16]] = {}

    def layer(name: str, shape: tuple[int, ...], outputs: int, inputs: int) -> None:
        weights[f"vision.{name}.weight"] = weight(*shape, inputs=inputs, gain=2)
        weights[f"vision.{name}.bias"] = weight(outputs, inputs=inputs)

    for i, (inputs, outputs) in enumerate([(3, 32), (32, 64), (64, 128), (128, 256)], 1):
        layer(f"conv{i}", (outputs, inputs, 4, 4), outputs, inputs * 16)
    layer("mu", (latents, 1024), latents, 1024)
    layer("logvar", (latents, 1024), latents, 1024)
    layer("expand", (1024, latents), 1024, latents)
    for i, (inputs, outputs, side) in enumerate(
        [(1024, 128, 5), (128, 64, 5), (64, 32, 6), (32, 3, 6)], 1
    ):
        layer(f"deconv{i}", (inputs, outputs, side, side), outputs, inputs * side * side // 4)

    mixtures = 1 if joint else latents
    output = (mixtures + 2 * latents) * components + 1
    weights["memory.weight_ih"] = weight(4 * hidden, latents + 2, inputs=hidden, gain=3)
    weights["memory.weight_hh"] = weight(4 * hidden, hidden, inputs=hidden, gain=3)
    weights["memory.bias"] = weight(4 * hidden, inputs=hidden, gain=3)
    weights["memory.output.weight"] = weight(output, hidden, inputs=hidden, gain=3)
    weights["memory.output.bias"] = weight(output, inputs=hidden, gain=3)
    weights["memory.output.bias"][-1] = -4
    return weights


def random_config(latents: int = 16, hidden: int = 32, components: int = 3) -> dict[str, object]:
    return {
        "format_version": 1,
        "family": "vision-memory",
        "name": "random",
        "sizes": {"latents": latents, "hidden": hidden, "components": components},
        "actions": {"meanings": ["left", "stay", "right"], "inputs": [-1.0, 0.0, 1.0]},
        "frame": {"height": 64, "width": 64},
        "frame_skip": 1,
        "max_episode_steps": 100,
        "reward_per_step": 1.0,
        "temperature": 1.15,
        "termination": "sampled",
        "real_game": "doom-take-cover",
    }


def write_random_world(
    directory: Path,
    latents: int = 16,
    hidden: int = 32,
    components: int = 3,
    seed: int = 0,
    joint: bool = False,
) -> Path:
    """Writes a world into `directory`; returns it. `joint`: of M's mixture."""
    directory.mkdir(parents=True, exist_ok=True)
    config = random_config(latents, hidden, components) | ({"mixture": "joint"} if joint else {})
    (directory / "config.json").write_text(json.dumps(config))
    weights = random_weights(latents, hidden, components, seed, joint)
    save_file(weights, directory / "model.safetensors")
    generator = np.random.default_rng(seed + 1)
    starts = {
        "mu": generator.normal(size=(STARTS, latents)).astype(np.float32),
        "logvar": np.full((STARTS, latents), -2, np.float32),
    }
    save_file(starts, directory / "starts.safetensors")
    return directory


BOX = {"type": "box", "shape": [2], "low": [-1.0, 0.0], "high": [1.0, 0.5]}
CAR = {"type": "box", "shape": [3], "low": [-1.0, 0.0, 0.0], "high": [1.0, 1.0, 1.0]}


def write_car_world(directory: Path) -> Path:
    """The same of CarRacing, 25 steps of which are an episode."""
    return write_boxed_world(
        directory, actions=CAR, real_game="car-racing", frame_skip=40, max_episode_steps=25
    )


def write_boxed_world(
    directory: Path, hidden: int = 32, actions: dict[str, Any] = BOX, **more: object
) -> Path:
    """The same with continuous actions, rewards that M has learned, and terminations that the next
    frame shows. `more`: of its config."""
    write_random_world(directory, hidden=hidden)
    file = directory / "config.json"
    config = json.loads(file.read_text())
    del config["reward_per_step"], config["real_game"]
    config |= {
        "format_version": 3,
        "actions": actions,
        "reward": {"type": "learned", "low": -3.0, "high": 2.0},
        "termination_reads": "next_frame",
        **more,
    }
    file.write_text(json.dumps(config))
    latents, units, outputs = config["sizes"]["latents"], 256, 64
    generator = np.random.default_rng(7)
    weights = random_weights(hidden=hidden)
    weights |= {
        f"memory.{name}": generator.normal(0, shape[-1] ** -0.5, shape).astype(np.float16)
        for name, shape in {
            "weight_ih": (4 * hidden, latents + len(actions["low"]) + 1),
            "outcome.units.weight": (units, hidden + latents),
            "outcome.units.bias": (units,),
            "outcome.output.weight": (outputs, units),
            "outcome.output.bias": (outputs,),
        }.items()
    }
    save_file(weights, directory / "model.safetensors")
    return directory

"""`genie-env freeze`: trained networks become a world directory."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich import print as show
from safetensors.torch import save

from genie_env._core import Memory
from genie_env.files import write_atomically, write_json
from genie_env.training.data import held_out, open_stores
from genie_env.training.loop import load_weights
from genie_env.training.memory import ACTION_INPUTS, encoded_stores
from genie_env.training.vision import load_vision

FORMAT_VERSION = 1
STARTS = 1000


def freeze(
    vision: Annotated[Path, typer.Option(help="run directory of `train vision`")],
    memory: Annotated[Path, typer.Option(help="run directory of `train memory`")],
    out: Annotated[Path, typer.Option(help="world directory to write")],
    name: Annotated[str, typer.Option(help="of the world")] = "doom-take-cover",
    temperature: Annotated[float, typer.Option(help="tau, as `calibrate` names it")] = 1.0,
    termination: Annotated[str, typer.Option(help="sampled or thresholded")] = "sampled",
) -> None:
    """Freeze trained networks into a world directory."""
    if temperature <= 0:
        raise ValueError(f"the temperature is {temperature}; it must be above 0")
    if termination not in ("sampled", "thresholded"):
        raise ValueError(f"the termination is {termination!r}: give 'sampled' or 'thresholded'")
    settings = json.loads((memory / "settings.json").read_text())
    seen_by = Path(settings["vision"])
    if seen_by.resolve() != vision.resolve():
        raise ValueError(f"{memory} was trained on what {seen_by} makes of frames, not {vision}")
    eyes = load_vision(vision)
    directories = [Path(d) for d in settings["data"]]
    stores = open_stores(directories)

    first_frames = []
    for store, latents in zip(
        stores, encoded_stores(vision, eyes, directories, stores), strict=True
    ):
        learned = store.episode_starts[:-1][~held_out(store)]
        first_frames.append(np.asarray(latents[learned], np.float32))
    starts = np.concatenate(first_frames)[:STARTS]

    out.mkdir(parents=True, exist_ok=True)
    weights = {f"vision.{k}": v for k, v in load_weights(vision).items()}
    weights |= {f"memory.{k}": v for k, v in load_weights(memory).items()}
    # M's loss counts a death many times, which multiplies the odds that M learns. Divided out, the
    # logit is that of the probability itself, and dreams end as often as the recorded episodes.
    weights["memory.output.bias"][-1] -= math.log(Memory.death_weight)
    halves = {k: v.to(torch.float16).contiguous() for k, v in weights.items()}
    write_atomically(out / "model.safetensors", lambda file: file.write_bytes(save(halves)))
    contexts = {
        "mu": torch.from_numpy(starts[:, 0].copy()),
        "logvar": torch.from_numpy(starts[:, 1].copy()),
    }
    write_atomically(out / "starts.safetensors", lambda file: file.write_bytes(save(contexts)))
    write_json(
        out / "config.json",
        {
            "format_version": FORMAT_VERSION,
            "family": "vision-memory",
            "name": name,
            "sizes": {
                "latents": eyes.latents,
                "hidden": settings["hidden"],
                "components": settings["components"],
            },
            "actions": {"meanings": ["left", "stay", "right"], "inputs": list(ACTION_INPUTS)},
            "frame": {"height": 64, "width": 64},
            "frame_skip": 1,
            "max_episode_steps": 2100,
            "reward_per_step": 1.0,
            "temperature": temperature,
            "termination": termination,
            "real_game": "doom-take-cover",
            "training": {
                "vision": _provenance(vision),
                "memory": _provenance(memory),
                "data": [json.loads(store.meta) for store in stores],
            },
        },
    )
    show(f"wrote {out}")


def _provenance(run: Path) -> dict[str, object]:
    """What a run was given and what it reached."""
    settings = json.loads((run / "settings.json").read_text())
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    return {"settings": settings, "held_out": last["held_out"], "step": last["step"]}

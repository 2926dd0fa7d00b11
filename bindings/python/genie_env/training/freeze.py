"""`genie-env freeze`: trained networks become a world directory."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich import print as show
from safetensors.torch import save

from genie_env.files import write_atomically, write_json
from genie_env.games.doom import TIMEOUT
from genie_env.games.frames import DOOM
from genie_env.training.data import LatentData, held_out, open_stores
from genie_env.training.memory import action_inputs, encoded_stores, load_memory
from genie_env.training.odds import held_out_odds
from genie_env.training.recorded import recorded_game
from genie_env.training.runs import final_report, load_weights, read_settings
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
    reports = {"vision": final_report(vision, "vision"), "memory": final_report(memory, "memory")}
    seen = read_settings(vision, "vision")
    settings = read_settings(memory, "memory")
    seen_by = Path(settings["vision"])
    if seen_by.resolve() != vision.resolve():
        raise ValueError(f"{memory} was trained on what {seen_by} makes of frames, not {vision}")
    directories = [Path(d) for d in settings["data"]]
    stores = open_stores(directories)
    seen_directories = [Path(d) for d in seen["data"]]
    seen_stores = open_stores(seen_directories)
    game = recorded_game(directories + seen_directories, stores + seen_stores)
    if game.game != DOOM:
        raise ValueError(
            f"the recordings are of {game.game}; only worlds of {DOOM} can be frozen so far, as a "
            "world says what a step is worth and how long an episode may last"
        )
    inputs = action_inputs(game)

    eyes = load_vision(vision)
    mind = load_memory(memory, eyes)
    latents = encoded_stores(vision, eyes, directories, stores)
    odds = held_out_odds(
        mind, LatentData(stores, latents, inputs, held_out_part=True), settings["window"]
    )
    starts = np.concatenate(
        [
            encoded[store.episode_starts[:-1][~held_out(store)]]
            for store, encoded in zip(stores, latents, strict=True)
        ]
    )[:STARTS]

    out.mkdir(parents=True, exist_ok=True)
    weights = {f"vision.{k}": v for k, v in load_weights(vision, "vision").items()}
    weights |= {f"memory.{k}": v for k, v in odds.apply(load_weights(memory, "memory")).items()}
    halves = {k: v.to(torch.float16).contiguous() for k, v in weights.items()}
    write_atomically(out / "model.safetensors", lambda file: file.write_bytes(save(halves)))
    contexts = {
        "mu": torch.from_numpy(starts[:, 0].astype(np.float32)),
        "logvar": torch.from_numpy(starts[:, 1].astype(np.float32)),
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
            "actions": {"meanings": list(game.actions), "inputs": inputs},
            "frame": {"height": 64, "width": 64},
            "frame_skip": game.frame_skip,
            # A step lasts that many tics, and each tic survived is worth a point.
            "max_episode_steps": TIMEOUT // game.frame_skip,
            "reward_per_step": float(game.frame_skip),
            "temperature": temperature,
            "termination": termination,
            "real_game": game.game,
            "training": {
                "vision": _provenance(seen, reports["vision"]),
                "memory": _provenance(settings, reports["memory"]),
                "death_odds": asdict(odds),
                "data": {
                    "vision": [json.loads(store.meta) for store in seen_stores],
                    "memory": [json.loads(store.meta) for store in stores],
                },
            },
        },
    )
    show(f"wrote {out}")


def _provenance(settings: dict[str, Any], report: dict[str, Any]) -> dict[str, Any]:
    """What a run was given and what it reached."""
    return {"settings": settings, "held_out": report["held_out"], "step": report["step"]}

"""`genie-env freeze vision-memory`: V and M become a world directory."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich import print as show

from genie_env.data.datasets import LatentData, held_out, open_stores
from genie_env.data.recording_metadata import recorded_game
from genie_env.envs.validation import check_temperature
from genie_env.families.latent_statistics import gaussians, support_of
from genie_env.families.vision_memory.termination_calibration import held_out_odds
from genie_env.families.world_files import STARTS, prefixed, provenance, world_name, write_world
from genie_env.games.registry import registered_game
from genie_env.training.memory import action_inputs, encoded_stores, load_memory
from genie_env.training.runs import load_weights
from genie_env.training.vision import load_vision


def freeze_vision_memory(
    vision: Annotated[Path, typer.Option(help="run directory of `train vision`")],
    memory: Annotated[Path, typer.Option(help="run directory of `train memory`")],
    out: Annotated[Path, typer.Option(help="world directory to write")],
    name: Annotated[
        str | None, typer.Option(help="of the world; that of its directory unless given")
    ] = None,
    temperature: Annotated[float, typer.Option(help="tau, as `calibrate` names it")] = 1.0,
    termination: Annotated[str, typer.Option(help="sampled or thresholded")] = "sampled",
) -> None:
    """Freeze V and M into a world directory."""
    check_temperature(temperature)
    if termination not in ("sampled", "thresholded"):
        raise ValueError(f"the termination is {termination!r}: give 'sampled' or 'thresholded'")
    learned = {"vision": provenance(vision, "vision"), "memory": provenance(memory, "memory")}
    seen, settings = (learned[part]["settings"] for part in ("vision", "memory"))
    seen_by = Path(settings["vision"])
    if seen_by.resolve() != vision.resolve():
        raise ValueError(f"{memory} was trained on what {seen_by} makes of frames, not {vision}")
    directories = [Path(d) for d in settings["data"]]
    stores = open_stores(directories)
    seen_directories = [Path(d) for d in seen["data"]]
    seen_stores = open_stores(seen_directories)
    game = recorded_game(directories + seen_directories, stores + seen_stores)
    real = registered_game(game.game)
    if real is None or real.max_steps is None or real.reward_per_step is None:
        raise ValueError(
            f"the recordings are of {game.game}, which does not say what every step is worth and "
            "how long an episode may last, as a world does: give recordings of a game that does"
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

    write_world(
        out,
        {
            "family": "vision-memory",
            "name": world_name(out, name),
            "sizes": {
                "latents": eyes.latents,
                "hidden": settings["hidden"],
                "components": settings["components"],
            },
            "actions": {"meanings": list(game.actions), "inputs": inputs},
            "frame": {"height": 64, "width": 64},
            "frame_skip": game.frame_skip,
            "max_episode_steps": real.max_steps // game.frame_skip,
            "reward_per_step": real.reward_per_step * game.frame_skip,
            "temperature": temperature,
            "termination": termination,
            "real_game": game.game,
            "training": {
                **learned,
                "death_odds": asdict(odds),
                "data": {
                    "vision": [json.loads(store.meta) for store in seen_stores],
                    "memory": [json.loads(store.meta) for store in stores],
                },
            },
        },
        {
            **prefixed("vision", load_weights(vision, "vision")),
            **prefixed("memory", odds.apply(load_weights(memory, "memory"))),
        },
        {
            "mu": torch.from_numpy(starts[:, 0].astype(np.float32)),
            "logvar": torch.from_numpy(starts[:, 1].astype(np.float32)),
        },
        support_of(stores, [gaussians(encoded) for encoded in latents]),
    )
    show(f"wrote {out}")

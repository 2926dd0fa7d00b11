"""Freezes V and M into a world directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genie_env._core import EpisodeStore, Memory, Trainer, Vision
from genie_env.data.datasets import FrameData, LatentData, held_out, longest_episode, open_stores
from genie_env.data.frame_rate import rate_of
from genie_env.data.progress import say
from genie_env.data.recording_metadata import RecordedGame, read_meta, recorded_game
from genie_env.data.run_directory import only_writer
from genie_env.envs.actions import DiscreteActions
from genie_env.envs.validation import check_temperature
from genie_env.families.latent_statistics import gaussians, latent_statistics
from genie_env.families.vision_memory.termination_calibration import calibrate_termination
from genie_env.families.world_files import (
    STARTS,
    Figures,
    Weights,
    check_choice,
    held_out_figures,
    part,
    prefixed,
    provenance,
    world_name,
    write_world,
)
from genie_env.games.registry import registered_game
from genie_env.training.memory import (
    ENCODED_AT_ONCE,
    MEMORY,
    SHARES,
    action_inputs,
    encode_rows,
    encoded_stores,
    load_memory,
)
from genie_env.training.memory import HELD_OUT_BATCHES as MEMORY_BATCHES
from genie_env.training.runs import load_weights
from genie_env.training.vision import HELD_OUT_BATCHES as VISION_BATCHES
from genie_env.training.vision import VISION, load_vision


def freeze_vision_memory(
    vision: Path,
    memory: Path,
    out: Path,
    name: str | None = None,
    temperature: float = 1.0,
    termination: str = "sampled",
) -> None:
    """Writes the world of V and M, the run directories `vision` and `memory`, into `out`.

    `termination`: "sampled" or "thresholded". Raises ValueError where a run is unfinished or
    damaged, or the runs do not belong together; `out` is then as it was.
    """
    check_temperature(temperature)
    check_choice("vision-memory", "termination", termination)
    learned = {"vision": provenance(vision, VISION), "memory": provenance(memory, MEMORY)}
    vision_settings, settings = (learned[name]["settings"] for name in ("vision", "memory"))
    trained_with = Path(settings["vision"])
    if trained_with.resolve() != vision.resolve():
        raise ValueError(
            f"{memory} was trained on the latents of {trained_with}, not of {vision}: give that one"
        )
    directories = [Path(d) for d in settings["data"]]
    stores = open_stores(directories)
    vision_directories = [Path(d) for d in vision_settings["data"]]
    vision_stores = open_stores(vision_directories)
    game = recorded_game(directories + vision_directories, stores + vision_stores)
    if not isinstance(game.actions, DiscreteActions):
        raise ValueError(f"{game.game} has {game.actions}: M knows only numbered actions")
    inputs = action_inputs(game.actions.count)

    with only_writer(out):
        encoder = load_vision(vision)
        latents = encoded_stores(vision, encoder, directories, stores)
        calibration = calibrate_termination(
            load_memory(memory, encoder),
            LatentData(stores, latents, inputs, held_out_part=True),
            settings["window"],
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
                    "latents": encoder.latents,
                    "hidden": settings["hidden"],
                    "components": settings["components"],
                },
                "actions": {"meanings": list(game.actions.meanings), "inputs": inputs},
                "frame": {"height": stores[0].height, "width": stores[0].width},
                "frame_skip": game.frame_skip,
                **rate_of(directories, stores),
                "max_episode_steps": longest_dream(game, stores),
                "reward_per_step": reward_per_step(game, stores),
                "temperature": temperature,
                "termination": termination,
                "real_game": game.game,
                "training": {
                    **learned,
                    "termination_calibration": asdict(calibration),
                    "data": {
                        "vision": [*map(read_meta, vision_directories, vision_stores)],
                        "memory": [*map(read_meta, directories, stores)],
                    },
                },
            },
            {
                **prefixed("vision", load_weights(vision, VISION)),
                **prefixed("memory", calibration.apply(load_weights(memory, MEMORY))),
            },
            {
                "mu": torch.from_numpy(starts[:, 0].astype(np.float32)),
                "logvar": torch.from_numpy(starts[:, 1].astype(np.float32)),
            },
            latent_statistics(stores, [gaussians(encoded) for encoded in latents]),
            measure=lambda made, weights: _figures(
                weights, vision_settings, settings, vision_stores, stores, inputs
            ),
        )
    say(f"wrote {out}")


def _figures(
    weights: Weights,
    vision_settings: Mapping[str, Any],
    settings: Mapping[str, Any],
    vision_stores: Sequence[EpisodeStore],
    stores: Sequence[EpisodeStore],
    inputs: Sequence[float],
) -> dict[str, Figures]:
    """The held-out figures of a world's weights, on the batches of the trainings; what M reads is
    encoded by the world's V."""
    vision = Vision(latents=vision_settings["latents"], beta=vision_settings.get("beta", 1.0))
    seed, bf16 = vision_settings["seed"], vision_settings["dtype"] == "bfloat16"
    frames = FrameData(vision_stores, held_out_part=True)
    size = min(vision_settings["batch"], len(frames))
    of_vision = held_out_figures(
        Trainer(vision, bf16=bf16, seed=seed),
        part("vision", weights),
        (frames.batch(size, seed, index) for index in range(VISION_BATCHES)),
    )
    encoded = [_encode_held_out(vision, store) for store in stores]
    window, seed = settings["window"], settings["seed"]
    windows = LatentData(stores, encoded, inputs, held_out_part=True)
    batches = windows.batches_an_epoch(1, window)
    size = min(settings["batch"], batches)
    memory = Memory(
        latents=vision.latents, hidden=settings["hidden"], components=settings["components"]
    )
    of_memory = held_out_figures(
        Trainer(memory, bf16=settings["dtype"] == "bfloat16", seed=seed),
        part("memory", weights),
        (windows.batch(size, window, seed, i) for i in range(min(MEMORY_BATCHES, batches // size))),
        SHARES,
    )
    return {"vision": of_vision, "memory": of_memory}


def _encode_held_out(vision: Vision, store: EpisodeStore) -> NDArray[np.float16]:
    """float16 [frames, 2, latents]: mu and logvar of frames in held-out episodes; 0 in others."""
    encoded = np.zeros((store.num_frames, 2, vision.latents), np.float16)
    rows = np.flatnonzero(np.repeat(held_out(store), np.diff(store.episode_starts)))
    for first in range(0, len(rows), ENCODED_AT_ONCE):
        encode_rows(vision, store, encoded, rows[first : first + ENCODED_AT_ONCE])
    return encoded


def longest_dream(recorded: RecordedGame, stores: Sequence[EpisodeStore]) -> int:
    """Steps after which an episode is truncated: as in the game, or, where that has no limit that
    is known, after the longest recorded episode."""
    game = registered_game(recorded.game)
    if game is not None and game.max_steps is not None:
        return game.max_steps // recorded.frame_skip
    return max(longest_episode(stores, held_out_part=unseen) for unseen in (False, True))


def reward_per_step(recorded: RecordedGame, stores: Sequence[EpisodeStore]) -> float:
    """The reward of every step: as the game says, or, where it does not, the one of all recorded
    steps but each episode's last, which may be cut short.

    M does not learn rewards: where they vary, the world pays 0, and a line says so.
    """
    game = registered_game(recorded.game)
    if game is not None and game.reward_per_step is not None:
        return game.reward_per_step * recorded.frame_skip
    values: set[float] = set()
    for store in stores:
        whole = np.ones(store.num_frames, bool)
        whole[store.episode_starts[1:] - 1] = False
        values |= set(np.unique(store.rewards[whole]).tolist())
    if len(values) == 1:
        return values.pop()
    say(
        f"the rewards of {recorded.game} vary, and M does not learn them: the world pays 0; give "
        "its environments a reward_fn"
    )
    return 0.0

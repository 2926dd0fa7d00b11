"""Freezes V and M into a world directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genie_env._core import EpisodeStore, Trainer, Vision
from genie_env.data.datasets import FrameData, held_out, open_stores
from genie_env.data.frame_rate import rate_of
from genie_env.data.progress import say
from genie_env.data.recording_metadata import read_meta, recorded_game
from genie_env.data.run_directory import only_writer
from genie_env.envs.actions import Actions
from genie_env.envs.validation import check_temperature
from genie_env.families.latent_statistics import gaussians, latent_statistics
from genie_env.families.played_game import PlayedGame, longest_dream
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
    reward_config,
    world_name,
    write_world,
)
from genie_env.training.latent_windows import LatentData, Latents
from genie_env.training.memory import (
    ENCODED_AT_ONCE,
    MEMORY,
    encode_rows,
    encoded_stores,
    load_memory,
    make_memory,
)
from genie_env.training.memory import HELD_OUT_BATCHES as MEMORY_BATCHES
from genie_env.training.outcomes import SHARES, Outcomes
from genie_env.training.runs import load_weights
from genie_env.training.vision import HELD_OUT_BATCHES as VISION_BATCHES
from genie_env.training.vision import VISION, load_vision, make_vision


def freeze_vision_memory(
    vision: Path,
    memory: Path,
    out: Path,
    name: str | None = None,
    temperature: float = 1.0,
    termination: str = "sampled",
    played: PlayedGame = PlayedGame(),
) -> None:
    """Writes the world of V and M, the run directories `vision` and `memory`, into `out`.

    `termination`: "sampled" or "thresholded". `played`: the real game, where it is another than the
    recorded one. Raises ValueError where a run is unfinished or
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
    outcomes = Outcomes.of(stores)
    if not outcomes.terminates:
        termination = "never"
        say(f"no recorded episode of {game.game} terminates: dreams in this world will not either")

    with only_writer(out):
        encoder = load_vision(vision)
        latents = encoded_stores(vision, encoder, directories, stores)
        weights = load_weights(memory, MEMORY)
        calibrated = {}
        if outcomes.terminates:
            calibration = calibrate_termination(
                load_memory(memory, encoder),
                LatentData(stores, latents, game.actions, held_out_part=True),
                settings["window"],
                judges_termination=settings["judges_termination"],
            )
            judged = ("outcome.output",) if settings["judges_termination"] else ()
            weights = calibration.apply(weights, ("output", *judged))  # their sum
            calibrated = {"termination_calibration": asdict(calibration)}
        starts = np.concatenate(
            [
                encoded.frames[store.episode_starts[:-1][~held_out(store)]]
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
                "mixture": settings["mixture"],
                "actions": game.actions.as_json(),
                "frame": {"height": stores[0].height, "width": stores[0].width},
                "frame_skip": game.frame_skip,
                **rate_of(directories, stores),
                "max_episode_steps": longest_dream(game, stores),
                "reward": reward_config(settings.get("rewards"), outcomes.reward_per_step),
                "temperature": temperature,
                "termination": termination,
                "termination_reads": "next_frame" if settings["judges_termination"] else "action",
                "real_game": game.game,
                **played.config(),
                "training": {
                    **learned,
                    **calibrated,
                    "data": {
                        "vision": [*map(read_meta, vision_directories, vision_stores)],
                        "memory": [*map(read_meta, directories, stores)],
                    },
                },
            },
            {
                **prefixed("vision", load_weights(vision, VISION)),
                **prefixed("memory", weights),
            },
            {
                "mu": torch.from_numpy(starts[:, 0].astype(np.float32)),
                "logvar": torch.from_numpy(starts[:, 1].astype(np.float32)),
            },
            latent_statistics(stores, [gaussians(encoded.frames) for encoded in latents]),
            measure=lambda made, weights: _figures(
                weights, vision_settings, settings, vision_stores, stores, game.actions
            ),
            played=played,
        )
    say(f"wrote {out}")


def _figures(
    weights: Weights,
    vision_settings: Mapping[str, Any],
    settings: Mapping[str, Any],
    vision_stores: Sequence[EpisodeStore],
    stores: Sequence[EpisodeStore],
    actions: Actions,
) -> dict[str, Figures]:
    """The held-out figures of a world's weights, on the batches of the trainings; what M reads is
    encoded by the world's V."""
    vision = make_vision(vision_settings)
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
    windows = LatentData(stores, encoded, actions, held_out_part=True)
    batches = windows.batches_an_epoch(1, window)
    size = min(settings["batch"], batches)
    memory = make_memory(vision, settings)
    of_memory = held_out_figures(
        Trainer(memory, bf16=settings["dtype"] == "bfloat16", seed=seed),
        part("memory", weights),
        (windows.batch(size, window, seed, i) for i in range(min(MEMORY_BATCHES, batches // size))),
        SHARES,
    )
    return {"vision": of_vision, "memory": of_memory}


def _encode_held_out(vision: Vision, store: EpisodeStore) -> Latents:
    """The latents of held-out episodes; 0 in others."""

    def encode(frames: NDArray[np.uint8], wanted: NDArray[np.bool_]) -> NDArray[np.float16]:
        encoded = np.zeros((len(frames), 2, vision.latents), np.float16)
        rows = np.flatnonzero(wanted)
        for first in range(0, len(rows), ENCODED_AT_ONCE):
            encode_rows(vision, frames, encoded, rows[first : first + ENCODED_AT_ONCE])
        return encoded

    wanted = held_out(store)
    finals = store.final_frames
    return Latents(
        encode(store.frames, np.repeat(wanted, np.diff(store.episode_starts))),
        None if finals is None else encode(finals, wanted),
    )

"""Trains V, a variational autoencoder, from single frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from genie_env._core import Vision
from genie_env.data.datasets import FrameData, check_enough, open_stores
from genie_env.media.pictures import save_rows
from genie_env.training.loop import Schedule, train
from genie_env.training.runs import COMMON, Network, claim_training, load_network
from genie_env.training.settings import LearningRate, Steps, TrainingSettings, size_option

PICTURED = 16
HELD_OUT_BATCHES = 8

VISION = Network("vision", {**COMMON, "latents": int})


@dataclass(frozen=True, kw_only=True)
class VisionSettings(TrainingSettings):
    """What `train_vision` is given."""

    network = VISION

    steps: Steps = 8000
    batch: Annotated[int, typer.Option(help="frames per batch", min=1, max=65_536)] = 100
    learning_rate: LearningRate = 5e-4
    latents: Annotated[int, size_option("dimensions of z", "latents")] = 64
    beta: Annotated[
        float,
        typer.Option(
            help="weight of the KL divergence in the loss; below 1, small things are kept",
            min=1e-6,
            max=1e6,
        ),
    ] = 1.0


def load_vision(run: Path, device: str = "cpu") -> Vision:
    """V as a run of `train_vision` left it."""
    return load_network(run, VISION, lambda settings: Vision(latents=settings["latents"]), device)


def train_vision(settings: VisionSettings) -> None:
    """Train V, a variational autoencoder, on recorded frames."""
    stores = open_stores(settings.data)
    height, width = stores[0].height, stores[0].width
    side = Vision.frame_side
    if (height, width) != (side, side):
        raise ValueError(
            f"the recorded frames are {height} x {width}, but V takes {side} x {side}: "
            "record the game in that size, or train a tokenizer, which takes other sizes"
        )
    check_enough(stores, trained=settings.batch, unseen=1)
    frames = FrameData(stores, held_out_part=False)
    unseen = FrameData(stores, held_out_part=True)
    vision = Vision(latents=settings.latents, seed=settings.seed, beta=settings.beta)
    make_trainer = settings.trainers(vision)
    size = min(settings.batch, len(unseen))
    held_out = [unseen.batch(size, settings.seed, i) for i in range(HELD_OUT_BATCHES)]

    def picture(step: int) -> None:
        # Above: held-out frames; below: their reconstructions from the mean of z.
        real = held_out[0]["frames"][:PICTURED]
        decoded = vision.decode(vision.encode(real)[0]).cpu()
        save_rows(settings.out / "reconstructions.png", [real, decoded], scale=1)

    with claim_training(settings.out, {**settings.saved(), "frames": len(frames)}, stores) as dtype:
        train(
            make_trainer,
            dtype,
            settings.out,
            Schedule(settings.steps, settings.learning_rate),
            lambda step: frames.batch(settings.batch, settings.seed, step),
            held_out,
            title=settings.network.name,
            items_a_batch=settings.batch,
            item="frames",
            picture=picture,
        )

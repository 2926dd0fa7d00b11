"""Trains V, a variational autoencoder, from single frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from genie_env._core import Trainer, Vision
from genie_env.data.datasets import FrameData, check_enough, open_stores
from genie_env.data.frame_size import VISION_SIZES, vision_takes
from genie_env.media.pictures import save_rows
from genie_env.training.loop import Schedule, train
from genie_env.training.runs import (
    COMMON,
    Network,
    claim_training,
    has_begun,
    load_network,
    start_from,
)
from genie_env.training.settings import (
    Emphasis,
    LearningRate,
    Steps,
    TrainingSettings,
    size_option,
)

PICTURED = 16
HELD_OUT_BATCHES = 8
MEAN_BATCHES = 4
"""Of which the mean colour is what V shows at first."""

VISION = Network("vision", {**COMMON, "latents": int, "frame": [int, int]})


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
    emphasis: Emphasis = 0.0
    start: Annotated[
        Path | None, typer.Option(help="run directory whose V training starts from")
    ] = None


def make_vision(settings: Mapping[str, Any]) -> Vision:
    """V as the settings of a run say, with the weights that every V begins with."""
    height, width = settings["frame"]
    return Vision(
        latents=settings["latents"],
        height=height,
        width=width,
        seed=settings["seed"],
        beta=settings.get("beta", 1.0),
        emphasis=settings.get("emphasis", 0.0),
    )


def load_vision(run: Path, device: str = "cpu") -> Vision:
    """V as a run of `train_vision` left it."""
    return load_network(run, VISION, make_vision, device)


def show_the_mean(vision: Vision, frames: Sequence[torch.Tensor]) -> None:
    """Lets a V that has learned nothing show the mean colour of frames, uint8 [N, H, W, 3] each.

    It would otherwise begin with grey, and of pictures that are nearly white its first updates go so
    far that the sigmoid is flat wherever something is dark: it would show white for ever.
    """
    means = torch.stack([each.float().mean((0, 1, 2)) for each in frames]).mean(0) / 255
    trainer = Trainer(vision)
    weights = trainer.weights()
    weights["deconv4.bias"] = torch.logit(means, eps=0.02)
    trainer.load_weights(weights)


def train_vision(settings: VisionSettings) -> None:
    """Train V, a variational autoencoder, on recorded frames."""
    stores = open_stores(settings.data)
    size = stores[0].height, stores[0].width
    if not vision_takes(size):
        raise ValueError(
            f"the recorded frames are {size[0]} x {size[1]}, but V takes {VISION_SIZES}: record the "
            "game in such a size, or train a tokenizer, which takes others"
        )
    check_enough(stores, trained=settings.batch, unseen=1)
    frames = FrameData(stores, held_out_part=False)
    unseen = FrameData(stores, held_out_part=True)
    saved = {**settings.saved(), "frame": list(size), "frames": len(frames)}
    vision = make_vision(saved)
    if settings.start is None:
        first = [frames.batch(settings.batch, settings.seed, i) for i in range(MEAN_BATCHES)]
        show_the_mean(vision, [each["frames"] for each in first])
    elif not has_begun(settings.out):
        start_from(settings.start, VISION, vision, saved, ("latents", "frame"))
    make_trainer = settings.trainers(vision)
    few = min(settings.batch, len(unseen))
    held_out = [unseen.batch(few, settings.seed, i) for i in range(HELD_OUT_BATCHES)]

    def picture(step: int) -> None:
        # Above: held-out frames; below: their reconstructions from the mean of z.
        real = held_out[0]["frames"][:PICTURED]
        decoded = vision.decode(vision.encode(real)[0]).cpu()
        save_rows(settings.out / "reconstructions.png", [real, decoded], scale=1)

    with claim_training(settings.out, saved, stores) as dtype:
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

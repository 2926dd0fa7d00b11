"""`genie-env train vision`: V, from single frames."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image

from genie_env._core import Trainer, Vision
from genie_env.data.datasets import FrameData, check_enough, open_stores
from genie_env.training.loop import Schedule, train
from genie_env.training.options import (
    Bf16Option,
    DeviceOption,
    LearningRateOption,
    OutOption,
    StepsOption,
)
from genie_env.training.runs import claim_training, load_network

PICTURED = 16


def load_vision(run: Path, device: str = "cpu") -> Vision:
    """V as a run of `train_vision` left it."""
    return load_network(run, "vision", lambda settings: Vision(latents=settings["latents"]), device)


def train_vision(
    data: Annotated[list[Path], typer.Option(help="directory of recorded episodes; may be repeated")],
    out: OutOption,
    steps: StepsOption = 8000,
    batch: Annotated[int, typer.Option(help="frames a batch", min=1)] = 100,
    learning_rate: LearningRateOption = 5e-4,
    latents: Annotated[int, typer.Option(help="size of z")] = 64,
    beta: Annotated[
        float, typer.Option(help="what a nat of z costs; below 1, small things are kept")
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="of weights, noise and data order", min=0)] = 0,
    bf16: Bf16Option = True,
    device: DeviceOption = "cpu",
) -> None:
    """Train V, a variational autoencoder, on recorded frames."""
    stores = open_stores(data)
    check_enough(stores, trained=batch, unseen=1)
    frames = FrameData(stores, held_out_part=False)
    unseen = FrameData(stores, held_out_part=True)
    vision = Vision(latents=latents, seed=seed, beta=beta)
    claim_training(
        out,
        {
            "network": "vision",
            "data": [str(d) for d in data],
            "frames": len(frames),
            "steps": steps,
            "batch": batch,
            "learning_rate": learning_rate,
            "latents": latents,
            "beta": beta,
            "seed": seed,
            "bf16": bf16,
        },
        stores,
    )
    held_out = [unseen.batch(min(batch, len(unseen)), seed, i) for i in range(8)]

    def picture(step: int) -> None:
        # Above: held-out frames; below: what V makes of their means.
        real = held_out[0]["frames"][:PICTURED]
        decoded = vision.decode(vision.encode(real)[0]).cpu()
        rows = torch.stack([real, decoded]).permute(0, 2, 1, 3, 4).flatten(2, 3).flatten(0, 1)
        Image.fromarray(np.asarray(rows)).save(out / "reconstructions.png")

    train(
        Trainer(vision, learning_rate=learning_rate, bf16=bf16, seed=seed, device=device),
        out,
        Schedule(steps, learning_rate),
        lambda step: frames.batch(batch, seed, step),
        held_out,
        title="vision",
        items_a_batch=batch,
        item="frames",
        picture=picture,
    )

"""`genie-env train memory`: M, from windows of encoded frames and actions."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.progress import track

from genie_env._core import EpisodeStore, Memory, Trainer, Vision
from genie_env.files import claim_run, write_atomically
from genie_env.training.data import LatentData, open_stores
from genie_env.training.loop import Schedule, load_weights, train
from genie_env.training.vision import load_vision

ENCODED_AT_ONCE = 512

ACTION_INPUTS = (-1.0, 0.0, 1.0)
"""What M reads for the actions left, stay, right."""


def encode(vision: Vision, store: EpisodeStore, title: str) -> NDArray[np.float16]:
    """float16 [frames, 2, latents]: mu and logvar of every frame of a store."""
    frames = store.frames
    encoded = np.empty((len(frames), 2, vision.latents), np.float16)
    for first in track(range(0, len(frames), ENCODED_AT_ONCE), title, transient=True):
        rows = slice(first, first + ENCODED_AT_ONCE)
        mu, logvar = vision.encode(torch.from_numpy(frames[rows].copy()))
        encoded[rows, 0], encoded[rows, 1] = mu.numpy(), logvar.numpy()
    return encoded


def encoded_stores(
    vision_run: Path, vision: Vision, directories: Sequence[Path], stores: Sequence[EpisodeStore]
) -> list[NDArray[np.float16]]:
    """The latents of every store, kept in the vision run so that they are computed once."""
    weights = (vision_run / "checkpoint.safetensors").read_bytes()
    cache = vision_run / "latents" / hashlib.sha256(weights).hexdigest()[:16]
    cache.mkdir(parents=True, exist_ok=True)
    latents = []
    for directory, store in zip(directories, stores, strict=True):
        name = hashlib.sha256(str(directory.resolve()).encode()).hexdigest()[:16]
        file = cache / f"{name}-{len(store.frames)}.npy"
        if not file.exists():
            encoded = encode(vision, store, f"encoding {directory}")

            def write(temporary: Path, encoded: NDArray[np.float16] = encoded) -> None:
                with temporary.open("wb") as opened:
                    np.save(opened, encoded)

            write_atomically(file, write)
        latents.append(np.load(file, mmap_mode="r"))
    return latents


def load_memory(run: Path) -> dict[str, torch.Tensor]:
    """M's parameters as a run of `train_memory` left them."""
    return load_weights(run)


def train_memory(
    data: Annotated[list[Path], typer.Option(help="directory of recorded episodes; may be repeated")],
    vision: Annotated[Path, typer.Option(help="run directory of `train vision`")],
    out: Annotated[Path, typer.Option(help="run directory; an unfinished run there goes on")],
    steps: Annotated[int, typer.Option(help="updates to make")] = 1200,
    batch: Annotated[int, typer.Option(help="windows a batch")] = 64,
    window: Annotated[int, typer.Option(help="frames a window")] = 256,
    learning_rate: Annotated[float, typer.Option(help="of Adam; decays by a cosine")] = 1e-3,
    hidden: Annotated[int, typer.Option(help="LSTM units")] = 512,
    components: Annotated[int, typer.Option(help="of the mixture")] = 5,
    seed: Annotated[int, typer.Option(help="of weights, noise and data order")] = 0,
    bf16: Annotated[bool, typer.Option(help="bfloat16 autocast")] = False,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    start: Annotated[Path | None, typer.Option(help="run whose M to start from")] = None,
) -> None:
    """Train M, an LSTM with a mixture density output, on what V makes of recorded episodes."""
    stores = open_stores(data)
    eyes = load_vision(vision)
    latents = encoded_stores(vision, eyes, data, stores)
    frames = LatentData(stores, latents, ACTION_INPUTS, held_out_part=False)
    unseen = LatentData(stores, latents, ACTION_INPUTS, held_out_part=True)
    claim_run(
        out,
        {
            "network": "memory",
            "data": [str(d) for d in data],
            "frames": frames.num_frames,
            "vision": str(vision),
            "steps": steps,
            "batch": batch,
            "window": window,
            "learning_rate": learning_rate,
            "hidden": hidden,
            "components": components,
            "seed": seed,
            "bf16": bf16,
            "start": str(start) if start else None,
        },
    )
    memory = Memory(latents=eyes.latents, hidden=hidden, components=components, seed=seed)
    trainer = Trainer(
        memory, learning_rate=learning_rate, gradient_clip=1.0, bf16=bf16, seed=seed, device=device
    )
    if start is not None:
        trainer.load_weights(load_memory(start))
    batches = unseen.batches_an_epoch(1, window)
    size = min(batch, batches)
    held_out = [unseen.batch(size, window, seed, i) for i in range(min(4, batches // size))]
    train(
        trainer,
        out,
        Schedule(steps, learning_rate, evaluate_every=100, checkpoint_every=100),
        lambda step: frames.batch(batch, window, seed, step),
        held_out,
        title="memory",
        items_a_batch=batch * window,
        item="steps",
    )

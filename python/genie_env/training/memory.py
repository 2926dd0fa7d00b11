"""`genie-env train memory`: M, from windows of encoded frames and actions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.progress import track

from genie_env._core import EpisodeStore, Memory, Trainer, Vision
from genie_env.data.datasets import LatentData, check_enough, open_stores
from genie_env.data.recording_metadata import RecordedGame, recorded_game
from genie_env.training.encoded import encoded_once
from genie_env.training.loop import Schedule, train
from genie_env.training.options import (
    Bf16Option,
    DeviceOption,
    LearningRateOption,
    OutOption,
    StepsOption,
)
from genie_env.training.runs import claim_training, final_report, load_into, load_network
from genie_env.training.vision import load_vision

ENCODED_AT_ONCE = 512

ACTION_INPUTS = {"left": -1.0, "stay": 0.0, "right": 1.0}
"""What M reads for an action, by its meaning."""

SHARES = {
    "death_recall": ("deaths_found", "deaths"),
    "false_alarms": ("false_alarms", "survivals"),
}
"""What is reported of the counts in M's loss: the share of deaths found, and of false alarms."""


def action_inputs(game: RecordedGame) -> list[float]:
    """What M reads for each action of the game."""
    if unknown := [action for action in game.actions if action not in ACTION_INPUTS]:
        raise ValueError(
            f"the actions of {game.game} are {', '.join(game.actions)}, but M knows only "
            f"{', '.join(ACTION_INPUTS)} so far: it cannot read {unknown[0]!r}"
        )
    return [ACTION_INPUTS[action] for action in game.actions]


def encode(vision: Vision, frames: NDArray[np.uint8], title: str) -> NDArray[np.float16]:
    """float16 [frames, 2, latents]: mu and logvar of every frame."""
    encoded = np.empty((len(frames), 2, vision.latents), np.float16)
    for first in track(range(0, len(frames), ENCODED_AT_ONCE), title, transient=True):
        rows = slice(first, first + ENCODED_AT_ONCE)
        mu, logvar = vision.encode(torch.from_numpy(frames[rows].copy()))
        encoded[rows, 0], encoded[rows, 1] = mu.cpu().numpy(), logvar.cpu().numpy()
    return encoded


def encoded_stores(
    vision_run: Path, vision: Vision, directories: Sequence[Path], stores: Sequence[EpisodeStore]
) -> list[NDArray[np.float16]]:
    """The latents of every store, kept in the vision run so that they are computed once."""
    return encoded_once(
        vision_run,
        "latents",
        directories,
        stores,
        lambda store, title: encode(vision, store.frames, title),
    )


def load_memory(run: Path, vision: Vision) -> Memory:
    """M as a run of `train_memory` left it; `vision` is the V that it knows."""

    def make(settings: dict[str, Any]) -> Memory:
        sizes = {name: settings[name] for name in ("hidden", "components")}
        return Memory(latents=vision.latents, **sizes)

    return load_network(run, "memory", make)


def train_memory(
    data: Annotated[list[Path], typer.Option(help="directory of recorded episodes; may be repeated")],
    vision: Annotated[Path, typer.Option(help="run directory of `train vision`")],
    out: OutOption,
    steps: StepsOption = 1200,
    batch: Annotated[int, typer.Option(help="windows a batch", min=1)] = 64,
    window: Annotated[int, typer.Option(help="frames a window", min=2)] = 256,
    learning_rate: LearningRateOption = 1e-3,
    hidden: Annotated[int, typer.Option(help="LSTM units")] = 512,
    components: Annotated[int, typer.Option(help="of the mixture")] = 5,
    seed: Annotated[int, typer.Option(help="of weights, noise and data order", min=0)] = 0,
    bf16: Bf16Option = False,
    device: DeviceOption = "cpu",
    start: Annotated[Path | None, typer.Option(help="run whose M to start from")] = None,
) -> None:
    """Train M, an LSTM with a mixture density output, on what V makes of recorded episodes."""
    stores = open_stores(data)
    inputs = action_inputs(recorded_game(data, stores))
    # Of either part an epoch has one window less than there is room for.
    check_enough(stores, trained=(batch + 1) * window, unseen=2 * window)
    final_report(vision, "vision")  # A V that still learns would not be the one that M knows.
    eyes = load_vision(vision, device)
    memory = Memory(latents=eyes.latents, hidden=hidden, components=components, seed=seed)
    trainer = Trainer(
        memory, learning_rate=learning_rate, gradient_clip=1.0, bf16=bf16, seed=seed, device=device
    )
    if start is not None:
        load_into(trainer, start, "memory")
    latents = encoded_stores(vision, eyes, data, stores)
    frames = LatentData(stores, latents, inputs, held_out_part=False)
    unseen = LatentData(stores, latents, inputs, held_out_part=True)
    claim_training(
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
        stores,
    )
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
        shares=SHARES,
    )

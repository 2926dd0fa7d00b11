"""`genie-env train latent-actions`: what happened between two frames, from clips of frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from genie_env._core import EpisodeStore, LatentAction
from genie_env.data.datasets import ClipData, held_out
from genie_env.media.pictures import save_rows
from genie_env.training.clip_training import ClipTraining
from genie_env.training.codebook_usage import least_varied, usage, watch_perplexity
from genie_env.training.encoded import encode_store, encoded_clips
from genie_env.training.loop import CollapseWatch
from genie_env.training.options import (
    Bf16Option,
    ClipsOption,
    DataOption,
    DeviceOption,
    FramesPerSecondOption,
    LearningRateOption,
    OutOption,
    StepsOption,
    StopOnCollapseOption,
)
from genie_env.training.runs import load_network

PICTURED = 8
PICTURED_STEPS = 4
HELD_OUT_BATCHES = 8


def watch_latent_actions(actions: int, *, stop: bool) -> CollapseWatch:
    """Over a model of `actions` different codes."""
    return watch_perplexity(
        least_varied(actions),
        "lower the learning rate, give longer clips, or look whether the data moves at all",
        stop=stop,
    )


def load_latent_actions(run: Path, device: str = "cpu") -> LatentAction:
    """The latent action model as a run of `train_latent_actions` left it."""
    return load_network(
        run, "latent-actions", lambda settings: LatentAction(**settings["sizes"]), device
    )


def encoded_actions(
    run: Path, model: LatentAction, directories: Sequence[Path], stores: Sequence[EpisodeStore]
) -> list[NDArray[np.uint8]]:
    """The code of the transition from every frame to the next, uint8 [frames] a store (0 at an
    episode's last frame), computed once and kept; in the precision that the model was trained in."""
    return encoded_clips(
        run,
        "latent-actions",
        "actions",
        model,
        directories,
        stores,
        lambda frames: np.zeros(frames, np.uint8),
        ahead=1,
    )


def held_out_actions(
    run: Path, model: LatentAction, stores: Sequence[EpisodeStore]
) -> list[NDArray[np.uint8]]:
    """As encoded_actions, of held-out episodes alone (0 in all others), and kept nowhere."""
    found = []
    for store in stores:
        codes = np.zeros(store.num_frames, np.uint8)
        encode_store(
            run,
            "latent-actions",
            model,
            store,
            codes,
            ahead=1,
            title="inferring latent actions",
            only=held_out(store),
        )
        found.append(codes)
    return found


def train_latent_actions(
    data: DataOption,
    out: OutOption,
    steps: StepsOption = 18000,
    batch: ClipsOption = 6,
    clip: Annotated[int, typer.Option(help="frames a clip", min=2)] = 12,
    learning_rate: LearningRateOption = 3e-4,
    actions: Annotated[int, typer.Option(help="different codes")] = 6,
    patch: Annotated[int, typer.Option(help="side of a patch")] = 8,
    width: Annotated[int, typer.Option(help="of the transformers")] = 192,
    heads: Annotated[int, typer.Option(help="of every attention")] = 3,
    encoder_blocks: Annotated[int, typer.Option(help="blocks that see the frames so far")] = 4,
    decoder_blocks: Annotated[int, typer.Option(help="blocks that see one frame and the code")] = 4,
    code_dimensions: Annotated[int, typer.Option(help="of the codebook")] = 8,
    window: Annotated[int, typer.Option(help="frames that an encoder layer looks at")] = 8,
    action_decay: Annotated[
        float,
        typer.Option(
            help="of the game: the share of its motion that is left a transition after its cause; "
            "0.67 in Doom at 4 tics"
        ),
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="of weights, restarts and data order", min=0)] = 0,
    bf16: Bf16Option = True,
    device: DeviceOption = "cpu",
    frames_per_second: FramesPerSecondOption = None,
    stop_on_collapse: StopOnCollapseOption = False,
) -> None:
    """Train a latent action model on recorded frames, without their actions."""
    training = ClipTraining(
        network="latent-actions",
        data=data,
        frames_per_second=frames_per_second,
        out=out,
        steps=steps,
        batch=batch,
        clip=clip,
        learning_rate=learning_rate,
        seed=seed,
        bf16=bf16,
        device=device,
    )
    _, stores = training.open()
    clips = ClipData(stores, clip, held_out_part=False)
    unseen = ClipData(stores, clip, held_out_part=True)
    sizes: dict[str, Any] = {
        "frame": [stores[0].height, stores[0].width],
        "patch": patch,
        "width": width,
        "heads": heads,
        "encoder_blocks": encoder_blocks,
        "decoder_blocks": decoder_blocks,
        "actions": actions,
        "code_dimensions": code_dimensions,
        "window": window,
        "action_decay": action_decay,
    }
    model = LatentAction(seed=seed, **sizes)
    trainer = training.trainer(model)
    training.claim(stores, clips.clips, sizes)
    held_out = training.held_out(unseen, HELD_OUT_BATCHES)

    def measure() -> dict[str, float]:
        return usage(torch.cat([model.encode(b["frames"]) for b in held_out]), actions)

    def picture(step: int) -> None:
        # On top what really followed; below, what follows the same starts under every code, held.
        real = torch.cat([b["frames"] for b in held_out])[:PICTURED]
        start = real[:, max(2, clip - PICTURED_STEPS) - 1][:, None]
        rows = [start[:, 0], real[:, -1]]
        for code in range(actions):
            frames = start
            for _ in range(PICTURED_STEPS):
                held = torch.full(frames.shape[:2], code)
                following = model.predict(frames, held)[:, -1:].cpu()
                frames = torch.cat([frames, following], 1)
            rows.append(frames[:, -1])
        save_rows(out / "actions.png", rows)

    training.run(
        trainer,
        clips,
        held_out,
        picture=picture,
        measure=measure,
        watch=watch_latent_actions(actions, stop=stop_on_collapse),
    )

"""`genie-env train tokenizer`: frames to tokens and back, from clips of frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from genie_env._core import EpisodeStore, Tokenizer
from genie_env.data.datasets import ClipData
from genie_env.media.pictures import save_rows
from genie_env.training.clip_training import ClipTraining
from genie_env.training.codebook_usage import least_varied, usage, watch_perplexity
from genie_env.training.encoded import encoded_clips
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

PICTURED = 12
HELD_OUT_BATCHES = 8
LEAST_USED = 1 / 20
"""A tokenizer whose codes are less varied than this share of its codebook has collapsed."""


def watch_tokenizer(codes: int, *, stop: bool) -> CollapseWatch:
    """Over a tokenizer of `codes` different tokens."""
    return watch_perplexity(
        max(least_varied(codes), codes * LEAST_USED),
        "lower the learning rate or the codes' dimensions",
        stop=stop,
    )


def load_tokenizer(run: Path, device: str = "cpu") -> Tokenizer:
    """The tokenizer as a run of `train_tokenizer` left it."""
    return load_network(run, "tokenizer", lambda settings: Tokenizer(**settings["sizes"]), device)


def encoded_tokens(
    run: Path, tokenizer: Tokenizer, directories: Sequence[Path], stores: Sequence[EpisodeStore]
) -> list[NDArray[np.uint16]]:
    """The tokens of every frame, uint16 [frames, S] a store, kept in the tokenizer's run; in the
    precision that it was trained in."""
    return encoded_clips(
        run,
        "tokenizer",
        "tokens",
        tokenizer,
        directories,
        stores,
        lambda frames: np.empty((frames, tokenizer.positions), np.uint16),
        ahead=0,
    )


def train_tokenizer(
    data: DataOption,
    out: OutOption,
    steps: StepsOption = 25000,
    batch: ClipsOption = 8,
    clip: Annotated[int, typer.Option(help="frames a clip", min=1)] = 8,
    learning_rate: LearningRateOption = 5e-4,
    patch: Annotated[int, typer.Option(help="side of a patch: one token")] = 8,
    width: Annotated[int, typer.Option(help="of the transformers")] = 192,
    heads: Annotated[int, typer.Option(help="of every attention")] = 3,
    encoder_blocks: Annotated[int, typer.Option(help="blocks that see clips")] = 4,
    decoder_blocks: Annotated[int, typer.Option(help="blocks that see one frame's tokens")] = 4,
    codes: Annotated[int, typer.Option(help="different tokens")] = 1024,
    code_dimensions: Annotated[int, typer.Option(help="of the codebook")] = 8,
    window: Annotated[int, typer.Option(help="frames that a layer looks at")] = 4,
    seed: Annotated[int, typer.Option(help="of weights, restarts and data order", min=0)] = 0,
    bf16: Bf16Option = True,
    device: DeviceOption = "cpu",
    frames_per_second: FramesPerSecondOption = None,
    stop_on_collapse: StopOnCollapseOption = False,
) -> None:
    """Train a video tokenizer, a VQ-VAE, on recorded frames."""
    training = ClipTraining(
        network="tokenizer",
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
        "codes": codes,
        "code_dimensions": code_dimensions,
        "window": window,
    }
    tokenizer = Tokenizer(seed=seed, **sizes)
    trainer = training.trainer(tokenizer)
    training.claim(stores, clips.clips, sizes)
    held_out = training.held_out(unseen, HELD_OUT_BATCHES)

    def measure() -> dict[str, float]:
        # Over all held-out clips together: one batch has not tokens enough for all codes.
        return usage(torch.cat([tokenizer.encode(b["frames"]) for b in held_out]), codes)

    def picture(step: int) -> None:
        # Above: the last frames of held-out clips; below: what is left of them.
        real = torch.cat([b["frames"] for b in held_out])[:PICTURED]
        decoded = tokenizer.decode(tokenizer.encode(real)[:, -1:])
        save_rows(out / "reconstructions.png", [real[:, -1], decoded[:, 0].cpu()])

    training.run(
        trainer,
        clips,
        held_out,
        picture=picture,
        measure=measure,
        watch=watch_tokenizer(codes, stop=stop_on_collapse),
    )

"""Trains the tokenizer: frames to tokens and back, from clips of frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from genie_env._core import EpisodeStore, Tokenizer
from genie_env.data.datasets import Batch, ClipData
from genie_env.media.pictures import save_rows
from genie_env.training.clip_training import (
    FRAME,
    ClipBatch,
    ClipSettings,
    StopOnCollapse,
    clip_run,
    clip_schema,
)
from genie_env.training.codebook_usage import least_varied, usage, watch_perplexity
from genie_env.training.encoded import encoded_clips
from genie_env.training.loop import CollapseWatch
from genie_env.training.runs import Network, load_network, sizes_schema
from genie_env.training.settings import (
    Emphasis,
    Heads,
    LearningRate,
    Steps,
    Width,
    size_option,
)

PICTURED = 12
HELD_OUT_BATCHES = 8
LEAST_USED = 1 / 20
"""A tokenizer whose perplexity is below this share of its codebook has collapsed."""


@dataclass(frozen=True, kw_only=True)
class TokenizerSizes:
    """The sizes of a tokenizer, but for the frame's."""

    patch: Annotated[
        int,
        size_option("side of a patch in pixels; a patch is a token", "frame_side"),
    ] = 8
    width: Width = 192
    heads: Heads = 3
    encoder_blocks: Annotated[
        int,
        size_option("transformer blocks of the encoder, which attends to past frames", "blocks"),
    ] = 4
    decoder_blocks: Annotated[
        int,
        size_option("transformer blocks of the decoder, which reads one frame's tokens", "blocks"),
    ] = 4
    codes: Annotated[
        int,
        size_option("codebook size: how many different tokens there are", "codes", least=2),
    ] = 1024
    code_dimensions: Annotated[
        int,
        size_option(
            "codebook dimension: numbers in each code's vector", "code_dimensions", least=2
        ),
    ] = 8
    window: Annotated[
        int,
        size_option("attention window of an encoder layer, in frames", "window"),
    ] = 4


TOKENIZER = Network(
    "tokenizer",
    {**clip_schema(sizes_schema(TokenizerSizes, FRAME)), "noise?": float, "emphasis?": float},
)


@dataclass(frozen=True, kw_only=True)
class TokenizerSettings(ClipSettings):
    """What `train_tokenizer` is given."""

    network = TOKENIZER
    unsaved = ClipSettings.unsaved | {"stop_on_collapse"}
    saved_if_set = ClipSettings.saved_if_set | {"noise", "emphasis"}

    steps: Steps = 25000
    batch: ClipBatch = 8
    clip: Annotated[int, typer.Option(help="frames per clip", min=1, max=65_536)] = 8
    learning_rate: LearningRate = 5e-4
    noise: Annotated[
        float,
        typer.Option(
            help="deviation of the noise that the encoder sees in training, of pixels from 0 to 1: "
            "tokens then change less between frames that look alike",
            min=0,
            max=1,
        ),
    ] = 0.0
    emphasis: Emphasis = 0.0
    sizes: TokenizerSizes = TokenizerSizes()
    stop_on_collapse: StopOnCollapse = False


def watch_tokenizer(codes: int, *, stop: bool) -> CollapseWatch:
    """Watches a tokenizer with a codebook of `codes`."""
    return watch_perplexity(
        max(least_varied(codes), codes * LEAST_USED),
        "lower the learning rate or the codes' dimensions",
        stop=stop,
    )


def load_tokenizer(run: Path, device: str = "cpu") -> Tokenizer:
    """The tokenizer as a run of `train_tokenizer` left it."""
    return load_network(run, TOKENIZER, lambda settings: Tokenizer(**settings["sizes"]), device)


def encoded_tokens(
    run: Path, tokenizer: Tokenizer, directories: Sequence[Path], stores: Sequence[EpisodeStore]
) -> list[NDArray[np.uint16]]:
    """The tokens of every frame, uint16 [frames, S] a store, kept in the tokenizer's run; in the
    precision that it was trained in."""
    return encoded_clips(
        run,
        TOKENIZER,
        "tokens",
        tokenizer,
        directories,
        stores,
        (tokenizer.positions,),
        np.uint16,
        ahead=0,
    )


def train_tokenizer(settings: TokenizerSettings) -> None:
    """Train a video tokenizer, a VQ-VAE, on recorded frames."""
    recordings = settings.recordings()
    sizes = {"frame": recordings.frame, **asdict(settings.sizes)}
    tokenizer = Tokenizer(
        seed=settings.seed, noise=settings.noise, emphasis=settings.emphasis, **sizes
    )

    def measure(held_out: list[Batch]) -> dict[str, float]:
        # Over all held-out clips together: one batch has fewer tokens than the codebook has codes.
        return usage(torch.cat([tokenizer.encode(b["frames"]) for b in held_out]), tokenizer.codes)

    def picture(held_out: list[Batch]) -> None:
        # Above: the last frames of held-out clips; below: their reconstructions.
        real = torch.cat([b["frames"] for b in held_out])[:PICTURED]
        decoded = tokenizer.decode(tokenizer.encode(real)[:, -1:])
        save_rows(settings.out / "reconstructions.png", [real[:, -1], decoded[:, 0].cpu()])

    with clip_run(settings, recordings, tokenizer, sizes) as run:
        run.train(
            partial(ClipData, recordings.stores),
            held_out_batches=HELD_OUT_BATCHES,
            measure=measure,
            picture=picture,
            watch=watch_tokenizer(tokenizer.codes, stop=settings.stop_on_collapse),
        )

"""Trains the latent action model: what happened between two frames, from clips of frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from genie_env._core import EpisodeStore, LatentAction
from genie_env.data.datasets import Batch, ClipData, pictures_of
from genie_env.data.rows_once import encode_episode, shown
from genie_env.media.pictures import save_rows
from genie_env.training.clip_training import (
    FRAME,
    ClipBatch,
    ClipLength,
    ClipSettings,
    StopOnCollapse,
    clip_run,
    clip_schema,
)
from genie_env.training.codebook_usage import least_varied, usage, watch_perplexity
from genie_env.training.encoded import encoded_clips, in_bf16
from genie_env.training.loop import CollapseWatch
from genie_env.training.runs import Network, load_network, sizes_schema
from genie_env.training.settings import Heads, LearningRate, Steps, Width, size_option

PICTURED = 8
PICTURED_STEPS = 4
HELD_OUT_BATCHES = 8
LATENT_ACTIONS_FOLDER = "latent-actions"
"""The folder of a world with the model that infers its latent actions from video: a run directory."""


@dataclass(frozen=True, kw_only=True)
class LatentActionSizes:
    """The sizes of a latent action model, but for the frame's."""

    actions: Annotated[
        int,
        size_option("codebook size: how many latent actions there are", "latent_actions", least=2),
    ] = 6
    patch: Annotated[int, size_option("side of a patch in pixels", "frame_side")] = 8
    width: Width = 192
    heads: Heads = 3
    encoder_blocks: Annotated[
        int,
        size_option("transformer blocks of the encoder, which reads the frames so far", "blocks"),
    ] = 4
    decoder_blocks: Annotated[
        int,
        size_option("transformer blocks of the decoder, which reads a frame and a code", "blocks"),
    ] = 4
    code_dimensions: Annotated[
        int,
        size_option(
            "codebook dimension: numbers in each latent action's vector", "code_dimensions", least=2
        ),
    ] = 8
    window: Annotated[
        int,
        size_option("attention window of an encoder layer, in frames", "window", least=2),
    ] = 8
    action_decay: Annotated[
        float,
        typer.Option(
            help="share of an action's motion that is left one transition later, from 0 to below 1; "
            "0 where things stop at once",
            min=0,
            max=0.999,
        ),
    ] = 0.0


LATENT_ACTIONS = Network(
    "latent-actions", clip_schema(sizes_schema(LatentActionSizes, FRAME, later=["action_decay"]))
)


@dataclass(frozen=True, kw_only=True)
class LatentActionSettings(ClipSettings):
    """What `train_latent_actions` is given."""

    network = LATENT_ACTIONS
    unsaved = ClipSettings.unsaved | {"stop_on_collapse"}

    steps: Steps = 18000
    batch: ClipBatch = 6
    clip: ClipLength = 12
    learning_rate: LearningRate = 3e-4
    sizes: LatentActionSizes = LatentActionSizes()
    stop_on_collapse: StopOnCollapse = False


def watch_latent_actions(actions: int, *, stop: bool) -> CollapseWatch:
    """Watches a model of `actions` latent actions."""
    return watch_perplexity(
        least_varied(actions),
        "lower the learning rate, give longer clips, or look whether the data moves at all",
        stop=stop,
    )


def load_latent_actions(run: Path, device: str = "cpu") -> LatentAction:
    """The latent action model as a run of `train_latent_actions` left it."""
    return load_network(
        run, LATENT_ACTIONS, lambda settings: LatentAction(**settings["sizes"]), device
    )


def encoded_actions(
    run: Path, model: LatentAction, directories: Sequence[Path], stores: Sequence[EpisodeStore]
) -> list[NDArray[np.uint8]]:
    """The code of the transition from every frame to the next, uint8 [frames] a store (0 at an
    episode's last frame), computed once and kept; in the precision that the model was trained in."""
    return encoded_clips(
        run,
        LATENT_ACTIONS,
        "actions",
        model,
        directories,
        stores,
        (),
        np.uint8,
        ahead=1,
    )


def actions_of_episodes(
    run: Path,
    model: LatentAction,
    stores: Sequence[EpisodeStore],
    episodes: Sequence[NDArray[np.bool_]],
) -> list[NDArray[np.uint8]]:
    """Like encoded_actions, but of some episodes alone (0 in all others), and never cached. Where a
    recording has final frames, they tell the last code of an episode. episodes: bool [E] a store."""
    encode = partial(model.encode, bf16=in_bf16(run, LATENT_ACTIONS))

    def fill(
        store: EpisodeStore, chosen: NDArray[np.bool_], codes: NDArray[np.uint8]
    ) -> Iterator[int]:
        for episode in np.flatnonzero(chosen).tolist():
            first = int(store.episode_starts[episode])
            pictures = pictures_of(store, episode, final=store.final_frames is not None)
            told = codes[first : first + len(pictures) - 1]
            encode_episode(encode, pictures, told, reach=model.receptive_field, ahead=1)
            yield int(store.episode_starts[episode + 1])

    found = []
    for store, chosen in zip(stores, episodes, strict=True):
        codes = np.zeros(store.num_frames, np.uint8)
        for _ in shown(fill(store, chosen, codes), "inferring latent actions", store.num_frames):
            pass
        found.append(codes)
    return found


def train_latent_actions(settings: LatentActionSettings) -> None:
    """Train a latent action model on recorded frames, without their actions."""
    recordings = settings.recordings()
    sizes = {"frame": recordings.frame, **asdict(settings.sizes)}
    model = LatentAction(seed=settings.seed, **sizes)

    def measure(held_out: list[Batch]) -> dict[str, float]:
        return usage(torch.cat([model.encode(b["frames"]) for b in held_out]), model.actions)

    def picture(held_out: list[Batch]) -> None:
        # First a start and what really followed; below, what follows if one code is held.
        real = torch.cat([b["frames"] for b in held_out])[:PICTURED]
        start = real[:, max(2, settings.clip - PICTURED_STEPS) - 1][:, None]
        rows = [start[:, 0], real[:, -1]]
        for code in range(model.actions):
            frames = start
            for _ in range(PICTURED_STEPS):
                codes = torch.full(frames.shape[:2], code)
                following = model.predict(frames, codes)[:, -1:].cpu()
                frames = torch.cat([frames, following], 1)
            rows.append(frames[:, -1])
        save_rows(settings.out / "actions.png", rows)

    with clip_run(settings, recordings, model, sizes) as run:
        run.train(
            partial(ClipData, recordings.stores),
            held_out_batches=HELD_OUT_BATCHES,
            measure=measure,
            picture=picture,
            watch=watch_latent_actions(model.actions, stop=settings.stop_on_collapse),
        )

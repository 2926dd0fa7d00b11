"""Trains M, an LSTM with a mixture density output, from windows of encoded frames and actions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from genie_env._core import EpisodeStore, Memory, Vision
from genie_env.data.datasets import check_enough, held_out, open_stores
from genie_env.data.progress import say
from genie_env.data.recording_metadata import recorded_game
from genie_env.training.encoded import encoded_once
from genie_env.training.latent_windows import LatentData, Latents
from genie_env.training.loop import Schedule, train
from genie_env.training.outcomes import SHARES, Outcomes
from genie_env.training.runs import (
    COMMON,
    Network,
    check_start,
    checkpoint_named,
    claim_training,
    final_report,
    has_begun,
    load_network,
    load_weights,
)
from genie_env.training.settings import LearningRate, Steps, TrainingSettings, size_option
from genie_env.training.vision import VISION, load_vision

ENCODED_AT_ONCE = 512
GRADIENT_CLIP = 1.0
HELD_OUT_BATCHES = 4

Mixture = Literal["independent", "joint"]

MEMORY = Network(
    "memory",
    {
        **COMMON,
        "vision": str,
        "window": int,
        "hidden": int,
        "components": int,
        "mixture": str,
        "actions": int,
        "rewards?": ([float], None),
        "judges_termination": bool,
    },
)


@dataclass(frozen=True, kw_only=True)
class MemorySettings(TrainingSettings):
    """What `train_memory` is given."""

    network = MEMORY

    vision: Annotated[Path, typer.Option(help="run directory of `train vision`")]
    steps: Steps = 1200
    batch: Annotated[int, typer.Option(help="windows per batch", min=1, max=65_536)] = 64
    window: Annotated[int, typer.Option(help="frames per window", min=2, max=65_536)] = 256
    learning_rate: LearningRate = 1e-3
    hidden: Annotated[int, size_option("LSTM units", "hidden")] = 512
    components: Annotated[int, size_option("components of the mixture", "components")] = 5
    mixture: Annotated[
        Mixture,
        typer.Option(
            help="independent: a mixture for each latent dimension, as in the paper; joint: one over "
            "whole latent vectors"
        ),
    ] = "independent"
    start: Annotated[
        Path | None, typer.Option(help="run directory whose M training starts from")
    ] = None


def encode_rows(
    vision: Vision, frames: NDArray[np.uint8], encoded: NDArray[Any], rows: slice | NDArray[np.int64]
) -> None:
    """Fills rows of `encoded`, [N, 2, latents], with mu and logvar of these frames."""
    mu, logvar = vision.encode(torch.from_numpy(frames[rows].copy()))
    encoded[rows, 0], encoded[rows, 1] = mu.cpu().numpy(), logvar.cpu().numpy()


def encoded_stores(
    vision_run: Path, vision: Vision, directories: Sequence[Path], stores: Sequence[EpisodeStore]
) -> list[Latents]:
    """The latents of every store. They are kept in the vision run, so that they are computed once."""

    def encode(
        frames: NDArray[np.uint8] | None, encoded: NDArray[Any], done: int
    ) -> Iterator[int]:
        assert frames is not None
        for first in range(done, len(frames), ENCODED_AT_ONCE):
            encode_rows(vision, frames, encoded, slice(first, first + ENCODED_AT_ONCE))
            yield min(first + ENCODED_AT_ONCE, len(frames))

    row = (2, vision.latents)
    of_frames = encoded_once(
        vision_run,
        "latents",
        directories,
        stores,
        row,
        np.float16,
        lambda store, encoded, done: encode(store.frames, encoded, done),
    )
    if any(store.final_frames is None for store in stores):
        return [Latents(frames, None) for frames in of_frames]
    of_finals = encoded_once(
        vision_run,
        "final-latents",
        directories,
        stores,
        row,
        np.float16,
        lambda store, encoded, done: encode(store.final_frames, encoded, done),
        finals=True,
    )
    return [Latents(*both) for both in zip(of_frames, of_finals, strict=True)]


def make_memory(vision: Vision, settings: Mapping[str, Any], seed: int = 0) -> Memory:
    """M of these settings; `vision` is the V that it is trained with."""
    rewards = settings.get("rewards")
    return Memory(
        latents=vision.latents,
        hidden=settings["hidden"],
        components=settings["components"],
        mixture=settings["mixture"],
        actions=settings["actions"],
        rewards=None if rewards is None else tuple(rewards),
        judges_termination=settings["judges_termination"],
        seed=seed,
    )


def load_memory(run: Path, vision: Vision) -> Memory:
    """M as a run of `train_memory` left it; `vision` is the V that it was trained with."""
    return load_network(run, MEMORY, lambda settings: make_memory(vision, settings))


def weights_to_start_from(
    run: Path, vision: Vision, memory: Memory, settings: Mapping[str, Any]
) -> dict[str, torch.Tensor]:
    """What the M of a run has learned, as `memory`, of these settings, starts from it. Raises
    ValueError where that is another network.

    Its reward bins may stand for other rewards: the logit of a bin is then that of the same reward,
    and beyond the rewards that the run knew that of the nearest one.
    """
    same = ("hidden", "components", "mixture", "actions", "judges_termination")
    before = check_start(run, MEMORY, settings, same)
    weights = load_weights(run, MEMORY)
    bins, known = memory.reward_bins, make_memory(vision, before).reward_bins
    if (bins is None) != (known is None):
        learns = "learns no rewards" if known is None else "learned rewards"
        raise ValueError(
            f"--start {run} {learns}, but the rewards of these recordings are "
            f"{'all the same' if bins is None else 'not all the same'}: leave out --start"
        )
    if bins is not None and known is not None:
        place = np.interp(bins, known, np.arange(len(known), dtype=np.float64))
        lower = torch.from_numpy(place).long().clamp(max=len(known) - 2)
        share = torch.from_numpy(place - lower.numpy()).float()
        for name, shape in (("weight", (-1, 1)), ("bias", (-1,))):
            layer = weights[f"outcome.output.{name}"]
            layer[: len(bins)] = torch.lerp(layer[lower], layer[lower + 1], share.view(shape))
    return weights


def train_memory(settings: MemorySettings) -> None:
    """Train M, an LSTM with a mixture density output, on recorded episodes as V encodes them."""
    stores = open_stores(settings.data)
    game = recorded_game(settings.data, stores)
    outcomes = Outcomes.of(stores)
    if not outcomes.terminates:
        say(f"no recorded episode of {game.game} terminates: dreams of it will not either")
    batch, window, seed = settings.batch, settings.window, settings.seed
    # An epoch of either part has one window less than there is room for.
    check_enough(stores, trained=(batch + 1) * window, unseen=2 * window)
    final_report(settings.vision, VISION)  # while V still learns, its latents change
    vision = load_vision(settings.vision, settings.device)
    saved = {
        **settings.saved(),
        "actions": game.actions.width,
        "rewards": outcomes.rewards,
        "judges_termination": outcomes.judges_termination,
    }
    memory = make_memory(vision, saved, seed)
    make_trainer = settings.trainers(memory, gradient_clip=GRADIENT_CLIP)
    if settings.start is not None and not has_begun(settings.out):
        weights = weights_to_start_from(settings.start, vision, memory, saved)
        with checkpoint_named(settings.start):
            make_trainer("float32").load_weights(weights)
    trained_on = sum(int(np.diff(s.episode_starts)[~held_out(s)].sum()) for s in stores)
    with claim_training(settings.out, {**saved, "frames": trained_on}, stores) as dtype:
        latents = encoded_stores(settings.vision, vision, settings.data, stores)
        frames = LatentData(stores, latents, game.actions, held_out_part=False)
        unseen = LatentData(stores, latents, game.actions, held_out_part=True)
        batches = unseen.batches_an_epoch(1, window)
        size = min(batch, batches)
        count = min(HELD_OUT_BATCHES, batches // size)
        train(
            make_trainer,
            dtype,
            settings.out,
            Schedule(settings.steps, settings.learning_rate, evaluate_every=100),
            lambda step: frames.batch(batch, window, seed, step),
            [unseen.batch(size, window, seed, i) for i in range(count)],
            title=settings.network.name,
            items_a_batch=batch * window,
            item="steps",
            shares=SHARES,
        )

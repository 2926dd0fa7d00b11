"""Contexts of recorded episodes that dreams may begin from, instead of the world's stored starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genie_env._core import EpisodeStore, StartBank, World
from genie_env.envs.actions import Actions, actions_of_config, actions_of_world
from genie_env.envs.json_files import parse_json
from genie_env.envs.latent_actions import ActionInference, action_inference, has_latent_actions

BURN_IN, STARTS_COUNT = 16, 256
"""Recorded frames that a context follows, unless an environment says another number."""

_META = {"game?": (str, None), "frame_skip?": (int, None), "actions?": object}
"""Of meta.json, what tells whether a recording is of the world's game."""


@dataclass(frozen=True)
class Contexts:
    """K contexts of T + 1 frames each, every one within an episode."""

    frames: NDArray[np.uint8]
    """[K, T + 1, H, W, 3]"""
    actions: NDArray[Any]
    """Int64 [K, T] or float32 [K, T, ...], from each frame to the next."""


def start_bank(
    world: World, directories: Sequence[Path], burn_in: int = BURN_IN, count: int = STARTS_COUNT
) -> StartBank:
    """The states of `count` contexts, drawn at random from all recorded episodes (all there are,
    where there are fewer): a function of the world, the recordings and these numbers alone. They
    are followed once, here.

    A context follows `burn_in` frames after its first. Raises ValueError where a recording is not of
    the world's game, or no episode is long enough.
    """
    stores = [_open(directory) for directory in directories]
    for directory, store in zip(directories, stores, strict=True):
        _check_game(world, directory, store, burn_in)
    inference = action_inference(world) if burn_in > 0 else None
    drawn = draw_contexts(stores, burn_in, count, inference)
    if burn_in == 0:  # of the world's own kind: none was taken
        kind = actions_of_world(world.spec.actions).examples()[:1, None]
        drawn = Contexts(drawn.frames, np.repeat(kind, len(drawn.frames), axis=0)[:, :0])
    return StartBank.encode(world, torch.from_numpy(drawn.frames), torch.from_numpy(drawn.actions))


def draw_contexts(
    stores: Sequence[EpisodeStore],
    burn_in: int,
    count: int,
    inference: ActionInference | None = None,
) -> Contexts:
    """`count` different contexts, each equally likely; in the order of the recordings. Their actions
    are as recorded, or as `inference` says."""
    firsts = [_first_frames(store, burn_in) for store in stores]
    total = sum(map(len, firsts))
    if total == 0:
        lengths = [int(np.diff(store.episode_starts).max(initial=0)) for store in stores]
        raise ValueError(
            f"starts: a context of burn_in {burn_in} has {burn_in + 1} frames, but the longest "
            f"recorded episode {max(lengths)}: give a smaller burn_in, or longer episodes"
        )
    random = np.random.Generator(np.random.Philox(0))
    chosen = np.sort(random.permutation(total)[:count])
    frames, actions = [], []
    for store, first, before in zip(stores, firsts, _sums(firsts), strict=True):
        own = chosen[(chosen >= before) & (chosen < before + len(first))] - before
        for frame in first[own].tolist():
            frames.append(store.frames[frame : frame + burn_in + 1])
            if inference is None:
                actions.append(store.actions[frame : frame + burn_in])
            else:
                actions.append(_inferred(inference, store, frame, burn_in))
    return Contexts(np.stack(frames), np.stack(actions))


def _inferred(
    inference: ActionInference, store: EpisodeStore, first: int, burn_in: int
) -> NDArray[np.int64]:
    """The latent actions from the frame `first` on, int64 [burn_in], by all that they depend on."""
    episode = np.searchsorted(store.episode_starts, first, side="right") - 1
    begin = max(int(store.episode_starts[episode]), first + 2 - inference.reach)
    clip = torch.from_numpy(store.frames[begin : first + burn_in + 1].copy())
    codes: NDArray[np.int64] = inference.encode(clip[None])[0, -burn_in:].cpu().numpy()
    return codes


def _first_frames(store: EpisodeStore, burn_in: int) -> NDArray[np.int64]:
    """The frames after which as many more follow in the same episode."""
    starts = store.episode_starts
    left = np.repeat(starts[1:], np.diff(starts)) - np.arange(store.num_frames)
    first: NDArray[np.int64] = np.flatnonzero(left > burn_in)
    return first


def _sums(arrays: Sequence[NDArray[Any]]) -> list[int]:
    """How many elements come before each array's."""
    return [sum(map(len, arrays[:index])) for index in range(len(arrays))]


def _open(directory: Path) -> EpisodeStore:
    if not directory.is_dir():
        raise ValueError(
            f"starts: {directory} is no directory of recorded episodes: give one that `genie-env "
            "record` wrote"
        )
    return EpisodeStore(directory)


def _check_game(world: World, directory: Path, store: EpisodeStore, burn_in: int) -> None:
    """Raises ValueError where a recording is of another game than the world's."""
    spec = world.spec
    if spec.frame is None:
        raise ValueError(
            f"starts: the world {spec.name} has no pictures, so it cannot follow recorded frames: "
            "leave starts out"
        )
    of_its_game = "give recordings of its game"
    height, width = spec.frame.shape[:2]
    if (store.height, store.width) != (height, width):
        raise ValueError(
            f"starts: {directory} holds frames of {store.height} x {store.width}, but those of the "
            f"world {spec.name} are {height} x {width}: {of_its_game}"
        )
    file = directory / "meta.json"
    meta = parse_json(store.meta, str(file), _META)
    game, skip = meta.get("game"), meta.get("frame_skip") or 1
    if game and spec.game and game != spec.game:
        raise ValueError(
            f"starts: {directory} is of {game!r}, but the world {spec.name} was learned from "
            f"{spec.game!r}: {of_its_game}"
        )
    if skip != spec.frame_skip:
        raise ValueError(
            f"starts: {directory} holds one of {skip} frames of its game, but a step of the world "
            f"{spec.name} is {spec.frame_skip}: {of_its_game} at that frame skip"
        )
    if burn_in == 0 or has_latent_actions(spec.family, Path(world.directory)):
        return
    actions, recorded = actions_of_world(spec.actions), _recorded(file, meta)
    if recorded != actions:
        has = "no actions" if recorded is None else str(recorded)
        raise ValueError(
            f"starts: {directory} has {has}, but the world {spec.name} {actions}: {of_its_game}, or "
            "burn_in 0, which follows no actions"
        )


def _recorded(file: Path, meta: dict[str, Any]) -> Actions | None:
    """What meta.json says of the recorded actions; None where there are none."""
    value = meta.get("actions")
    if value is None:
        return None
    try:
        return actions_of_config({"meanings": value} if isinstance(value, list) else value)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None

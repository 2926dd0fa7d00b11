"""Outputs of trained networks for recorded episodes, computed once and kept."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray

from genie_env._core import EpisodeStore, LatentAction, Tokenizer
from genie_env.data.files import remove_left_behind, sha256_of, user_cache
from genie_env.data.progress import say
from genie_env.data.rows_once import encode_episode, frames_fingerprint, frames_of, rows_once
from genie_env.training.runs import CHECKPOINT, Network, is_frozen, read_settings

_EARLIER = re.compile(r"[0-9a-f]{16}-[0-9a-f]{16}\.npy")
"""Names that earlier versions gave, after the place of a recording."""

Encode = Callable[[EpisodeStore, NDArray[Any], int], Iterator[int]]
"""FillRows of an array with a row a frame of the store."""


def weights_fingerprint(run: Path) -> str:
    """Identifies the weights of a run's checkpoint; every further step changes it."""
    return sha256_of(run / CHECKPOINT)[:16]


def encoded_once(
    run: Path,
    kind: str,
    directories: Sequence[Path],
    stores: Sequence[EpisodeStore],
    row: tuple[int, ...],
    dtype: DTypeLike,
    encode: Encode,
    *,
    finals: bool = False,
) -> list[NDArray[Any]]:
    """What `encode` makes of every store, `dtype` [frames, *row], mapped into memory from files that
    are named after the run's weights and the frames. finals: of the episodes' final frames.

    They are kept in the run's directory, or in the user's cache where that directory is part of a
    world. A file that is damaged, or holds something else, is made again. One that is stopped, or
    killed, goes on from what it had a few minutes before.
    """
    kept = user_cache() / "encoded" if is_frozen(run) else run
    cache = kept / kind / weights_fingerprint(run)
    remove_left_behind(cache)
    _remove_of_earlier_versions(cache)
    return [
        rows_once(
            cache / f"{frames_fingerprint(store, finals)}.npy",
            (len(frames_of(store, finals)), *row),
            dtype,
            partial(encode, store),
            f"encoding {directory}",
        )
        for directory, store in zip(directories, stores, strict=True)
    ]


def _remove_of_earlier_versions(cache: Path) -> None:
    """Which had names of another form: nothing reads them, and they may be large."""
    size = 0
    for file in cache.glob("*.npy"):
        if _EARLIER.fullmatch(file.name):
            with contextlib.suppress(OSError):  # another process has removed it, or this one may not
                length = file.stat().st_size
                file.unlink()
                size += length
    if size:
        say(
            f"removed {size / 1e6:,.1f} MB from {cache}: encoded recordings of an earlier version, "
            "which are made again"
        )


def encoded_clips(
    run: Path,
    network: Network,
    kind: str,
    model: Tokenizer | LatentAction,
    directories: Sequence[Path],
    stores: Sequence[EpisodeStore],
    row: tuple[int, ...],
    dtype: DTypeLike,
    *,
    ahead: int,
) -> list[NDArray[Any]]:
    """encoded_once by `model`, the `network` of `run`, as `encode_store` says."""
    encode = partial(encode_store, run, network, model, ahead=ahead)
    precision = "bfloat16" if in_bf16(run, network) else "float32"
    return encoded_once(run, f"{kind}-{precision}", directories, stores, row, dtype, encode)


def encode_store(
    run: Path,
    network: Network,
    model: Tokenizer | LatentAction,
    store: EpisodeStore,
    encoded: NDArray[Any],
    first: int = 0,
    *,
    ahead: int,
) -> Iterator[int]:
    """encode_episodes by `model`, the `network` of `run`, in the precision that it was trained in."""
    return encode_episodes(
        partial(model.encode, bf16=in_bf16(run, network)),
        store,
        encoded,
        first,
        reach=model.receptive_field,
        ahead=ahead,
    )


def in_bf16(run: Path, network: Network) -> bool:
    """Whether `network` was trained in bfloat16."""
    return bool(read_settings(run, network)["dtype"] == "bfloat16")


def encode_episodes(
    encode: Callable[[torch.Tensor], torch.Tensor],
    store: EpisodeStore,
    encoded: NDArray[Any],
    first_frame: int = 0,
    *,
    reach: int,
    ahead: int,
) -> Iterator[int]:
    """Fills `encoded`, a row a frame, with the outputs of `encode`, from the episode that begins at
    `first_frame` on, and yields after each how many rows are done.

    `encode` takes frames [1, T, H, W, 3] and returns an output for all frames but the last `ahead`.
    An output depends on `reach` frames, the last of which is `ahead` frames after its own. Rows
    without an output are left as they are.
    """
    starts = store.episode_starts
    chosen = starts[:-1] >= first_frame
    for start, stop in np.stack([starts[:-1], starts[1:]], axis=1)[chosen].tolist():
        encode_episode(
            encode,
            store.frames[start:stop],
            encoded[start : stop - ahead],
            reach=reach,
            ahead=ahead,
        )
        yield stop

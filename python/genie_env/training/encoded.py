"""Outputs of trained networks for recorded episodes, computed once and kept."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track

from genie_env._core import EpisodeStore, LatentAction, Tokenizer
from genie_env.data.datasets import fingerprint
from genie_env.data.files import user_cache, write_atomically
from genie_env.training.runs import Network, is_frozen, read_settings

CHUNK = 256
"""Frames that are encoded at once, not counting earlier ones in the network's receptive field."""


def weights_fingerprint(run: Path) -> str:
    """Identifies the weights of a run's checkpoint; every further step changes it."""
    return hashlib.sha256((run / "checkpoint.safetensors").read_bytes()).hexdigest()[:16]


def encoded_once(
    run: Path,
    kind: str,
    directories: Sequence[Path],
    stores: Sequence[EpisodeStore],
    encode: Callable[[EpisodeStore, str], NDArray[Any]],
) -> list[NDArray[Any]]:
    """`encode(store, title)` of every store, mapped into memory from files that are named after the
    run's weights; missing ones are computed. They are kept in the run's directory, or in the user's
    cache where that directory is part of a world."""
    kept = user_cache() / "encoded" if is_frozen(run) else run
    cache = kept / kind / weights_fingerprint(run)
    cache.mkdir(parents=True, exist_ok=True)
    arrays = []
    for directory, store in zip(directories, stores, strict=True):
        name = hashlib.sha256(os.fsencode(directory.resolve())).hexdigest()[:16]
        file = cache / f"{name}-{fingerprint(store)}.npy"
        if not file.exists():
            encoded = encode(store, f"encoding {directory}")

            def write(temporary: Path, encoded: NDArray[Any] = encoded) -> None:
                with temporary.open("wb") as opened:
                    np.save(opened, encoded)

            write_atomically(file, write)
        arrays.append(np.load(file, mmap_mode="r"))
    return arrays


def encoded_clips(
    run: Path,
    network: Network,
    kind: str,
    model: Tokenizer | LatentAction,
    directories: Sequence[Path],
    stores: Sequence[EpisodeStore],
    blank: Callable[[int], NDArray[Any]],
    *,
    ahead: int,
) -> list[NDArray[Any]]:
    """encoded_once by `model`, the `network` of `run`: blank(frames) of every store, filled as
    `encode_store` says."""

    def encode(store: EpisodeStore, title: str) -> NDArray[Any]:
        encoded = blank(store.num_frames)
        encode_store(run, network, model, store, encoded, ahead=ahead, title=title)
        return encoded

    dtype = "bfloat16" if _in_bf16(run, network) else "float32"
    return encoded_once(run, f"{kind}-{dtype}", directories, stores, encode)


def encode_store(
    run: Path,
    network: Network,
    model: Tokenizer | LatentAction,
    store: EpisodeStore,
    encoded: NDArray[Any],
    *,
    ahead: int,
    title: str,
    only: NDArray[np.bool_] | None = None,
) -> None:
    """encode_episodes by `model`, the `network` of `run`, in the precision that it was trained in."""
    encode_episodes(
        partial(model.encode, bf16=_in_bf16(run, network)),
        store,
        encoded,
        reach=model.receptive_field,
        ahead=ahead,
        title=title,
        only=only,
    )


def _in_bf16(run: Path, network: Network) -> bool:
    return bool(read_settings(run, network)["bf16"])


def encode_episodes(
    encode: Callable[[torch.Tensor], torch.Tensor],
    store: EpisodeStore,
    encoded: NDArray[Any],
    *,
    reach: int,
    ahead: int,
    title: str,
    only: NDArray[np.bool_] | None = None,
) -> None:
    """Fills `encoded`, a row a frame, with the outputs of `encode`, one episode at a time; `only`,
    bool [E], chooses episodes.

    `encode` takes frames [1, T, H, W, 3] and returns an output for all frames but the last `ahead`.
    An output depends on `reach` frames, the last of which is `ahead` frames after its own. Rows
    without an output are left as they are.
    """
    starts = store.episode_starts
    episodes = np.stack([starts[:-1], starts[1:]], axis=1)[slice(None) if only is None else only]
    for start, stop in track(episodes.tolist(), title, transient=True):
        for first in range(start, stop - ahead, CHUNK):
            last = min(first + CHUNK, stop - ahead)
            reads_from = max(start, first + ahead - reach + 1)
            frames = torch.from_numpy(store.frames[reads_from : last + ahead].copy())
            encoded[first:last] = encode(frames[None])[0, first - reads_from :].cpu().numpy()

"""Outputs of trained networks for recorded episodes, computed once and kept."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from genie_env._core import EpisodeStore, LatentAction, Tokenizer
from genie_env.data.files import remove_left_behind, sha256_of, user_cache, write_atomically
from genie_env.data.midway import SECONDS_A_CHECKPOINT
from genie_env.data.progress import Progress, busy, say, track
from genie_env.training.runs import CHECKPOINT, Network, is_frozen, read_settings

CHUNK = 256
"""Frames that are encoded at once, not counting earlier ones in the network's receptive field."""

PIECE = 1 << 24
"""Bytes that are hashed at once: between pieces, Ctrl-C works."""

_EARLIER = re.compile(r"[0-9a-f]{16}-[0-9a-f]{16}\.npy")
"""Names that earlier versions gave, after the place of a recording."""

FillRows = Callable[[NDArray[Any], int], Iterator[int]]
"""Fills the rows of an array from the given one on; yields now and then how many of its first rows are
done."""

Encode = Callable[[EpisodeStore, NDArray[Any], int], Iterator[int]]
"""FillRows of an array with a row a frame of the store."""


def weights_fingerprint(run: Path) -> str:
    """Identifies the weights of a run's checkpoint; every further step changes it."""
    return sha256_of(run / CHECKPOINT)[:16]


@lru_cache(maxsize=64)
def frames_fingerprint(store: EpisodeStore, finals: bool = False) -> str:
    """Identifies all that a network sees of a recording: its frames, and where episodes begin; or
    its episodes' final frames."""
    frames = _frames_of(store, finals)
    digest = hashlib.sha256(repr(frames.shape).encode() + store.episode_starts.tobytes())
    for first in track(range(0, len(frames), CHUNK), "fingerprint of the frames", transient=True):
        digest.update(frames[first : first + CHUNK].data)
    return digest.hexdigest()[:32]


def _frames_of(store: EpisodeStore, finals: bool) -> NDArray[np.uint8]:
    if not finals:
        return store.frames
    assert store.final_frames is not None
    return store.final_frames


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
            (len(_frames_of(store, finals)), *row),
            dtype,
            partial(encode, store),
            f"encoding {directory}",
        )
        for directory, store in zip(directories, stores, strict=True)
    ]


def rows_once(
    file: Path, shape: tuple[int, ...], dtype: DTypeLike, fill: FillRows, title: str
) -> NDArray[Any]:
    """The array that `fill` fills, mapped into memory from `file`; see encoded_once."""
    count, *row = shape
    known = _read(file, count, tuple(row), dtype)
    if len(known) == count:
        return known
    encoded = np.zeros(shape, dtype)
    encoded[: len(known)] = known
    _fill(encoded, len(known), file, fill, title)
    return _read(file, count, tuple(row), dtype)


def _fill(encoded: NDArray[Any], rows: int, file: Path, fill: FillRows, title: str) -> None:
    """Fills all but the first `rows`, and writes them into `file`."""
    began, saved = rows, time.monotonic()
    try:
        for rows in shown(fill(encoded, rows), title, len(encoded), rows):
            if time.monotonic() - saved >= SECONDS_A_CHECKPOINT:
                _write(file, encoded[:rows])
                saved = time.monotonic()
    except KeyboardInterrupt:
        if rows > began:
            _write(file, encoded[:rows])
        raise
    with busy(f"writing {file}"):
        _write(file, encoded)


def _write(file: Path, rows: NDArray[Any]) -> None:
    """A .npy file and, after its content, the SHA-256 of that."""

    def write(temporary: Path) -> None:
        with temporary.open("wb+") as opened:
            np.save(opened, rows)
            opened.seek(0)
            digest = hashlib.file_digest(opened, "sha256").digest()
            opened.seek(0, os.SEEK_END)
            opened.write(digest)

    write_atomically(file, write)


def _read(file: Path, most: int, row: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """The first rows that `file` holds, `most` or fewer; none, after a line that says why, where
    it is not what `_write` writes or holds something else."""
    try:
        content = np.memmap(file, np.uint8, mode="r")
        if _sha256(content[:-32], f"checking {file}") != content[-32:].tobytes():
            raise ValueError("its checksum is of another content")
        rows: NDArray[Any] = np.lib.format.open_memmap(file, mode="r")
        if rows.dtype != dtype or rows.shape[1:] != row or len(rows) > most:
            raise ValueError(
                f"it holds {rows.dtype} {list(rows.shape)}, expected {np.dtype(dtype)} "
                f"{[most, *row]}"
            )
        return rows
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        say(f"{file} is damaged ({error}): it is made again")
    return np.zeros((0, *row), dtype)


def _sha256(content: NDArray[np.uint8], title: str) -> bytes:
    digest = hashlib.sha256()
    for first in track(range(0, len(content), PIECE), title, transient=True):
        digest.update(content[first : first + PIECE].data)
    return digest.digest()


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


def shown(done: Iterator[int], title: str, frames: int, first: int = 0) -> Iterator[int]:
    """The same, with a progress bar: numbers of frames that are done, after `first`."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("frames"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, transient=True) as progress:
        task = progress.add_task(title, total=frames, completed=first)
        for rows in done:
            progress.update(task, completed=rows)
            yield rows


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


def encode_episode(
    encode: Callable[[torch.Tensor], torch.Tensor],
    frames: NDArray[np.uint8],
    encoded: NDArray[Any],
    *,
    reach: int,
    ahead: int,
) -> None:
    """encode_episodes of one, all of whose frames but the last `ahead` have a row of `encoded`."""
    for first in range(0, len(frames) - ahead, CHUNK):
        last = min(first + CHUNK, len(frames) - ahead)
        reads_from = max(0, first + ahead - reach + 1)
        chunk = torch.from_numpy(frames[reads_from : last + ahead].copy())
        encoded[first:last] = encode(chunk[None])[0, first - reads_from :].cpu().numpy()

"""What is computed of recorded frames, a row each: once, and kept in files."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from genie_env._core import EpisodeStore
from genie_env.data.files import write_atomically
from genie_env.data.midway import SECONDS_A_CHECKPOINT
from genie_env.data.progress import Progress, busy, say, track

CHUNK = 256
"""Frames that are encoded at once, not counting earlier ones in the network's receptive field."""

PIECE = 1 << 24
"""Bytes that are hashed at once: between pieces, Ctrl-C works."""

FillRows = Callable[[NDArray[Any], int], Iterator[int]]
"""Fills the rows of an array from the given one on; yields now and then how many of its first rows are
done."""


@lru_cache(maxsize=64)
def frames_fingerprint(store: EpisodeStore, finals: bool = False) -> str:
    """Identifies all that a network sees of a recording: its frames, and where episodes begin; or
    its episodes' final frames."""
    frames = frames_of(store, finals)
    digest = hashlib.sha256(repr(frames.shape).encode() + store.episode_starts.tobytes())
    for first in track(range(0, len(frames), CHUNK), "fingerprint of the frames", transient=True):
        digest.update(frames[first : first + CHUNK].data)
    return digest.hexdigest()[:32]


def frames_of(store: EpisodeStore, finals: bool) -> NDArray[np.uint8]:
    if not finals:
        return store.frames
    assert store.final_frames is not None
    return store.final_frames


def rows_once(
    file: Path, shape: tuple[int, ...], dtype: DTypeLike, fill: FillRows, title: str
) -> NDArray[Any]:
    """The array that `fill` fills, mapped into memory from `file`.

    A file that is damaged, or holds something else, is made again. One that is stopped, or killed,
    goes on from what it had a few minutes before.
    """
    count, *row = shape
    known = _read(file, count, tuple(row), dtype)
    if len(known) == count:
        return known
    encoded = np.zeros(shape, dtype)
    encoded[: len(known)] = known
    _fill(encoded, len(known), file, fill, title)
    written = _read(file, count, tuple(row), dtype)
    # Another process that fills the same file may just have replaced it with what it has so far.
    return written if len(written) == count else encoded


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


def encode_episode(
    encode: Callable[[torch.Tensor], torch.Tensor],
    frames: NDArray[np.uint8],
    encoded: NDArray[Any],
    *,
    reach: int,
    ahead: int,
) -> None:
    """Fills `encoded`, a row for every one of an episode's frames but the last `ahead`, with the outputs
    of `encode`, which takes frames [1, T, H, W, 3] and returns one for all frames but the last `ahead`.

    An output depends on `reach` frames, the last of which is `ahead` frames after its own.
    """
    for first in range(0, len(frames) - ahead, CHUNK):
        last = min(first + CHUNK, len(frames) - ahead)
        reads_from = max(0, first + ahead - reach + 1)
        chunk = torch.from_numpy(frames[reads_from : last + ahead].copy())
        encoded[first:last] = encode(chunk[None])[0, first - reads_from :].cpu().numpy()

"""The labels of recorded frames: an optional column of a recording, for evaluation only.

    labels.npy          float32 [N, 8, 6]  class, x, y, width, height, identity; NaN where none
    labelled_frames.npy uint32 [E]         the CRC-32 of each episode's frames

meta.json declares them: "labels": {"dtype": "float32", "shape": [8, 6], "classes": [texts]}. The
checksums tie the labels to the frames that they are of. An episode's labels are written before its
frames, so that a kill leaves too many, never too few; what is beyond the recording is ignored.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from genie_env.data.files import write_atomically
from genie_env.envs.json_files import parse_json
from genie_env.games.labels import FIELDS, MOST_LABELS

if TYPE_CHECKING:
    from genie_env._core import EpisodeStore

LABELS = "labels.npy"
CHECKSUMS = "labelled_frames.npy"
ROW = (MOST_LABELS, len(FIELDS))


def declared_labels(classes: Sequence[str]) -> dict[str, Any]:
    """What meta.json says of labels of these classes."""
    return {"labels": {"dtype": "float32", "shape": list(ROW), "classes": list(classes)}}


@dataclass(frozen=True)
class Labels:
    """The labels of a recording."""

    classes: tuple[str, ...]
    values: NDArray[np.float32]
    """[N, MOST_LABELS, len(FIELDS)]"""
    checksums: NDArray[np.uint32]
    """[E]"""
    directory: Path

    def check_episode(self, store: EpisodeStore, episode: int) -> None:
        """Raises ValueError where the labels of an episode are those of other frames, or are not what
        labels are."""
        first, last = store.episode_starts[episode : episode + 2]
        if checksum(store.frames[first:last]) != self.checksums[episode]:
            raise ValueError(
                f"{self.directory / LABELS} labels another recording: the frames of episode {episode} "
                f"are not those that were labelled; bring back the {LABELS} and {CHECKSUMS} that were "
                "recorded with these frames, or record again with --labels"
            )
        values = self.values[first:last]
        numbers, boxes = values[..., 0], values[..., 1:5]
        there = ~np.isnan(numbers)
        right = np.isin(numbers, np.arange(len(self.classes))) & (boxes >= 0).all(-1)
        wrong = np.argwhere(there & ~right)
        if len(wrong):
            frame, place = wrong[0]
            raise ValueError(
                f"{self.directory / LABELS}: an object of frame {first + frame} is "
                f"{values[frame, place].tolist()} ({', '.join(FIELDS)}); expected a class from 0 to "
                f"{len(self.classes) - 1}, and shares of the frame's sides"
            )


def checksum(frames: NDArray[np.uint8]) -> int:
    """CRC-32 of frames."""
    return zlib.crc32(np.ascontiguousarray(frames).data)


def append_labels(
    directory: Path,
    frames_before: int,
    episodes_before: int,
    frames: NDArray[np.uint8],
    labels: NDArray[np.float32],
) -> None:
    """Writes the labels [T, *ROW] of an episode's frames [T, H, W, 3], behind those of the episodes
    that a recording has. Raises ValueError where theirs are not there."""
    _append(directory / LABELS, frames_before, labels.astype(np.float32))
    _append(directory / CHECKSUMS, episodes_before, np.array([checksum(frames)], np.uint32))


def write_labels(
    directory: Path, classes: Sequence[str], labels: NDArray[np.float32], store: EpisodeStore
) -> None:
    """Labels a whole recording, that of `store` in `directory`, which has none: [N, *ROW]."""
    if labels.shape != (store.num_frames, *ROW):
        raise ValueError(
            f"labels of shape {list(labels.shape)} were given; expected {[store.num_frames, *ROW]}"
        )
    for episode, (first, last) in enumerate(pairwise(store.episode_starts.tolist())):
        append_labels(directory, first, episode, store.frames[first:last], labels[first:last])
    meta = {**json.loads(store.meta), **declared_labels(classes)}
    text = json.dumps(meta, indent=2) + "\n"
    write_atomically(directory / "meta.json", lambda file: file.write_text(text))


def read_labels(directory: Path, store: EpisodeStore) -> Labels:
    """The labels of a recording, mapped into memory. Raises ValueError, naming the file, where it
    has none, or where they are not as meta.json says."""
    meta = parse_json(store.meta, str(directory / "meta.json"))
    classes = _declared(directory, meta)
    return Labels(
        classes,
        _mapped(directory / LABELS, np.float32, ROW, store.num_frames, "frames"),
        _mapped(directory / CHECKSUMS, np.uint32, (), store.num_episodes, "episodes"),
        directory,
    )


def _declared(directory: Path, meta: dict[str, Any]) -> tuple[str, ...]:
    declared = meta.get("labels")
    if declared is None:
        raise ValueError(
            f"{directory} has no labels: record it with --labels, of a game that gives them, or leave "
            "out --labels"
        )
    classes: Any = declared.get("classes") if isinstance(declared, dict) else None
    named = isinstance(classes, list) and classes and all(isinstance(c, str) for c in classes)
    if not named or declared != declared_labels(classes)["labels"]:
        raise ValueError(
            f'{directory / "meta.json"}: "labels" is {str(declared)[:200]}, expected {{"dtype": '
            f'"float32", "shape": {list(ROW)}, "classes": [texts]}}'
        )
    return tuple(classes)


def _mapped(
    file: Path, dtype: DTypeLike, row: tuple[int, ...], count: int, of: str
) -> NDArray[Any]:
    """The first `count` rows of an array file."""
    try:
        array: NDArray[Any] = np.load(file, mmap_mode="r")
    except FileNotFoundError:
        raise ValueError(
            f"{file} is missing, though meta.json declares it: bring it back from a copy"
        ) from None
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{file} is not an array: {error}; bring it back from a copy") from error
    if array.dtype != dtype or array.shape[1:] != row:
        raise ValueError(
            f"{file} holds {array.dtype} {list(array.shape)}, expected {np.dtype(dtype)} "
            f"{[count, *row]}: bring it back from a copy"
        )
    if len(array) < count:
        raise ValueError(
            f"{file} labels {len(array):,} {of}, but the recording has {count:,}: they are labels of "
            "another recording, or a part is lost; bring them back from a copy, or record again with "
            "--labels"
        )
    return array[:count]


def _append(file: Path, before: int, rows: NDArray[Any]) -> None:
    """Writes rows after the first `before` ones, and drops what came after those."""
    if before == 0:
        np.save(file, rows[:0])  # a header that leaves room for the number of rows
    else:
        _mapped(file, rows.dtype, rows.shape[1:], before, "rows")
    with file.open("r+b") as opened:
        begin = _header(opened, before + len(rows), rows)
        opened.seek(begin + before * rows[:1].nbytes)
        opened.write(np.ascontiguousarray(rows).data)
        opened.truncate()


def _header(opened: Any, count: int, rows: NDArray[Any]) -> int:
    """Writes a header for `count` rows; returns its length, which is the same for every count."""
    opened.seek(0)
    shape = (count, *rows.shape[1:])
    described = {"descr": rows.dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(opened, described)
    return int(opened.tell())

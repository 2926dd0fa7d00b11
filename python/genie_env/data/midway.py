"""What a long command has found so far, in a file from which the same command goes on."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from genie_env.data.files import write_atomically
from genie_env.data.progress import say

SECONDS_A_CHECKPOINT = 300.0
"""The time after a checkpoint in which a step writes none: a command that is killed loses what it did
in this time, and in the step or evaluation after it, at most."""

Tensors = dict[str, torch.Tensor]


def checksum(values: Mapping[str, Any]) -> str:
    """SHA-256, in hexadecimal digits, of what JSON can hold."""
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


class Midway:
    """Tensors that a piece of work has found so far, beside the file of its results.

    with Midway(out / "figures.json", identity) as midway:
        total = midway.found.get("total", torch.zeros(n))
        for ...:
            midway.keep(lambda: {"total": total})
        write_json(out / "figures.json", ...)

    The file's name holds a checksum of `identity`, all that decides the work, so that other work
    does not take it for its own. A block that ends without an exception removes it.
    """

    def __init__(self, results: Path | None, identity: Mapping[str, Any]) -> None:
        """Reads what is there; a damaged file counts as none, after a line that says so. Where
        `results` is None nothing is kept."""
        self._file: Path | None = None
        if results is not None:
            name = f".{results.stem}-{checksum(identity)[:16]}.midway"
            self._file = results.with_name(name)
        self._kept_at = time.monotonic()
        self.found = self._read()

    def keep(self, tensors: Callable[[], Tensors], *, at_once: bool = False) -> None:
        """Writes the tensors where SECONDS_A_CHECKPOINT have passed since the last time, or now."""
        if self._file is None:
            return
        if at_once or time.monotonic() - self._kept_at >= SECONDS_A_CHECKPOINT:
            content = save({name: each.contiguous() for name, each in tensors().items()})
            digest = hashlib.sha256(content).digest()
            write_atomically(self._file, lambda file: file.write_bytes(digest + content))
            self._kept_at = time.monotonic()

    def __enter__(self) -> Midway:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and self._file is not None:
            self._file.unlink(missing_ok=True)

    def _read(self) -> Tensors:
        if self._file is None or not self._file.exists():
            return {}
        content = self._file.read_bytes()
        try:
            if hashlib.sha256(content[32:]).digest() != content[:32]:
                raise ValueError("its checksum is of another content")
            return load(content[32:])
        except (SafetensorError, ValueError) as error:
            say(f"{self._file} is damaged ({error}): what it kept is done again")
            return {}

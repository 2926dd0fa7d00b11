"""Paths of any bytes, as other software takes them and as they are shown."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def as_url(file: Path) -> str:
    """A path as FFmpeg takes it: "12:30.mp4" alone would be a file of the protocol "12"."""
    return f"file:{file}"


def shown(text: object) -> str:
    r"""A path, or a text with paths in it, as it can be printed and written: bytes that are no UTF-8
    as backslash escapes.

    >>> import os
    >>> print(shown(os.fsdecode(b"caf\xe9.mp4")))
    caf\xe9.mp4
    """
    return re.sub("[\ud800-\udfff]", _escape, str(text))


def shown_in(value: Any) -> Any:
    """A JSON value whose texts are all as they are shown, for JSON that other software reads."""
    if isinstance(value, dict):
        return {shown(key): shown_in(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [shown_in(each) for each in value]
    return shown(value) if isinstance(value, str) else value


@contextmanager
def in_utf8(path: Path) -> Iterator[Path]:
    """A path for software that takes no other names than those in UTF-8: itself, or where its name
    is not, a link to it that goes with the context."""
    if shown(path) == str(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / "link"
        link.symlink_to(path.absolute())
        yield link


def _escape(match: re.Match[str]) -> str:
    """Of what Python makes of a byte that is no UTF-8, or of half a surrogate pair."""
    code = ord(match[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"

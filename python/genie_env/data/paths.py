"""Paths of any bytes, as other software takes them and as they are shown."""

from __future__ import annotations

import re
from pathlib import Path


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


def _escape(match: re.Match[str]) -> str:
    """Of what Python makes of a byte that is no UTF-8, or of half a surrogate pair."""
    code = ord(match[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"

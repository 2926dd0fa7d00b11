"""The SIZES of `genie-env bench --random FAMILY:SIZES`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def parse_sizes(
    text: str,
    required: Sequence[str],
    optional: Sequence[str],
    expected: str,
    *,
    words: Sequence[str] = (),
) -> dict[str, Any]:
    """From "T=16,S=64": the value of each name, in any order: a number, but text of `words`.

    `expected`: for messages. Raises ValueError where a name is unknown or given twice, a number is
    none or a huge one, or a required name is missing.
    """
    sizes: dict[str, Any] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        known = name in {*required, *optional} and name not in sizes
        if not known or not (value if name in words else value.isdecimal()):
            raise ValueError(f"{part!r} in it is not understood; expected {expected}")
        if name not in words and len(value) > 9:
            raise ValueError(f"{name} in it is larger than any world's")
        sizes[name] = value if name in words else int(value)
    if missing := [name for name in required if name not in sizes]:
        raise ValueError(f"it is without {', '.join(missing)}: give them too")
    return sizes

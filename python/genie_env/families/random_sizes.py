"""The SIZES of `genie-env bench --random FAMILY:SIZES`."""

from __future__ import annotations

from collections.abc import Sequence


def parse_sizes(
    text: str, required: Sequence[str], optional: Sequence[str], expected: str
) -> dict[str, str]:
    """From "T=16,S=64": the value of each name, in any order. Required ones are numbers.

    `expected`: for messages. Raises ValueError where a name is unknown or given twice, a number is
    none, or a required one is missing.
    """
    sizes: dict[str, str] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        unknown = name not in {*required, *optional} or name in sizes
        if unknown or not value or (name in required and not value.isdecimal()):
            raise ValueError(not_understood(part, expected))
        sizes[name] = value
    if missing := [name for name in required if name not in sizes]:
        raise ValueError(f"it is without {', '.join(missing)}: give them too")
    return sizes


def not_understood(part: str, expected: str) -> str:
    """A part, as in "T=16", that is not what was expected."""
    return f"{part!r} in it is not understood; expected {expected}"


def whole_number(name: str, value: str, expected: str) -> int:
    """The size of that name. Raises ValueError where it is no number, or a huge one."""
    if not value.isdecimal():
        raise ValueError(not_understood(f"{name}={value}", expected))
    if len(value) > 9:
        raise ValueError(f"{name} in it is larger than any world's")
    return int(value)

"""The messages of the page's WebSocket, checked before anything is done.

Text frames are JSON objects with a "type"; the page's only binary messages are pictures. The server's
binary messages are frames: the length of a header (uint32, big-endian), the header, a JPEG.
"""

from __future__ import annotations

import base64
import io
import json
import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LONGEST_TEXT = 1 << 16
LARGEST_PICTURE = 1 << 24
"""Bytes of a picture that a page may send."""
ROWS = (1, 4, 9)
MODES = ("dream", "real", "both")
MOST_KEYS = 64

_INTEGER, _NUMBER, _FLAG, _TEXT = ("an integer", "a finite number", "true or false", "a text")
_FIELDS: dict[str, dict[str, str]] = {
    "keys": {"down": "a list of at most 64 texts", "seq": _INTEGER},
    "axes": {"values": "a list of at most 64 finite numbers", "seq": _INTEGER},
    "pause": {"on": _FLAG},
    "step": {},
    "pace": {"fps": "a finite number or null"},
    "reset": {"seed": "an integer or null", "start": "an integer or null"},
    "temperature": {"value": _NUMBER},
    "option": {"name": _TEXT, "value": "a text, a number, true or false"},
    "branch": {},
    "return": {"node": _INTEGER},
    "rows": {"count": _INTEGER},
    "mode": {"mode": _TEXT},
    "agent": {"on": _FLAG},
    "record": {"on": _FLAG},
    "starts": {},
    "drawn": {"id": _INTEGER},
}


def parse(text: str) -> dict[str, Any]:
    """A message of the page. Raises ValueError, in one sentence, where it is none."""
    if len(text) > LONGEST_TEXT:
        raise ValueError(
            f"the message has {len(text):,} characters; expected at most {LONGEST_TEXT:,}"
        )
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("the message is not JSON") from None
    kind = message.get("type") if isinstance(message, dict) else None
    if not isinstance(kind, str) or kind not in _FIELDS:
        raise ValueError(f'the message has no "type" of: {", ".join(_FIELDS)}')
    fields = _FIELDS[kind]
    for name, expected in fields.items():
        if not _is(expected, message.get(name)):
            raise ValueError(f'"{name}" of the message "{kind}" is not {expected}')
    return {"type": kind, **{name: message.get(name) for name in fields}}


def _is(expected: str, value: Any) -> bool:
    integer = type(value) is int and abs(value) < 2**63
    number = integer or (type(value) is float and math.isfinite(value))
    if expected == _INTEGER:
        return integer
    if expected == _NUMBER:
        return number
    if expected == _FLAG:
        return isinstance(value, bool)
    if expected == _TEXT:
        return _is_text(value)
    if expected.endswith("or null"):
        return value is None or (integer if "integer" in expected else number)
    if expected.startswith("a list"):
        element = _TEXT if "texts" in expected else _NUMBER
        return (
            isinstance(value, list)
            and len(value) <= MOST_KEYS
            and all(_is(element, each) for each in value)
        )
    return number or _is_text(value) or isinstance(value, bool)


def _is_text(value: Any) -> bool:
    """JSON may hold half a character: a lone surrogate."""
    return isinstance(value, str) and not any("\ud800" <= each <= "\udfff" for each in value)


def jpeg(picture: NDArray[np.uint8]) -> bytes:
    """A picture uint8 [H, W, 3], with a colour for every pixel."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=95, subsampling=0)
    return file.getvalue()


def as_data(picture: NDArray[np.uint8]) -> str:
    """The same as a data URL."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(picture)).decode()


def packed(header: Mapping[str, Any], picture: bytes) -> bytes:
    """A frame as it is sent. `picture`: as `jpeg` makes it. JSON knows no numbers that are not finite:
    these become null."""
    known = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in header.items()
    }
    text = json.dumps(known, allow_nan=False).encode()
    return struct.pack(">I", len(text)) + text + picture

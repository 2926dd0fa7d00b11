"""Reading JSON files with a schema: whatever is wrong is one sentence that begins with the file.

A schema gives the kind of every field that is used:

    {"network": str, "steps": int, "sizes": {"width": int, "heads?": int}, "start?": (str, None)}

A name that ends with "?" may be missing; "*" stands for all fields that are not named, which may
otherwise be anything. The kinds:

    bool, str, list, dict   of that type
    int                     an integer of 64 bits; true and false are none
    float                   a finite number, integers among them
    object                  anything
    None                    null
    (kind, ...)             any of these; () is nothing, so that {"*": ()} refuses unknown names
    [kind]                  a list of that kind
    [kind, kind, ...]       a list of as many, of these kinds
    {name: kind, ...}       an object
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Schema = Mapping[str, Any]

_NAMES: dict[Any, str] = {
    bool: "true or false",
    str: "a text",
    int: "an integer",
    float: "a number",
    list: "a list",
    dict: "an object",
    object: "a value",
    None: "null",
}
_MISSING = object()
_DAMAGED = "it was damaged or changed by hand: bring it back from a copy, or remove it"


def read_json(file: Path, schema: Schema = {}) -> dict[str, Any]:
    """The JSON object in `file`. Raises ValueError where it holds anything else, or a field is not
    as `schema` says; OSError where it cannot be read. Every message begins with the file."""
    return parse_json(_read(file), str(file), schema)


def read_json_lines(file: Path, schema: Schema) -> list[dict[str, Any]]:
    """The JSON objects in `file`, one a line; a last line that a kill cut short is left out. Raises
    ValueError, OSError like `read_json`; its message names the line, too."""
    *lines, _ = _read(file).split(b"\n")
    return [parse_json(line, f"{file}, line {i}", schema) for i, line in enumerate(lines, start=1)]


def parse_json(content: bytes | str, where: str, schema: Schema = {}) -> dict[str, Any]:
    """The JSON object in `content`; `where` begins the message of the ValueError."""
    try:
        value = json.loads(content, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:  # not JSON, or not UTF-8; nested too deeply
        raise ValueError(f"{where} is not JSON ({error}); {_DAMAGED}") from error
    if not isinstance(value, dict):
        raise ValueError(
            f"{where} holds {reprlib.repr(value)}, but a JSON object is expected; {_DAMAGED}"
        )
    check_fields(value, where, schema)
    return value


def check_fields(value: Mapping[str, Any], where: str, schema: Schema) -> None:
    """Raises ValueError, whose message begins with `where`, unless an object is as `schema` says."""
    for path, found, kind in _wrong(value, schema, ""):
        is_what = "is missing" if found is _MISSING else f"is {reprlib.repr(found)}"
        raise ValueError(f'{where}: "{path}" {is_what}, expected {_expected(kind)}; {_DAMAGED}')


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise type(error)(f"{file} cannot be read: {error.strerror or error}") from error


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is too large")
    return value


def _wrong(value: Any, kind: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """The path, the value and the expected kind of everything in `value` that is of another kind."""
    if isinstance(kind, Mapping) and isinstance(value, dict):
        kinds = {name.removesuffix("?"): each for name, each in kind.items()}
        fields = {name: _MISSING for name in kind if name[-1] not in "?*"} | value
        for name, field in fields.items():
            below = f"{path}.{name}" if path else name
            yield from _wrong(field, kinds.get(name, kinds.get("*", object)), below)
    elif isinstance(kind, list) and isinstance(value, list) and len(kind) in (1, len(value)):
        for index, each in enumerate(value):
            yield from _wrong(each, kind[index % len(kind)], f"{path}[{index}]")
    elif isinstance(kind, tuple):
        if all(any(_wrong(value, each, path)) for each in kind):
            yield path, value, kind
    elif not _is(value, kind):
        yield path, value, kind


def _is(value: Any, kind: Any) -> bool:
    if value is _MISSING or isinstance(kind, (Mapping, list)):
        return False
    if kind is None:
        return value is None
    if kind is int or (kind is float and type(value) is int):
        return type(value) is int and -(2**63) <= value < 2**63
    return isinstance(value, kind)


def _expected(kind: Any) -> str:
    if isinstance(kind, tuple):
        return " or ".join(map(_expected, kind)) if kind else "no such name"
    if isinstance(kind, list):
        size = "a list" if len(kind) == 1 else f"a list of {len(kind)}"
        return f"{size} (each {_expected(kind[0])})"
    return "an object" if isinstance(kind, Mapping) else _NAMES[kind]

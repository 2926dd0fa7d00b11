"""What typer does not check of a command's options by itself, for all commands at once. Needs no torch.

An option that is a number declares its `min` and `max`; one that names an output is `writable`; a
text that may be a path has the `path_type` str.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

from typer.models import ArgumentInfo, OptionInfo, ParameterInfo


def declared_options(function: Callable[..., Any]) -> dict[str, ParameterInfo]:
    """What typer was told of every parameter of a command's function, by its name in Python."""
    hints = get_type_hints(function, include_extras=True)
    return {
        name: info
        for name, hint in hints.items()
        for info in getattr(hint, "__metadata__", ())
        if isinstance(info, (OptionInfo, ArgumentInfo))
    }


def word(name: str, info: ParameterInfo) -> str:
    """An option as it is written on the command line, or an argument as help texts call it."""
    if isinstance(info, ArgumentInfo):
        return name.upper()
    # Inside Annotated, typer takes the first name for the default until it makes the command.
    names = [each for each in (info.default, *(info.param_decls or ())) if isinstance(each, str)]
    return names[0] if names else f"--{name.replace('_', '-')}"


def check_options(
    function: Callable[..., Any],
    given: Mapping[str, Any],
    called: Callable[[str, ParameterInfo], str] = word,
) -> None:
    """Raises ValueError that names the option: for a number outside its range, NaN included, for a
    text that is no UTF-8, and for an output where nothing can be written. `given`: values by their
    names in Python; `called`: the option's name in errors."""
    for name, info in declared_options(function).items():
        value, option = given.get(name), called(name, info)
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, (int, float)) and not isinstance(each, bool):
                _check_number(option, each, info)
            if isinstance(each, str) and info.path_type is None:
                _check_text(option, each)
            if isinstance(each, Path) and info.writable:
                _check_output(option, each)


def refuse_empty(args: Sequence[str]) -> None:
    """Raises ValueError for an empty argument, which mostly comes from a variable that a shell does
    not know; as a path it would be the current directory."""
    for before, arg in zip(["", *args], args, strict=False):
        option, separator, value = arg.partition("=")
        if not arg:
            where = before if before.startswith("-") else "an argument"
            raise ValueError(f"{where} is empty: give it a value, or leave it out")
        if option.startswith("--") and separator and not value:
            raise ValueError(f"{option} is empty: give it a value, or leave it out")


def _check_number(option: str, value: float, info: ParameterInfo) -> None:
    if info.min is None or info.max is None or info.min <= value <= info.max:
        return
    raise ValueError(f"{option} is {value}, expected {info.min} to {info.max}")


def _check_text(option: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{option} is {text!a}, expected a text in UTF-8") from None


def _check_output(option: str, path: Path) -> None:
    existing = next(_existing(path))
    if existing != path and not existing.is_dir():
        raise ValueError(f"{option} is {path}, but {existing} is a file: give another place")
    if not os.access(existing, os.W_OK):
        raise ValueError(
            f"{option} is {path}, but nothing can be written in {existing}: give another place"
        )


def _existing(path: Path) -> Iterator[Path]:
    """The path and the folders above it, as far as they exist, the innermost first."""
    return (each for each in (path, *path.absolute().parents) if each.exists())

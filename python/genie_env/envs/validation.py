"""Checks of users' arguments, and their conversion for the compiled part."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, SupportsIndex

import numpy as np
import torch
from gymnasium.vector import AutoresetMode

from genie_env import _core

Given = Any
"""np.ndarray, torch.Tensor or a list, independently of the environment's output."""


def autoreset_mode(given: AutoresetMode | str) -> AutoresetMode:
    for mode in AutoresetMode:
        if given in (mode, mode.value, mode.name):
            return mode
    expected = " or ".join(f"{mode.value!r} ({mode.name})" for mode in AutoresetMode)
    raise ValueError(f"autoreset_mode is {given!r}, expected {expected}")


def snapshot(given: Any) -> _core.Snapshot:
    if not isinstance(given, _core.Snapshot):
        raise TypeError(f"snapshot: got {type(given).__name__}, expected a genie_env.Snapshot")
    return given


def row(given: Any) -> int:
    try:
        return operator.index(given)
    except TypeError:
        raise TypeError(f"row is {given!r}, expected an integer") from None


def check_temperature(number: float) -> None:
    if not (number > 0 and math.isfinite(number)):
        raise ValueError(f"the temperature is {number}; expected a number above 0")


def check_type(name: str, given: Any, expected: Any, words: str) -> None:
    if not isinstance(given, expected):
        raise TypeError(f"{name} is {given!r}, expected {words}")


def check_choice(name: str, given: Any, choices: Sequence[Any]) -> None:
    if given not in choices:
        expected = " or ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} is {given!r}, expected {expected}")


def check_integer(name: str, given: Any) -> None:
    """None is fine."""
    check_type(name, given, SupportsIndex | None, "an integer")
    if given is not None and not -(2**63) <= operator.index(given) < 2**63:
        raise ValueError(f"{name} is {given}, expected an integer that 64 bits can hold")


def seed(given: Any) -> int:
    """One row's seed."""
    try:
        number = operator.index(given)
    except TypeError:
        number = -1
    if not 0 <= number < 2**64:
        error = ValueError if isinstance(given, (int, np.integer)) else TypeError
        raise error(
            f"seed: got {given!r}, expected an integer from 0 to 2**64 - 1, or a list of one a row"
        )
    return number


def row_seeds(given: int | Sequence[int], rows: int) -> list[int]:
    if isinstance(given, Sequence | np.ndarray) and not isinstance(given, str):
        return [seed(each) for each in given]
    first = seed(given)
    return [seed(first + row) for row in range(rows)]


def _tensor(
    name: str, given: Given, expected: str, accepts: Callable[[torch.dtype], bool]
) -> torch.Tensor:
    """`given` as a tensor, copied unless it is one. Raises TypeError unless its dtype will do."""
    dtype: Any = None
    try:
        array = given if isinstance(given, torch.Tensor) else np.array(given)
        dtype = array.dtype
        tensor = array if isinstance(array, torch.Tensor) else torch.from_numpy(array)
    except (TypeError, ValueError):  # rows of several lengths, objects
        tensor = None
    if tensor is None or not accepts(tensor.dtype):
        what = type(given).__name__ if dtype is None else str(dtype).removeprefix("torch.")
        raise TypeError(f"{name}: got {what}, expected {expected}")
    return tensor


def integers(name: str, given: Given) -> torch.Tensor:
    if isinstance(given, torch.Tensor) and given.dtype == torch.int64:
        return given  # the fast path of every step of an agent in torch

    def is_integer(dtype: torch.dtype) -> bool:
        return not (dtype.is_floating_point or dtype.is_complex or dtype == torch.bool)

    return _tensor(name, given, "integers", is_integer).to(torch.int64)


def numbers(name: str, given: Given) -> torch.Tensor:
    def is_real(dtype: torch.dtype) -> bool:
        return not (dtype.is_complex or dtype == torch.bool)

    return _tensor(name, given, "numbers", is_real).to(torch.float32)


def boolean(name: str, given: Given) -> torch.Tensor:
    return _tensor(name, given, "bool", lambda dtype: dtype == torch.bool)


def pixels(name: str, given: Given) -> torch.Tensor:
    return _tensor(name, given, "uint8", lambda dtype: dtype == torch.uint8)

"""Checks of users' arguments, and their conversion for the compiled part."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
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


def index(given: Any) -> int | None:
    """The integer that `given` is: Python's, NumPy's, or an array or a tensor without dimensions.
    None for all else, a bool included."""
    if isinstance(given, bool | np.bool_) or (
        isinstance(given, np.ndarray | torch.Tensor)
        and (given.ndim > 0 or given.dtype in (np.bool_, torch.bool))
    ):
        return None
    try:
        return operator.index(given)
    except TypeError:
        return None


def integer(name: str, given: Any) -> int:
    number = index(given)
    if number is None:
        raise TypeError(f"{name} is {given!r}, expected an integer")
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{name} is {number}, expected an integer that 64 bits can hold")
    return number


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


def seed(given: Any) -> int:
    """One row's seed."""
    number = index(given)
    if number is None or not 0 <= number < 2**64:
        error = TypeError if number is None else ValueError
        raise error(
            f"seed: got {given!r}, expected an integer from 0 to 2**64 - 1, or a list of one a row"
        )
    return number


def row_seeds(given: Any, rows: int) -> list[int]:
    """One seed a row: those of a list or an array [N]; of an integer s, s + i for row i."""
    if isinstance(given, np.ndarray | torch.Tensor):
        if given.ndim > 1:
            shape = tuple(given.shape)
            raise ValueError(f"seed: got an array of shape {shape}, expected one integer a row")
        given = given.tolist()
    if isinstance(given, Sequence) and not isinstance(given, str | bytes):
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
        if not isinstance(array, torch.Tensor):  # torch knows but one order of bytes
            array = torch.from_numpy(array.astype(dtype.newbyteorder("="), copy=False))
    except (TypeError, ValueError):  # rows of several lengths, objects
        array = None
    if array is None or not accepts(array.dtype):
        what = type(given).__name__ if dtype is None else str(dtype).removeprefix("torch.")
        raise TypeError(f"{name}: got {what}, expected {expected}")
    return array


def integers(name: str, given: Given) -> torch.Tensor:
    if isinstance(given, torch.Tensor) and given.dtype == torch.int64:
        return given  # the fast path of every step of an agent in torch
    if isinstance(given, list | tuple) and len(given) == 0:
        return torch.zeros(0, dtype=torch.int64)  # NumPy takes nothing for floats

    def is_integer(dtype: torch.dtype) -> bool:
        return not (dtype.is_floating_point or dtype.is_complex or dtype == torch.bool)

    tensor = _tensor(name, given, "integers", is_integer)
    signed = tensor.to(torch.int64)
    if tensor.dtype == torch.uint64 and bool((signed < 0).any()):
        raise ValueError(f"{name}: got {max(tensor.flatten().tolist())}, expected less than 2**63")
    return signed


def numbers(name: str, given: Given) -> torch.Tensor:
    def is_real(dtype: torch.dtype) -> bool:
        return not (dtype.is_complex or dtype == torch.bool)

    return _tensor(name, given, "numbers", is_real).to(torch.float32)


def actions(given: Given, space: gymnasium.Space[Any]) -> torch.Tensor:
    """Actions of a space: int64 of Discrete, float32 of Box."""
    discrete = isinstance(space, gymnasium.spaces.Discrete)
    return integers("actions", given) if discrete else numbers("actions", given)


def boolean(name: str, given: Given) -> torch.Tensor:
    return _tensor(name, given, "bool", lambda dtype: dtype == torch.bool)


def pixels(name: str, given: Given) -> torch.Tensor:
    return _tensor(name, given, "uint8", lambda dtype: dtype == torch.uint8)

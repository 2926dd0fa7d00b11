"""Users' own rewards and terminations: by the name of the function, and as the compiled part calls
them."""

from __future__ import annotations

import functools
import hashlib
import inspect
import sys
import traceback
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from genie_env.envs import validation
from genie_env.envs.infos import Give
from genie_env.envs.options import StepFunction
from genie_env.envs.plugins import import_function

CoreFunction = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]

_HASH_LENGTH = 12

_sources: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
"""Of functions and classes, the hash of their source when it was first asked for: the file may change
while the process still runs what it has imported."""

_CHECKS = {"reward_fn": validation.numbers, "termination_fn": validation.boolean}


def core_function(option: str, function: StepFunction | None, give: Give) -> CoreFunction | None:
    """The user's `reward_fn` or `termination_fn`, called with what `give` makes of tensors."""
    if function is None:
        return None
    check = _CHECKS[option]
    return lambda *step: check(f"what {option} gave", function(*map(give, step)))


@dataclass(frozen=True)
class NamedFunction:
    """A function of the user's that a command line names.

    Whatever it raises becomes a RuntimeError, and a result of another type a ValueError, that name the
    function in one sentence.
    """

    option: str
    """"reward_fn" or "termination_fn"."""
    name: str
    """"module:function"."""
    function: StepFunction
    source: str
    """As of `source_of`."""

    def __call__(self, *step: Any) -> torch.Tensor:
        try:
            result = self.function(*step)
        except Exception as error:
            raise RuntimeError(
                f"{self.option} {self.name} raised {type(error).__name__}: {error}{_place(error)}"
            ) from error
        try:
            return _CHECKS[self.option](f"what {self.option} {self.name} gave", result)
        except TypeError as error:
            raise ValueError(str(error)) from None


def named_function(option: str, name: str | None) -> NamedFunction | None:
    """The function "module:function" of `--reward-fn` or `--termination-fn`; None: none was given.

    Raises ValueError where there is no such function, ImportError where its module cannot be imported.
    """
    if name is None:
        return None
    gives = {"reward_fn": "rewards, numbers [N]", "termination_fn": "terminations, bool [N]"}[option]
    expected = f"takes observations, actions and next observations of N dreams and returns {gives}"
    function = import_function(name, option, expected)
    return NamedFunction(option, name, function, source_of(function))


def name_of(function: StepFunction) -> str:
    """By which files and settings know a function."""
    if isinstance(function, NamedFunction):
        return function.name
    if isinstance(function, functools.partial):
        arguments = [
            *map(_words, function.args),
            *(f"{name}={_words(value)}" for name, value in function.keywords.items()),
        ]
        return f"{name_of(function.func)}({', '.join(arguments)})"
    origin = function if hasattr(function, "__qualname__") else type(function)
    return f"{getattr(origin, '__module__', '')}:{origin.__qualname__}"


def source_of(function: StepFunction) -> str:
    """A short SHA-256 of the source of the module that defines a function, or of the function's own
    where that module has none; "" where neither has, as of a compiled one."""
    if isinstance(function, NamedFunction):
        return function.source
    if isinstance(function, functools.partial):
        return source_of(function.func)
    origin = inspect.unwrap(getattr(function, "__func__", function))  # of a method
    if not hasattr(origin, "__qualname__"):
        origin = type(origin)
    try:
        return _sources.get(origin) or _sources.setdefault(origin, _hash_of_source(origin))
    except TypeError:  # a compiled one of which no weak reference can be made
        return _hash_of_source(origin)


def _hash_of_source(origin: Any) -> str:
    for each in (sys.modules.get(getattr(origin, "__module__", None) or ""), origin):
        try:
            source = inspect.getsource(each)  # type: ignore[arg-type]
        except (OSError, TypeError):
            continue
        return hashlib.sha256(source.encode()).hexdigest()[:_HASH_LENGTH]
    return ""


def _words(value: Any) -> str:
    """An argument of a partial function's: one that is itself a function has no repr that lasts."""
    return name_of(value) if callable(value) else repr(value)


def _place(error: Exception) -> str:
    """Where the user's function raised it: " (file, line 3)"."""
    _, *frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == frames[0].filename]
    return f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""

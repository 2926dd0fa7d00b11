"""Users' own rewards and terminations: by the name of the function, and as the compiled part calls
them."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from genie_env.envs import validation
from genie_env.envs.infos import Give
from genie_env.envs.options import StepFunction
from genie_env.envs.plugins import import_function

CoreFunction = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]

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
    return NamedFunction(option, name, import_function(name, option, expected))


def name_of(function: StepFunction) -> str:
    """By which files and settings know a function."""
    if isinstance(function, NamedFunction):
        return function.name
    module, name = (getattr(function, each, "") for each in ("__module__", "__qualname__"))
    return f"{module}:{name}" if name else repr(function)


def _place(error: Exception) -> str:
    """Where the user's function raised it: " (file, line 3)"."""
    _, *frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == frames[0].filename]
    return f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""

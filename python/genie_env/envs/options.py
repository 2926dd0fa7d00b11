"""What an environment may be asked for: the same for all environments, and checked in one place."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import (
    Any,
    Concatenate,
    Literal,
    ParamSpec,
    Protocol,
    SupportsFloat,
    TypeVar,
    get_args,
)

import numpy as np
import torch
from gymnasium.vector import AutoresetMode

from genie_env._core import StartBank, World
from genie_env.envs import validation
from genie_env.envs.start_bank import BURN_IN, STARTS_COUNT, start_bank
from genie_env.envs.validation import Given

Array = Any
"""What an environment gives: np.ndarray, or torch.Tensor where its output is "torch"."""

StepFunction = Callable[[Array, Array, Array], Given]
"""f(observations, actions, next_observations) of N rows: copies, which reward_fn and termination_fn
share."""

FamilyValue = bool | int | float | str
"""The value of an option of a world's family."""

DType = Literal["auto", "float32", "bfloat16"]
Output = Literal["numpy", "torch"]
RenderMode = Literal["rgb_array"]
GivenStarts = str | Path | Sequence[str | Path] | StartBank
AutoresetName = Literal["NextStep", "NEXT_STEP", "SameStep", "SAME_STEP", "Disabled", "DISABLED"]


P = ParamSpec("P")
R = TypeVar("R")
Self = TypeVar("Self")


def keywords(
    world: str | Path | World,
    num_envs: int = 1,
    *,
    device: str = "cpu",
    dtype: DType = "auto",
    observation: str | None = None,
    temperature: Given | None = None,
    output: Output = "numpy",
    copy: bool = True,
    autoreset_mode: AutoresetMode | AutoresetName = AutoresetMode.NEXT_STEP,
    max_episode_steps: int | None = None,
    max_surprise: float | None = None,
    latent_distance: bool = False,
    max_latent_distance: float | None = None,
    reward_fn: StepFunction | None = None,
    termination_fn: StepFunction | None = None,
    render_mode: RenderMode | None = None,
    starts: GivenStarts | None = None,
    burn_in: int | None = None,
    starts_count: int | None = None,
    seed: int | None = None,
    family_options: Mapping[str, FamilyValue] = {},
    **others: FamilyValue | None,
) -> None:
    """What environments are made with, for type checkers and editors: the fields of EnvOptions, and
    options of the world's family."""


class _TakesKeywords(Protocol[P]):
    def __call__(
        self, init: Callable[Concatenate[Self, str | Path | World, ...], R]
    ) -> Callable[Concatenate[Self, P], R]: ...


def constructor(signature: Callable[P, None]) -> _TakesKeywords[P]:
    """A constructor that type checkers see with another signature: `@constructor(keywords)`."""
    return lambda init: init


def function(signature: Callable[P, None]) -> Callable[[Callable[..., R]], Callable[P, R]]:
    """The same for a function."""
    return lambda body: body


@dataclass(frozen=True, kw_only=True, repr=False)
class EnvOptions:
    """Options of an environment, checked.

        options = EnvOptions(temperature=1.15, output="torch")
        options = EnvOptions.of({"temperature": 1.15, "passes": 4})  # passes: of the world's family

    Raises TypeError or ValueError that names the option. What only the world can know (its
    observations, the options of its family) is checked where an environment is made.
    """

    device: str = "cpu"
    """Where the world computes: "cpu", "cuda" or "cuda:1"."""

    dtype: DType = "auto"
    """Precision of the world's matrix products; "auto": bfloat16 where it is faster."""

    observation: str | None = None
    """What is observed, one of the world's; None: its first."""

    temperature: Given | None = field(default=None, hash=False)
    """Sampling temperature: one number, or one a row (floats [N]); None: the world's own."""

    output: Output = "numpy"
    """Arrays of NumPy, or tensors of torch on the world's device."""

    copy: bool = True
    """Whether each step gives a fresh array of observations. False: steps write to two arrays in
    turn, so that what one gives is valid until the next step but one."""

    autoreset_mode: AutoresetMode | AutoresetName = AutoresetMode.NEXT_STEP
    """When a row whose episode has ended begins the next one: Gymnasium's AutoresetMode, its value
    ("NextStep") or its name ("NEXT_STEP")."""

    max_episode_steps: int | None = None
    """Steps after which an episode is truncated; None: the world's; -1 (or 0): no limit."""

    max_surprise: float | None = None
    """A step of more surprise (nats) truncates the episode; None: no limit."""

    latent_distance: bool = False
    """Whether infos hold "latent_distance", the distance of each frame from the training data."""

    max_latent_distance: float | None = None
    """A step further from the training data truncates the episode; None: no limit."""

    reward_fn: StepFunction | None = None
    """Replaces the world's reward: f(observations, actions, next_observations) -> numbers [N].

    Rows that begin an episode are ignored; the others must be finite. An exception arrives as it was
    raised, and the step has not happened."""

    termination_fn: StepFunction | None = None
    """Replaces the world's termination: likewise, -> bool [N]."""

    render_mode: RenderMode | None = None
    """Whether `render` gives pictures."""

    starts: GivenStarts | None = field(default=None, hash=False)
    """Where episodes begin, those of autoresets included: at random places of recorded episodes, by
    their directories, or from a `StartBank` that was made before; None: where the world has stored
    starts. The recordings must be of the world's game."""

    burn_in: int | None = None
    """With starts: recorded frames that the world follows from each place on before an episode begins;
    None: 16."""

    starts_count: int | None = None
    """With starts: the most places, each of which takes a row's memory
    (`world.spec.state_bytes_per_row`); None: 256."""

    seed: int | None = None
    """Row i has the seed `seed + i` until a reset gives it another; None: from the operating
    system."""

    family_options: Mapping[str, FamilyValue] = field(default_factory=dict, hash=False)
    """Options of the world's family, by name; what is left out, or None, is as the world says."""

    @classmethod
    def of(cls, keywords: Mapping[str, Any]) -> EnvOptions:
        """Options from keyword arguments: fields, and all others as options of the family."""
        own = {name: value for name, value in keywords.items() if name in cls.names()}
        others = {name: value for name, value in keywords.items() if name not in own}
        _refuse_old_names(others)
        options = cls(**own)
        family = {**options.family_options, **others}
        return dataclasses.replace(options, family_options=family) if others else options

    @classmethod
    def names(cls) -> list[str]:
        """The fields, in order."""
        return [each.name for each in dataclasses.fields(cls)]

    def __post_init__(self) -> None:
        check = validation.check_type
        check("device", self.device, str, "its name, such as 'cpu'")
        check("dtype", self.dtype, str, "its name, such as 'float32'")
        check("observation", self.observation, str | None, "its name")
        if not self.temperature_by_row:
            check("temperature", self.temperature, SupportsFloat | None, "a number")
        for name in ("max_surprise", "max_latent_distance"):
            check(name, getattr(self, name), SupportsFloat | None, "a number")
        for name in ("latent_distance", "copy"):
            check(name, getattr(self, name), bool, "a bool")
        for name in ("reward_fn", "termination_fn"):
            check(name, getattr(self, name), Callable | None, "a function")
        validation.check_choice("output", self.output, get_args(Output))
        validation.check_choice("render_mode", self.render_mode, (None, *get_args(RenderMode)))
        check("family_options", self.family_options, Mapping, "a dict of names and values")
        normal: dict[str, Any] = {
            "autoreset_mode": validation.autoreset_mode(self.autoreset_mode),
            "family_options": _checked_family_options(self.family_options),
        }
        self._check_starts()
        if self.max_episode_steps is not None:
            steps = validation.integer("max_episode_steps", self.max_episode_steps)
            normal["max_episode_steps"] = 0 if steps == -1 else steps
        if self.seed is not None:
            normal["seed"] = validation.seed(self.seed)
        for name, value in normal.items():
            object.__setattr__(self, name, value)

    def _check_starts(self) -> None:
        given: Any = self.starts
        several = isinstance(given, Sequence) and not isinstance(given, str)
        expected, words = str | Path, "directories of recorded episodes, or a StartBank"
        for each in given if several else []:
            validation.check_type("starts", each, expected, words)
        if not several:
            validation.check_type("starts", given, expected | StartBank | None, words)
        if several and len(given) == 0:
            raise ValueError("starts is empty, expected directories of recorded episodes")
        for name, least in (("burn_in", 0), ("starts_count", 1)):
            value = getattr(self, name)
            if value is None:
                continue
            number = validation.integer(name, value)
            if number < least:
                raise ValueError(f"{name} is {number}, expected {least} or more")
            object.__setattr__(self, name, number)
            if given is None or isinstance(given, StartBank):
                raise ValueError(
                    f"{name} is {number}, but starts is {given}: it is for starts that are recordings"
                )

    def starts_in(self, world: World) -> StartBank | None:
        """The states of this world that episodes begin from; None: its stored starts. Raises
        ValueError where the recordings are not of the world's game."""
        given = self.starts
        if given is None or isinstance(given, StartBank):
            return given
        directories = list(map(Path, [given] if isinstance(given, str | Path) else given))
        burn_in = BURN_IN if self.burn_in is None else self.burn_in
        count = STARTS_COUNT if self.starts_count is None else self.starts_count
        return start_bank(world, directories, burn_in, count)

    @property
    def temperature_by_row(self) -> bool:
        """Whether each row has a temperature of its own."""
        return isinstance(self.temperature, list | tuple | np.ndarray | torch.Tensor)

    def chosen(self) -> dict[str, Any]:
        """The options that are not at their defaults, the family's among them."""
        own = {name: getattr(self, name) for name in _DEFAULTS if name != "family_options"}
        changed = {name: value for name, value in own.items() if not _is_default(name, value)}
        return {**changed, **self.family_options}

    def __repr__(self) -> str:
        return f"EnvOptions({as_arguments(self.chosen())})"


_DEFAULTS = {each.name: each.default for each in dataclasses.fields(EnvOptions)}


class FixedOptions:
    """An environment whose options are fixed: to set one as an attribute would change nothing, and
    raises AttributeError. A property of that name, such as `temperature`, may set it."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _DEFAULTS and name != "render_mode" and not hasattr(type(self), name):
            raise AttributeError(
                f"{name} cannot be set: it is fixed when an environment is made; make another one, "
                f"with {name}=..."
            )
        super().__setattr__(name, value)


_OLD_NAMES = {"out_of_support": "latent_distance", "max_out_of_support": "max_latent_distance"}


def as_arguments(options: Mapping[str, Any]) -> str:
    """Options as they are written in a call.

    >>> as_arguments({"temperature": 1.15, "output": "torch"})
    "temperature=1.15, output='torch'"
    """
    values = {n: v.name if isinstance(v, AutoresetMode) else v for n, v in options.items()}
    return ", ".join(f"{name}={value!r}" for name, value in values.items())


def with_choices(by: str, options: Mapping[str, Any], **choices: Any) -> dict[str, Any]:
    """The options, and those that an adapter chooses by itself.

    Raises TypeError where `options` has one of the latter already.
    """
    if twice := sorted(options.keys() & choices.keys()):
        raise TypeError(f"{' and '.join(twice)}: {by} knows but one; leave it out")
    return {**options, **choices}


def _is_default(name: str, value: Any) -> bool:
    default = _DEFAULTS[name]
    return type(value) is type(default) and bool(value == default)


def _refuse_old_names(options: Mapping[str, Any]) -> None:
    for old, new in _OLD_NAMES.items():
        if old in options:
            raise TypeError(f"{old} is now called {new}: rename the argument")


def _checked_family_options(options: Mapping[str, Any]) -> dict[str, FamilyValue]:
    """Plain values, None left out. Raises TypeError for what no family's option can be."""
    checked: dict[str, FamilyValue] = {}
    for name, given in options.items():
        scalar = isinstance(given, np.generic | np.ndarray | torch.Tensor) and given.ndim == 0
        value = given.item() if scalar else given
        if isinstance(value, FamilyValue):
            if isinstance(value, int) and not isinstance(value, bool):
                validation.integer(name, value)
            checked[name] = value
        elif value is not None:
            raise TypeError(
                f"{name} is {given!r}: an environment has no such option, and an option of a "
                f"world's family is a bool, a number or a text; {environment_has(name)}"
            )
    return checked


def environment_has(*unknown: str) -> str:
    """The names of an environment's own options, and what unknown ones may mean, for errors."""
    names = ["num_envs", *EnvOptions.names()]
    close = [match for name in unknown for match in difflib.get_close_matches(name, names, 1)]
    meant = f"; did you mean {' and '.join(map(repr, close))}?" if close else ""
    return f"an environment has: {', '.join(names)}{meant}"

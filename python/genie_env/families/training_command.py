"""A training as a command: each field of its settings becomes an option."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, get_type_hints

from genie_env.families.option_checks import check_options

Settings = TypeVar("Settings")


def training_command(
    train: Callable[[Settings], None], settings: type[Settings]
) -> Callable[..., None]:
    """`train` as a function of the fields of `settings`, from whose parameters typer makes options.

        train_tokenizer = training_command(tokenizer.train_tokenizer, TokenizerSettings)
        train_tokenizer(data=[Path("data/doom")], out=Path("runs/tokenizer"), steps=100, patch=4)

    A field that is a dataclass itself is replaced by its fields. Raises TypeError where a parameter
    is missing or unknown, ValueError where one is outside its range.
    """
    groups: dict[str, dict[str, inspect.Parameter]] = {"": {}}
    for name, parameter in _parameters(settings):
        if dataclasses.is_dataclass(parameter.annotation):
            groups[name] = dict(_parameters(parameter.annotation))
        else:
            groups[""][name] = parameter
    parameters = [parameter for group in groups.values() for parameter in group.values()]
    # What is required comes first, and of that, what is read before what is written.
    parameters.sort(key=lambda p: (p.default is not inspect.Parameter.empty, p.name == "out"))
    signature = inspect.Signature(parameters)
    nested = {name: get_type_hints(settings)[name] for name in groups if name}

    def run(*args: Any, **options: Any) -> None:
        given = signature.bind(*args, **options).arguments
        check_options(run, given, called=lambda name, info: name)

        def fields(group: str) -> dict[str, Any]:
            return {name: value for name, value in given.items() if name in groups[group]}

        sizes = {name: kind(**fields(name)) for name, kind in nested.items()}
        train(settings(**fields(""), **sizes))

    run.__name__, run.__doc__ = train.__name__, train.__doc__
    run.__signature__ = signature  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": None}
    return run


def _parameters(dataclass: Any) -> Iterator[tuple[str, inspect.Parameter]]:
    hints = get_type_hints(dataclass, include_extras=True)
    for field in dataclasses.fields(dataclass):
        missing = field.default is dataclasses.MISSING
        yield (
            field.name,
            inspect.Parameter(
                field.name,
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=inspect.Parameter.empty if missing else field.default,
                annotation=hints[field.name],
            ),
        )

"""Options that take several values after one name: `--batch 1 16 64`, `--data clips/*.mp4`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from typer.core import TyperCommand


class MultiValue(TyperCommand):
    """A command whose list options may be followed by several values.

    `--batch 1 16 64` means what `--batch 1 --batch 16 --batch 64` means, which works as well. Where
    the command takes words without a name, as in `bench WORLD`, only numbers are values: after
    `--policy held`, the next word may be the world. A command of named options alone has no such
    words, so that all up to the next option are values: a shell makes several of `--data *.mp4`.

    Where such a command has an option `--world`, a word before all options is its value, as in
    `bench WORLD`, the form before `bench --world WORLD`.

        app.command("bench", cls=MultiValue)(bench)
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        options = {
            name
            for parameter in self.params
            if getattr(parameter, "multiple", False)
            for name in parameter.opts
        }
        names = {name for parameter in self.params for name in parameter.opts}
        nameless = any(parameter.param_type_name == "argument" for parameter in self.params)
        if "--world" in names and not nameless and args and not args[0].startswith("-"):
            args = ["--world", *args]
        is_value = _is_number if nameless else _is_number_or_word
        return super().parse_args(ctx, list(_repeat_names(args, options, is_value)))


def _repeat_names(
    args: Iterable[str], options: set[str], is_value: Callable[[str], bool]
) -> Iterator[str]:
    """Puts the option's name before every value of a run of values that begins with one."""
    option, values = "", 0
    for arg in args:
        if arg in options:
            option, values = arg, 0
        elif option and is_value(arg):
            if values > 0:
                yield option
            values += 1
        else:
            option = ""
        yield arg


def _is_number(text: str) -> bool:
    try:
        float(text)
        return True
    except ValueError:
        return False


def _is_number_or_word(text: str) -> bool:
    return not text.startswith("-") or _is_number(text)

"""Number options that take several values after one name: `--batch 1 16 64`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from typer.core import TyperCommand


class SeveralValues(TyperCommand):
    """A command whose list options may be followed by several numbers.

    `--batch 1 16 64` means what `--batch 1 --batch 16 --batch 64` means, which works as well.

        app.command("bench", cls=SeveralValues)(bench)
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        options = {
            name
            for parameter in self.params
            if getattr(parameter, "multiple", False)
            for name in parameter.opts
        }
        return super().parse_args(ctx, list(_repeat_names(args, options)))


def _repeat_names(args: Iterable[str], options: set[str]) -> Iterator[str]:
    """Puts the option's name before every number of a run of numbers that begins with one."""
    option, values = "", 0
    for arg in args:
        if arg in options:
            option, values = arg, 0
        elif option and _is_number(arg):
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

"""Progress of long commands: bars on a terminal, lines of text now and then anywhere else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from operator import length_hint
from typing import Any, TypeVar

from rich import get_console, progress
from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Item = TypeVar("Item")

SECONDS_A_LINE = 30.0
"""Seconds after which a command without a terminal prints the next line."""


def say(line: str) -> None:
    """Prints a line as it is: neither a path in it nor the rest is broken at the terminal's width."""
    get_console().print(line, markup=False, highlight=False, soft_wrap=True)


class Progress(progress.Progress):
    """Rich's progress bars; a task's field `below` is shown on a second line.

    Where the console shows no bars, a thread prints what the bars would show, as a line of text,
    every SECONDS_A_LINE: also while the command is busy with one thing for longer. The last line
    comes at the end, unless the bars are `transient`.
    """

    def __init__(self, *columns: Any, transient: bool = False, **options: Any) -> None:
        super().__init__(*columns, transient=transient, **options)
        self._transient = transient
        self._printed = time.monotonic()
        self._ended = threading.Event()
        self._printer: threading.Thread | None = None

    def start(self) -> None:
        if self.console.is_interactive or self.console.is_jupyter:
            super().start()
        elif self._printer is None:
            self._printed = time.monotonic()
            self._printer = threading.Thread(target=self._print_lines, daemon=True)
            self._printer.start()

    def stop(self) -> None:
        if self._printer is None:
            if self.live.is_started:
                super().stop()
        elif not self._ended.is_set():
            self._ended.set()
            self._printer.join()
            if not self._transient:
                self._print_tasks(self.tasks)

    def say(self, text: str, style: str | None = None) -> None:
        """Prints a line above the bars. Elsewhere the next one comes SECONDS_A_LINE after it."""
        self._printed = time.monotonic()
        self.console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        yield from (task.fields["below"] for task in self.tasks if "below" in task.fields)

    def _print_lines(self) -> None:
        while not self._ended.wait(max(0, self._printed + SECONDS_A_LINE - time.monotonic())):
            if time.monotonic() >= self._printed + SECONDS_A_LINE:
                self._print_tasks([task for task in self.tasks if not task.finished])
                self._printed = time.monotonic()

    def _print_tasks(self, tasks: Sequence[Task]) -> None:
        for task in tasks:
            shown = (_text(column, task) for column in self.columns)
            words = " ".join([*shown, task.fields.get("below", "")])
            self.say(" ".join(words.split()))


def track(
    sequence: Iterable[Item],
    title: str,
    total: float | None = None,
    *,
    console: Console | None = None,
    transient: bool = False,
) -> Iterator[Item]:
    """Yields the items, and shows how many of them, of `total`, are done."""
    if total is None:
        total = length_hint(sequence) or None
    with Progress(console=console, transient=transient) as shown:
        task = shown.add_task(title, total=total)
        for item in sequence:
            yield item
            shown.advance(task)


@contextmanager
def counted(
    title: str, total: int, unit: str, *, done: int = 0, console: Console | None = None
) -> Iterator[Callable[[int], None]]:
    """Shows how many of `total` are done, with their rate; the block calls what it gets with the
    number done since its last call. done: before the block."""
    columns = (
        TextColumn(title),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit + ", {task.fields[rate]:,.0f}/s"),
        TimeRemainingColumn(),
    )
    began = time.perf_counter()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total, completed=done, rate=0.0)

        def advance(count: int) -> None:
            rate = (bar.tasks[task].completed - done + count) / (time.perf_counter() - began)
            bar.update(task, advance=count, rate=rate)

        yield advance


@contextmanager
def busy(title: str, *, console: Console | None = None) -> Iterator[None]:
    """Shows, while the block runs, that it does, where nobody knows how much of it is done."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as shown:
        shown.add_task(title, total=None)
        yield


def _text(column: Any, task: Task) -> str:
    """What a column shows, without a bar; empty where it knows nothing yet."""
    if isinstance(column, BarColumn):
        return ""
    text = column.format(task=task) if isinstance(column, str) else str(column(task))
    if isinstance(column, TimeRemainingColumn):
        return f"{text} left" if text[:1].isdigit() and not task.finished else ""
    return f"after {text}" if isinstance(column, TimeElapsedColumn) else text

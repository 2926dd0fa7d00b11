"""A progress bar with a second line of text."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import RenderableType
from rich.progress import Progress


class TwoLines(Progress):
    """A bar, and below it the task's field `below`; on one line the two would be too wide."""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        yield from (task.fields["below"] for task in self.tasks)

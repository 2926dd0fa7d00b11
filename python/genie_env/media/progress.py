"""A progress bar with room for what it has to say."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import RenderableType
from rich.progress import Progress


class TwoLines(Progress):
    """A bar, and under it the task's field `below`: beside each other they are too wide."""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        yield from (task.fields["below"] for task in self.tasks)

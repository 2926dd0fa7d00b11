"""Batches that are read while the network learns from the one before."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from genie_env.data.datasets import Batch


class Prefetch:
    """Calls `build(step)` in a thread of its own, one batch ahead: memory holds two batches.

    A context manager, which ends the thread. Batches are built one at a time, in the order of
    steps, and none from step `stop` on.
    """

    def __init__(self, build: Callable[[int], Batch], stop: int) -> None:
        self._build, self._stop = build, stop
        self._ahead: dict[int, Future[Batch]] = {}  # one at most
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="genie_env reader")

    def __enter__(self) -> Prefetch:
        # Ctrl-C while a thread starts would hide it from the pool: it starts before there is work.
        self._reader.submit(int).result()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._reader.shutdown(wait=True, cancel_futures=True)

    def batch(self, step: int) -> Batch:
        """build(step), and begins with the next. What `build` raised is raised here, as it was,
        when the batch is asked for."""
        future = self._ahead.pop(step, None) or self._reader.submit(self._build, step)
        self._ahead.clear()
        batch = future.result()
        if step + 1 < self._stop:
            self._ahead[step + 1] = self._reader.submit(self._build, step + 1)
        return batch

"""One thread at a time uses an object: `Exclusive` of core/exclusive.h, for environments in Python."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from genie_env._core import Busy


class Exclusive:
    """Refuses a call beside one of another thread; calls within a call of the same thread are let
    through. Thread-safe.

    with exclusive.call("step"):
        ...
    """

    def __init__(self, what: str) -> None:
        """`what`: what errors call the object."""
        self._what = what
        self._lock = threading.RLock()
        self._calls: list[str] = []  # in progress, within each other

    @contextlib.contextmanager
    def call(self, name: str) -> Iterator[None]:
        """A call for the length of the block. Raises Busy while another thread is in one."""
        if not self._lock.acquire(blocking=False):
            running = next(iter(self._calls), "a call")
            raise Busy(
                f"{name}: another thread is in {running} of this {self._what}; call it when that is "
                f"over, or use one {self._what} per thread"
            )
        try:
            self._calls.append(name)
            yield
        finally:
            self._calls.pop()
            self._lock.release()

    @contextlib.contextmanager
    def wait(self, name: str) -> Iterator[None]:
        """The same, but waits for the calls of other threads. Raises RuntimeError within a call of
        this thread."""
        with self._lock:
            if self._calls:
                raise RuntimeError(
                    f"{name}: called within a call of this {self._what}, by a function that it "
                    f"calls; {name} it when that call is over"
                )
            with self.call(name):
                yield

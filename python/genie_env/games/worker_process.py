"""Processes that work beside the caller: they end when it does, and what they raise arrives at it.

Robust on purpose: a worker's exception arrives at the caller as it was raised, a worker that dies
is named, and however the caller leaves (Ctrl-C included), no process stays behind.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import resource_tracker, util
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Protocol, TypeVar

from genie_env.envs.plugins import import_modules, imported
from genie_env.games.recorded_env import BadEnvironment

_PATIENCE = 5.0  # seconds that a worker may take to close its games
_FOR_THE_CALLER = (signal.SIGINT, signal.SIGTERM)
"""Ctrl-C, and what schedulers send to all processes of a job: the caller then closes the connection."""

Message = TypeVar("Message")


class Work(Protocol):
    """What a worker process does. Picklable."""

    @property
    def doing(self) -> str:
        """What it is at, for the note of an exception: "while playing episode 3"."""

    def run(self, connection: Connection) -> None:
        """Works until the caller is gone, or all is done."""


class CallerGone(Exception):
    """The worker's connection ended: the caller has died, or closed it.

    An exception of its own, because a game may raise an EOFError, which must reach the user.
    """


@contextlib.contextmanager
def to_the_caller() -> Iterator[None]:
    """Around every use of a worker's connection. Raises CallerGone, which ends the worker."""
    try:
        yield
    except (EOFError, BrokenPipeError, ConnectionResetError) as error:
        raise CallerGone from error


class WorkerProcess:
    """The caller's side of one process."""

    def __init__(self, work: Work) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(work, imported(), theirs), daemon=True)
        # A worker begins with the caller's signals blocked, until it has its own handlers. (Starting
        # the tracker would unblock them, so that is done before.)
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _FOR_THE_CALLER)
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        # At its exit, Python sends SIGTERM to workers that were not stopped, and waits for them.
        self.stop = util.Finalize(None, _stop, (self.connection, self._process), exitpriority=0)

    def send(self, message: object) -> None:
        try:
            self.connection.send(message)
        except (BrokenPipeError, ConnectionResetError):
            pass  # receive() says what happened

    def receive(self, read: Callable[[Connection], Message | Exception], had: str) -> Message:
        """What `read` reads from the connection; an exception is raised. Raises RuntimeError where the
        process has ended; `had` is what it had to play."""
        try:
            message = read(self.connection)
        except (EOFError, ConnectionResetError):
            self._process.join(_PATIENCE)
            raise RuntimeError(
                f"a worker process ended (exit code {self._process.exitcode}) while it had "
                f"{had} to play; a negative code is the signal that ended it, -9 often the "
                "system's, for lack of memory: try fewer workers"
            ) from None
        if isinstance(message, Exception):
            raise message
        return message


def stop_all(workers: Sequence[WorkerProcess]) -> None:
    """Ends workers, and the games that they play."""
    for worker in workers:
        worker.connection.close()  # all of them, so that they end together
    for worker in workers:
        worker.stop()


def with_note(error: Exception, doing: str) -> Exception:
    """The exception that is being handled, with a note that says where it was raised, as it survives
    the journey to the caller: of one that cannot be pickled, its words."""
    if not isinstance(
        error, BadEnvironment
    ):  # which says all, and where in our code is nobody's matter
        error.add_note(f"in a worker process, {doing}:\n{traceback.format_exc()}")
    return _picklable(error)


def _stop(connection: Connection, process: SpawnProcess) -> None:
    """Ends a worker, and the games that it plays."""
    connection.close()
    process.join(_PATIENCE)
    if process.exitcode != 0:
        # Its games are in its process group (see _work), and may have outlived it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid or 0, signal.SIGKILL)
        process.join()


def _leave_signals_to_the_caller() -> None:
    """_FOR_THE_CALLER do nothing to this process, and what they always do to those of its games.

    A program that a game starts inherits what is blocked or ignored, but no handler.
    """
    worker = os.getpid()

    def handle(number: int, _: object) -> None:
        if os.getpid() != worker:  # a fork without a program of its own
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    for number in _FOR_THE_CALLER:
        signal.signal(number, handle)
        signal.siginterrupt(number, False)  # calls of a game that wait go on
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _FOR_THE_CALLER)


def _work(work: Work, plugins: tuple[str, ...], connection: Connection) -> None:
    _leave_signals_to_the_caller()
    # A process group of its own, which takes its games along when it has to be killed.
    os.setsid()
    # The games are processes too, and must not keep the connection open when this one dies.
    os.set_inheritable(connection.fileno(), False)
    try:
        import_modules(plugins)
        work.run(connection)
    except CallerGone:
        pass
    except Exception as error:
        with contextlib.suppress(OSError):  # the caller is gone
            connection.send(with_note(error, work.doing))


def _picklable(error: Exception) -> Exception:
    """The exception itself, or its words where it does not survive the journey."""
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:
        substitute = RuntimeError(f"{type(error).__name__}: {error}")
        for note in getattr(error, "__notes__", []):
            substitute.add_note(note)
        return substitute

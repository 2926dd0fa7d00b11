"""Worker processes that play numbered episodes, handed back in order.

Robust on purpose: a worker's exception arrives at the caller as it was raised, a worker that dies
is named, and however the caller leaves (Ctrl-C included), no process stays behind.
"""

from __future__ import annotations

import collections
import contextlib
import multiprocessing
import os
import pickle
import signal
import traceback
from collections.abc import Generator, Iterator
from multiprocessing import resource_tracker, util
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Protocol

from genie_env.data.episode import Episode
from genie_env.envs.plugins import import_modules, imported
from genie_env.games.recorded_env import BadEnvironment

_PATIENCE = 5.0  # seconds that a worker may take to close its games
_FOR_THE_CALLER = (signal.SIGINT, signal.SIGTERM)
"""Ctrl-C, and what schedulers send to all processes of a job: the caller then closes the connection."""


class Player(Protocol):
    """Plays episodes in a worker process. Picklable."""

    @property
    def lanes(self) -> int:
        """How many episodes it plays at a time."""

    def play(self, jobs: Jobs) -> None:
        """Plays until `jobs.take()` gives None. Every episode depends on its index alone."""


class _CallerGone(Exception):
    """The worker's connection ended: the caller has died, or closed it.

    An exception of its own, because a game may raise an EOFError, which must reach the user.
    """


@contextlib.contextmanager
def _to_the_caller() -> Iterator[None]:
    """Around every use of a worker's connection."""
    try:
        yield
    except (EOFError, BrokenPipeError, ConnectionResetError) as error:
        raise _CallerGone from error


class Jobs:
    """A worker's side: the episodes to play, and where they go.

    Every call raises an exception that ends the player when the caller is gone.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: collections.deque[int] = collections.deque()
        self._closed = False
        self._ticks = 0
        self.playing: set[int] = set()

    def take(self, block: bool = True) -> int | None:
        """The next episode to play. None: no more, or with block=False none at the moment."""
        with _to_the_caller():
            while not self._closed and (self._connection.poll() or (block and not self._waiting)):
                self._receive()
        if not self._waiting:
            return None
        self.playing.add(self._waiting[0])
        return self._waiting.popleft()

    def give(self, episode: Episode) -> None:
        """Hands a finished episode back; it may be changed afterwards."""
        with _to_the_caller():
            episode.send(self._connection)
        self.playing.discard(episode.index)

    def tick(self) -> None:
        """Call it every step, so that a caller who is gone is noticed within an episode."""
        self._ticks += 1
        if self._ticks % 16 > 0 or self._closed:
            return
        with _to_the_caller():
            if self._connection.poll():
                self._receive()

    def _receive(self) -> None:
        index = self._connection.recv()
        self._closed = index is None
        if index is not None:
            self._waiting.append(index)


def play_episodes(player: Player, episodes: range, workers: int) -> Generator[Episode]:
    """Plays `episodes` in `workers` processes and yields them in order.

    An exception in a worker is raised here, with a note that names the episode; a worker that dies
    is a RuntimeError. Close the generator (contextlib.closing) to stop early.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}; expected 1 or more")
    crew: list[_Worker] = []
    # While one episode takes long, the number of finished ones that wait for it stays bounded.
    window = max(32, 4 * workers * player.lanes)
    finished: dict[int, Episode] = {}
    following = iter(episodes)
    next_out = episodes.start
    upcoming = next(following, None)
    try:
        for _ in range(min(workers, len(episodes))):
            crew.append(_Worker(player))
        while next_out < episodes.stop:
            for worker in sorted(crew, key=lambda worker: len(worker.playing)):
                # One more than it plays at a time, so that it never waits for the next.
                while (
                    upcoming is not None
                    and upcoming < next_out + window
                    and len(worker.playing) <= player.lanes
                ):
                    worker.ask(upcoming)
                    upcoming = next(following, None)
            ready = wait([worker.connection for worker in crew])
            for worker in crew:
                if worker.connection in ready:
                    episode = worker.receive()
                    finished[episode.index] = episode
            while next_out in finished:
                yield finished.pop(next_out)
                next_out += 1
        for worker in crew:
            worker.connection.send(None)
    finally:
        for worker in crew:
            worker.connection.close()  # all of them, so that they end together
        for worker in crew:
            worker.stop()


class _Worker:
    """The caller's side of one process."""

    def __init__(self, player: Player) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.playing: set[int] = set()
        self._process = context.Process(
            target=_work, args=(player, imported(), theirs), daemon=True
        )
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

    def ask(self, index: int) -> None:
        self.playing.add(index)
        try:
            self.connection.send(index)
        except (BrokenPipeError, ConnectionResetError):
            pass  # receive() says what happened

    def receive(self) -> Episode:
        try:
            message = Episode.receive(self.connection)
        except (EOFError, ConnectionResetError):
            self._process.join(_PATIENCE)
            raise RuntimeError(
                f"a worker process ended (exit code {self._process.exitcode}) while it had "
                f"episodes {sorted(self.playing)} to play; a negative code is the signal that "
                "ended it, -9 often the system's, for lack of memory: try fewer workers"
            ) from None
        if isinstance(message, Exception):
            raise message
        self.playing.discard(message.index)
        return message


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


def _work(player: Player, plugins: tuple[str, ...], connection: Connection) -> None:
    _leave_signals_to_the_caller()
    # A process group of its own, which takes its games along when it has to be killed.
    os.setsid()
    # The games are processes too, and must not keep the connection open when this one dies.
    os.set_inheritable(connection.fileno(), False)
    jobs = Jobs(connection)
    try:
        import_modules(plugins)
        player.play(jobs)
    except _CallerGone:
        pass
    except BadEnvironment as error:  # which says all, and where in our code is nobody's matter
        _send(connection, error)
    except Exception as error:
        where = f"while playing {_names(jobs.playing)}" if jobs.playing else "before any episode"
        error.add_note(f"in a worker process, {where}:\n{traceback.format_exc()}")
        _send(connection, _picklable(error))


def _send(connection: Connection, error: Exception) -> None:
    """Unless the caller is gone."""
    with contextlib.suppress(OSError):
        connection.send(error)


def _names(indices: set[int]) -> str:
    return f"episode{'s'[: len(indices) > 1]} {', '.join(map(str, sorted(indices)))}"


def _picklable(error: Exception) -> Exception:
    """The exception itself, or its words where it does not survive the journey."""
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:
        substitute = RuntimeError(f"{type(error).__name__}: {error}")
        for note in error.__notes__:
            substitute.add_note(note)
        return substitute

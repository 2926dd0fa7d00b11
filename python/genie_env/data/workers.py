"""Worker processes that play numbered episodes, handed back in order."""

from __future__ import annotations

import collections
from collections.abc import Generator
from multiprocessing.connection import Connection, wait
from typing import Protocol

from genie_env.data.episode import Episode
from genie_env.games.worker_process import WorkerProcess, stop_all, to_the_caller


class Player(Protocol):
    """Plays episodes in a worker process. Picklable."""

    @property
    def lanes(self) -> int:
        """How many episodes it plays at a time."""

    def play(self, jobs: Jobs) -> None:
        """Plays until `jobs.take()` gives None. Every episode depends on its index alone."""


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
        with to_the_caller():
            while not self._closed and (self._connection.poll() or (block and not self._waiting)):
                self._receive()
        if not self._waiting:
            return None
        self.playing.add(self._waiting[0])
        return self._waiting.popleft()

    def give(self, episode: Episode) -> None:
        """Hands a finished episode back; it may be changed afterwards."""
        with to_the_caller():
            episode.send(self._connection)
        self.playing.discard(episode.index)

    def tick(self) -> None:
        """Call it every step, so that a caller who is gone is noticed within an episode."""
        self._ticks += 1
        if self._ticks % 16 > 0 or self._closed:
            return
        with to_the_caller():
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
                    episode = worker.next_episode()
                    finished[episode.index] = episode
            while next_out in finished:
                yield finished.pop(next_out)
                next_out += 1
        for worker in crew:
            worker.connection.send(None)
    finally:
        stop_all(crew)


class _Worker(WorkerProcess):
    """The caller's side of one process."""

    def __init__(self, player: Player) -> None:
        super().__init__(_Episodes(player))
        self.playing: set[int] = set()

    def ask(self, index: int) -> None:
        self.playing.add(index)
        self.send(index)

    def next_episode(self) -> Episode:
        episode = self.receive(Episode.receive, f"episodes {sorted(self.playing)}")
        self.playing.discard(episode.index)
        return episode


class _Episodes:
    """The worker's side of it."""

    def __init__(self, player: Player) -> None:
        self._player = player
        self._jobs: Jobs | None = None

    @property
    def doing(self) -> str:
        playing = sorted(self._jobs.playing) if self._jobs is not None else []
        if not playing:
            return "before any episode"
        return f"while playing episode{'s'[: len(playing) > 1]} {', '.join(map(str, playing))}"

    def run(self, connection: Connection) -> None:
        self._jobs = Jobs(connection)
        self._player.play(self._jobs)

"""Several environments of one game that are played in lockstep: in this process, or in others."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from genie_env.games.base import Game
from genie_env.games.recorded_env import RecordedEnv, checked_env
from genie_env.games.worker_process import WorkerProcess, stop_all, to_the_caller, with_note

Begun = tuple[NDArray[np.uint8], dict[str, Any]]
"""What `reset` of one environment gives."""
Stepped = tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]
"""What `step` of one environment gives."""


class Games(Protocol):
    """N environments of a game, by number."""

    def reset(self, seeds: Mapping[int, int | None]) -> dict[int, Begun]:
        """Begins episodes in the given ones, with their seeds; None: the next episode."""

    def step(self, actions: Mapping[int, Any]) -> dict[int, Stepped]:
        """Plays an action in each of the given ones."""

    def close(self) -> None:
        """Ends all of them."""


def start_games(game: Game, count: int, workers: int) -> Games:
    """`count` environments, in `workers` processes, or in this one where that is 0. Which it is changes
    nothing of what they show. Raises what the game raises when it is started."""
    return GamesInProcesses(game, count, workers) if workers else GamesHere(game, count)


class GamesHere:
    """In this process, one after the other."""

    def __init__(self, game: Game, count: int) -> None:
        self.envs: list[RecordedEnv] = []
        try:
            for _ in range(count):
                self.envs.append(checked_env(game))
        except BaseException:
            self.close()
            raise

    def reset(self, seeds: Mapping[int, int | None]) -> dict[int, Begun]:
        return {number: self.envs[number].reset(seed=seed) for number, seed in seeds.items()}

    def step(self, actions: Mapping[int, Any]) -> dict[int, Stepped]:
        return {number: self.envs[number].step(action) for number, action in actions.items()}

    def close(self) -> None:
        with contextlib.ExitStack() as stack:
            while self.envs:
                stack.callback(self.envs.pop().close)


class GamesInProcesses:
    """In worker processes, each with its share of the environments.

    The exception of an environment is raised when all others have answered: after it, as after one in
    this process, they can be reset. After a call that was interrupted, or a process that died, every
    further one raises RuntimeError.
    """

    def __init__(self, game: Game, count: int, workers: int) -> None:
        self._shares: list[list[int]] = [
            share.tolist() for share in np.array_split(np.arange(count), min(workers, count))
        ]
        self._workers: list[WorkerProcess] = []
        self._lost = False
        try:
            for share in self._shares:
                self._workers.append(WorkerProcess(_Share(game, share)))
            for worker, share in zip(self._workers, self._shares, strict=True):
                worker.receive(Connection.recv, _named(share))  # that they have begun
        except BaseException:
            self.close()
            raise

    def reset(self, seeds: Mapping[int, int | None]) -> dict[int, Begun]:
        return self._call("reset", seeds)

    def step(self, actions: Mapping[int, Any]) -> dict[int, Stepped]:
        return self._call("step", actions)

    def close(self) -> None:
        stop_all(self._workers)
        self._workers.clear()

    def _call(self, name: str, arguments: Mapping[int, Any]) -> dict[int, Any]:
        if self._lost:
            raise RuntimeError(
                f"{name}: an earlier call has not come to its end, and nobody knows where its games "
                "stand: make the environment again"
            )
        self._lost = True  # until all have answered
        asked = []
        for worker, share in zip(self._workers, self._shares, strict=True):
            if part := {number: arguments[number] for number in share if number in arguments}:
                worker.send((name, part))
                asked.append((worker, share))
        answers: dict[int, Any] = {}
        for worker, share in asked:
            answers |= worker.receive(Connection.recv, _named(share))
        self._lost = False
        for answer in answers.values():
            if isinstance(answer, Exception):
                raise answer
        return answers


class _Share:
    """A worker's part of the environments."""

    def __init__(self, game: Game, numbers: list[int]) -> None:
        self._game, self._numbers = game, numbers
        self.doing = f"which plays {_named(numbers)}"

    def run(self, connection: Connection) -> None:
        with contextlib.closing(GamesHere(self._game, len(self._numbers))) as games:
            envs = dict(zip(self._numbers, games.envs, strict=True))
            with to_the_caller():
                connection.send(None)
            while True:
                with to_the_caller():
                    name, part = connection.recv()
                answers: dict[int, Any] = {}
                for number, argument in part.items():
                    env = envs[number]
                    try:
                        answers[number] = (
                            env.step(argument) if name == "step" else env.reset(seed=argument)
                        )
                    except Exception as error:
                        answers[number] = with_note(error, f"while playing game {number}")
                with to_the_caller():
                    connection.send(answers)


def _named(numbers: list[int]) -> str:
    return f"game{'s'[: len(numbers) > 1]} {', '.join(map(str, numbers))}"

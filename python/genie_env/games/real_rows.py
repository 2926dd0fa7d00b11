"""N real games as agents see them: what `RealEnv` and `RealVectorEnv` are made of."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from genie_env._core import World
from genie_env.envs import validation
from genie_env.envs.actions import actions_of_world
from genie_env.envs.exclusive import Exclusive
from genie_env.envs.infos import SCORES, zero_elsewhere
from genie_env.envs.options import EnvOptions
from genie_env.envs.validation import Given
from genie_env.envs.vector_env import DreamVectorEnv
from genie_env.games.action_map import ActionMap, Translation, real_actions
from genie_env.games.base import Game
from genie_env.games.env_actions import checked_action
from genie_env.games.real_game import check_sees, real_game
from genie_env.games.several_games import Games, start_games

_OF_DREAMS = (
    *("temperature", "copy", "max_episode_steps", "max_surprise", "max_latent_distance"),
    *("reward_fn", "termination_fn", "starts", "burn_in", "starts_count"),
)


@dataclass
class Played:
    """What one step brought to each of N rows; rows that did not play have zeros."""

    observation: torch.Tensor | None
    """[N, ...]; None where no row played."""
    rewards: NDArray[np.float64]
    terminations: NDArray[np.bool_]
    truncations: NDArray[np.bool_]
    scores: dict[str, torch.Tensor]
    """Float32 [N] each: those of SCORES that the world tells."""
    infos: dict[int, dict[str, Any]]
    """The game's own, by row."""


class RealRows:
    """N real games in lockstep, and the world that all of them are seen through as one batch.

    Wrong arguments raise before any game moves. After any other failure the rows need a reset.
    """

    def __init__(
        self,
        world: str | Path | World,
        num_envs: int,
        game: Game | str | None,
        action_map: ActionMap | None,
        options: dict[str, Any],
        workers: int = 0,
    ) -> None:
        """Raises TypeError or ValueError, in one sentence, for what does not fit together."""
        given = EnvOptions.of(options)
        if wrong := [name for name in _OF_DREAMS if name in given.chosen()]:
            raise TypeError(
                f"{wrong[0]}: an option of dreams, but a real game decides its rewards and its ends "
                "itself; leave it out"
            )
        follows = {**options, "output": "torch", "autoreset_mode": AutoresetMode.DISABLED}
        self.features = DreamVectorEnv(world, num_envs, **follows)
        """The world in which the games' frames are followed."""
        self.world = self.features.world
        spec = self.world.spec
        self.game = game_of(self.world, game)
        check_sees(spec, self.game)
        dictionary = real_actions(self.world, self.game, action_map)
        self._translation = None if dictionary is None else Translation(dictionary, num_envs)
        self._actions = actions_of_world(spec.actions)
        self._first_seed = given.seed
        self._frames = np.zeros((num_envs, *self.game.frame_size, 3), np.uint8)
        self._scores: dict[str, torch.Tensor] = {}  # of the last frames that were followed
        self._begun, self._seeded = np.zeros((2, num_envs), bool)
        self.ended = np.zeros(num_envs, bool)
        """Rows whose episode has ended."""
        self._failed = False  # a call, half way
        self._calls = Exclusive("environment")
        self._closed = False
        try:
            self._games: Games = start_games(self.game, num_envs, workers)
        except BaseException:
            self.features.close()
            raise

    @property
    def frames_per_second(self) -> float:
        """Steps that a second of play takes."""
        rate: float = self.features.metadata["render_fps"]
        return self.game.recorded_frames_per_second or rate

    @contextlib.contextmanager
    def call(self, name: str) -> Iterator[None]:
        """A call of the environment. Raises Busy, ClosedEnvironmentError."""
        with self._calls.call(name):
            if self._closed:
                raise gymnasium.error.ClosedEnvironmentError(
                    f"{name}: the environment was closed; make another one"
                )
            yield

    def begin(
        self, rows: NDArray[np.bool_], seeds: Sequence[int] | None = None
    ) -> tuple[torch.Tensor, dict[int, dict[str, Any]]]:
        """Begins episodes in `rows` (bool [N]), with the seeds of all rows, or else each game's next
        episode. Returns the observation of all rows, and the infos of these games."""
        self._begun[rows], self._failed = False, True  # until all is done: a game may fail
        given: dict[int, int | None] = {}
        for row in np.flatnonzero(rows).tolist():
            given[row] = None if seeds is None else seeds[row]
            if given[row] is None and not self._seeded[row] and self._first_seed is not None:
                given[row] = self._first_seed + row
        infos = {}
        for row, begun in self._games.reset(given).items():
            self._frames[row], infos[row] = begun
            if self._translation is not None:
                self._translation.begin(row)
        self._seeded[rows] = True
        observation, _ = self.features.reset(
            seed=None if seeds is None else list(seeds),
            options={"reset_mask": rows, "frames": self._frames},
        )
        self._begun[rows], self.ended[rows], self._failed = True, False, False
        return observation, infos

    def play(self, actions: Given, rows: NDArray[np.bool_]) -> Played:
        """Plays one step in `rows` (bool [N]), whose games go on; the others' actions are ignored."""
        self._check_begun("step")
        taken = self._checked(actions, rows)
        count = len(rows)
        played = Played(
            None,
            np.zeros(count),
            np.zeros(count, bool),
            np.zeros(count, bool),
            {},
            {},
        )
        self._begun[:], self._failed = False, True  # until all is done: a game may fail
        given = {
            row: taken[row]
            if self._translation is None
            else self._translation.action(row, int(taken[row]))
            for row in np.flatnonzero(rows).tolist()
        }
        for row, stepped in self._games.step(given).items():
            (
                self._frames[row],
                played.rewards[row],
                played.terminations[row],
                played.truncations[row],
                played.infos[row],
            ) = stepped
        if rows.any():
            played.observation, *_, infos = self.features.follow(taken, self._frames)
            self._scores = {name: infos[name] for name in SCORES if name in infos}
        playing = torch.from_numpy(rows).to(self.features.device)
        played.scores = zero_elsewhere(playing, self._scores)
        self._begun[:], self._failed = True, False
        self.ended = played.terminations | played.truncations
        return played

    def frames(self) -> NDArray[np.uint8]:
        """The current frame of every game, uint8 [N, H, W, 3]: a copy."""
        self._check_begun("render")
        return self._frames.copy()

    def close(self) -> None:
        """Waits for a call of another thread, and ends the games."""
        with self._calls.wait("close"):
            self._close()

    def _close(self) -> None:
        self._closed = True
        with contextlib.ExitStack() as stack:
            stack.callback(self.features.close)
            stack.callback(self._games.close)

    def _check_begun(self, call: str) -> None:
        if not self._begun.all():
            when = "after a call that failed" if self._failed else "before reset"
            raise gymnasium.error.ResetNeeded(
                f"{call} {when}: {_named(~self._begun)} no episode; reset first"
            )

    def _checked(self, actions: Given, rows: NDArray[np.bool_]) -> NDArray[Any]:
        """The actions of all rows: those of `rows` as they were given, any for the others."""
        given = validation.actions(actions, self.features.single_action_space).cpu().numpy()
        shape = (len(rows), *(self.features.single_action_space.shape or ()))
        if given.shape != shape:
            raise ValueError(
                f"actions: got {given.dtype} {list(given.shape)}, expected {given.dtype} "
                f"{list(shape)}"
            )
        taken = np.repeat(self._actions.examples()[:1], len(rows), axis=0)
        for row in np.flatnonzero(rows).tolist():
            try:
                one = given[row].item() if given.ndim == 1 else given[row]
                taken[row] = checked_action(self._actions, one)
            except gymnasium.error.InvalidAction as error:
                raise gymnasium.error.InvalidAction(f"row {row}: {error}") from None
        return taken


def game_of(world: World, given: Game | str | None) -> Game:
    """The game that is played. Raises ValueError where there is none, or its steps are others."""
    skip = world.spec.frame_skip
    if isinstance(given, Game):
        if given.frame_skip != skip:
            raise ValueError(
                f"{given.name} was given at frame skip {given.frame_skip}, but a step of the world "
                f"{world.spec.name} is {skip} of the game's: give the game at that frame skip"
            )
        return given
    validation.check_type("game", given, str | None, "a game or its name")
    if not world.directory:
        raise ValueError(
            f"the world {world.spec.name} has no directory that names its game: give game="
        )
    return real_game(Path(world.directory), given)


def _named(rows: NDArray[np.bool_]) -> str:
    """For instance "row 1 has", "rows 0 and 1 have"."""
    numbers = [str(row) for row in np.flatnonzero(rows)]
    if len(numbers) == 1:
        return f"row {numbers[0]} has"
    return f"rows {', '.join(numbers[:-1])} and {numbers[-1]} have"

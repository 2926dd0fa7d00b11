"""N real games at once, as a Gymnasium vector environment."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from genie_env._core import World
from genie_env.envs import validation
from genie_env.envs.frame_rate import UNKNOWN_RATE
from genie_env.envs.infos import (
    SCORES,
    as_it_is,
    as_numpy,
    final_observations,
    with_masks,
    zero_elsewhere,
)
from genie_env.envs.options import Array, EnvOptions, FixedOptions, as_arguments
from genie_env.envs.validation import Given
from genie_env.games.action_map import ActionMap
from genie_env.games.base import Game
from genie_env.games.real_rows import RealRows


class RealVectorEnv(FixedOptions, VectorEnv[Array, Given, Array]):
    """N games of the real environment, seen as an agent of a world sees its dreams.

        env = RealVectorEnv("doom-take-cover", num_envs=16)
        observations, infos = env.reset(seed=0)
        observations, rewards, terminations, truncations, infos = env.step(actions)

    The games run one after the other in this process, or in `workers` others; the world follows their
    frames as one batch here, so that the workers change no number.
    See `RealEnv` for what is observed, what actions mean, and what ends an episode. Autoreset modes,
    final observations and infos are as in DreamVectorEnv; the infos of the games stand beside
    the world's. Every array that is returned is fresh.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": UNKNOWN_RATE}

    single_observation_space: gymnasium.spaces.Box
    single_action_space: gymnasium.spaces.Discrete[np.int64] | gymnasium.spaces.Box

    closed = True  # until there is something to close

    def __init__(
        self,
        world: str | Path | World,
        num_envs: int = 1,
        *,
        game: Game | str | None = None,
        action_map: ActionMap | None = None,
        workers: int = 0,
        **options: Any,
    ) -> None:
        """Loads the world and starts `num_envs` games, none of which has begun an episode.

        Args: as of `RealEnv`, and "autoreset_mode" and "output" among the options; `workers`: the
            processes that play the games, 0: this one.
        """
        make: Callable[..., RealVectorEnv] = type(self)
        arguments = {"game": game, "action_map": action_map, "workers": workers, **options}
        self._recipe = functools.partial(make, world=world, num_envs=num_envs, **arguments)
        self.num_envs = validation.integer("num_envs", num_envs)
        self.given = EnvOptions.of(options)
        """The options as they were given."""
        workers = validation.integer("workers", workers)
        if workers < 0:
            raise ValueError(f"workers is {workers}; expected 0 or more processes")
        self._rows = RealRows(world, self.num_envs, game, action_map, options, workers)
        self.closed = False
        self.world, self.game = self._rows.world, self._rows.game
        features = self._rows.features
        self._give: Callable[[torch.Tensor], Array] = (
            as_it_is if self.given.output == "torch" else as_numpy
        )
        self._mode = validation.autoreset_mode(self.given.autoreset_mode)
        self.render_mode = self.given.render_mode
        self.metadata = {
            **type(self).metadata,
            "render_fps": self._rows.frames_per_second,
            "autoreset_mode": self._mode,
        }
        self.single_action_space = features.single_action_space
        self.single_observation_space = features.single_observation_space
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)

    def reset(
        self,
        *,
        seed: int | Sequence[int] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Array, dict[str, Any]]:
        """Begins episodes; returns the observations of all rows.

        Args:
            seed: int s: row i takes the seed s + i; a list: one a row; None: rows go on to their next
                episode. A seed decides the game and what is drawn of its features.
            options: "reset_mask", bool [N]: the rows to reset, by default all.
        """
        with self._rows.call("reset"):
            rows = self._mask(dict(options or {}))
            seeds = None if seed is None else validation.row_seeds(seed, self.num_envs)
            if seeds is not None and len(seeds) != self.num_envs:
                raise ValueError(f"seeds: got {len(seeds)}, expected one a row: {self.num_envs}")
            observation, infos = self._rows.begin(rows, seeds)
            super().reset(seed=validation.index(seed))
            return self._give(observation), self._of_games(infos)

    def step(self, actions: Given) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """Plays the actions of the world, integers [N] (Discrete) or numbers [N, ...] (Box).

        Returns what DreamVectorEnv.step returns: the rewards and the ends are the games'.
        """
        rows = self._rows
        with rows.call("step"):
            begins = rows.ended.copy()
            if begins.any() and self._mode == AutoresetMode.DISABLED:
                raise gymnasium.error.ResetNeeded(
                    f"step: the episodes of rows {np.flatnonzero(begins).tolist()} have ended, and "
                    "autoreset is disabled; reset them first"
                )
            played = rows.play(actions, ~begins)
            observation, infos = played.observation, self._of_games(played.infos)
            going, ended = (torch.from_numpy(mask) for mask in (~begins, rows.ended.copy()))
            device = rows.features.device
            going, ended = going.to(device), ended.to(device)
            if self._mode == AutoresetMode.SAME_STEP and rows.ended.any():
                assert observation is not None
                final, mask = observation, rows.ended.copy()
                last = {row: played.infos.pop(row) for row in np.flatnonzero(mask).tolist()}
                observation, begun = rows.begin(mask)
                infos = self._of_games({**played.infos, **begun})
                scores = zero_elsewhere(~ended, played.scores)
                infos |= with_masks(scores, ~ended, self._give) | {
                    "final_obs": final_observations(final, ended, self._give),
                    "final_info": self._of_games(last)
                    | with_masks(zero_elsewhere(ended, played.scores), ended, self._give),
                    "_final_obs": self._give(ended.clone()),
                    "_final_info": self._give(ended.clone()),
                }
            else:
                if begins.any():
                    observation, begun = rows.begin(begins)
                    infos = self._of_games({**played.infos, **begun})
                infos |= with_masks(played.scores, going, self._give)
            assert observation is not None
            return (
                self._give(observation),
                self._array(played.rewards.astype(np.float32)),
                self._array(played.terminations),
                self._array(played.truncations),
                infos,
            )

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:  # type: ignore[override]
        """The current frame of every game as the world sees it, uint8 [H, W, 3], if the render mode
        is "rgb_array"."""
        with self._rows.call("render"):
            if self.render_mode is None:
                gymnasium.logger.warn(
                    "render does nothing: the render mode is None, not 'rgb_array'"
                )
                return None
            return tuple(self._rows.frames())

    def close_extras(self, **kwargs: Any) -> None:
        self._rows.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """An environment is pickled as its arguments: the copy must be reset."""
        return self._recipe, ()

    def __repr__(self) -> str:
        of = {"world": self.world.spec.name, "num_envs": self.num_envs, "game": self.game.name}
        return f"RealVectorEnv({as_arguments({**of, **self.given.chosen()})})"

    def _mask(self, options: dict[str, Any]) -> NDArray[np.bool_]:
        given = options.pop("reset_mask", None)
        if options:
            raise ValueError(f"options: got {sorted(options)}, expected 'reset_mask'")
        if given is None:
            return np.ones(self.num_envs, bool)
        mask: NDArray[np.bool_] = validation.boolean("reset_mask", given).cpu().numpy().copy()
        if mask.shape != (self.num_envs,):
            raise ValueError(
                f"reset mask: got bool {list(mask.shape)}, expected bool [{self.num_envs}]"
            )
        if not mask.any():
            raise ValueError("reset mask: no row is true, expected at least one to reset")
        return mask

    def _of_games(self, infos: dict[int, dict[str, Any]]) -> dict[str, Any]:
        """The games' own infos, as Gymnasium gathers them; the world's names are not theirs."""
        gathered: dict[str, Any] = {}
        for row, info in infos.items():
            own = {name: value for name, value in info.items() if name not in SCORES}
            gathered = self._add_info(gathered, own, row)
        return gathered

    def _array(self, array: NDArray[Any]) -> Array:
        return self._give(torch.from_numpy(array).to(self._rows.features.device))

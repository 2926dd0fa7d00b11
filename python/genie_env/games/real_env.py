"""The real game of a world, as an agent that was trained in its dreams sees it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from genie_env._core import World
from genie_env.envs import validation
from genie_env.envs.options import EnvOptions, FixedOptions, as_arguments, with_choices
from genie_env.games.action_map import ActionMap
from genie_env.games.base import Game
from genie_env.games.real_rows import RealRows
from genie_env.games.real_vector_env import RealVectorEnv


class RealEnv(FixedOptions, gymnasium.Env[NDArray[Any], Any]):
    """The real environment in place of the dream: what an agent of the world plays, it plays here.

        env = RealEnv("doom-take-cover")
        observation, info = env.reset(seed=0)
        observation, reward, terminated, truncated, info = env.step(action)

    The world follows the frames of the game, so that observations are the agent's: any of the
    world's kinds. Actions are the world's; latent ones become the game's by the world's dictionary.
    An action is held for the world's frame skip. Rewards, terminations and truncations are the
    game's; `info["surprise"]` is how novel its frame is to the world. A seed decides the game and
    what is drawn of its features. After a game's last frame, where it shows none, the last
    observation follows the one that was seen before.

    One thread at a time uses an environment: a call while another thread is in one raises
    `genie_env.Busy`, and `close` waits. Misuse raises what DreamEnv raises, and moves nothing. After
    the game itself has failed, a reset is needed.
    """

    metadata: dict[str, Any] = RealVectorEnv.metadata

    action_space: gymnasium.spaces.Discrete[np.int64] | gymnasium.spaces.Box
    observation_space: gymnasium.spaces.Box

    def __init__(
        self,
        world: str | Path | World,
        *,
        game: Game | str | None = None,
        action_map: ActionMap | None = None,
        **options: Any,
    ) -> None:
        """Loads the world and starts the game, no episode of which has begun.

        Args:
            world: an installed world's name, the path of a world directory, or a loaded world.
            game: a game at the world's frame skip, or its name; None: the one that the world names.
            action_map: the game's action for every one of the world's, a mapping.json of
                `genie-env map-actions`, or an ActionDictionary, which like the file may know the game's
                action before; None: the world's own, where the actions differ.
            options: those of DreamVectorEnv that say how the world computes and what is observed:
                "device", "dtype", "observation", "latent_distance", "render_mode", "seed" and those
                of its family.
        """
        mode = AutoresetMode.DISABLED
        chosen = with_choices("RealEnv", options, num_envs=1, autoreset_mode=mode, output="numpy")
        del chosen["num_envs"]
        make: Callable[..., RealEnv] = type(self)
        self._recipe = functools.partial(make, world, game=game, action_map=action_map, **options)
        self._given = EnvOptions.of(options)
        self._rows = RealRows(world, 1, game, action_map, chosen)
        self.world, self.game = self._rows.world, self._rows.game
        self.render_mode = self._given.render_mode
        # A dictionary of its own: vector environments write into it.
        self.metadata = {**type(self).metadata, "render_fps": self._rows.frames_per_second}
        self.action_space = self._rows.features.single_action_space
        self.observation_space = self._rows.features.single_observation_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Begins an episode: the first of the given seed, or the next one. There are no options."""
        with self._rows.call("reset"):
            if options:
                raise ValueError(f"options: got {sorted(options)}, expected none")
            seed = None if seed is None else validation.seed(seed)
            observation, infos = self._rows.begin(
                np.ones(1, bool), None if seed is None else [seed]
            )
            super().reset(seed=seed)
            return observation.cpu().numpy()[0], infos[0]

    def step(self, action: Any) -> tuple[NDArray[Any], float, bool, bool, dict[str, Any]]:
        """Plays one action of the world. `action`: an integer (Discrete), or numbers of the space's
        shape (Box)."""
        with self._rows.call("step"):
            if self._rows.ended[0]:
                raise gymnasium.error.ResetNeeded("step: the episode has ended; reset it first")
            discrete = isinstance(self.action_space, gymnasium.spaces.Discrete)
            actions: Any = [validation.integer("action", action)] if discrete else [action]
            played = self._rows.play(actions, np.ones(1, bool))
            assert played.observation is not None
            scores = {name: float(score[0]) for name, score in played.scores.items()}
            return (
                played.observation.cpu().numpy()[0],
                float(played.rewards[0]),
                bool(played.terminations[0]),
                bool(played.truncations[0]),
                {**played.infos[0], **scores},
            )

    def render(self) -> NDArray[np.uint8] | None:  # type: ignore[override]
        """The current frame as the world sees it, uint8 [H, W, 3], if the render mode is
        "rgb_array"."""
        with self._rows.call("render"):
            if self.render_mode is None:
                gymnasium.logger.warn(
                    "render does nothing: the render mode is None, not 'rgb_array'"
                )
                return None
            frame: NDArray[np.uint8] = self._rows.frames()[0]
            return frame

    def close(self) -> None:
        """Waits for a call of another thread, and ends the game."""
        self._rows.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """An environment is pickled as its arguments: the copy must be reset."""
        return self._recipe, ()

    def __repr__(self) -> str:
        of = {"world": self.world.spec.name, "game": self.game.name}
        return f"RealEnv({as_arguments({**of, **self._given.chosen()})})"

    def __str__(self) -> str:
        return repr(self)

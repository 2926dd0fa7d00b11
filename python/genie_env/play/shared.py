"""What all tabs of a server share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import gymnasium
import numpy as np
from numpy.typing import NDArray

from genie_env._core import StartBank, World
from genie_env.agents.agent import Agent, load_agent
from genie_env.envs.actions import actions_of_world
from genie_env.envs.options import EnvOptions
from genie_env.games.action_map import FILE as DICTIONARY
from genie_env.games.action_map import meanings_of
from genie_env.games.real_game import axes_of
from genie_env.media.read_picture import read_picture
from genie_env.play.controls import Controls, controls_of
from genie_env.play.real import Real


@dataclass(frozen=True, kw_only=True)
class Shared:
    world: World
    controls: Controls
    recordings: Path
    """Directory of what is recorded on pages; made when it is needed."""
    temperature: float | None = None
    agent: Agent | None = None
    agent_name: str | None = None
    game: str | None = None
    """The real game in place of the one that the world names."""
    action_map: Path | None = None
    """What latent actions stand for, in place of the world's own dictionary."""
    no_real_game: str | None = None
    """Why the real game cannot be played; None where it can."""
    seed: int = 0
    """Of the first episode."""
    picture: NDArray[np.uint8] | None = None
    """That it begins from, uint8 [H, W, 3]; None: where the world does."""
    starts: tuple[Path, ...] = ()
    """Recordings that episodes begin in; none: the world's stored starts."""
    bank: StartBank | None = None
    """The states of `world` there."""

    @staticmethod
    def of(
        world: World,
        recordings: Path,
        *,
        temperature: float | None = None,
        agent: Path | None = None,
        game: str | None = None,
        action_map: Path | None = None,
        seed: int = 0,
        picture: Path | None = None,
        starts: Sequence[Path] = (),
    ) -> Shared:
        """Raises ValueError for a world without pictures, an agent of another world, and a game or
        map that does not fit."""
        if world.spec.frame is None:
            raise ValueError(f"{world.spec.name} has no pictures: give a world that has")
        height, width, _ = world.spec.frame.shape
        playing = None if agent is None else load_agent(agent)
        if playing is not None:
            playing.check_world(world)
        dictionary = action_map or Path(world.directory) / DICTIONARY
        told = meanings_of(dictionary) if action_map or dictionary.is_file() else None
        axes = axes_of(Path(world.directory))
        controls = controls_of(actions_of_world(world.spec.actions), told, axes)
        no_real_game = None
        try:
            Real(world, controls, None, game, action_map).close()
        except (ValueError, ImportError, RuntimeError, OSError, gymnasium.error.Error) as error:
            if game is not None:
                raise
            no_real_game = str(error)
        return Shared(
            world=world,
            controls=controls,
            recordings=recordings,
            temperature=temperature,
            agent=playing,
            agent_name=None if agent is None else agent.name,
            game=game,
            action_map=action_map,
            no_real_game=no_real_game,
            seed=seed,
            starts=tuple(starts),
            bank=_bank(world, starts),
            picture=None if picture is None else read_picture(picture, height, width),
        )

    @property
    def observation(self) -> str | None:
        """What the agent reads; None: any."""
        return None if self.agent is None else self.agent.observation

    def starts_in(self, world: World) -> StartBank | None:
        """Where episodes of this world begin; None: in its stored starts. Takes seconds for another
        world than `world`, such as one of other options."""
        return self.bank if world is self.world else _bank(world, self.starts)


def _bank(world: World, starts: Sequence[Path]) -> StartBank | None:
    return EnvOptions(starts=list(starts)).starts_in(world) if starts else None

"""What all tabs of a server share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from genie_env._core import World
from genie_env.agents.agent import Agent, load_agent
from genie_env.envs.actions import actions_of_world
from genie_env.envs.json_files import read_json
from genie_env.games.action_map import FILE as DICTIONARY
from genie_env.media.read_picture import read_picture
from genie_env.play.controls import Controls, controls_of
from genie_env.play.real import why_not


@dataclass(frozen=True)
class Shared:
    world: World
    controls: Controls
    recordings: Path
    """Directory of what is recorded on pages; made when it is needed."""
    temperature: float | None
    agent: Agent | None
    agent_name: str | None
    no_real_game: str | None
    """Why the real game cannot be played; None where it can."""
    seed: int = 0
    """Of the first episode."""
    picture: NDArray[np.uint8] | None = None
    """That it begins from, uint8 [H, W, 3]; None: where the world does."""

    @staticmethod
    def of(
        world: World,
        recordings: Path,
        temperature: float | None = None,
        agent: Path | None = None,
        seed: int = 0,
        picture: Path | None = None,
    ) -> Shared:
        """Raises ValueError for a world without pictures, and an agent of another world."""
        if world.spec.frame is None:
            raise ValueError(f"{world.spec.name} has no pictures: give a world that has")
        playing = None if agent is None else load_agent(agent)
        if playing is not None:
            playing.check_world(world)
        controls = controls_of(actions_of_world(world.spec.actions), _meanings(world))
        height, width, _ = world.spec.frame.shape
        return Shared(
            world,
            controls,
            recordings,
            temperature,
            playing,
            None if agent is None else agent.name,
            why_not(world, controls),
            seed,
            None if picture is None else read_picture(picture, height, width),
        )

    @property
    def observation(self) -> str | None:
        """What the agent reads; None: any."""
        return None if self.agent is None else self.agent.observation


def _meanings(world: World) -> dict[int, str] | None:
    """What latent actions stand for, by the dictionary in the world's directory; None without one."""
    file = Path(world.directory) / DICTIONARY
    if not file.is_file():
        return None
    found = read_json(file, {"dictionary": {"*": {"meaning?": (str, None)}}})["dictionary"]
    return {int(code): entry.get("meaning") or "" for code, entry in found.items()}

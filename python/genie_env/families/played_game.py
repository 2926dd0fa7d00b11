"""What the options of `freeze` say of the real game that agents of the world play."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genie_env._core import World
from genie_env.data.files import sha256_of
from genie_env.games.action_map import real_actions
from genie_env.games.real_game import check_sees
from genie_env.games.registry import find_game


@dataclass(frozen=True)
class PlayedGame:
    """None: as the recordings say."""

    real_game: str | None = None
    """Its name, as `genie-env record` takes it."""
    max_episode_steps: int | None = None
    """Steps of the world after which an episode is truncated."""
    actions_map: Path | None = None
    """mapping.json of `genie-env map-actions`: goes into the world's directory."""

    def config(self) -> dict[str, Any]:
        """What it changes in a world's config, and so in its fingerprint."""
        fields: dict[str, Any] = {}
        if self.real_game is not None:
            fields["real_game"] = self.real_game.rpartition(":")[2]
        if self.max_episode_steps is not None:
            fields["max_episode_steps"] = self.max_episode_steps
        if self.actions_map is not None:
            fields["actions_map"] = sha256_of(self.actions_map)
        return fields

    def check(self, world: World) -> None:
        """Raises ValueError where the agents of a loaded world cannot play the game."""
        if self.real_game is None:
            if self.actions_map is not None:
                raise ValueError(
                    f"{self.actions_map} names actions of a real game: say which by --real-game"
                )
            return
        frame = world.spec.frame
        assert frame is not None  # both families have pictures
        height, width = frame.shape[:2]
        game = find_game(
            self.real_game, frame_skip=world.spec.frame_skip, frame_size=(height, width)
        )
        check_sees(world.spec, game)
        real_actions(world, game, self.actions_map)

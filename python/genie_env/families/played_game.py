"""The real game that agents of a world play: what the options of `freeze` and the recordings say of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genie_env._core import EpisodeStore, World
from genie_env.data.datasets import longest_episode
from genie_env.data.files import sha256_of
from genie_env.data.recording_metadata import RecordedGame, read_meta
from genie_env.games.action_map import real_actions
from genie_env.games.real_game import check_sees
from genie_env.games.registry import find_game, registered_game


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


def longest_dream(recorded: RecordedGame, stores: Sequence[EpisodeStore]) -> int:
    """Steps after which an episode is truncated: as in the game, or, where that has no limit that
    is known, after the longest recorded episode."""
    game, told = registered_game(recorded.game), read_meta(None, stores[0]).get("max_steps")
    limit = told if game is None else game.max_steps
    if type(limit) is int and limit >= recorded.frame_skip:
        return limit // recorded.frame_skip
    return max(longest_episode(stores, held_out_part=unseen) for unseen in (False, True))

"""Which actions of recordings a clone learns, and which ones its world follows them with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from genie_env._core import EpisodeStore, World
from genie_env.agents.demonstrations import Player
from genie_env.data.action_dictionary import count_together, most_frequent
from genie_env.data.datasets import transitions
from genie_env.data.inferred_actions import inferred_actions
from genie_env.data.recording_metadata import has_actions, recorded_game
from genie_env.data.world_recordings import check_game, check_recordings, recorded_actions
from genie_env.envs.actions import Actions, DiscreteActions, actions_of_world
from genie_env.envs.latent_actions import action_inference, has_latent_actions

LearnedActions = Literal["latent", "recorded"]


@dataclass(frozen=True)
class DemonstratedActions:
    """The actions of recordings, for a clone that sees by `world`."""

    world: World
    directories: Sequence[Path]
    stores: Sequence[EpisodeStore]
    learned: LearnedActions
    latent: bool
    """Whether the world's actions are latent, so that its model infers what it follows."""
    actions: Actions
    """What the clone chooses among."""

    @classmethod
    def of(
        cls,
        world: World,
        directories: Sequence[Path],
        stores: Sequence[EpisodeStore],
        learn: LearnedActions | None,
    ) -> DemonstratedActions:
        """`learn`: None, those of the world. Raises ValueError where the recordings are not of the
        world's game, or do not have what is to be learned."""
        spec, own = world.spec, actions_of_world(world.spec.actions)
        latent = has_latent_actions(spec.family, Path(world.directory))
        if learn == "latent" and not latent:
            raise ValueError(
                f"the actions of the world {spec.name} are recorded ones, {own}, which a clone learns "
                "from recordings: leave out --actions latent"
            )
        every = list(zip(directories, stores, strict=True))
        told = [(each, store) for each, store in every if has_actions(store, each)]
        if not latent or learn == "recorded":
            check_game(world, directories, stores)
        elif told:  # of these alone: videos do not say what game they are of
            check_game(world, [each for each, _ in told], [store for _, store in told])
        check_recordings(world, directories, stores)
        if latent and learn != "recorded":
            return cls(world, directories, stores, "latent", latent, own)
        if not latent:
            recorded_actions(world, directories, stores)
            return cls(world, directories, stores, "recorded", latent, own)
        recorded = recorded_game(directories, stores).actions
        if not isinstance(recorded, DiscreteActions):
            raise ValueError(
                f"the recordings have {recorded}, and each of a world's latent actions stands for one "
                "of some numbered ones: give recordings of a game that has those"
            )
        _check_all_occur(recorded, directories, stores)
        return cls(world, directories, stores, "recorded", latent, recorded)

    @property
    def described(self) -> dict[str, str]:
        """What tells a clone's run from one of other actions."""
        return {"learned_actions": self.learned} if self.latent else {}

    def players(self) -> list[Player]:
        """What the player of every recording did. Latent actions are inferred once, and kept; that of
        an episode's last step, which no frame shows, is not known, and no recorded one is learned
        there either."""
        if not self.latent:
            every = recorded_actions(self.world, self.directories, self.stores)
            return [Player(each, each, np.ones(len(each), bool)) for each in every]
        inference = action_inference(self.world)
        assert inference is not None
        codes = inferred_actions(inference, self.directories, self.stores)
        own, players = actions_of_world(self.world.spec.actions), []
        assert isinstance(own, DiscreteActions)
        for store, inferred in zip(self.stores, codes, strict=True):
            followed = own.start + inferred.astype(np.int64)
            known = np.ones(len(followed), bool)
            known[store.episode_starts[1:] - 1] = False
            taken = followed if self.learned == "latent" else store.actions
            players.append(Player(followed, taken, known))
        return players

    def codes(self, players: Sequence[Player]) -> dict[str, str]:
        """Of an agent that chooses among recorded actions in a world of latent ones, its note "codes":
        for each of its actions the latent one that came with it most often in the training part."""
        if not self.latent or self.learned == "latent":
            return {}
        own, taken = actions_of_world(self.world.spec.actions), self.actions
        assert isinstance(own, DiscreteActions) and isinstance(taken, DiscreteActions)
        counts = np.zeros((taken.count, own.count), np.int64)
        for store, player in zip(self.stores, players, strict=True):
            rows = transitions(store, held_out_part=False)
            chosen, code = store.actions[rows] - taken.start, player.followed[rows] - own.start
            counts += count_together(chosen, code, counts.shape)
        return {"codes": str((own.start + most_frequent(counts)).tolist())}


def _check_all_occur(
    actions: DiscreteActions, directories: Sequence[Path], stores: Sequence[EpisodeStore]
) -> None:
    """Raises ValueError where a numbered action never occurs in the part that is trained on."""
    occurring: set[Any] = set()
    for store in stores:
        rows = transitions(store, held_out_part=False)
        occurring |= set(np.unique(store.actions[rows]).tolist())
    missing = [each for each in actions.examples().tolist() if each not in occurring]
    if missing:
        raise ValueError(
            f"the recordings never have the action {actions.name(missing[0])!r} in the episodes that are "
            f"trained on, so that nothing says which latent action it comes with: give recordings in "
            "which every action occurs"
        )

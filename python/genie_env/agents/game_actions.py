"""Acting in a world of latent actions by the actions of its game, each of which stands for one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from genie_env._core import World
from genie_env.envs.actions import DiscreteActions
from genie_env.games.action_map import ActionDictionary, codes_of_actions, real_actions
from genie_env.games.real_game import real_game

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv


@dataclass(frozen=True)
class GameActions:
    """The actions of a world's real game, and what they are in its dreams."""

    actions: DiscreteActions
    codes: Mapping[int, int]
    """The latent action that stands for each of them; no two have the same."""
    dictionary: ActionDictionary
    """What every latent action is in the game: those of `codes` are theirs again."""

    @classmethod
    def of(cls, world: World) -> GameActions:
        """By the world's own dictionary. Raises ValueError where no real game is known, where the world has
        the game's actions itself, and where the dictionary has no latent action of its own for each."""
        game = real_game(Path(world.directory))
        dictionary = real_actions(world, game, None)
        if dictionary is None:
            raise ValueError(
                f"the actions of the world {world.spec.name} are those of {game.name}, {game.actions}: leave "
                "out --game-actions, which is for worlds of latent actions"
            )
        assert isinstance(game.actions, DiscreteActions)  # else no dictionary would fit
        codes = codes_of_actions(world, game, None, dictionary)
        action_of: dict[int, int] = {}
        for action, code in codes.items():
            if code in action_of:
                one, other = (game.actions.name(each) for each in (action_of[code], action))
                raise ValueError(
                    f"the dictionary of the world {world.spec.name} has latent action {code} for {one!r} and "
                    f"for {other!r}, so that no agent could tell them apart in a dream: leave out "
                    "--game-actions, or let `genie-env map-actions` make another from more labels"
                )
            action_of[code] = action
        return cls(game.actions, codes, ActionDictionary({**dictionary.means, **action_of}))

    @property
    def note(self) -> dict[str, str]:
        """Of an agent that chooses among them: what Agent.codes reads."""
        return {"codes": str([*self.codes.values()])}

    def taken_in(self, envs: VecEnv) -> VecEnv:
        """Environments of the world's actions, as environments of these."""
        from genie_env.agents.game_actions_env import GameActionsVecEnv

        return GameActionsVecEnv(envs, self.actions, self.codes)

"""The actions that dynamics learn from: latent ones, or the numbered ones of the recordings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genie_env._core import EpisodeStore, limits
from genie_env.data.recording_metadata import RecordedGame, numbered_actions, recorded_game
from genie_env.envs.actions import DiscreteActions
from genie_env.training.clip_training import Recordings
from genie_env.training.latent_actions import encoded_actions, load_latent_actions


@dataclass(frozen=True)
class LearnedActions:
    """The actions between the frames of some recordings."""

    codes: torch.Tensor
    """What dynamics read of each action: float32 [actions, dimensions], on the CPU."""
    of_stores: Callable[[], Sequence[NDArray[np.integer[Any]]]]
    """From every frame to its next, [frames] a store, numbered from 0. Inferring may take hours."""

    @classmethod
    def latent(cls, run: Path, device: str, recordings: Recordings) -> LearnedActions:
        """Those that the latent action model of a run infers."""
        model = load_latent_actions(run, device)
        infer = partial(encoded_actions, run, model, recordings.directories, recordings.stores)
        return cls(model.codes().cpu(), infer)

    @classmethod
    def recorded(cls, recordings: Recordings) -> LearnedActions:
        """Those that were recorded. Raises ValueError where `numbered_game` does."""
        game, stores = numbered_game(recordings.directories, recordings.stores), recordings.stores
        return cls(one_hot_codes(game), lambda: [numbered_actions(store) for store in stores])


def numbered_game(directories: Sequence[Path], stores: Sequence[EpisodeStore]) -> RecordedGame:
    """The one game of all stores.

    Raises ValueError where `recorded_game` does, and where its actions are not numbered or too many.
    """
    game, most = recorded_game(directories, stores), limits["latent_actions"]
    if not isinstance(game.actions, DiscreteActions):
        raise ValueError(
            f"the recordings have {game.actions}, but dynamics read numbered actions: give "
            "recordings of a game that has those, or learn latent actions from these (--actions "
            "latent)"
        )
    if game.actions.count > most:
        raise ValueError(
            f"the recordings have {game.actions.count:,} actions, but dynamics read at most "
            f"{most}: give recordings of a game with fewer, or learn latent actions from these "
            "(--actions latent)"
        )
    return game


def one_hot_codes(game: RecordedGame) -> torch.Tensor:
    """What dynamics read of each of a game's numbered actions: float32 [actions, actions]."""
    return torch.eye(game.actions.width)

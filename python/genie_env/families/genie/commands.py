"""The commands of the genie family."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch  # noqa: F401  (comes first: it loads the libraries that _core is linked to)
import typer

from genie_env._core import limits
from genie_env.families.freeze_options import (
    MaxEpisodeStepsOption,
    NameOption,
    OutOption,
    RealGameOption,
    TemperatureOption,
    TerminationOption,
)
from genie_env.families.genie import freeze, freeze_heads
from genie_env.families.played_game import PlayedGame
from genie_env.families.training_command import training_command
from genie_env.training import dynamics, heads, latent_actions, tokenizer

ActionsMapOption = Annotated[
    Path | None,
    typer.Option(
        "--actions-map",
        "--action-map",
        help="mapping.json of `map-actions`: which action of the real game each latent one stands for"
    ),
]

train_tokenizer = training_command(tokenizer.train_tokenizer, tokenizer.TokenizerSettings)
train_latent_actions = training_command(
    latent_actions.train_latent_actions, latent_actions.LatentActionSettings
)
train_dynamics = training_command(dynamics.train_dynamics, dynamics.DynamicsSettings)
train_heads = training_command(heads.train_heads, heads.HeadsSettings)


def freeze_genie(
    dynamics: Annotated[
        Path,
        typer.Option(
            help="run directory of `train dynamics`, which names its tokenizer and latent actions, or "
            "has recorded ones"
        ),
    ],
    out: OutOption,
    name: NameOption = None,
    temperature: TemperatureOption = 1.0,
    order: Annotated[
        str,
        typer.Option(
            help="tokens that a MaskGIT pass unmasks first: the most confident ones (confidence) or "
            "random ones (random)"
        ),
    ] = "confidence",
    passes: Annotated[
        int | None,
        typer.Option(
            help="default MaskGIT passes per frame of the world, at most as many as in training; as "
            "many unless given",
            min=1,
            max=limits["passes"],
        ),
    ] = None,
    real_game: RealGameOption = None,
    max_episode_steps: MaxEpisodeStepsOption = None,
    actions_map: ActionsMapOption = None,
) -> None:
    """Freeze a tokenizer, the codebook of latent actions and dynamics into a world directory.

    Of dynamics with recorded actions, the world's actions and game are those of the recordings.
    """
    played = PlayedGame(real_game, max_episode_steps, actions_map)
    freeze.freeze_genie(dynamics, out, name, temperature, order, passes, played)


def freeze_heads_command(
    heads: Annotated[
        Path,
        typer.Option(help="run directory of `train heads`, which names the world it was trained for"),
    ],
    out: OutOption,
    name: NameOption = None,
    termination: TerminationOption = "sampled",
    actions_map: ActionsMapOption = None,
) -> None:
    """Freeze a genie world together with heads into a new world directory, which has rewards.

    A world of latent actions keeps its dictionary, or gets --actions-map; the game that these are of
    is then the labelled one.
    """
    freeze_heads.freeze_heads(heads, out, name, termination, actions_map)

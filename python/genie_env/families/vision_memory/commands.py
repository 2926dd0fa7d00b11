"""The commands of the vision-memory family."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from genie_env.families.freeze_options import (
    MaxEpisodeStepsOption,
    NameOption,
    OutOption,
    RealGameOption,
    TemperatureOption,
    TerminationOption,
)
from genie_env.families.played_game import PlayedGame
from genie_env.families.training_command import training_command
from genie_env.families.vision_memory import freeze
from genie_env.families.vision_memory.checkpoints import importing
from genie_env.families.vision_memory.checkpoints.actions import read_actions
from genie_env.training import memory, vision

train_vision = training_command(vision.train_vision, vision.VisionSettings)
train_memory = training_command(memory.train_memory, memory.MemorySettings)


def freeze_vision_memory(
    vision: Annotated[Path, typer.Option(help="run directory of `train vision`")],
    memory: Annotated[Path, typer.Option(help="run directory of `train memory`")],
    out: OutOption,
    name: NameOption = None,
    temperature: TemperatureOption = 1.0,
    termination: TerminationOption = "sampled",
    real_game: RealGameOption = None,
    max_episode_steps: MaxEpisodeStepsOption = None,
) -> None:
    """Freeze V and M into a world directory."""
    played = PlayedGame(real_game, max_episode_steps)
    freeze.freeze_vision_memory(vision, memory, out, name, temperature, termination, played)


_NUMBER = {"min": -1e30, "max": 1e30}


def import_checkpoint(
    layout: Annotated[
        Literal["ctallec", "hardmaru", "sksq96"],
        typer.Option(help="whose files they are: docs/published-checkpoints.md lists repositories"),
    ],
    vision: Annotated[Path, typer.Option(help="file of V")],
    memory: Annotated[Path, typer.Option(help="file of M")],
    out: OutOption,
    starts: Annotated[
        list[Path] | None,
        typer.Option(
            help="what dreams begin from: a recording, whose episodes' first frames V encodes (may be "
            "repeated), or a file of latents: .npz or .safetensors with mu [starts, latents] and, where "
            "they have a spread, logvar; or initial_z.json of hardmaru"
        ),
    ] = None,
    actions: Annotated[
        list[str],
        typer.Option(
            help="numbered actions, what each means, in order: NAME where M reads them one-hot, or "
            "NAME=NUMBER,NUMBER with what M reads of it [default: those of recorded --starts]"
        ),
    ] = [],
    action_low: Annotated[
        list[float], typer.Option(help="continuous actions: the least of each number", **_NUMBER)
    ] = [],
    action_high: Annotated[
        list[float], typer.Option(help="continuous actions: the most of each number", **_NUMBER)
    ] = [],
    max_episode_steps: Annotated[
        int | None,
        typer.Option(
            help="steps of the world after which an episode is truncated [default: as recorded "
            "--starts say]",
            min=1,
            max=2**31 - 1,
        ),
    ] = None,
    reward_per_step: Annotated[
        float | None,
        typer.Option(
            help="what every step pays [default: what M predicts, where it predicts rewards]",
            **_NUMBER,
        ),
    ] = None,
    termination: Annotated[
        Literal["thresholded", "sampled", "never"] | None,
        typer.Option(
            help="how M's termination logit ends dreams: where its probability is above 0.5, drawn from "
            "it, or never [default: thresholded, as the layouts' own dreams do]"
        ),
    ] = None,
    temperature: TemperatureOption = 1.0,
    frame_skip: Annotated[
        int | None,
        typer.Option(
            help="steps of the game that a step of the world stands for [default: as recorded "
            "--starts say, or 1]",
            min=1,
            max=2**31 - 1,
        ),
    ] = None,
    frames_per_second: Annotated[
        float | None,
        typer.Option(
            help="steps of the world that a second of play takes [default: as recorded --starts say]",
            min=1e-3,
            max=1e6,
        ),
    ] = None,
    name: NameOption = None,
    real_game: Annotated[
        str | None,
        typer.Option(
            help="the game that agents of the world play, as `genie-env record` names it [default: "
            "that of recorded --starts]"
        ),
    ] = None,
) -> None:
    """Bring V and M that others published into a world directory, as they are.

    No code of the files is run. What they do not say is asked for, in one error.
    """
    facts = importing.Facts(
        starts=starts or [],
        actions=read_actions(actions, action_low, action_high),
        max_episode_steps=max_episode_steps,
        reward_per_step=reward_per_step,
        termination=termination,
        temperature=temperature,
        frame_skip=frame_skip,
        frames_per_second=frames_per_second,
        name=name,
        real_game=real_game,
    )
    importing.import_checkpoint(layout, vision, memory, out, facts)

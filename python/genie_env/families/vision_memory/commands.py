"""The commands of the vision-memory family."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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

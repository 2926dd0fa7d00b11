"""`genie-env train clone`: a small network, from recordings of another player."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from genie_env.agents.agent import AGENT
from genie_env.agents.clone import CloneSettings, held_out_words, train_clone
from genie_env.agents.dreams import Dreams
from genie_env.cli.options import (
    DeviceOption,
    FamilyOption,
    SeedOption,
    WorldOption,
    family_options,
)
from genie_env.data.progress import say
from genie_env.data.threads import warn_of_threads
from genie_env.envs.registry import find_world
from genie_env.training.settings import Episodes, Steps


def train_clone_command(
    world: WorldOption,
    data: Episodes,
    out: Annotated[
        Path,
        typer.Option(
            help="run directory; what a finished run there found is shown",
            file_okay=False,
            writable=True,
        ),
    ],
    option: FamilyOption = None,
    observation: Annotated[
        str | None,
        typer.Option(
            help="observation that the network reads [default: the first that is a vector of floats]"
        ),
    ] = None,
    actions: Annotated[
        Literal["latent", "recorded"] | None,
        typer.Option(
            help="what the network learns: latent actions, which the world infers from the frames, so "
            "that recorded ones are not read; or recorded ones, in a world of latent actions for the "
            "real game alone [default: the world's own]"
        ),
    ] = None,
    steps: Steps = CloneSettings.steps,
    seed: SeedOption = 0,
    batch: Annotated[
        int, typer.Option(help="recorded steps per update", min=1, max=1_000_000)
    ] = CloneSettings.batch,
    learning_rate: Annotated[
        float, typer.Option(help="at the beginning; it falls to 0", min=1e-9, max=10)
    ] = CloneSettings.learning_rate,
    units: Annotated[
        int, typer.Option(help="units of each of the two hidden layers", min=1, max=65_536)
    ] = CloneSettings.units,
    device: DeviceOption = "cpu",
) -> None:
    """Train a policy network to act as the player of recordings did, on what a world's agents see.

    The world follows the recorded episodes; every 20th is held out. Where its actions are latent, it
    infers them from the frames, so that a video of play is enough. Of continuous actions the median is
    learned: what the player now and then did at random is left out, unless it went on for many steps.
    Leaves agent.safetensors, the best of ten moments on the held-out episodes, in the run directory.
    Ctrl-C keeps what the world has followed; of a finished run the same command shows what it found.
    """
    settings = CloneSettings(
        steps=steps, seed=seed, batch=batch, learning_rate=learning_rate, units=units
    )
    warn_of_threads()
    dreams = Dreams.load(
        find_world(world), options=family_options(option), observation=observation, device=device
    )
    agent = train_clone(dreams, data, settings, learn=actions, out=out)
    say(f"{out / AGENT}: {held_out_words(agent)}, after {agent.notes['steps']} updates")

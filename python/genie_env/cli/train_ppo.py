"""`genie-env train ppo`: a small network, from dreams alone."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from genie_env.agents.dreams import Dreams
from genie_env.agents.ppo import AGENT, PpoSettings, PpoUpdate, train_ppo
from genie_env.cli.options import (
    BurnInOption,
    DeviceOption,
    FamilyOption,
    RewardFnOption,
    SeedOption,
    StartsOption,
    StepsOption,
    TemperatureOption,
    TerminationFnOption,
    WorldOption,
    family_options,
)
from genie_env.data.progress import Progress
from genie_env.data.threads import warn_of_threads
from genie_env.envs.registry import find_world
from genie_env.envs.step_functions import named_function
from genie_env.games.base import rounded
from genie_env.training.settings import Out


def train_ppo_command(
    world: WorldOption,
    out: Out,
    temperature: TemperatureOption = None,
    option: FamilyOption = None,
    observation: Annotated[
        str | None,
        typer.Option(
            help="observation that the network reads [default: the first that is a vector of "
            "floats, or else the world's first]"
        ),
    ] = None,
    steps: StepsOption = 1_000_000,
    seed: SeedOption = 0,
    dreams: Annotated[
        int, typer.Option(help="dreams stepped together", min=1, max=1_000_000)
    ] = PpoSettings.num_envs,
    horizon: Annotated[
        int, typer.Option(help="steps of every dream between two updates", min=2, max=100_000)
    ] = PpoSettings.horizon,
    batch: Annotated[
        int, typer.Option(help="steps per minibatch", min=2, max=10_000_000)
    ] = PpoSettings.batch,
    epochs: Annotated[
        int, typer.Option(help="passes over the steps of an update", min=1, max=1000)
    ] = PpoSettings.epochs,
    learning_rate: Annotated[
        float, typer.Option(help="at the beginning; it falls to 0", min=1e-9, max=10)
    ] = PpoSettings.learning_rate,
    discount: Annotated[
        float, typer.Option(help="discount of later rewards", min=1e-9, max=1)
    ] = PpoSettings.discount,
    entropy: Annotated[
        float, typer.Option(help="weight of the policy's entropy", min=0, max=1e3)
    ] = PpoSettings.entropy,
    units: Annotated[
        int, typer.Option(help="units of each of the two hidden layers", min=1, max=65_536)
    ] = PpoSettings.units,
    starts: StartsOption = None,
    burn_in: BurnInOption = None,
    reward_fn: RewardFnOption = None,
    termination_fn: TerminationFnOption = None,
    device: DeviceOption = "cpu",
) -> None:
    """Train a policy network by PPO, entirely inside the dream.

    Leaves agent.safetensors in the run directory after every update. Ctrl-C keeps it; the same
    command goes on after the last update, and so does one with more steps.
    """
    settings = PpoSettings(
        steps, seed, dreams, horizon, batch, epochs, learning_rate, discount, entropy, units
    )
    directory = find_world(world)
    warn_of_threads()
    dreaming = Dreams.load(
        directory,
        temperature=temperature,
        options=family_options(option),
        observation=observation,
        device=device,
        starts=starts,
        burn_in=burn_in,
        reward_fn=named_function("reward_fn", reward_fn),
        termination_fn=named_function("termination_fn", termination_fn),
    )
    score, console = dreaming.score, Console()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TextColumn("{task.percentage:3.0f}%"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    last: PpoUpdate | None = None
    live = console.is_interactive
    try:
        with Progress(*columns, console=console, transient=not live) as progress:
            task = progress.add_task("learning", total=steps, below="")
            run = train_ppo(
                dreaming,
                settings,
                out=out,
                on_step=lambda done: progress.update(task, completed=done),
            )
            for last in run:
                text = _describe(last, score.name)
                progress.update(task, completed=last.steps, below=text if live else "")
                if not live:
                    progress.say(f"{last.steps / 1e6:.2f} M steps: {text}")
    finally:  # also after Ctrl-C
        if last is not None:
            console.print(
                f"wrote {out / AGENT}: {_describe(last, score.name)}, after "
                f"{last.steps / 1e6:.2f} M steps",
                soft_wrap=True,
            )


def _describe(update: PpoUpdate, score: str) -> str:
    mean = "no episode has ended" if update.mean_return is None else rounded(update.mean_return)
    return f"{score} mean {mean} in the dream, {update.steps_per_s:,.0f} steps/s"

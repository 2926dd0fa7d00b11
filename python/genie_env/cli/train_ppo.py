"""`genie-env train ppo`: a small network, from dreams alone, or in the real game."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from genie_env.agents.agent import AGENT
from genie_env.agents.dreams import Dreams
from genie_env.agents.ppo import PpoSettings, PpoUpdate, train_ppo
from genie_env.agents.ppo_envs import RealGames
from genie_env.cli.options import (
    BurnInOption,
    DeviceOption,
    FamilyOption,
    RealityOption,
    RewardFnOption,
    SeedOption,
    StartsOption,
    StepsOption,
    TemperatureOption,
    TerminationFnOption,
    WorkersOption,
    WorldOption,
    family_options,
    refuse_what_dreams_take,
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
        int, typer.Option(help="dreams, or real games, stepped together", min=1, max=1_000_000)
    ] = PpoSettings.num_envs,
    horizon: Annotated[
        int, typer.Option(help="steps of each of them between two updates", min=2, max=100_000)
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
    gae_lambda: Annotated[
        float,
        typer.Option(
            help="how far advantages trust what was played (1) rather than values (0)", min=0, max=1
        ),
    ] = PpoSettings.gae_lambda,
    entropy: Annotated[
        float, typer.Option(help="weight of the policy's entropy", min=0, max=1e3)
    ] = PpoSettings.entropy,
    units: Annotated[
        int, typer.Option(help="units of each of the two hidden layers", min=1, max=65_536)
    ] = PpoSettings.units,
    action_repeat: Annotated[
        int,
        typer.Option(
            help="steps of the world that every action is held for; steps, horizon and batch count "
            "actions",
            min=1,
            max=100_000,
        ),
    ] = PpoSettings.action_repeat,
    deviation: Annotated[
        float,
        typer.Option(
            help="standard deviation of continuous actions at the beginning, in their units",
            min=1e-6,
            max=1e3,
        ),
    ] = PpoSettings.deviation,
    max_episode_steps: Annotated[
        int | None,
        typer.Option(
            help="steps of the world after which a dream is cut off; what would have come is estimated "
            "[default: as the world says]",
            min=1,
            max=2**31 - 1,
        ),
    ] = None,
    starts: StartsOption = None,
    burn_in: BurnInOption = None,
    reward_fn: RewardFnOption = None,
    termination_fn: TerminationFnOption = None,
    device: DeviceOption = "cpu",
    reality: RealityOption = False,
    workers: WorkersOption = 2,
) -> None:
    """Train a policy network by PPO, inside the dream or, with --reality, in the real game.

    Leaves agent.safetensors and a line of updates.jsonl in the run directory after every update.
    Ctrl-C keeps them; the same command goes on after the last update, and so does one with more
    steps.
    """
    if reality:
        refuse_what_dreams_take(temperature, starts, burn_in, reward_fn, termination_fn)
    settings = PpoSettings(
        steps=steps,
        seed=seed,
        num_envs=dreams,
        horizon=horizon,
        batch=batch,
        epochs=epochs,
        learning_rate=learning_rate,
        discount=discount,
        gae_lambda=gae_lambda,
        entropy=entropy,
        units=units,
        action_repeat=action_repeat,
        max_episode_steps=max_episode_steps,
        deviation=deviation,
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
    games = RealGames.of(dreaming, workers) if reality else None
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

            def tell_budget(done: int) -> None:
                if games is not None and done < steps:
                    progress.say(_budget(games, settings, done))

            run = train_ppo(
                dreaming,
                settings,
                real_games=games,
                out=out,
                on_begin=tell_budget,
                on_step=lambda done: progress.update(task, completed=done),
            )
            for last in run:
                text = _describe(last, score.name, games)
                progress.update(task, completed=last.steps, below=text if live else "")
                if not live:
                    progress.say(f"{last.steps / 1e6:.2f} M steps: {text}")
    finally:  # also after Ctrl-C
        if last is not None:
            console.print(
                f"wrote {out / AGENT}: {_describe(last, score.name, games)}, after "
                f"{last.steps / 1e6:.2f} M steps",
                soft_wrap=True,
            )


def _budget(games: RealGames, settings: PpoSettings, done: int) -> str:
    """What the steps that are left will take, at the rate that the real game shows."""
    left = settings.steps - done
    count, skip = settings.num_envs, games.game.frame_skip * settings.action_repeat
    workers = min(games.workers, count)
    rate = games.steps_per_s(count) / settings.action_repeat
    took = timedelta(seconds=round(left / rate))
    return (
        f"{games.game.name}: {rate:,.0f} steps/s, {rate * skip:,.0f} frames/s, of {count} games in "
        f"{workers} process{'es'[: 2 * (workers > 1)]}; {left:,} steps, "
        f"{left * skip:,} frames, take {took} besides the updates"
    )


def _describe(update: PpoUpdate, score: str, games: RealGames | None) -> str:
    mean = "no episode has ended" if update.mean_return is None else rounded(update.mean_return)
    where = "the dream" if games is None else "the real game"
    known = not math.isnan(update.steps_per_s)  # of a run that was finished before
    return f"{score} mean {mean} in {where}" + f", {update.steps_per_s:,.0f} steps/s" * known

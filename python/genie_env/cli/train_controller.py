"""`genie-env train controller`: a linear controller, from dreams alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from genie_env.agents.agent import load_agent
from genie_env.agents.controller import LinearController
from genie_env.agents.dreams import Dreams
from genie_env.agents.evolution import ControllerSettings, Generation, train_controller
from genie_env.agents.real_play import evaluate_in_real_game
from genie_env.agents.training_progress import TrainingProgress
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
from genie_env.data.threads import warn_of_threads
from genie_env.envs.registry import find_world
from genie_env.envs.step_functions import named_function
from genie_env.games.base import rounded
from genie_env.games.real_game import check_sees, real_game
from genie_env.training.settings import Out


def train_controller_command(
    world: WorldOption,
    out: Out,
    temperature: TemperatureOption = None,
    option: FamilyOption = None,
    observation: Annotated[
        str | None,
        typer.Option(
            help="observation that the controller reads [default: the first that is a vector of "
            "floats]"
        ),
    ] = None,
    steps: StepsOption = 40_000_000,
    minutes: Annotated[
        float | None,
        typer.Option(
            help="minutes after which training ends, where it has not made its steps by then",
            min=1e-6,
            max=1e6,
        ),
    ] = None,
    seed: SeedOption = 0,
    population: Annotated[
        int, typer.Option(help="candidates per generation", min=4, max=1_000_000)
    ] = 64,
    dreams: Annotated[int, typer.Option(help="dreams per candidate", min=1, max=1_000_000)] = 16,
    sigma: Annotated[
        float, typer.Option(help="standard deviation of the first weights", min=1e-9, max=1e6)
    ] = 0.1,
    warm: Annotated[
        Path | None,
        typer.Option(help="agent file to start from; the controller reads what that reads"),
    ] = None,
    starts: StartsOption = None,
    burn_in: BurnInOption = None,
    reward_fn: RewardFnOption = None,
    termination_fn: TerminationFnOption = None,
    device: DeviceOption = "cpu",
    reality: RealityOption = False,
    workers: WorkersOption = 2,
) -> None:
    """Train a linear controller by CMA-ES, entirely inside the dream.

    Leaves agent.safetensors (the distribution's mean with the best score in fresh dreams) and
    generations.jsonl in the run directory. Ctrl-C keeps both; the same command goes on, and so does
    one with more steps or minutes.
    """
    if reality:
        refuse_what_dreams_take(temperature, starts, burn_in, reward_fn, termination_fn)
    settings = ControllerSettings(steps, minutes, seed, population, dreams, sigma)
    start = load_agent(warm) if warm else None
    if start is not None and not isinstance(start, LinearController):
        raise ValueError(f"{warm} is a {start.kind}; expected a {LinearController.kind}")
    directory = find_world(world)
    options = family_options(option)
    warn_of_threads()
    dreaming = Dreams.load(
        directory,
        temperature=temperature,
        options=options,
        observation=start.observation if start else observation,
        device=device,
        starts=starts,
        burn_in=burn_in,
        reward_fn=named_function("reward_fn", reward_fn),
        termination_fn=named_function("termination_fn", termination_fn),
    )
    in_real_game = None
    if reality:
        game = real_game(directory)
        dreaming.check_plays(game)
        check_sees(dreaming.world.spec, game)
        in_real_game = evaluate_in_real_game(directory, dreaming.observation, workers, options)
    score = dreaming.score
    console = Console()
    best: Generation | None = None
    try:
        with TrainingProgress(settings, score, console) as progress:
            run = train_controller(
                dreaming,
                settings,
                out=out,
                warm=start,
                on_step=progress.step,
                in_real_game=in_real_game,
                higher_is_better=score.higher_is_better,
            )
            for best in run:
                progress.generation(best)
    finally:  # also after Ctrl-C
        if best is not None:
            where = "the real game" if reality else "its dream"
            console.print(
                f"wrote {out / 'agent.safetensors'}: {rounded(best.best_score)} {score.unit} in "
                f"{where}, after {best.steps / 1e6:.1f} M steps",
                soft_wrap=True,
            )

"""`genie-env train controller`: a linear controller, from dreams alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from genie_env.agents.controller import LinearController
from genie_env.agents.dreams import Dreams
from genie_env.agents.evolution import ControllerSettings, Generation, train_controller
from genie_env.envs.registry import find_world
from genie_env.evaluation.evaluate import real_arena
from genie_env.media.progress import TwoLines


class TrainingProgress:
    """A live bar over the generations of a run: a context manager, and a callback of every tic."""

    def __init__(self, settings: ControllerSettings, console: Console) -> None:
        self._settings = settings
        self._bar = TwoLines(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:3.0f}%"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[tic]}"),
            console=console,
        )
        self._task = self._bar.add_task("generation 0", total=1.0, tic="", below="")

    def __enter__(self) -> TrainingProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def tic(self, step: int, alive: int) -> None:
        """To be called at every step of a generation's dreams."""
        if step % 32 == 0:
            self._bar.update(self._task, tic=f"tic {step}, {alive} dreams alive")

    def generation(self, generation: Generation) -> None:
        """To be called after every generation."""
        done = generation.steps / self._settings.steps
        if self._settings.minutes is not None:
            done = max(done, generation.seconds / (60 * self._settings.minutes))
        text = describe(generation)
        # One that only scores is followed by none, or has its candidates then.
        following = generation.index + (generation.mean is not None)
        live = self._bar.console.is_terminal
        self._bar.update(
            self._task,
            description=f"generation {following}",
            completed=min(done, 1.0),
            tic="",
            below=text if live else "",
        )
        if not live:
            line = f"generation {generation.index}: {text}, {generation.steps / 1e6:.1f} M steps"
            self._bar.console.print(line, soft_wrap=True)


def describe(generation: Generation) -> str:
    if generation.mean is None or generation.best is None:
        played = f"final score {generation.score:,.0f}"
    else:
        played = f"survival mean {generation.mean:,.0f}, best {generation.best:,.0f}"
    return (
        f"{played}, controller {generation.best_score:,.0f} tics, {generation.steps_per_s:,.0f} steps/s"
    )


def train_controller_command(
    world: Annotated[str, typer.Option(help="a shipped world's name, or a world directory")],
    out: Annotated[Path, typer.Option(help="run directory; an unfinished run there goes on")],
    temperature: Annotated[
        float | None, typer.Option(help="of the dream [default: the world's]")
    ] = None,
    termination: Annotated[
        str, typer.Option(help="sampled, thresholded, or calibrated: as the world says")
    ] = "calibrated",
    observation: Annotated[
        str | None, typer.Option(help="what the controller sees [default: the world's first]")
    ] = None,
    steps: Annotated[str, typer.Option(help="dream steps to spend, for instance 40M")] = "40M",
    minutes: Annotated[float | None, typer.Option(help="time to spend, if over sooner")] = None,
    seed: Annotated[int, typer.Option(help="of the population and its dreams")] = 0,
    population: Annotated[int, typer.Option(help="candidates a generation")] = 64,
    dreams: Annotated[int, typer.Option(help="dreams a candidate")] = 16,
    sigma: Annotated[float, typer.Option(help="standard deviation of the first weights")] = 0.1,
    warm: Annotated[
        Path | None, typer.Option(help="agent file to start from; sees what that saw")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    reality: Annotated[
        bool, typer.Option("--reality", help="play the real game instead of the dream: a baseline")
    ] = False,
    workers: Annotated[int, typer.Option(help="processes that play the real game")] = 2,
) -> None:
    """Train a linear controller by CMA-ES, entirely inside the dream.

    Leaves agent.safetensors (the distribution's mean with the highest survival in fresh dreams) and
    generations.jsonl in the run directory. Ctrl-C keeps both; the same command goes on, and so does
    one with more steps or minutes.
    """
    settings = ControllerSettings(parse_steps(steps), minutes, seed, population, dreams, sigma)
    start = LinearController.load(warm) if warm else None
    dreaming = Dreams.load(
        world,
        temperature=temperature,
        termination=termination,
        observation=start.observation if start else observation,
        device=device,
    )
    arena = real_arena(find_world(world), dreaming.observation, workers) if reality else None
    console = Console()
    best: Generation | None = None
    try:
        with TrainingProgress(settings, console) as progress:
            run = train_controller(
                dreaming,
                settings,
                out=out,
                warm=start,
                progress=progress.tic,
                reality=arena,
            )
            for best in run:
                progress.generation(best)
    finally:  # also of Ctrl-C
        if best is not None:
            console.print(
                f"wrote {out / 'agent.safetensors'}: {best.best_score:,.0f} tics in "
                f"{'reality' if reality else 'its dream'}, after {best.steps / 1e6:.1f} M steps",
                soft_wrap=True,
            )


def parse_steps(text: str) -> int:
    """A number of steps: "40M", "500k" or "1000".

    >>> parse_steps("2.5M")
    2500000
    """
    factor = {"k": 1_000, "M": 1_000_000}.get(text[-1:], 1)
    try:
        return int(float(text[:-1] if factor > 1 else text) * factor)
    except (ValueError, OverflowError):  # OverflowError: infinitely many
        raise ValueError(
            f"steps is {text!r}; expected a number such as 1000, 500k or 40M"
        ) from None

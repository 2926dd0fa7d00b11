"""`genie-env dream-score`: how long an agent survives in dreams that its training never saw."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from genie_env.agents.controller import LinearController, file_hash
from genie_env.agents.dreams import Dreams, derived_seeds
from genie_env.agents.dreams import Progress as Tic
from genie_env.data.files import write_json
from genie_env.evaluation.evaluate import show_scores
from genie_env.evaluation.statistics import summarise


def dream_scores(
    dreams: Dreams, agent: Path, seed: int, episodes: int, progress: Tic | None = None
) -> dict[str, Any]:
    """What is published of an agent's dreams: the summary, who dreamt how, every score and seed.

    The seeds are derived as no training derives its own, so a checkpoint that was chosen for its
    luck is not flattered. Raises ValueError where the agent was trained in another world.
    """
    controller = LinearController.load(agent)
    controller.check_world(dreams.fingerprint, dreams.features)
    seeds = derived_seeds(seed, count=episodes)
    scores = dreams.play_controller(controller, seeds, progress).scores.tolist()
    return {
        **summarise(scores).as_json(),
        "agent": file_hash(agent),
        "world": dreams.fingerprint,
        "dtype": dreams.world.spec.dtype,
        "temperature": dreams.temperature,
        "termination": dreams.termination,
        "seed": seed,
        "scores": scores,
        "seeds": seeds,
    }


def dream_score(
    world: Annotated[str, typer.Option(help="a shipped world's name, or a world directory")],
    agent: Annotated[Path, typer.Option(help="agent file")],
    episodes: Annotated[int, typer.Option(help="dreams, all in one batch")] = 1024,
    temperature: Annotated[
        float | None, typer.Option(help="of the dream [default: the world's]")
    ] = None,
    termination: Annotated[
        str, typer.Option(help="sampled, thresholded, or calibrated: as the world says")
    ] = "calibrated",
    seed: Annotated[int, typer.Option(help="of the dreams")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    json_file: Annotated[Path | None, typer.Option("--json", help="file for every score")] = None,
) -> None:
    """Play fresh dreams with an agent: the score that chooses among agents.

    It says nothing about the real game by itself: compare agents at the calibrated temperature
    alone, and play the real game (genie-env evaluate) with the one that is chosen.
    """
    for name, value, least in (("episodes", episodes, 1), ("seed", seed, 0)):
        if value < least:
            raise ValueError(f"{name} is {value}; expected {least} or more")
    dreams = Dreams.load(world, temperature=temperature, termination=termination, device=device)
    console = Console()
    columns = (TextColumn("dreaming"), BarColumn(), MofNCompleteColumn(), TextColumn("have ended"))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=episodes)

        def tic(step: int, alive: int) -> None:
            bar.update(task, completed=episodes - alive)

        found = dream_scores(dreams, agent, seed, episodes, tic)
    show_scores(console, {agent.name: summarise(found["scores"])}, "fresh dreams")
    console.print(f"temperature {dreams.temperature:g}, termination {dreams.termination}")
    if json_file is not None:
        write_json(json_file, found)
        console.print(f"wrote {json_file}", soft_wrap=True)

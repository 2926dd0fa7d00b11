"""The dream score: an agent's scores in dreams that its training never saw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

from genie_env.agents.controller import LinearController, file_hash
from genie_env.agents.dreams import Dreams, derived_seeds
from genie_env.data.progress import Progress
from genie_env.evaluation.statistics import summarise


def dream_scores(
    dreams: Dreams, agent: Path, seed: int, episodes: int, console: Console | None = None
) -> dict[str, Any]:
    """Plays an agent in `episodes` fresh dreams: the summary, the agent and the world, every score
    and seed. How many have ended is shown on the console.

    No training derives its seeds in the same way, so that the score of a checkpoint which was
    chosen for its luck is not too high. Raises ValueError where the agent was trained in another
    world.
    """
    controller = LinearController.load(agent)
    controller.check_world(dreams.fingerprint, dreams.features)
    seeds = derived_seeds(seed, count=episodes)
    columns = (TextColumn("dreaming"), BarColumn(), MofNCompleteColumn(), TextColumn("have ended"))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=episodes)
        scores = dreams.play_controller(
            controller, seeds, lambda step, alive: bar.update(task, completed=episodes - alive)
        ).scores.tolist()
    return {
        **summarise(scores).as_json(),
        "agent": file_hash(agent),
        **dream_identity(dreams, seed),
        "scores": scores,
        "seeds": seeds,
    }


def dream_identity(dreams: Dreams, seed: int) -> dict[str, Any]:
    """What decides the scores of an agent in fresh dreams."""
    return {
        "world": dreams.fingerprint,
        "dtype": dreams.world.spec.dtype,
        "temperature": dreams.temperature,
        **dreams.options,
        "seed": seed,
    }

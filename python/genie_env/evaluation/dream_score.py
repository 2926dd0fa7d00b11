"""The dream score: an agent's scores in dreams that its training never saw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from genie_env.agents.controller import LinearController, file_hash
from genie_env.agents.dreams import Dreams, OnStep, derived_seeds
from genie_env.evaluation.statistics import summarise


def dream_scores(
    dreams: Dreams, agent: Path, seed: int, episodes: int, on_step: OnStep | None = None
) -> dict[str, Any]:
    """Plays an agent in `episodes` fresh dreams: the summary, the agent and the world, every score
    and seed.

    No training derives its seeds in the same way, so that the score of a checkpoint which was
    chosen for its luck is not too high. Raises ValueError where the agent was trained in another
    world.
    """
    controller = LinearController.load(agent)
    controller.check_world(dreams.fingerprint, dreams.features)
    seeds = derived_seeds(seed, count=episodes)
    scores = dreams.play_controller(controller, seeds, on_step).scores.tolist()
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

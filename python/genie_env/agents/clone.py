"""Behaviour cloning: a small network learns from recordings what their player did, on what an agent of a
world sees."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from genie_env._core import EpisodeStore
from genie_env.agents.agent import AGENT, load_agent
from genie_env.agents.cloning import CloneSettings, Learned, clone
from genie_env.agents.demonstrations import Demonstrations, demonstrations
from genie_env.agents.dreams import Dreams
from genie_env.agents.policy_network import PolicyNetwork
from genie_env.data.datasets import check_enough, fingerprint, open_stores
from genie_env.data.progress import counted
from genie_env.data.run_directory import claim_run
from genie_env.data.world_recordings import check_game, check_recordings, recorded_actions
from genie_env.envs.actions import DiscreteActions
from genie_env.envs.latent_actions import has_latent_actions
from genie_env.envs.options import FamilyValue

__all__ = ["CloneSettings", "held_out_words", "train_clone"]


def train_clone(
    dreams: Dreams,
    recordings: Sequence[Path],
    settings: CloneSettings,
    *,
    out: Path | None = None,
) -> PolicyNetwork:
    """A policy that acts as the player of `recordings`, on the observation of `dreams`: floats of any
    shape. Its notes say how it does on the held-out episodes.

    The world follows every recorded episode once, then the network learns. `out` becomes a run's
    directory, with the agent in AGENT; one that is finished gives the agent that it has. Raises
    ValueError where the observation is no floats, where recordings are not of the world's game, steps
    and actions, or too few, where a setting cannot be, and where the run in `out` had others. Shows
    its progress.
    """
    settings.check()
    _check_floats(dreams)
    stores = open_stores(recordings)
    world = dreams.world
    check_game(world, recordings, stores)
    check_recordings(world, recordings, stores)
    if has_latent_actions(world.spec.family, Path(world.directory)):
        raise ValueError(
            f"the actions of the world {world.spec.name} are latent, so that no recording holds them: "
            "give a world of recorded actions (`train dynamics --actions recorded`)"
        )
    actions = recorded_actions(world, recordings, stores)
    check_enough(stores, trained=settings.batch, unseen=1)
    how = {"trained_in": "recordings", **dreams.options}
    identity = {
        "agent": PolicyNetwork.kind,
        "observation": dreams.observation,
        "world": dreams.fingerprint,
        "dtype": world.spec.dtype,
        "recordings": [fingerprint(store) for store in stores],
        **how,
        **dataclasses.asdict(settings),
    }
    notes = {
        **how,
        "recordings": ", ".join(identity["recordings"]),
        "steps": settings.steps,
        "seed": settings.seed,
    }
    blank = PolicyNetwork({}, dreams.observation, dreams.fingerprint, _texts(notes), dreams.actions)
    with contextlib.nullcontext() if out is None else claim_run(out, identity, [AGENT]):
        if out is not None and (out / AGENT).exists():
            finished = load_agent(out / AGENT)
            assert isinstance(finished, PolicyNetwork)
            return finished
        trained, unseen = _follow(dreams, stores, actions, settings.seed)
        with counted("learning", settings.steps, "updates") as advance:
            learned = clone(blank, trained, unseen, settings, advance)
        notes |= _figures(learned, numbered=isinstance(dreams.actions, DiscreteActions))
        agent = dataclasses.replace(blank, weights=learned.weights, notes=_texts(notes))
        if out is not None:
            agent.save(out / AGENT)
        return agent


def held_out_words(agent: PolicyNetwork) -> str:
    """How a clone does on the held-out episodes, as its notes say."""
    notes = agent.notes
    if isinstance(agent.actions, DiscreteActions):
        return (
            f"{float(notes['agreement']):.1%} of held-out actions agree (with the commonest one "
            f"{float(notes['commonest_agreement']):.1%})"
        )
    return f"held-out mean absolute error {notes['error']} (of the median action {notes['median_error']})"


def _figures(learned: Learned, *, numbered: bool) -> dict[str, str]:
    """The notes that `held_out_words` reads."""
    if numbered:
        shares = {"agreement": learned.errors, "commonest_agreement": learned.constant_errors}
        return {name: f"{1 - float(wrong[0]):.4f}" for name, wrong in shares.items()}
    errors = {"error": learned.errors, "median_error": learned.constant_errors}
    return {name: ", ".join(f"{e:.3g}" for e in wrong) for name, wrong in errors.items()}


def _texts(notes: Mapping[str, FamilyValue]) -> dict[str, str]:
    return {name: str(value) for name, value in notes.items()}


def _check_floats(dreams: Dreams) -> None:
    """Raises ValueError unless the observation in use is floats."""
    observations = dreams.world.spec.observations
    spec = next(each for each in observations if each.name == dreams.observation)
    if spec.dtype != "float32":
        others = " or ".join(each.name for each in observations if each.dtype == "float32")
        raise ValueError(
            f"{dreams.observation!r} is {spec.dtype} {list(spec.shape)}; a clone learns from floats, "
            + (
                f"not from pictures or tokens: give --observation {others}"
                if others
                else f"of which the world {dreams.world.spec.name} observes none"
            )
        )


def _follow(
    dreams: Dreams, stores: Sequence[EpisodeStore], actions: Sequence[NDArray[Any]], seed: int
) -> tuple[Demonstrations, Demonstrations]:
    """The steps to learn from, and the held-out ones."""
    with counted("following", sum(map(len, actions)), "steps") as advance:
        trained, unseen = (
            demonstrations(dreams, stores, actions, seed, held_out_part=part, advance=advance)
            for part in (False, True)
        )
    return trained, unseen

"""Behaviour cloning: a small network learns from recordings what their player did, on what an agent of a
world sees."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from genie_env.agents.agent import AGENT, load_agent
from genie_env.agents.cloning import CloneSettings, Learned, clone
from genie_env.agents.demonstrated_actions import DemonstratedActions, LearnedActions
from genie_env.agents.demonstrations import demonstrations
from genie_env.agents.dreams import Dreams
from genie_env.agents.policy_network import PolicyNetwork
from genie_env.data.datasets import check_enough, fingerprint, open_stores
from genie_env.data.progress import counted
from genie_env.data.run_directory import claim_run
from genie_env.envs.actions import DiscreteActions
from genie_env.envs.options import FamilyValue

__all__ = ["CloneSettings", "held_out_words", "train_clone"]


def train_clone(
    dreams: Dreams,
    recordings: Sequence[Path],
    settings: CloneSettings,
    *,
    learn: LearnedActions | None = None,
    out: Path | None = None,
) -> PolicyNetwork:
    """A policy that acts as the player of `recordings`, on the observation of `dreams`: floats of any
    shape. Its notes say how it does on the held-out episodes.

    The world follows every recorded episode, then the network learns. `learn`: which actions, by
    default the world's own. "latent": those that the world's model infers from the frames; recorded
    ones are not read. "recorded": those of the recordings; where the world's are latent, the agent
    then plays the real game alone, and the world follows with inferred actions all the same. `out`
    becomes a run's directory, with the agent in AGENT; one that is finished gives the agent that it
    has. Raises ValueError where the observation is no floats, where recordings are not of the world's
    game, steps and actions, or too few, where a setting cannot be, and where the run in `out` had
    others. Shows its progress.
    """
    settings.check()
    _check_floats(dreams)
    stores = open_stores(recordings)
    learned = DemonstratedActions.of(dreams.world, recordings, stores, learn)
    check_enough(stores, trained=settings.batch, unseen=1)
    how = {"trained_in": "recordings", **dreams.options, **learned.described}
    identity = {
        "agent": PolicyNetwork.kind,
        "observation": dreams.observation,
        "world": dreams.fingerprint,
        "dtype": dreams.world.spec.dtype,
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
    blank = PolicyNetwork({}, dreams.observation, dreams.fingerprint, _texts(notes), learned.actions)
    with contextlib.nullcontext() if out is None else claim_run(out, identity, [AGENT]):
        if out is not None and (out / AGENT).exists():
            finished = load_agent(out / AGENT)
            assert isinstance(finished, PolicyNetwork)
            return finished
        players = learned.players()
        trained, unseen = (
            demonstrations(dreams, stores, players, settings.seed, held_out_part=part)
            for part in (False, True)
        )
        with counted("learning", settings.steps, "updates") as advance:
            found = clone(blank, trained, unseen, settings, advance)
        notes |= _figures(found, numbered=isinstance(learned.actions, DiscreteActions))
        notes |= learned.codes(players)
        agent = dataclasses.replace(blank, weights=found.weights, notes=_texts(notes))
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

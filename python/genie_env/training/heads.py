"""Trains heads that judge reward and termination on the features of a frozen world's dynamics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from genie_env._core import Heads, World
from genie_env.data.datasets import HELD_OUT_EVERY, open_stores
from genie_env.data.progress import say
from genie_env.data.recording_metadata import RecordedGame
from genie_env.data.world_recordings import check_game, check_recordings, recorded_actions
from genie_env.envs.actions import DiscreteActions
from genie_env.envs.latent_actions import has_latent_actions
from genie_env.envs.registry import find_world
from genie_env.training.encoded import in_bf16
from genie_env.training.labelled import (
    FEATURES,
    MOST_EPISODES,
    LabelledPart,
    LabelledSteps,
    codes_of_steps,
    followed_features,
    inferred_codes,
    labelled_parts,
    pressed_codes,
)
from genie_env.training.latent_actions import (
    LATENT_ACTIONS,
    LATENT_ACTIONS_FOLDER,
    load_latent_actions,
)
from genie_env.training.loop import Schedule, train
from genie_env.training.outcomes import SHARES, Outcomes
from genie_env.training.runs import COMMON, Network, claim_training
from genie_env.training.settings import LearningRate, Steps, TrainingSettings

HELD_OUT_BATCHES = 8

HEADS = Network(
    "heads",
    {
        **COMMON,
        "world": str,
        "fingerprint": str,
        "episodes": int,
        "features": int,
        "actions": int,
        "rewards": ([float], None),
        "reward_per_step": float,
        "termination": bool,
        "judges_termination": bool,
        "pressed?": bool,  # older runs followed inferred actions alone
    },
)


@dataclass(frozen=True, kw_only=True)
class HeadsSettings(TrainingSettings):
    """What `train_heads` is given."""

    network = HEADS

    world: Annotated[
        str, typer.Option(help="an installed world's name, or a world directory", path_type=str)
    ]
    steps: Steps = 1000
    batch: Annotated[int, typer.Option(help="steps of play per batch", min=1, max=65_536)] = 512
    learning_rate: LearningRate = 3e-4
    episodes: Annotated[
        int | None,
        typer.Option(
            help=f"learn from the first ones of the recordings; from all, at most {MOST_EPISODES}, "
            "unless given",
            min=1,
            max=MOST_EPISODES,
        ),
    ] = None


def make_heads(settings: Mapping[str, Any], seed: int = 0) -> Heads:
    """Heads of these settings."""
    rewards = settings["rewards"]
    return Heads(
        features=settings["features"],
        actions=settings["actions"],
        rewards=None if rewards is None else tuple(rewards),
        termination=settings["termination"],
        judges_termination=settings["judges_termination"],
        seed=seed,
    )


def load_follower(directory: Path, device: str = "cpu") -> World:
    """The world in a directory, to follow frames for their features. Raises ValueError where it has
    none, or has latent actions and no model that infers them."""
    world = World.load(directory, device=device)
    spec = world.spec
    if FEATURES not in (observation.name for observation in spec.observations):
        raise ValueError(
            f"the world {spec.name} ({spec.family}) has no observation {FEATURES!r} that heads could "
            "learn on: give a world of `genie-env freeze genie`"
        )
    inference = directory / LATENT_ACTIONS_FOLDER
    if has_latent_actions(spec.family, directory) and not inference.is_dir():
        raise ValueError(
            f"the world {spec.name} has no {LATENT_ACTIONS_FOLDER}/ that infers its actions from "
            f"frames: `genie-env freeze genie` writes one; freeze the world again"
        )
    # A frame that is given has the same features after one pass as after many.
    return World.load(directory, device=device, options={"passes": 1})


def labelled_steps(
    world: World, parts: Sequence[LabelledPart], *, pressed: bool, device: str = "cpu"
) -> tuple[LabelledSteps, LabelledSteps]:
    """The steps to train on, and the held-out ones. pressed: see pressed_codes."""
    if has_latent_actions(world.spec.family, world.directory):
        run = world.directory / LATENT_ACTIONS_FOLDER
        model = load_latent_actions(run, device)
        bf16 = in_bf16(run, LATENT_ACTIONS)
        inferred = [inferred_codes(part, run, model, bf16=bf16) for part in parts]
        actions = codes_of_steps(parts, inferred)
        actions = pressed_codes(parts, actions) if pressed else actions
    else:
        actions = [part.recorded for part in parts]
    features = [followed_features(part, world, own) for part, own in zip(parts, actions, strict=True)]
    trained, unseen = (
        LabelledSteps(parts, features, actions, held_out_part=part) for part in (False, True)
    )
    return trained, unseen


def check_every_action(parts: Sequence[LabelledPart], game: RecordedGame) -> None:
    """Raises ValueError where one of the game's numbered actions was never taken."""
    if not isinstance(game.actions, DiscreteActions):
        return
    taken = np.concatenate([part.recorded for part in parts])
    if missing := sorted(set(range(game.actions.count)) - set(taken.tolist())):
        names = ", ".join(game.actions.meanings[action] for action in missing)
        episodes = sum(part.episodes for part in parts)
        raise ValueError(
            f"in the labelled part ({episodes:,} episodes of {game.game}) nobody takes the action "
            f"{names}, so that what it brings cannot be learned: give recordings of players that "
            "take every action"
        )


def check_steps(parts: Sequence[LabelledPart], batch: int) -> None:
    """Raises ValueError where there are too few steps for a batch, or none held out."""
    trained = unseen = 0
    for part in parts:
        trained, unseen = trained + int((~part.held_out).sum()), unseen + int(part.held_out.sum())
    episodes = sum(part.episodes for part in parts)
    if not unseen:
        raise ValueError(
            f"too few episodes: the labelled part has {episodes:,}, and none of them is held out, as "
            f"every {HELD_OUT_EVERY}th of a directory is; record {HELD_OUT_EVERY} or more"
        )
    if trained < batch:
        raise ValueError(
            f"too few episodes: without the held-out ones, the {episodes:,} episodes of the labelled "
            f"part have {trained:,} steps, but one batch takes {batch:,}; record on, or give a "
            "smaller --batch"
        )


def train_heads(settings: HeadsSettings) -> None:
    """Train heads that judge reward and termination on the features of a genie world."""
    directory = find_world(settings.world)
    world = load_follower(directory, settings.device)
    spec = world.spec
    stores = open_stores(settings.data)
    game = check_game(world, settings.data, stores)
    check_recordings(world, settings.data, stores)
    if not has_latent_actions(spec.family, directory):
        recorded_actions(world, settings.data, stores)  # refuses those that are not the world's
    parts = labelled_parts(settings.data, stores, settings.episodes)
    check_every_action(parts, game)
    batch = settings.batch
    check_steps(parts, batch)
    counts = [part.episodes for part in parts]
    outcomes = Outcomes.of([part.store for part in parts], counts)
    if not outcomes.terminates and outcomes.rewards is None:
        raise ValueError(
            f"there is nothing to learn: every step of the labelled part brings a reward of "
            f"{outcomes.reward_per_step:g}, and no episode terminates; give other recordings"
        )
    if not outcomes.terminates:
        say(f"no labelled episode of {game.game} terminates: dreams will not either")
    if outcomes.rewards is None:
        say(f"every step brings a reward of {outcomes.reward_per_step:g}: none is learned")
    saved = {
        **settings.saved(),
        "world": str(directory),
        "fingerprint": spec.fingerprint,
        "episodes": sum(counts),
        "features": next(o.shape[0] for o in spec.observations if o.name == FEATURES),
        "actions": len(spec.actions.meanings),
        "rewards": outcomes.rewards,
        "reward_per_step": outcomes.reward_per_step,
        "termination": outcomes.terminates,
        "judges_termination": outcomes.judges_termination,
        "pressed": True,
    }
    make_trainer = settings.trainers(make_heads(saved, settings.seed))
    with claim_training(settings.out, saved, stores) as dtype:
        steps, unseen = labelled_steps(world, parts, pressed=True, device=settings.device)
        size = min(batch, len(unseen))
        count = min(HELD_OUT_BATCHES, len(unseen) // size)
        train(
            make_trainer,
            dtype,
            settings.out,
            Schedule(settings.steps, settings.learning_rate, evaluate_every=100),
            lambda step: steps.batch(batch, settings.seed, step),
            [unseen.batch(size, settings.seed, i) for i in range(count)],
            title=settings.network.name,
            items_a_batch=batch,
            item="steps",
            shares=SHARES if outcomes.terminates else None,
        )

"""Freezes a world of the genie family and heads into a new world directory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from genie_env._core import Trainer, World
from genie_env.data.datasets import open_stores
from genie_env.data.paths import in_utf8
from genie_env.data.progress import say
from genie_env.data.recording_metadata import read_meta, recorded_game
from genie_env.data.run_directory import only_writer
from genie_env.envs.json_files import read_json
from genie_env.envs.latent_actions import has_latent_actions
from genie_env.envs.registry import find_world
from genie_env.families.genie.config import with_todays_names
from genie_env.families.played_game import PlayedGame
from genie_env.families.termination_calibration import TerminationCalibration, fit_calibration
from genie_env.families.world_files import (
    Figures,
    Weights,
    check_choice,
    held_out_figures,
    part,
    prefixed,
    provenance,
    reward_config,
    world_name,
    write_world,
)
from genie_env.games.action_map import FILE as ACTIONS_MAP
from genie_env.games.registry import is_known
from genie_env.training.heads import (
    HEADS,
    HELD_OUT_BATCHES,
    labelled_steps,
    load_follower,
    make_heads,
)
from genie_env.training.labelled import LabelledSteps, labelled_parts
from genie_env.training.latent_actions import LATENT_ACTIONS, LATENT_ACTIONS_FOLDER
from genie_env.training.outcomes import SHARES
from genie_env.training.runs import load_network, load_weights

CALIBRATED_AT_ONCE = 4096
"""Steps."""


def freeze_heads(
    heads: Path,
    out: Path,
    name: str | None = None,
    termination: str = "sampled",
    actions_map: Path | None = None,
) -> None:
    """Writes the world that the run directory `heads` was trained for, with these heads, into `out`.

    `termination`: "sampled" or "thresholded". `actions_map`: mapping.json of `map-actions`, what the
    latent actions stand for in the labelled game; None: that of the world, if it has one. Raises
    ValueError where the run is unfinished or damaged, another world is now where that one was, or the
    dictionary is of another; `out` is then as it was.
    """
    check_choice("genie", "termination", termination)
    learned = provenance(heads, HEADS)
    settings = learned["settings"]
    follower = load_follower(find_world(settings["world"]))
    spec, directory = follower.spec, follower.directory
    if spec.fingerprint != settings["fingerprint"]:
        raise ValueError(
            f"{heads} was trained for another world (fingerprint {settings['fingerprint'][:12]}) than "
            f"{spec.name}, which is now in {directory} ({spec.fingerprint[:12]}) and whose features "
            "mean something else: put that world there again, or run `train heads` again into another "
            "--out"
        )
    if out.resolve() == directory.resolve():
        raise ValueError(f"{out} holds the world that the heads read: give another --out")
    directories = [Path(path) for path in settings["data"]]
    stores = open_stores(directories)
    config = _of_world(directory)
    game = config.get("real_game", recorded_game(directories, stores).game)
    played = _played(follower, directory, game, actions_map)
    with only_writer(out):
        _, unseen = labelled_steps(
            follower,
            labelled_parts(directories, stores, settings["episodes"]),
            pressed=settings.get("pressed", False),
        )
        weights = load_weights(heads, HEADS)
        calibrated: dict[str, Any] = {}
        if settings["termination"]:
            calibration = _calibrate(heads, unseen, settings["judges_termination"])
            head = "outcome" if settings["judges_termination"] else "ending"
            weights = calibration.apply(weights, [f"{head}.output"])
            calibrated = {"termination_calibration": asdict(calibration)}
        training = {**config.get("training", {}), "heads": learned, **calibrated}
        training["labelled"] = [*map(read_meta, directories, stores)]
        of_world, statistics, starts = _tensors(follower)
        latent = has_latent_actions(spec.family, directory)
        inference = (directory / LATENT_ACTIONS_FOLDER, LATENT_ACTIONS)
        write_world(
            out,
            {
                **config,
                **_of_game(played),
                "name": world_name(out, name),
                "reward": reward_config(settings["rewards"], settings["reward_per_step"]),
                "termination": termination if settings["termination"] else "never",
                "termination_reads": ("next_frame" if settings["judges_termination"] else "action"),
                "training": training,
            },
            {**of_world, **prefixed("heads", weights)},
            starts,
            statistics,
            inference if latent else None,
            lambda made, stored: {
                "heads": _figures(stored, settings, unseen),
                **_known_figures(training),
            },
            played,
        )
    say(f"wrote {out}")


def _calibrate(heads: Path, unseen: LabelledSteps, judges: bool) -> TerminationCalibration:
    """Fits the calibration on all held-out steps whose termination is judged."""
    model = load_network(heads, HEADS, make_heads)
    logits, terminations = [], []
    for first in range(0, len(unseen), CALIBRATED_AT_ONCE):
        batch = unseen.take(slice(first, first + CALIBRATED_AT_ONCE))
        judged = model.judge(batch["before"], batch["actions"], batch["after"])
        counted = batch["followed"] > 0 if judges else torch.ones_like(batch["followed"]) > 0
        logits.append(judged["termination_logits"][counted])
        terminations.append(batch["terminations"][counted])
    return fit_calibration(torch.cat(logits), torch.cat(terminations))


def _played(world: World, directory: Path, game: str, given: Path | None) -> PlayedGame:
    """The game, with the dictionary that is given or the world's own; nothing where there is none.
    Raises ValueError where the dictionary is of another world or game, or where there can be none."""
    own = directory / ACTIONS_MAP
    if given is not None and not has_latent_actions(world.spec.family, directory):
        raise ValueError(
            f"{given} says what latent actions stand for, but the actions of the world "
            f"{world.spec.name} are recorded ones: leave out --actions-map"
        )
    dictionary = own if given is None and own.is_file() else given
    if dictionary is None:
        return PlayedGame()
    if not is_known(game):
        raise ValueError(
            f"{dictionary} is of the game {game!r}, as the labelled recordings name it, but a recording "
            "imports no module: begin with `genie-env --import MODULE`, or import it in Python"
        )
    played = PlayedGame(game, actions_map=dictionary)
    played.check(world)
    return played


def _of_game(played: PlayedGame) -> dict[str, Any]:
    """The fields of the config, where the game has the name that its recordings give it."""
    return {} if played.real_game is None else {**played.config(), "real_game": played.real_game}


def _of_world(directory: Path) -> dict[str, Any]:
    """The config of a world without what write_world and the heads put there."""
    config = with_todays_names(read_json(directory / "config.json", {"format_version": int}))
    return {name: value for name, value in config.items() if name != "format_version"}


def _tensors(
    world: World,
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The weights of a world without heads, its statistics of latents, and its starts."""
    with in_utf8(world.directory / "model.safetensors") as path:
        stored = load_file(path)
    with in_utf8(world.directory / "starts.safetensors") as path:
        starts = load_file(path)
    kept = {name: t for name, t in stored.items() if not name.startswith("heads.")}
    statistics = {name: t for name, t in kept.items() if name.startswith("support.")}
    return {n: t for n, t in kept.items() if n not in statistics}, statistics, starts


def _figures(weights: Weights, settings: Mapping[str, Any], unseen: LabelledSteps) -> Figures:
    """The held-out figures of a world's weights, on the batches of the training."""
    size, seed = min(settings["batch"], len(unseen)), settings["seed"]
    return held_out_figures(
        Trainer(make_heads(settings), bf16=settings["dtype"] == "bfloat16", seed=seed),
        part("heads", weights),
        (
            unseen.batch(size, seed, index)
            for index in range(min(HELD_OUT_BATCHES, len(unseen) // size))
        ),
        SHARES if settings["termination"] else None,
    )


def _known_figures(training: Mapping[str, Any]) -> dict[str, Figures]:
    """Those of the model that infers latent actions, which stays as it is."""
    known = training.get("latent_actions", {}).get("held_out")
    return {} if known is None else {"latent_actions": known}

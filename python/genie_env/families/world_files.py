"""Writing a world directory (docs/formats.md) from trained networks."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load

from genie_env._core import FormatError, Trainer, World, safetensors_bytes, world_families
from genie_env.data.datasets import Batch
from genie_env.data.files import write_atomically, write_json
from genie_env.data.paths import shown_in
from genie_env.data.progress import busy
from genie_env.families.model_card import write_card
from genie_env.families.played_game import PlayedGame
from genie_env.games.action_map import FILE as ACTIONS_MAP
from genie_env.training.latent_actions import LATENT_ACTIONS_FOLDER
from genie_env.training.loop import Share, finite, together
from genie_env.training.runs import (
    METRICS,
    Network,
    final_report,
    freeze_network,
    load_weights,
    read_reports,
    read_settings,
)

FORMAT_VERSION = 3
"""Of what is written here: `write_world` reads it back by the loader in C++, which defines it."""
UNFINISHED = ".unfinished"
"""The folder of a world's directory in which the world is written that will replace it."""
STARTS = 1000
"""The most contexts that a world keeps to begin dreams from."""

Weights = Mapping[str, torch.Tensor]
Figures = dict[str, float | None]
"""Held-out figures of a network, by their names; None for a share of nothing."""
Measure = Callable[[Path, Weights], Mapping[str, Figures]]
"""Given a world directory and its weights as it stores them, in float32: the figures of its
networks, by their names in the config's "training"."""


def write_world(
    out: Path,
    config: Mapping[str, Any],
    weights: Mapping[str, torch.Tensor],
    starts: Mapping[str, torch.Tensor],
    statistics: Mapping[str, torch.Tensor] | None = None,
    latent_actions: tuple[Path, Network] | None = None,
    measure: Measure | None = None,
    played: PlayedGame = PlayedGame(),
    exact: bool = False,
) -> None:
    """Writes a frozen world into the directory `out`, and replaces the one that is there.

    weights are stored in float16, or, with `exact`, as they are; so are statistics of the training
    latents. `latent_actions` is a finished run, and its network. Everything is written into a folder
    of `out` first, UNFINISHED, and loaded from there: the loader in C++ alone knows what a config may
    hold. What `measure` then finds, on the weights as they are stored, are the "held_out" figures of the config and the model
    card. Raises ValueError naming the weight that float16 cannot hold, or the file and the field that
    the loader refuses, or what `played` refuses; the world in `out` is then as it was.

    The caller is the only writer in `out` (see `only_writer`).
    """
    config = shown_in(config)  # of paths that are not UTF-8, the loader would refuse the JSON
    stored = dict(weights) if exact else _halves(out, weights)
    model = safetensors_bytes({**stored, **(statistics or {})})
    if latent_actions is not None:
        _halves(out, prefixed(LATENT_ACTIONS_FOLDER, load_weights(*latent_actions)))
    contexts = safetensors_bytes(dict(starts))
    made = out / UNFINISHED
    shutil.rmtree(made, ignore_errors=True)  # of a process that was killed
    try:
        write_atomically(made / "model.safetensors", lambda file: file.write_bytes(model))
        write_atomically(made / "starts.safetensors", lambda file: file.write_bytes(contexts))
        write_json(made / "config.json", {"format_version": FORMAT_VERSION, **config})
        try:
            loaded = World.load(made)
        except FormatError as error:
            raise ValueError(
                f"{out} was not written, as nobody could load it: "
                f"{str(error).replace(str(made), str(out))}"
            ) from error
        if latent_actions is not None:
            freeze_network(*latent_actions, made / LATENT_ACTIONS_FOLDER)
        played.check(loaded)  # also whether its dictionary is of these latent actions
        if played.actions_map is not None:
            dictionary = played.actions_map.read_bytes()
            write_atomically(made / ACTIONS_MAP, lambda file: file.write_bytes(dictionary))
        if measure is not None:
            read = {name: weight.float() for name, weight in load(model).items()}
            with busy("measuring the frozen networks on held-out episodes"):
                figures = measure(made, read)
            _write_figures(made, config, figures)
        _publish(made, out)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _halves(out: Path, weights: Weights) -> dict[str, torch.Tensor]:
    """In float16. Raises ValueError naming a tensor that this cannot hold."""
    halves = {name: weight.to(torch.float16).contiguous() for name, weight in weights.items()}
    for name, half in halves.items():
        if not half.isfinite().all():
            largest = weights[name].abs().max().item()
            raise ValueError(
                f"{out} was not written: {name} holds {largest:g}, but a world's weights are float16, "
                f"{torch.finfo(torch.float16).max:,.0f} at most: train again, with a lower learning "
                "rate"
            )
    return halves


def _write_figures(
    made: Path, config: Mapping[str, Any], figures: Mapping[str, Mapping[str, float | None]]
) -> None:
    """Puts figures into the config, and into what there is of a run of latent actions."""
    training = dict(config["training"])
    for network, held_out in figures.items():
        training[network] = {**training[network], "held_out": held_out}
    measured = {"format_version": FORMAT_VERSION, **config, "training": training}
    write_json(made / "config.json", measured)
    run = made / LATENT_ACTIONS_FOLDER
    if reports := read_reports(run):
        line = json.dumps({**reports[-1], "held_out": figures["latent_actions"]}) + "\n"
        write_atomically(run / METRICS, lambda file: file.write_text(line))


def _publish(made: Path, out: Path) -> None:
    """Moves everything, config.json last: a directory without one is no world. Other files that are
    in `out` stay, and so does a model card that somebody wrote."""
    write_card(made, out)
    for name in ("config.json", ACTIONS_MAP, "model.pt2"):  # the last of an exported world
        (out / name).unlink(missing_ok=True)
    shutil.rmtree(out / LATENT_ACTIONS_FOLDER, ignore_errors=True)
    for path in sorted(made.iterdir(), key=lambda path: path.name == "config.json"):
        os.replace(path, out / path.name)


def check_choice(family: str, option: str, value: str) -> None:
    """Raises ValueError unless a family's option can have this value."""
    options = {each.name: each for each in world_families()[family].options}
    choices = options[option].choices
    if value not in choices:
        raise ValueError(f"the {option} is {value!r}: give {' or '.join(map(repr, choices))}")


def world_name(out: Path, name: str | None) -> str:
    """That of its directory unless given."""
    return out.resolve().name if name is None else name


def provenance(run: Path, network: Network) -> dict[str, Any]:
    """The settings and the last held-out figures of a finished run. Raises ValueError for an
    unfinished one."""
    report = final_report(run, network)
    settings = read_settings(run, network)
    return {"settings": settings, "held_out": report["held_out"], "step": report["step"]}


def reward_config(learned: Sequence[float] | None, per_step: float) -> dict[str, Any]:
    """A config's "reward": learned between two bounds, or what every step of the recordings pays."""
    if learned is None:
        return {"type": "constant", "per_step": per_step}
    low, high = learned
    return {"type": "learned", "low": low, "high": high}


def held_out_figures(
    trainer: Trainer,
    weights: Weights,
    batches: Iterable[Batch],
    shares: Mapping[str, Share] | None = None,
) -> Figures:
    """The losses that a trainer's network has on batches, with the given weights."""
    trainer.load_weights(dict(weights))
    reports = [trainer.evaluate(batch, index) for index, batch in enumerate(batches)]
    return finite(together(reports, shares or {}))


def part(prefix: str, weights: Weights) -> dict[str, torch.Tensor]:
    """What `prefixed` was given, out of all of a world's weights."""
    start = f"{prefix}."
    return {k.removeprefix(start): v for k, v in weights.items() if k.startswith(start)}


def prefixed(prefix: str, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same tensors under `<prefix>.<name>`, one part of a world's weights."""
    return {f"{prefix}.{name}": tensor for name, tensor in weights.items()}

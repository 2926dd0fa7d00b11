"""Run directories of trained networks: settings, checkpoint, reported losses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from genie_env._core import EpisodeStore, Model, Trainer
from genie_env.data.datasets import fingerprint
from genie_env.data.files import check_same_run, read_json, write_atomically, write_json
from genie_env.data.paths import in_utf8

Trained = TypeVar("Trained", bound=Model)

WEIGHT = "weight."
"""What the names of a network's parameters begin with in a checkpoint."""

_RENAMED = {"band": "window", "momentum": "action_decay"}
"""Sizes of networks that runs once wrote under other names."""


@dataclass(frozen=True)
class Network:
    """A network that `genie-env train` trains, as its run directories describe it."""

    name: str
    """Of the command: "latent-actions" is trained by `train latent-actions`."""
    needed: tuple[str, ...]
    """Settings without which a run cannot be used."""


def claim_training(run: Path, settings: Mapping[str, Any], stores: Sequence[EpisodeStore]) -> None:
    """Makes the run directory, or checks that the run already there had the same settings, among
    which the recordings themselves are."""
    recordings = {"recordings": [fingerprint(store) for store in stores]}
    file = run / "settings.json"
    if not file.exists():
        write_json(file, {**settings, **recordings})
        return
    known = with_todays_names(read_json(file))
    if "recordings" not in known:
        recordings = {}  # runs of older versions did not save them
    check_same_run(run, known, {**settings, **recordings})


def with_todays_names(settings: dict[str, Any]) -> dict[str, Any]:
    """A run's settings, whose network's sizes may have the names of an older version."""
    sizes = settings.get("sizes")
    if not isinstance(sizes, dict):
        return settings
    return {**settings, "sizes": {_RENAMED.get(name, name): sizes[name] for name in sizes}}


def read_settings(run: Path, network: Network) -> dict[str, Any]:
    """The settings of a run that trained `network`. Raises ValueError where it trained another."""
    file = run / "settings.json"
    if not file.exists():
        raise ValueError(
            f"{run} holds no settings.json: give the --out of a `train {network.name}`"
        )
    settings = with_todays_names(read_json(file))
    kind = settings.get("network")
    if kind != network.name:
        raise ValueError(
            f"{run} is a run of `train {kind}`; expected the --out of a `train {network.name}`"
        )
    if missing := [name for name in network.needed if name not in settings]:
        raise ValueError(
            f"{file} has no {', '.join(missing)}: it was changed by hand; bring it back from a "
            "copy, or train into another --out"
        )
    return settings


def read_checkpoint(run: Path) -> dict[str, torch.Tensor]:
    """A trainer's state, as the run last saved it."""
    file = run / "checkpoint.safetensors"
    if not file.exists():
        raise ValueError(f"{run} holds no checkpoint.safetensors: train there first")
    try:
        with in_utf8(file) as path:
            return load_file(path)
    except SafetensorError as error:
        raise ValueError(
            f"{file} is damaged ({error}): bring it back from a copy, or remove it and train from "
            "the beginning"
        ) from error


def is_frozen(run: Path) -> bool:
    """Whether a run's directory is part of a frozen world, as `freeze_network` leaves it there."""
    return "frozen" in read_json(run / "settings.json")


def freeze_network(run: Path, network: Network, to: Path) -> None:
    """Makes `to` the directory of a finished run without its optimiser, weights in float16: its
    network can be loaded and used, not trained on. A directory already there is replaced."""
    report, settings = final_report(run, network), read_settings(run, network)
    weights = load_weights(run, network)
    kept = {f"{WEIGHT}{name}": weight.half().contiguous() for name, weight in weights.items()}
    kept["step"] = torch.tensor(report["step"])
    shutil.rmtree(to, ignore_errors=True)
    line = json.dumps(report) + "\n"
    write_atomically(to / "checkpoint.safetensors", lambda file: file.write_bytes(save(kept)))
    write_atomically(to / "metrics.jsonl", lambda file: file.write_text(line))
    write_json(to / "settings.json", {**settings, "frozen": True})


def load_weights(run: Path, network: Network) -> dict[str, torch.Tensor]:
    """The parameters of `network` in a run's checkpoint."""
    read_settings(run, network)
    return {
        name.removeprefix(WEIGHT): tensor
        for name, tensor in read_checkpoint(run).items()
        if name.startswith(WEIGHT)
    }


def load_into(trainer: Trainer, run: Path, network: Network) -> None:
    """Gives a trainer's network the parameters that a run has learned. Raises ValueError naming the
    checkpoint where they are of other shapes."""
    weights = load_weights(run, network)
    with checkpoint_named(run):
        trainer.load_weights(weights)


def load_network(
    run: Path, network: Network, make: Callable[[dict[str, Any]], Trained], device: str = "cpu"
) -> Trained:
    """A network as its run left it, on `device`; `make` makes one from the run's settings."""
    made = make(read_settings(run, network))
    load_into(Trainer(made, device=device), run, network)
    return made


@contextmanager
def checkpoint_named(run: Path) -> Iterator[None]:
    """Adds the checkpoint's name to the error of one that does not fit its network."""
    try:
        yield
    except ValueError as error:
        raise ValueError(
            f"{run / 'checkpoint.safetensors'} does not fit: {error}; bring it back from a copy, "
            "or train again"
        ) from error


def read_reports(run: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl, one an evaluation; a last line that a kill cut short is left out."""
    file = run / "metrics.jsonl"
    if not file.exists():
        return []
    reports = []
    for number, line in enumerate(file.read_text().splitlines(keepends=True), start=1):
        if not line.endswith("\n"):
            break
        try:
            report = json.loads(line)
        except ValueError:
            report = None
        if not isinstance(report, dict) or not {"step", "held_out"} <= report.keys():
            raise ValueError(
                f"{file}, line {number} is not what an evaluation wrote: remove that line"
            )
        reports.append(report)
    return reports


def forget_reports_after(run: Path, step: int) -> int:
    """Drops what a run reported after its checkpoint, as it will be reported again.

    Returns the step of the last report that is left, 0 without any.
    """
    file = run / "metrics.jsonl"
    reports = [report for report in read_reports(run) if report["step"] <= step]
    text = "".join(json.dumps(report) + "\n" for report in reports)
    if file.exists() and file.read_text() != text:
        write_atomically(file, lambda temporary: temporary.write_text(text))
    return int(reports[-1]["step"]) if reports else 0


def final_report(run: Path, network: Network) -> dict[str, Any]:
    """The last report of a run, of its final weights. Raises ValueError unless it is finished."""
    steps = read_settings(run, network)["steps"]
    reached = int(read_checkpoint(run).get("step", -1))
    reports = read_reports(run)
    reported = reports[-1]["step"] if reports else 0
    if not reached == reported == steps:
        raise ValueError(
            f"{run} is not finished: its checkpoint is of step {reached} of {steps}, its last "
            f"held-out losses are of step {reported}; run its `train {network.name}` command again to "
            "finish it"
        )
    return reports[-1]

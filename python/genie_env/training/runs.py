"""Run directories of trained networks: settings, checkpoint, reported losses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from genie_env._core import EpisodeStore, Model, Trainer, safetensors_bytes
from genie_env.data.datasets import fingerprint
from genie_env.data.files import write_atomically, write_json
from genie_env.data.paths import in_utf8
from genie_env.data.run_directory import SETTINGS, claim_run
from genie_env.envs.json_files import Schema, check_fields, read_json, read_json_lines
from genie_env.envs.options import DType
from genie_env.envs.validation import check_choice

Trained = TypeVar("Trained", bound=Model)

CHECKPOINT, METRICS = "checkpoint.safetensors", "metrics.jsonl"

_FIGURES = {"*": (float, None)}
_REPORT = {"step": int, "held_out": _FIGURES, "training?": _FIGURES}
"""A line of metrics.jsonl."""

WEIGHT = "weight."
"""What the names of a network's parameters begin with in a checkpoint."""

_RENAMED = {"band": "window", "momentum": "action_decay"}
"""Sizes of networks that runs once wrote under other names."""


@dataclass(frozen=True)
class Network:
    """A network that `genie-env train` trains, as its run directories describe it."""

    name: str
    """Of the command: "latent-actions" is trained by `train latent-actions`."""
    settings: Schema
    """Settings without which a run cannot be used."""
    added: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Sizes that a run may have and its start not, and how the names of the parameters end that come
    with each. Such parameters are 0 then, which changes nothing."""


COMMON: Schema = {"data": [str], "steps": int, "batch": int, "seed": int, "dtype": str}
"""Settings of every network."""


def sizes_schema(sizes: type, more: Schema = {}, later: Sequence[str] = ()) -> Schema:
    """Of the setting "sizes": the fields of a dataclass and `more`; older runs lack those in
    `later`."""
    hints = get_type_hints(sizes)
    names = [field.name for field in fields(sizes)]
    return {**{f"{n}?" if n in later else n: hints[n] for n in names}, **more, "*": ()}


@contextmanager
def claim_training(
    run: Path, settings: Mapping[str, Any], stores: Sequence[EpisodeStore]
) -> Iterator[DType]:
    """claim_run of a training, among whose settings the recordings themselves are. The block gets the
    dtype: a run that goes on with "auto" keeps the one that it was begun in."""
    recordings = {"recordings": [fingerprint(store) for store in stores]}
    any_dtype = {"dtype": "auto"} if settings["dtype"] == "auto" else {}
    with claim_run(
        run,
        {**settings, **recordings},
        (CHECKPOINT, METRICS),
        # Runs of older versions did not save the recordings.
        lambda known: {**recordings, **with_todays_names(known), **any_dtype},
    ):
        file = run / SETTINGS
        yield _checked(with_todays_names(read_json(file)), file, {"dtype": str})["dtype"]


def save_dtype(run: Path, dtype: DType) -> None:
    """Writes the dtype that was chosen into a run's settings."""
    write_json(run / SETTINGS, {**read_json(run / SETTINGS), "dtype": dtype})


def with_todays_names(settings: dict[str, Any]) -> dict[str, Any]:
    """A run's settings, in which an older version may have called the dtype and the network's sizes
    by other names, and left out what was the same in all runs."""
    today = dict(settings)
    if isinstance(today.get("bf16"), bool):
        today["dtype"] = "bfloat16" if today.pop("bf16") else "float32"
    if isinstance(sizes := today.get("sizes"), dict):
        today["sizes"] = {_RENAMED.get(name, name): sizes[name] for name in sizes}
    if today.get("network") == "vision":
        # V took no other frames, and could do no more.
        today = {"frame": [64, 64], "emphasis": 0.0, "start": None, **today}
    if today.get("network") == "memory":
        today.setdefault("mixture", "independent")  # M had no other
    return today


def _checked(settings: dict[str, Any], file: Path, schema: Schema) -> dict[str, Any]:
    """The settings. Raises ValueError that names the file where they are not as `schema` says."""
    check_fields(settings, str(file), schema)
    check_choice(f'{file}: "dtype"', settings["dtype"], get_args(DType))
    return settings


def read_settings(run: Path, network: Network) -> dict[str, Any]:
    """The settings of a run that trained `network`. Raises ValueError where it trained another."""
    file = run / SETTINGS
    if not file.exists():
        raise ValueError(f"{run} holds no {SETTINGS}: give the --out of a `train {network.name}`")
    settings = with_todays_names(read_json(file, {"network": str}))
    kind = settings["network"]
    if kind != network.name:
        raise ValueError(
            f"{run} is a run of `train {kind}`; expected the --out of a `train {network.name}`"
        )
    return _checked(settings, file, network.settings)


def check_start(
    run: Path, network: Network, settings: Mapping[str, Any], same: Sequence[str]
) -> dict[str, Any]:
    """The settings of a run that training with `settings` is to start from. Raises ValueError where
    one of those in `same` differs."""
    before = read_settings(run, network)
    added = _added(network, before, settings)
    for name in same:
        wanted = settings[name]
        if name == "sizes":
            wanted = {size: value for size, value in wanted.items() if size not in added}
        if before[name] != wanted:
            raise ValueError(
                f"--start {run} has {name} {before[name]}, but {settings[name]} is trained: give the "
                "same, or leave out --start"
            )
    return before


def _added(
    network: Network, before: Mapping[str, Any], settings: Mapping[str, Any]
) -> Mapping[str, Sequence[str]]:
    """Of `network.added`, what a run with `settings` has and its start has not."""
    return {
        size: endings
        for size, endings in network.added.items()
        if size in settings["sizes"] and size not in before["sizes"]
    }


def read_checkpoint(run: Path) -> dict[str, torch.Tensor]:
    """A trainer's state, as the run last saved it."""
    file = run / CHECKPOINT
    if not file.exists():
        raise ValueError(f"{run} holds no {CHECKPOINT}: train there first")
    try:
        with in_utf8(file) as path:
            state = load_file(path)
        step = state.get("step", torch.empty(0))
        if step.dtype != torch.int64 or step.numel() != 1:
            raise ValueError('it has no "step", one int64')
        return state
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(
            f"{file} is damaged ({error}): bring it back from a copy, or remove it and train from "
            "the beginning"
        ) from error


def is_frozen(run: Path) -> bool:
    """Whether a run's directory is part of a frozen world, as `freeze_network` leaves it there."""
    return "frozen" in read_json(run / SETTINGS)


def freeze_network(run: Path, network: Network, to: Path) -> None:
    """Makes `to` the directory of a finished run without its optimiser, weights in float16: its
    network can be loaded and used, not trained on. A directory already there is replaced."""
    report, settings = final_report(run, network), read_settings(run, network)
    weights = load_weights(run, network)
    kept = {f"{WEIGHT}{name}": weight.half().contiguous() for name, weight in weights.items()}
    kept["step"] = torch.tensor(report["step"])
    shutil.rmtree(to, ignore_errors=True)
    line = json.dumps(report) + "\n"
    write_atomically(to / CHECKPOINT, lambda file: file.write_bytes(safetensors_bytes(kept)))
    write_atomically(to / METRICS, lambda file: file.write_text(line))
    write_json(to / SETTINGS, {**settings, "frozen": True})


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


def has_begun(run: Path) -> bool:
    """Whether a run goes on from a checkpoint of its own, and needs no start any more."""
    return (run / CHECKPOINT).exists()


def start_from(
    run: Path, network: Network, model: Model, settings: Mapping[str, Any], same: Sequence[str]
) -> None:
    """Gives `model`, which is to be trained with `settings`, what another run of it has learned.
    Raises ValueError where one of the settings in `same` differs."""
    before = check_start(run, network, settings, same)
    endings = tuple(chain.from_iterable(_added(network, before, settings).values()))
    trainer = Trainer(model)
    weights = trainer.weights()
    unchanged = {n: torch.zeros_like(w) for n, w in weights.items() if n.endswith(endings)}
    with checkpoint_named(run):
        trainer.load_weights({**unchanged, **load_weights(run, network)})


def load_network(
    run: Path, network: Network, make: Callable[[dict[str, Any]], Trained], device: str = "cpu"
) -> Trained:
    """A network as its run left it, on `device`; `make` makes one from the run's settings."""
    settings = read_settings(run, network)
    try:
        made = make(settings)
    except ValueError as error:
        raise ValueError(f"{run / SETTINGS}: {error}") from error
    load_into(Trainer(made, device=device), run, network)
    return made


@contextmanager
def checkpoint_named(run: Path) -> Iterator[None]:
    """Adds the checkpoint's name to the error of one that does not fit its network."""
    try:
        yield
    except ValueError as error:
        raise ValueError(
            f"{run / CHECKPOINT} does not fit: {error}; bring it back from a copy, or train again"
        ) from error


def read_reports(run: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl, one an evaluation; a last line that a kill cut short is left out.
    Raises ValueError, naming the line, where one is damaged or the steps do not count up."""
    file = run / METRICS
    if not file.exists():
        return []
    reports = read_json_lines(file, _REPORT)
    for number, (earlier, later) in enumerate(zip(reports, reports[1:]), start=2):
        if later["step"] <= earlier["step"]:
            raise ValueError(
                f"{file}, line {number} is of step {later['step']}, after one of step "
                f"{earlier['step']}: several trainings have written into this run, and nothing in "
                "it can be relied on; train into another --out"
            )
    return reports


def forget_reports_after(run: Path, step: int) -> int:
    """Drops what a run reported after its checkpoint, as it will be reported again.

    Returns the step of the last report that is left, 0 without any.
    """
    file = run / METRICS
    reports = [report for report in read_reports(run) if report["step"] <= step]
    text = "".join(json.dumps(report) + "\n" for report in reports).encode()
    if file.exists() and file.read_bytes() != text:
        write_atomically(file, lambda temporary: temporary.write_bytes(text))
    return int(reports[-1]["step"]) if reports else 0


def final_report(run: Path, network: Network) -> dict[str, Any]:
    """The last report of a run, of its final weights. Raises ValueError unless it is finished."""
    steps = read_settings(run, network)["steps"]
    reached = int(read_checkpoint(run)["step"])
    reports = read_reports(run)
    reported = reports[-1]["step"] if reports else 0
    if not reached == reported == steps:
        raise ValueError(
            f"{run} is not finished: its checkpoint is of step {reached} of {steps}, its last "
            f"held-out losses are of step {reported}; run its `train {network.name}` command again to "
            "finish it"
        )
    return reports[-1]

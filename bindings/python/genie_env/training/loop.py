"""The loop around a Trainer: schedule, progress, held-out losses, checkpoints, resuming."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from safetensors.torch import load_file, save
from torch.utils.tensorboard import SummaryWriter

from genie_env._core import Trainer
from genie_env.files import write_atomically
from genie_env.training.data import Batch

FINAL_LEARNING_RATE = 0.05
"""The cosine schedule ends at this fraction of the learning rate."""


@dataclass(frozen=True)
class Schedule:
    steps: int
    learning_rate: float
    evaluate_every: int = 500
    checkpoint_every: int = 500

    def learning_rate_at(self, step: int) -> float:
        cosine = 0.5 * (1 + math.cos(math.pi * min(step / self.steps, 1.0)))
        return self.learning_rate * (FINAL_LEARNING_RATE + (1 - FINAL_LEARNING_RATE) * cosine)


def train(
    trainer: Trainer,
    run: Path,
    schedule: Schedule,
    batch: Callable[[int], Batch],
    held_out: list[Batch],
    *,
    title: str,
    items_a_batch: int,
    item: str,
    picture: Callable[[int], None] | None = None,
) -> dict[str, float]:
    """Trains until `schedule.steps` updates are made, from the checkpoint in `run` if there is one.

    Leaves `checkpoint.safetensors` (all that resuming needs), `metrics.jsonl` (a line an
    evaluation) and `tensorboard/` in `run`. `picture(step)` is called at every evaluation. Ctrl-C
    writes a checkpoint first. Returns the held-out losses.
    """
    checkpoint = run / "checkpoint.safetensors"
    if checkpoint.exists():
        trainer.load_state(load_file(checkpoint))
    writer = SummaryWriter(str(run / "tensorboard"), purge_step=trainer.step)

    def save_checkpoint() -> None:
        write_atomically(checkpoint, lambda file: file.write_bytes(save(trainer.state())))

    def evaluate() -> dict[str, float]:
        reports = [trainer.evaluate(b, i) for i, b in enumerate(held_out)]
        return {k: sum(r[k] for r in reports) / len(reports) for k in reports[0]}

    columns = (
        TextColumn(title),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:,.0f} " + item + "/s"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[losses]}"),
    )
    losses = evaluate()
    with Progress(*columns) as progress:
        task = progress.add_task(
            title, total=schedule.steps, completed=trainer.step, rate=0.0, losses=_text(losses)
        )
        since, timed_from, sums = time.perf_counter(), trainer.step, dict[str, float]()
        try:
            while trainer.step < schedule.steps:
                trainer.set_learning_rate(schedule.learning_rate_at(trainer.step))
                for name, value in trainer.backward(batch(trainer.step)).items():
                    sums[name] = sums.get(name, 0.0) + value
                trainer.update()
                step = trainer.step
                seconds, steps = time.perf_counter() - since, step - timed_from
                progress.update(task, completed=step, rate=steps * items_a_batch / seconds)
                if step % schedule.evaluate_every == 0 or step == schedule.steps:
                    losses = evaluate()
                    training = {k: v / steps for k, v in sums.items()}
                    _report(run, writer, step, training, losses, steps * items_a_batch / seconds)
                    progress.update(task, losses=_text(losses))
                    if picture is not None:
                        picture(step)
                    since, timed_from, sums = time.perf_counter(), step, {}
                if step % schedule.checkpoint_every == 0 or step == schedule.steps:
                    save_checkpoint()
        except KeyboardInterrupt:
            save_checkpoint()
            raise
        finally:
            writer.close()
    return losses


def _text(losses: Mapping[str, float]) -> str:
    return "held out: " + "  ".join(f"{k} {v:.4g}" for k, v in losses.items())


def _json(losses: Mapping[str, float]) -> dict[str, float | None]:
    """A recall without deaths is NaN, which JSON does not know."""
    return {k: v if math.isfinite(v) else None for k, v in losses.items()}


def _report(
    run: Path,
    writer: SummaryWriter,
    step: int,
    training: Mapping[str, float],
    held_out: Mapping[str, float],
    rate: float,
) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        line = {
            "step": step,
            "training": _json(training),
            "held_out": _json(held_out),
            "items_per_s": rate,
        }
        file.write(json.dumps(line) + "\n")
    for name, value in training.items():
        writer.add_scalar(f"training/{name}", value, step)
    for name, value in held_out.items():
        writer.add_scalar(f"held_out/{name}", value, step)
    writer.flush()


def load_weights(run: Path) -> dict[str, torch.Tensor]:
    """The network's parameters out of a run's checkpoint."""
    checkpoint = run / "checkpoint.safetensors"
    if not checkpoint.exists():
        raise ValueError(f"{run} holds no checkpoint.safetensors: train there first")
    prefix = "weight."
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in load_file(checkpoint).items()
        if name.startswith(prefix)
    }

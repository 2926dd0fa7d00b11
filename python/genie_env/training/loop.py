"""The loop around a Trainer: schedule, progress, held-out losses, checkpoints, resuming."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import get_console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from safetensors.torch import save
from torch.utils.tensorboard import SummaryWriter

from genie_env._core import Trainer
from genie_env.data.datasets import Batch
from genie_env.data.files import write_atomically
from genie_env.media.progress import TwoLines
from genie_env.training.runs import (
    checkpoint_named,
    forget_reports_after,
    read_checkpoint,
    read_reports,
)
from genie_env.training.summary import summary_writer

Share = tuple[str, str]
"""Names of two counts in a report; the share is the first divided by the second."""

FINAL_LEARNING_RATE = 0.05
"""The cosine schedule ends at this fraction of the learning rate."""


@dataclass(frozen=True)
class Schedule:
    steps: int
    learning_rate: float
    evaluate_every: int = 500
    checkpoint_every: int = 500
    warm_up: int = 0
    """Steps over which the learning rate rises from 0, for transformers."""

    def evaluates_at(self, step: int) -> bool:
        return step > 0 and (step % self.evaluate_every == 0 or step == self.steps)

    def learning_rate_at(self, step: int) -> float:
        cosine = 0.5 * (1 + math.cos(math.pi * min(step / self.steps, 1.0)))
        decayed = FINAL_LEARNING_RATE + (1 - FINAL_LEARNING_RATE) * cosine
        risen = min((step + 1) / (self.warm_up + 1), 1.0)
        return self.learning_rate * decayed * risen


@dataclass(frozen=True)
class CollapseWatch:
    """Detects a collapsed codebook, after which a run cannot succeed."""

    find: Callable[[Mapping[str, float]], str]
    """Takes held-out figures; returns a description of the collapse, empty without one."""
    stop: bool
    """Whether to end the run then, or only to warn."""

    def check(self, run: Path, step: int, figures: Mapping[str, float]) -> str:
        """The warning that these held-out figures call for, if any. Raises RuntimeError where the
        run is to stop."""
        found = self.find(figures)
        if not found:
            return ""
        trouble = f"{run} has collapsed at step {step}: {found}"
        if self.stop:
            raise RuntimeError(f"{trouble}; without --stop-on-collapse it goes on")
        return trouble


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
    shares: Mapping[str, Share] | None = None,
    picture: Callable[[int], None] | None = None,
    measure: Callable[[], dict[str, float]] | None = None,
    watch: CollapseWatch | None = None,
) -> dict[str, float]:
    """Trains until `schedule.steps` updates are made, from the checkpoint in `run` if there is one.

    Leaves `checkpoint.safetensors` (all that resuming needs), `metrics.jsonl` (a line an
    evaluation) and `tensorboard/` in `run`. `picture(step)` is called at every evaluation, and so
    is `measure()`, whose held-out figures are added to the losses and replace those of the same
    name. `shares` are reported in place of the counts that they are made of. Ctrl-C writes a
    checkpoint first. Returns the held-out losses. Raises RuntimeError at a collapse where `watch`
    stops the run, also when the run is started again.
    """
    checkpoint = run / "checkpoint.safetensors"
    if checkpoint.exists():
        state = read_checkpoint(run)
        with checkpoint_named(run):
            trainer.load_state(state)
    reported = forget_reports_after(run, trainer.step)
    if watch is not None and watch.stop and reported == trainer.step > 0:
        watch.check(run, reported, read_reports(run)[-1]["held_out"])
    opened = contextlib.ExitStack()
    writer = opened.enter_context(summary_writer(run, trainer.step))

    def save_checkpoint() -> None:
        write_atomically(checkpoint, lambda file: file.write_bytes(save(trainer.state())))

    def evaluate() -> dict[str, float]:
        return together([trainer.evaluate(b, i) for i, b in enumerate(held_out)], shares or {})

    def measured(losses: dict[str, float]) -> dict[str, float]:
        return losses | (measure() if measure is not None else {})

    columns = (
        TextColumn(title),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:,.0f} " + item + "/s"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    losses = evaluate()
    if schedule.evaluates_at(trainer.step) and reported != trainer.step:
        # Ctrl-C interrupted that evaluation.
        figures = measured(losses)
        _report(run, writer, trainer.step, {}, figures, None)
        if watch is not None and (trouble := watch.check(run, trainer.step, figures)):
            get_console().print(trouble, style="bold red")
    with TwoLines(*columns) as progress:
        task = progress.add_task(
            title, total=schedule.steps, completed=trainer.step, rate=0.0, below=_text(losses)
        )
        since, timed_from = time.perf_counter(), trainer.step
        reports: list[dict[str, float]] = []
        try:
            while trainer.step < schedule.steps:
                trainer.set_learning_rate(schedule.learning_rate_at(trainer.step))
                reports.append(trainer.backward(batch(trainer.step)))
                trainer.update()
                step = trainer.step
                seconds, steps = time.perf_counter() - since, step - timed_from
                progress.update(task, completed=step, rate=steps * items_a_batch / seconds)
                if schedule.evaluates_at(step):
                    figures = measured(evaluate())
                    training = together(reports, shares or {})
                    _report(run, writer, step, training, figures, steps * items_a_batch / seconds)
                    losses = {name: figures[name] for name in losses}
                    progress.update(task, below=_text(losses))
                    if picture is not None:
                        picture(step)
                    if watch is not None and watch.stop:
                        save_checkpoint()
                    if watch is not None and (trouble := watch.check(run, step, figures)):
                        progress.console.print(trouble, style="bold red")
                    since, timed_from, reports = time.perf_counter(), step, []
                if step % schedule.checkpoint_every == 0 or step == schedule.steps:
                    save_checkpoint()
        except KeyboardInterrupt:
            save_checkpoint()
            raise
        finally:
            opened.close()
    return losses


def together(
    reports: Sequence[Mapping[str, float]], shares: Mapping[str, Share]
) -> dict[str, float]:
    """The mean of every loss over several batches, and shares of the counts of all batches.

    (The mean of each batch's share would be NaN where one batch has a count of 0.)
    """
    sums = {name: sum(report[name] for report in reports) for name in reports[0]}
    counts = {count for share in shares.values() for count in share}
    means = {name: total / len(reports) for name, total in sums.items() if name not in counts}
    return means | {
        name: sums[part] / sums[whole] if sums[whole] else math.nan
        for name, (part, whole) in shares.items()
    }


def _text(losses: Mapping[str, float]) -> str:
    return "held out: " + "  ".join(f"{k} {v:.4g}" for k, v in losses.items())


def _json(losses: Mapping[str, float]) -> dict[str, float | None]:
    """NaN, the share of nothing, becomes null, as JSON has no NaN."""
    return {k: v if math.isfinite(v) else None for k, v in losses.items()}


def _report(
    run: Path,
    writer: SummaryWriter,
    step: int,
    training: Mapping[str, float],
    held_out: Mapping[str, float],
    rate: float | None,
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

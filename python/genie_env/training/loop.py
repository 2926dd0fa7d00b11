"""The loop around a Trainer: schedule, progress, held-out losses, checkpoints, resuming."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from torch.utils.tensorboard import SummaryWriter

from genie_env._core import safetensors_bytes
from genie_env.data.datasets import Batch
from genie_env.data.files import write_atomically
from genie_env.data.midway import SECONDS_A_CHECKPOINT
from genie_env.data.progress import Progress
from genie_env.envs.options import DType
from genie_env.training.dtype import MakeTrainer, RunSize, choose_dtype
from genie_env.training.prefetch import Prefetch
from genie_env.training.runs import (
    CHECKPOINT,
    METRICS,
    checkpoint_named,
    forget_reports_after,
    read_checkpoint,
    read_reports,
    save_dtype,
)
from genie_env.training.summary import summary_writer

TensorMap = dict[str, torch.Tensor]

Share = tuple[str, str]
"""Names of two counts in a report; the share is the first divided by the second."""

REPORT = "report."
"""What names in a checkpoint begin with that hold the losses of the steps since the last evaluation,
float64 [steps] each: the next evaluation reports their mean."""

FINAL_LEARNING_RATE = 0.05
"""The cosine schedule ends at this fraction of the learning rate."""


@dataclass(frozen=True)
class Schedule:
    steps: int
    learning_rate: float
    evaluate_every: int = 500
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

    figure: str
    """The held-out figure that shows it."""
    find: Callable[[float], str]
    """Takes that figure; returns a description of the collapse, empty without one."""
    stop: bool
    """Whether to end the run then, or only to warn."""

    def check(self, run: Path, step: int, figures: Mapping[str, float | None]) -> str:
        """The warning that these held-out figures call for, if any. Raises RuntimeError where the
        run is to stop, ValueError where its metrics lack the figure that is watched."""
        value = figures.get(self.figure)
        if value is None:
            raise ValueError(f'{run / METRICS} has no "{self.figure}" at step {step}: train again')
        found = self.find(value)
        if not found:
            return ""
        trouble = f"{run} has collapsed at step {step}: {found}"
        if self.stop:
            raise RuntimeError(f"{trouble}; without --stop-on-collapse it goes on")
        return trouble


def train(
    make_trainer: MakeTrainer,
    dtype: DType,
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
) -> None:
    """Trains until `schedule.steps` updates are made, from the checkpoint in `run` if there is one.

    `batch(step)` is called in another thread, one step ahead. A run that begins with the dtype
    "auto" gets the faster one, which is written into its settings.
    Leaves `checkpoint.safetensors` (all that resuming needs, written every SECONDS_A_CHECKPOINT and
    at every evaluation), `metrics.jsonl` (a line an evaluation) and `tensorboard/` in `run`.
    `picture(step)` is called at every evaluation, and so is `measure()`, whose held-out figures are
    added to the losses and replace those of the same name. `shares` are reported in place of the
    counts that they are made of. Ctrl-C writes a checkpoint first. Raises RuntimeError at a collapse
    where `watch` stops the run, also when the run is started again.
    """
    checkpoint = run / CHECKPOINT
    if dtype == "auto" or not checkpoint.exists():
        size = RunSize(schedule.steps, items_a_batch, item)
        chosen = choose_dtype(make_trainer, dtype, lambda: batch(0), size)
        if dtype == "auto":
            save_dtype(run, chosen)
        dtype = chosen
    trainer = make_trainer(dtype)
    reports: dict[int, dict[str, float]] = {}  # of the steps since the last evaluation
    if checkpoint.exists():
        state = read_checkpoint(run)
        with checkpoint_named(run):
            reports = _take_reports(state)
            trainer.load_state(state)
    first = trainer.step
    reported = forget_reports_after(run, first)
    reports = {step: report for step, report in reports.items() if step >= reported}
    if watch is not None and watch.stop and reported == first > 0:
        watch.check(run, reported, read_reports(run)[-1]["held_out"])

    def save_checkpoint() -> None:
        state = trainer.state() | _keep_reports(reports, trainer.step)
        write_atomically(checkpoint, lambda file: file.write_bytes(safetensors_bytes(state)))

    columns = (
        TextColumn(title),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:,.0f} " + item + "/s"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with (
        summary_writer(run, first) as writer,
        Progress(*columns) as progress,
        Prefetch(batch, schedule.steps) as batches,
    ):
        task = progress.add_task(title, total=schedule.steps, completed=first, rate=0.0, below="")

        def measured() -> dict[str, float]:
            """All held-out figures, of which the bar shows the losses."""
            progress.update(task, below="measuring on held-out episodes")
            losses = together(
                [trainer.evaluate(b, i) for i, b in enumerate(held_out)], shares or {}
            )
            figures = losses | (measure() if measure is not None else {})
            progress.update(task, below=_text({name: figures[name] for name in losses}))
            return figures

        def evaluate(step: int, figures: Mapping[str, float], rate: float | None) -> None:
            training = together([*reports.values()], shares or {}) if reports else {}
            _report(run, writer, step, training, figures, rate)
            reports.clear()
            if picture is not None:
                picture(step)
            save_checkpoint()
            if watch is not None and (trouble := watch.check(run, step, figures)):
                progress.say(trouble, style="bold red")

        figures = measured()
        if schedule.evaluates_at(first) and reported != first:
            evaluate(first, figures, None)  # Ctrl-C has interrupted that evaluation
        since, timed_from, saved = time.perf_counter(), first, time.monotonic()
        try:
            while trainer.step < schedule.steps:
                step = trainer.step
                trainer.set_learning_rate(schedule.learning_rate_at(step))
                reports[step] = trainer.backward(batches.batch(step))
                trainer.update()
                step += 1
                rate = (step - timed_from) * items_a_batch / (time.perf_counter() - since)
                progress.update(task, completed=step, rate=rate)
                if schedule.evaluates_at(step):
                    evaluate(step, measured(), rate)
                    since, timed_from, saved = time.perf_counter(), step, time.monotonic()
                elif time.monotonic() - saved >= SECONDS_A_CHECKPOINT:
                    save_checkpoint()
                    saved = time.monotonic()
        except KeyboardInterrupt:
            if trainer.step > first:
                save_checkpoint()
            raise


def _keep_reports(reports: Mapping[int, Mapping[str, float]], step: int) -> TensorMap:
    """For a checkpoint of `step`, the losses of the steps before it."""
    kept = [report for made_at, report in reports.items() if made_at < step]
    names = kept[0] if kept else {}
    return {
        f"{REPORT}{name}": torch.tensor([report[name] for report in kept], dtype=torch.float64)
        for name in names
    }


def _take_reports(state: TensorMap) -> dict[int, dict[str, float]]:
    """Takes out of a checkpoint what `_keep_reports` put there. Raises ValueError where it is not
    what that writes."""
    names = [name for name in state if name.startswith(REPORT)]
    losses = [state.pop(name) for name in names]
    if any(loss.shape != losses[0].shape or loss.ndim != 1 for loss in losses):
        raise ValueError(f"its {', '.join(names)} are not float64 [steps] each")
    rows = zip(*(loss.tolist() for loss in losses), strict=True)
    made = [
        {name.removeprefix(REPORT): loss for name, loss in zip(names, row, strict=True)}
        for row in rows
    ]
    return dict(enumerate(made, start=int(state["step"]) - len(made)))


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


def finite(figures: Mapping[str, float]) -> dict[str, float | None]:
    """None for NaN, the share of nothing: JSON has no NaN."""
    return {k: v if math.isfinite(v) else None for k, v in figures.items()}


def _report(
    run: Path,
    writer: SummaryWriter,
    step: int,
    training: Mapping[str, float],
    held_out: Mapping[str, float],
    rate: float | None,
) -> None:
    with (run / METRICS).open("a") as file:
        line = {
            "step": step,
            "training": finite(training),
            "held_out": finite(held_out),
            "items_per_s": rate,
        }
        file.write(json.dumps(line) + "\n")
    for name, value in training.items():
        writer.add_scalar(f"training/{name}", value, step)
    for name, value in held_out.items():
        writer.add_scalar(f"held_out/{name}", value, step)
    writer.flush()

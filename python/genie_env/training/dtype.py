"""The dtype of a training: float32 or bfloat16 (autocast), whichever a few updates of each show to
be faster on this machine. (With AVX2 alone, bfloat16 was 28 times slower.)"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from statistics import median
from time import perf_counter
from typing import Literal

from genie_env._core import Trainer
from genie_env.data.datasets import Batch
from genie_env.data.progress import say
from genie_env.data.threads import warn_of_threads
from genie_env.envs.options import DType

TrainedDType = Literal["float32", "bfloat16"]

MakeTrainer = Callable[[TrainedDType], Trainer]
"""Makes trainers of one network, which differ in their dtype alone."""

ROUNDS = 4
"""Updates of each dtype that are timed at most; the first one warms up and does not count."""

SECONDS = 10.0
"""After so much time no other round begins, and where the first one took it, it counts."""

CLEARLY = 4.0
"""How many times slower on a part of a batch a dtype must be, not to be timed on the whole one."""


@dataclass(frozen=True)
class RunSize:
    """The size of a training, for its estimate."""

    updates: int
    items: int
    """Of every update."""
    item: str
    """What they are called: "frames"."""

    def rate(self, seconds: float) -> str:
        """Of updates that take so long: "7.1 frames/s"."""
        rate = self.items / seconds
        return f"{rate:,.{0 if rate >= 10 else 1}f} {self.item}/s"

    def estimate(self, dtype: TrainedDType, seconds: float) -> str:
        """Of the whole run, where an update takes so long."""
        return (
            f"{self.updates:,} updates in {dtype} at {self.rate(seconds)}: about "
            f"{_duration(self.updates * seconds)}, evaluations not counted"
        )


def choose_dtype(
    make_trainer: MakeTrainer, asked: DType, batch: Callable[[], Batch], run: RunSize
) -> TrainedDType:
    """The dtype to train in, after lines that say how fast it is and how long the run will take.

    Times updates on real batches, then gives the network back the weights and buffers that it had.
    Raises RuntimeError where `asked` is bfloat16 and the network cannot be trained in it here.
    """
    warn_of_threads()
    trainers: dict[TrainedDType, Trainer] = {"float32": make_trainer("float32")}
    before = trainers["float32"].state()
    if asked != "float32":
        trainers["bfloat16"] = make_trainer("bfloat16")
        if obstacle := _obstacle(trainers["bfloat16"], batch()):
            if asked == "bfloat16":
                raise RuntimeError(
                    "dtype is 'bfloat16', but this network cannot be trained in it on this machine "
                    f"({obstacle}): give 'float32' or 'auto'"
                )
            say(f"dtype: float32, because bfloat16 fails on this machine ({obstacle})")
            del trainers["bfloat16"]
    slower = _clearly_slower(trainers, batch) if asked == "auto" else {}
    seconds = _alternate({d: t for d, t in trainers.items() if d not in slower}, batch)
    trainers["float32"].load_state(before)

    fastest = min(seconds, key=seconds.__getitem__)
    chosen = fastest if asked == "auto" else asked
    for other in trainers.keys() - {chosen}:
        rates = f"{run.rate(seconds[chosen])}, against "
        if other in slower:
            rates += f"at most {run.rate(seconds[chosen] * slower[other])} in {other}"
        else:
            rates += f"{run.rate(seconds[other])} in {other}"
        if asked == "auto":
            say(f"dtype: {chosen}, at {rates}")
        elif chosen != fastest:
            say(f"dtype: {chosen} as asked, although it is slower here: {rates}")
    say(run.estimate(chosen, seconds[chosen]))
    return chosen


def _obstacle(trainer: Trainer, batch: Batch) -> str:
    """Why torch cannot train a network in the trainer's dtype here; empty where it can."""
    try:
        _update(trainer, _rows(batch, 1))
    except RuntimeError as error:
        return str(error).partition("\n")[0]
    return ""


def _clearly_slower(
    trainers: Mapping[TrainedDType, Trainer], batch: Callable[[], Batch]
) -> dict[TrainedDType, float]:
    """The dtype that is CLEARLY slower, if one is, and how many times at least.

    A whole batch may take minutes in a dtype that is 30 times slower, so parts of it that grow are
    timed before. The fewer rows, the smaller is the difference.
    """
    whole, rows = batch(), 1
    while len(trainers) == 2 and rows < len(next(iter(whole.values()))):
        seconds = _alternate(trainers, partial(_rows, whole, rows), rounds=2)
        faster, slower = sorted(seconds, key=seconds.__getitem__)
        if seconds[slower] > CLEARLY * seconds[faster]:
            return {slower: seconds[slower] / seconds[faster]}
        rows *= 4
    return {}


def _rows(batch: Batch, count: int) -> Batch:
    return {name: tensor[:count] for name, tensor in batch.items()}


def _alternate(
    trainers: Mapping[TrainedDType, Trainer], batch: Callable[[], Batch], rounds: int = ROUNDS
) -> dict[TrainedDType, float]:
    """Median seconds of an update by dtype, the batch included. The trainers take turns, so that
    whatever else the machine does falls on both."""
    seconds: dict[TrainedDType, list[float]] = {dtype: [] for dtype in trainers}
    began = perf_counter()
    for turn in range(rounds):
        start = perf_counter()
        if turn > 0 and start - began >= SECONDS:
            break
        given = batch()
        fetched = perf_counter() - start
        for dtype, trainer in trainers.items():
            try:
                took = _update(trainer, given)
            except MemoryError:
                if len(trainers) == 1:
                    raise
                took = math.inf  # float32 takes more memory than bfloat16
            seconds[dtype].append(fetched + took)
    medians = {dtype: median(each[1:] or each) for dtype, each in seconds.items()}
    if all(math.isinf(each) for each in medians.values()):
        raise MemoryError(f"one update of this batch in {' or '.join(medians)} does not fit")
    return medians


def _update(trainer: Trainer, batch: Batch) -> float:
    """The seconds of an update that moves no weight."""
    trainer.set_learning_rate(0)
    start = perf_counter()
    trainer.backward(batch)
    trainer.update()
    return perf_counter() - start


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{math.ceil(seconds)} seconds"

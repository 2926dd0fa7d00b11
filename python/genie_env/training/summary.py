"""Curves of a training run, for TensorBoard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from genie_env.data.paths import in_utf8


@contextmanager
def summary_writer(run: Path, step: int) -> Iterator[SummaryWriter]:
    """Writes into `tensorboard/` of a run, whose curves go on at `step`."""
    folder = run / "tensorboard"
    folder.mkdir(parents=True, exist_ok=True)
    with in_utf8(folder) as directory, SummaryWriter(str(directory), purge_step=step) as writer:
        yield writer

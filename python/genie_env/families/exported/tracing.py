"""What torch 2.11 does amiss where it traces a module, mended while it does. Each changes a global of
torch for that time."""

from __future__ import annotations

import contextlib
import logging
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch._decomp import decompositions
from torch.fx.proxy import TracerBase


@contextlib.contextmanager
def mended_tracing() -> Iterator[None]:
    """Within, every operator remembers the line that calls it, nn.LSTM has the right shapes, and torch
    logs no graphs: what it cannot trace is told in the error. Other threads wait."""
    with _LOCK, _lines_of_users(), _right_shapes_of_lstm(), _quiet():
        yield


_LOCK = threading.Lock()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def _lines_of_users() -> Iterator[None]:
    """By itself torch remembers lines within functions that are called "forward" alone."""

    def own(tracer: TracerBase, stack: traceback.StackSummary) -> traceback.StackSummary:
        return traceback.StackSummary.from_list([f for f in stack if is_own(f.filename)])

    with mock.patch.object(TracerBase, "_filter_traceback_frames", own):
        yield


@contextlib.contextmanager
def _right_shapes_of_lstm() -> Iterator[None]:
    """By itself torch gives the last h and c of a traced nn.LSTM a dimension too many, [1, 1, N, hidden]
    of one layer."""
    select: Any = decompositions.select_one_layer_lstm_function  # type: ignore[attr-defined]

    def selected(input: Any, hx: Any, params: Any) -> Any:
        layer = select(input, hx, params)

        def run(input: Any, hidden: Any, *arguments: Any, **named: Any) -> Any:
            out, last = layer(input, hidden, *arguments, **named)
            pairs = zip(last, hidden, strict=True)
            return out, tuple(after.reshape(before.shape) for after, before in pairs)

        return run

    with mock.patch.object(decompositions, "select_one_layer_lstm_function", selected):
        yield


def is_own(file: str) -> bool:
    """Whether a file of source is a user's: not of torch, of this package or of Python."""
    return not file.startswith((*_OTHERS, "<")) and "/lib/python" not in file


_OTHERS = (str(Path(__file__).parents[2]), str(Path(torch.__file__).parent))

"""Rows that are computed once, and kept in a file that several processes may fill."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from genie_env.data import rows_once


def test_all_rows_are_there_though_another_process_keeps_its_first_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It writes what it has so far between this one's write and this one's read."""

    def fill(rows: NDArray[Any], done: int) -> Iterator[int]:
        rows[done:] = np.arange(done, len(rows))
        yield len(rows)

    def then_the_other(file: Path, rows: NDArray[Any]) -> None:
        write(file, rows)
        write(file, rows[:2])

    file, write = tmp_path / "rows.npy", rows_once._write
    monkeypatch.setattr(rows_once, "_write", then_the_other)
    found = rows_once.rows_once(file, (5,), np.int64, fill, "counting")
    assert found.tolist() == [0, 1, 2, 3, 4]
    monkeypatch.undo()
    assert rows_once.rows_once(file, (5,), np.int64, fill, "counting").tolist() == found.tolist()
    assert len(np.load(file)) == 5, "the rest is written"

"""The learning curve of a run: a line of JSON an update."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from genie_env.data.files import write_atomically
from genie_env.envs.json_files import read_json_lines

LOG = "updates.jsonl"

_LINE = {
    "update": int,
    "steps": int,
    "episodes": int,
    "steps_per_s": float,
    "mean_return": (float, None),
}


class UpdateLog:
    """Appends lines to a file; those of updates that the run's checkpoint does not have, which a stop
    has left, are dropped when it is opened."""

    def __init__(self, file: Path | None, steps: int) -> None:
        """`steps`: where the run stands. Raises ValueError, naming the line, where one is no such
        line."""
        self._file = file
        if file is not None and file.exists():
            lines = [line for line in read_json_lines(file, _LINE) if line["steps"] <= steps]
            text = "".join(map(_text, lines))
            write_atomically(file, lambda temporary: temporary.write_text(text))

    def append(self, **line: float | None) -> None:
        if self._file is not None:
            with self._file.open("a") as opened:
                opened.write(_text(line))


def _text(line: dict[str, Any]) -> str:
    return json.dumps(line) + "\n"

"""Files that a kill leaves whole: the old content or the new."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def write_atomically(file: Path, write: Callable[[Path], Any]) -> None:
    """Calls `write` with a temporary name in the same directory, then renames that to `file`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(file.name + ".tmp")
    write(temporary)
    os.replace(temporary, file)


def write_json(file: Path, value: Any) -> None:
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    write_atomically(file, lambda temporary: temporary.write_text(text))

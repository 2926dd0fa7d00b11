"""Files that a kill leaves whole."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def user_cache() -> Path:
    """The directory of caches that commands share: `$XDG_CACHE_HOME/genie_env`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "genie_env"


def write_atomically(file: Path, write: Callable[[Path], Any]) -> None:
    """Calls `write` with a temporary name in the same directory, then renames that to `file`.

    No other writer has that name, so that of two processes which write one file the last one's
    content stays, whole. Where writing fails, nothing new is left behind; a full disk is an OSError
    that names `file`.
    """
    from genie_env._core import AtomicFile  # imports torch

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with AtomicFile(file) as temporary:
            write(temporary)
    except OSError as error:
        raise OSError(
            f"{file} could not be written ({error.strerror or error}): make room there, or give "
            "another place; what was there before is unchanged"
        ) from error


def write_json(file: Path, value: Any) -> None:
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    write_atomically(file, lambda temporary: temporary.write_text(text))

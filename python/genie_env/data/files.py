"""Files that a kill leaves whole."""

from __future__ import annotations

import contextlib
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

    Where that fails, nothing new is left behind; a full disk is an OSError that names `file`.
    """
    temporary = file.with_name(file.name + ".tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        os.replace(temporary, file)
    except OSError as error:
        raise OSError(
            f"{file} could not be written ({error.strerror or error}): make room there, or give "
            "another place; what was there before is unchanged"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_json(file: Path, value: Any) -> None:
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    write_atomically(file, lambda temporary: temporary.write_text(text))

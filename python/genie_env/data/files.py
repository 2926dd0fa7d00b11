"""Files that a kill leaves whole."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SECONDS_UNTOUCHED = 600.0
"""A temporary file that was written to later than this may be that of a process on another machine."""

_TEMPORARY = re.compile(r"\.genie_env-(\d+)-\d+\.tmp$")
"""The end of AtomicFile's temporary names, with the number of the process."""


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


def remove_left_behind(directory: Path, untouched: float = SECONDS_UNTOUCHED) -> None:
    """Removes the temporary files that killed writers have left in a directory: no process of their
    number runs here, and nothing has touched them for `untouched` seconds.

    `untouched` is 0 for who has the lock of the directory (see `only_writer`).
    """
    for left in directory.glob("*.tmp"):
        name = _TEMPORARY.search(left.name)
        if name is None or _runs(int(name[1])):
            continue
        with contextlib.suppress(OSError):  # another process has removed it, or this one may not
            if time.time() - left.stat().st_mtime >= untouched:
                left.unlink()


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def sha256_of(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits. It is read in pieces, between which Ctrl-C works."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def write_json(file: Path, value: Any) -> None:
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    write_atomically(file, lambda temporary: temporary.write_text(text))

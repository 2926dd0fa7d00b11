"""Files that a kill leaves whole, and the directories of runs that can be resumed."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping
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


def read_json(file: Path) -> dict[str, Any]:
    """The JSON object in `file`. Raises ValueError naming the file where it holds anything else."""
    try:
        value = json.loads(file.read_bytes())
    except ValueError as error:  # not JSON, or not UTF-8
        raise ValueError(
            f"{file} is not JSON ({error}); it was damaged or changed by hand: remove it, or give "
            "another"
        ) from error
    if not isinstance(value, dict):
        raise ValueError(
            f"{file} holds a {type(value).__name__}, but a JSON object is expected: remove it, or "
            "give another"
        )
    return value


def changed_settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """The differences, for an error's text: "seed was 1 and is now 2"; empty where nothing does."""
    return ", ".join(
        f"{key} was {old.get(key)!r} and is now {new.get(key)!r}"
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key)
    )


def claim_run(run: Path, settings: Mapping[str, Any]) -> None:
    """Makes the run directory, or checks that the run already there had the same settings."""
    file = run / "settings.json"
    if not file.exists():
        write_json(file, settings)
        return
    check_same_run(run, read_json(file), settings)


def check_same_run(run: Path, known: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Raises ValueError, saying what differs, unless a run that is to go on has these settings."""
    if changes := changed_settings(known, settings):
        raise ValueError(
            f"{run} holds a run with other settings ({changes}); give the same ones to resume it, "
            "or another --out to begin a new one"
        )

"""Directories of runs that can be resumed: one writer at a time, and always the same settings."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from genie_env.data.files import remove_left_behind, write_json
from genie_env.data.progress import say
from genie_env.envs.json_files import read_json

SETTINGS = "settings.json"

Settings = dict[str, Any]


@contextlib.contextmanager
def only_writer(place: Path, lock: Path | None = None) -> Iterator[None]:
    """Keeps all other processes from writing into a directory while the block runs.

    Take it before the work whose results are written there: a command that is refused at its end has
    worked for nothing. The directory is made where it is missing, with its parents, and what was made
    is removed after the block if it is empty. `place` may also be a file, with `lock` beside it: by
    default that is `.lock` in the directory. It is locked with flock, which ends with the process,
    however that ends, and removed after the block. Before it, the temporary files that killed writers
    have left in the directory are removed. Raises RuntimeError naming the process that writes there,
    and OSError where nothing can be written. A file system without flock is written to all the same,
    after a line that says so.
    """
    file = lock or place / ".lock"
    with _directory(file.parent):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = _lock(file, place)
        except OSError as error:
            raise OSError(
                f"{place} could not be written ({error.strerror or error}): make room there, or "
                "give another place"
            ) from error
        if lock is None:
            remove_left_behind(file.parent, untouched=0)
        try:
            yield
        finally:
            file.unlink(missing_ok=True)
            os.close(descriptor)


@contextlib.contextmanager
def _directory(directory: Path) -> Iterator[None]:
    """Removes, after the block, what of a directory and its parents was missing before it and is
    empty now."""
    missing = [each for each in (directory, *directory.parents) if not os.path.lexists(each)]
    try:
        yield
    finally:
        for each in missing:
            with contextlib.suppress(OSError):  # something is in it, or it was never made
                each.rmdir()


def _lock(file: Path, place: Path) -> int:
    """The open, locked file."""
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 1000, 0).decode(errors="replace") or "another process"
            os.close(descriptor)
            if holder == _this_process():
                raise RuntimeError(
                    f"this process is writing into {place} already: end that first (in a notebook, "
                    "close what an interrupted cell has left open), or give another place"
                ) from None
            raise RuntimeError(
                f"{holder} is writing into {place}: wait until it has ended, or give another place"
            ) from None
        except OSError as error:
            say(
                f"{place} cannot be locked ({error.strerror}): see to it that no other command "
                "writes there meanwhile"
            )
        # The process that had locked it may have removed it after it was opened here.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), file.stat()):
                os.truncate(descriptor, 0)
                os.pwrite(descriptor, _this_process().encode(), 0)
                return descriptor
        os.close(descriptor)


def _this_process() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


@contextlib.contextmanager
def claim_run(
    run: Path,
    settings: Settings,
    work: Sequence[str],
    as_today: Callable[[Settings], Settings] = lambda known: known,
) -> Iterator[None]:
    """Makes `run` the directory of a run with these settings, of which this process is the only
    writer while the block runs.

    A run that is there goes on, unless none of its files matches one of the patterns `work` and
    holds anything: then it was stopped before its first result, and is replaced. Where the block
    ends without a result, the settings are removed. `as_today` gives the settings that an older
    version wrote in today's words. Raises ValueError, saying what differs, where the run there had
    other settings, and RuntimeError where another process writes there.
    """
    with only_writer(run):
        file = run / SETTINGS
        results = _results(run, work)
        if not results:
            write_json(file, settings)
        elif file.exists():
            check_same_run(run, as_today(read_json(file)), settings)
        else:
            raise ValueError(
                f"{run} holds {results[0].name} but no {SETTINGS}, so nobody knows what run that "
                "is: give another --out"
            )
        try:
            yield
        finally:
            if not _results(run, work):
                file.unlink(missing_ok=True)


def _results(run: Path, work: Sequence[str]) -> list[Path]:
    return [each for name in work for each in run.glob(name) if each.stat().st_size > 0]


def check_same_run(run: Path, known: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Raises ValueError, saying what differs, unless a run that is to go on has these settings."""
    if changes := changed_settings(known, settings):
        raise ValueError(
            f"{run} holds a run with other settings ({changes}); give the same ones to resume it, "
            "or another --out to begin a new one"
        )


def changed_settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """The differences, for an error's text: "seed was 1 and is now 2"; empty where nothing does."""
    return ", ".join(
        f"{key} was {old.get(key)!r} and is now {new.get(key)!r}"
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key)
    )

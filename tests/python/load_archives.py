"""Loads the world of each archive that standard input names; prints what came of it. A crash ends it, so that the
line of the archive is missing.

    python load_archives.py < names

A line each, as a JSON list: the name, by how many bytes the load's peak of memory lay above the memory
before it, and the error ("" where it was loaded).
"""

from __future__ import annotations

import ctypes
import json
import sys
import traceback
from pathlib import Path

import torch  # noqa: F401 - what it takes is no archive's

from genie_env._core import World


def status(name: str) -> int:
    """Bytes, from /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))


def main() -> None:
    libc = ctypes.CDLL(None)
    for line in sys.stdin:
        file, error = line.rstrip("\n"), ""
        libc.malloc_trim(0)  # what an earlier load freed would hide what this one takes
        Path("/proc/self/clear_refs").write_text("5")  # the peak is measured from here on
        before = status("VmRSS")
        try:
            World.load(Path(file).parent)
        except ValueError as raised:
            error = str(raised) or "an error without words"
        except BaseException:  # noqa: BLE001 - it is told, and fails the test
            error = "UNEXPECTED " + traceback.format_exc()
        print(json.dumps([file, status("VmHWM") - before, error]), flush=True)


if __name__ == "__main__":
    main()

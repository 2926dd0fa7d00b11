"""Loads each archive that standard input names, in a child process; prints what came of it.

    python load_archives.py < names

A line each: the name, the signal that ended the child (0 where none did), how many bytes the load's
peak of memory lay above the memory before, and the error ("" where it was loaded), as a JSON list. A
program of its own, because only a process in which torch has computed nothing yet may be forked.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path

from genie_env._core import check_archive

MODELS = ("initial", "render", "step")
OUTPUTS = {
    "initial": [[-1, 8], [-1, 8], [-1, 4, 3]],
    "render": [[-1, 16, 16, 3]],
    "step": [[-1, 8], [-1, 8], [-1, 4, 3], [-1], [-1]],
}


def load(file: str) -> None:
    """What World.load will be: checks the archive, and that it has the graphs of the world."""
    graphs = check_archive(file, MODELS)
    for name, expected in OUTPUTS.items():
        given = [shape for _, shape in graphs[name][1]]
        if given != expected:
            raise ValueError(f"{file}: the graph {name} takes other tensors")


def status(name: str) -> int:
    """Bytes, from /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))


def child(file: str, answer: int) -> None:
    Path("/proc/self/clear_refs").write_text("5")  # the peak is measured from here on
    before, error = status("VmRSS"), ""
    try:
        load(file)
    except ValueError as raised:
        error = str(raised) or "an error without words"
    except BaseException:
        error = "UNEXPECTED " + traceback.format_exc()
    os.write(answer, json.dumps([status("VmHWM") - before, error]).encode()[:60_000])


def main() -> None:
    for line in sys.stdin:
        file = line.rstrip("\n")
        answer, into = os.pipe()
        process = os.fork()
        if process == 0:
            child(file, into)
            os._exit(0)
        os.close(into)
        with os.fdopen(answer, "rb") as pipe:
            text = pipe.read()
        _, end = os.waitpid(process, 0)
        peak, error = json.loads(text) if text else (0, "")
        print(json.dumps([file, os.waitstatus_to_exitcode(end), peak, error]), flush=True)


if __name__ == "__main__":
    main()

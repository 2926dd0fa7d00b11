"""Writes python/genie_env/_core.pyi, the types of the compiled part, from the installed one.

    python cmake/stubs.py            # write it
    python cmake/stubs.py --check    # only say whether the one that is there is current
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pybind11_stubgen

STUB = Path(__file__).parents[1] / "python/genie_env/_core.pyi"


def generate() -> str:
    """The stub of the genie_env._core that Python finds."""
    with tempfile.TemporaryDirectory() as folder:
        pybind11_stubgen.main(["genie_env._core", "--output-dir", folder, "--exit-code"])
        return (Path(folder) / "genie_env" / "_core.pyi").read_text()


def main() -> None:
    text = generate()
    if sys.argv[1:] == ["--check"]:
        if text != STUB.read_text():
            sys.exit(f"{STUB} is not what the bindings say: run python cmake/stubs.py")
    else:
        STUB.write_text(text)


if __name__ == "__main__":
    main()

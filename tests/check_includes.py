"""Says which #include of the C++ sources points the wrong way; exits 1 if one does.

    python tests/check_includes.py [ROOT]

Folders may include lower ones only, a world family knows no other family, and CUDA sources and the
folders that work without LibTorch include none of its headers.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

# What each folder may include besides itself.
CORE = {"core"}
IO = CORE | {"io"}
TENSOR = IO | {"tensor"}
WORLDS = TENSOR | {"kernels", "models"}
ENV = WORLDS | {"worlds"}
MAY_INCLUDE = {
    "core": set(),
    "kernels": TENSOR,
    "io": CORE,
    "tensor": IO,
    "data": TENSOR,
    "models": TENSOR | {"kernels"},
    "worlds": WORLDS,
    "env": ENV,
    "bindings": ENV | {"env", "data"},
}
REGISTRY = "genie_env/worlds/registry.cc"
"""The list of the library's own families."""
WITHOUT_TORCH = {"core", "io"}
INCLUDE = re.compile(r'\s*#\s*include\s*[<"]([^>"]+)[>"]')
TORCH = re.compile(r"(ATen|c10|torch|caffe2)/")


def folder_of(path: str) -> str:
    """The folder of the layout that a file, named from the root, belongs to."""
    parts = path.split("/")
    return parts[1] if parts[0] == "genie_env" else parts[0]


def family_of(path: str) -> str:
    """The world family that a file belongs to; "" outside genie_env/worlds/<family>/."""
    parts = path.split("/")
    return parts[2] if parts[:2] == ["genie_env", "worlds"] and len(parts) > 3 else ""


def complaint(source: str, included: str) -> str:
    """What is wrong with an #include of `source`; "" where nothing is."""
    folder = folder_of(source)
    if TORCH.match(included):
        cuda = source.endswith((".cu", ".cuh")) or "/cuda/" in source
        if cuda or folder in WITHOUT_TORCH:
            what = "a CUDA source" if cuda else f"{folder}/"
            return f"{what} may not include LibTorch's headers"
        return ""
    if not included.startswith(("genie_env/", "bindings/")):
        return ""
    target, family = folder_of(included), family_of(included)
    if target != folder and target not in MAY_INCLUDE[folder]:
        return f"{folder}/ may not include {target}/"
    own = family_of(source)
    if family and own and family != own:
        return f"the family {own} may not include the family {family}"
    if family and folder == "env":
        return "env/ may not include a world family"
    if family and folder == "worlds" and not own and source != REGISTRY:
        return f"what all families share may not include a world family, but for {REGISTRY}"
    return ""


def violations(root: Path) -> Iterator[str]:
    """One line for each #include that points the wrong way."""
    files = [f for folder in ("genie_env", "bindings") for f in (root / folder).rglob("*")]
    for file in sorted(f for f in files if f.suffix in {".h", ".cc", ".cu", ".cuh"}):
        source = file.relative_to(root).as_posix()
        if folder_of(source) not in MAY_INCLUDE:
            yield f"{source}: its folder is unknown to tests/check_includes.py: add it there"
            continue
        for number, line in enumerate(file.read_text().splitlines(), 1):
            match = INCLUDE.match(line)
            if match and (wrong := complaint(source, match[1])):
                yield f"{source}:{number}: {wrong}: {match[1]}"


def main() -> None:
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1]
    found = list(violations(root))
    for line in found:
        print(line)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()

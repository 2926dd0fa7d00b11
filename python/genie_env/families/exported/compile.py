"""Compiles the graphs of an exported world with AOTInductor, for this machine alone.

The machine code lies in a cache outside the world's directory (genie_env/worlds/exported/
compiled_folder.h), and is made from the graphs, never taken from anybody else's file.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch._export.serde.schema import ExportedProgram as Serialised
from torch._export.serde.serialize import ExportedProgramDeserializer, _bytes_to_dataclass
from torch.export import ExportedProgram
from torch.export.pt2_archive import PT2ArchiveReader
from torch.export.pt2_archive._package import _load_constants, _load_state_dict
from torch.export.pt2_archive.constants import MODELS_FILENAME_FORMAT

from genie_env._core import (
    World,
    check_archive,
    compiled_folder,
    compiling_machine,
)
from genie_env.data.progress import busy
from genie_env.envs.world_card import read_config
from genie_env.families.exported.archive import ARCHIVE
from genie_env.families.exported.contract import methods_of
from genie_env.families.exported.graphs import ROWS

MACHINE = "machine.txt"

_SIZE = re.compile(
    r"Symbol\('\w+'(, \w+=(True|False))*\)|(Add|Mul|Integer)(?=\()|[ ,\d()+*-]|//"
)
"""Of what sizes in a graph consist: torch evaluates their text as Python."""

_LONGEST_SIZE = 200


def prepare(directory: Path) -> None:
    """Compiles the world in `directory`, where this machine has not compiled it yet. Raises FormatError
    for a damaged world, RuntimeError where there is no compiler."""
    world = World.load(directory)
    config = read_config(directory, {"follows": bool})
    methods = methods_of(follows=config["follows"], renders="frame" in config)
    folder = compiled_folder(world.spec.fingerprint)
    if _is_whole(folder, methods):
        return
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        made, archive = Path(temporary) / "made", Path(temporary) / ARCHIVE
        made.mkdir(mode=0o700)
        # What is checked is what is compiled, whatever becomes of the directory meanwhile.
        shutil.copyfile(directory / ARCHIVE, archive)
        check_archive(archive, methods, cuda=world.device.type == "cuda")
        if World.load(directory).spec.fingerprint != world.spec.fingerprint:
            raise ValueError(f"{directory} was replaced while it was compiled: try again")
        for number, method in enumerate(methods, 1):
            with busy(f"compiling {method} of {world.spec.name} ({number} of {len(methods)})"):
                _compile(archive, method, made / f"{method}.pt2", world.device)
        (made / MACHINE).write_text(compiling_machine())
        if folder.exists():  # of another machine, or not whole
            folder.rename(Path(temporary) / "replaced")
        try:
            made.rename(folder)
        except OSError:  # another process was first
            if not _is_whole(folder, methods):
                raise


def _is_whole(folder: Path, methods: Sequence[str]) -> bool:
    """Whether everything lies there, and was compiled on this machine."""
    machine = folder / MACHINE
    return (
        machine.exists()
        and machine.read_text() == compiling_machine()
        and all((folder / f"{method}.pt2").exists() for method in methods)
    )


def _compile(archive: Path, method: str, package: Path, device: torch.device) -> None:
    with warnings.catch_warnings(), _torch_says_errors_alone():
        warnings.simplefilter("ignore")  # of what torch does itself
        program = read_graph(archive, method, device)
        torch._inductor.aoti_compile_and_package(program, package_path=str(package))


@contextlib.contextmanager
def _torch_says_errors_alone() -> Iterator[None]:
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def read_graph(archive: Path, method: str, device: torch.device) -> ExportedProgram:
    """A graph of an archive that `check_archive` has passed. Raises ValueError where it has sizes that
    are no sums and products of the number of rows."""
    reader = PT2ArchiveReader(str(archive))
    text = reader.read_string(MODELS_FILENAME_FORMAT.format(method))
    serialised = json.loads(text, object_hook=lambda part: _checked(part, device))
    serialised["guards_code"] = []  # which torch would execute
    program = ExportedProgramDeserializer({}).deserialize(
        _bytes_to_dataclass(Serialised, json.dumps(serialised).encode()),
        _load_state_dict(reader, method),
        _load_constants(reader, method),
        None,
    )
    program._example_inputs = (tuple(_examples(program, device)), {})
    return program


def _checked(part: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """An object of a graph's JSON: results are on the world's device again (see archive.py)."""
    size = part.get("expr_str")
    plain = isinstance(size, str) and len(size) <= _LONGEST_SIZE and "**" not in size
    if size is not None and not (plain and not _SIZE.sub("", size)):
        raise ValueError(
            f"a graph has the size {size!r}, which is not one of rows: export it again"
        )
    if part == {"type": "meta", "index": None}:
        return {"type": device.type, "index": device.index}
    return part


def _examples(program: ExportedProgram, device: torch.device) -> list[torch.Tensor]:
    values = {
        node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"
    }
    return [
        torch.zeros(
            [size if isinstance(size, int) else ROWS for size in values[name].shape],
            dtype=values[name].dtype,
            device=device,
        )
        for name in program.graph_signature.user_inputs
    ]

"""Exported worlds beside the modules that they were made of, in plain PyTorch: the models of the
examples, with weights that are hardly trained.

    python benchmarks/exported_speed.py --compile --json speed.json
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from rich.console import Console

import genie_env
from genie_env.bench import rivals
from genie_env.bench.bench import machine
from genie_env.data.progress import Progress
from genie_env.envs.preparations import prepare_world

EXAMPLES = Path(__file__).parents[1] / "examples" / "python"
NAMES = ("lstm", "rssm", "transformer", "diffusion")


class ExportedError(Exception):
    """Ends an example when it has exported its model."""


def exported(name: str, out: Path) -> tuple[torch.nn.Module, genie_env.World]:
    """The module of an example, after a few updates, and its world."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"exported_{name}.py")
    assert spec is not None and spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    export, found = genie_env.export_world, []

    def capture(module: torch.nn.Module, *places: Any, **declared: Any) -> None:
        found.append((module, export(module, *places, **declared)))
        raise ExportedError

    with (
        mock.patch.object(genie_env, "export_world", capture),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.suppress(ExportedError),
    ):
        example.main(["--out", str(out), "--effort", "0.01"])
    return found[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16, 64, 256, 1024])
    parser.add_argument("--seconds", type=float, default=1.0, help="of every cell")
    parser.add_argument("--compile", action="store_true", help="also worlds that are compiled")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    console = Console(width=110)
    facts = machine(torch.device("cpu"))
    console.print(f"{facts['cpu']} ({facts['instruction_sets']}), threads: {facts['threads']}")
    report: dict[str, Any] = {"machine": facts, "rates": {}}
    with tempfile.TemporaryDirectory() as folder:
        for name in NAMES:
            module, world = exported(name, Path(folder) / name)
            worlds = {name: world}
            if args.compile:
                prepare_world(world.directory, {"compile": True})
                worlds[f"{name}, compile=True"] = genie_env.World.load(
                    world.directory, options={"compile": True}
                )
            for title, each in worlds.items():
                with Progress(console=console, transient=True) as progress:
                    rates = rivals.compare(each, module, args.batch, args.seconds, progress)
                console.print(title)
                rivals.show(console, rates)
                report["rates"][title] = [asdict(rate) for rate in rates]
    if args.json:
        args.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()

"""`genie-env check`: what holds of a world, and what does not."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from genie_env.cli.options import JsonOption


def check(
    world: Annotated[
        str,
        typer.Argument(
            help="world to check: an installed world's name, or a world directory",
            path_type=str,
            show_default=False,
        ),
    ],
    device: Annotated[str, typer.Option(help="device that dreams: cpu, cuda or cuda:1")] = "cpu",
    json_file: JsonOption = None,
) -> None:
    """Dream a few steps of a world, and say which of its promises hold.

    Ends with status 1 where one does not.
    """
    from genie_env import World  # imports torch
    from genie_env.data.files import write_json
    from genie_env.envs.registry import find_world
    from genie_env.envs.world_checks import check_world

    loaded = World.load(find_world(world), device=device)
    console = Console(highlight=False, markup=False)
    console.print(str(loaded), soft_wrap=True)
    findings = []
    for finding in check_world(loaded):
        findings.append(finding)
        console.print(str(finding), soft_wrap=True)
    if json_file is not None:
        write_json(json_file, [asdict(finding) for finding in findings])
    if not all(finding.holds for finding in findings):
        raise typer.Exit(1)

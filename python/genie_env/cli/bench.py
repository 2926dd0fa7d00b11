"""`genie-env bench`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import torch
import typer

from genie_env.bench import bench as measuring
from genie_env.cli.options import (
    DeviceOption,
    FamilyOption,
    JsonOption,
    OptionalWorldOption,
    family_options,
)
from genie_env.envs.plugins import import_function
from genie_env.envs.registry import find_world
from genie_env.families import families, find_family

_EXAMPLES = " or ".join(
    f"{family.name}:{family.random_sizes}" for family in families() if family.random_world
)


def bench(
    world: OptionalWorldOption = None,
    random: Annotated[
        str | None,
        typer.Option(
            help="instead of a world: FAMILY:SIZES, which measures a world of random weights, as in "
            f"{_EXAMPLES}"
        ),
    ] = None,
    batch: Annotated[
        list[int] | None,
        typer.Option(
            help="number of dreams that are stepped together; several numbers; those of the world's "
            "family unless given",
            min=1,
            max=1_000_000,
        ),
    ] = None,
    dtype: Annotated[list[str], typer.Option(help="float32, bfloat16 or auto; may be repeated")] = [
        "auto"
    ],
    seconds: Annotated[
        float,
        typer.Option(
            help="seconds per cell of the table, its repeats together", min=1e-3, max=86_400
        ),
    ] = 2.0,
    device: DeviceOption = "cpu",
    option: FamilyOption = None,
    module: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FUNCTION",
            help="function that returns the PyTorch module that an exported world was made of, which is "
            "measured beside it, eager and compiled",
        ),
    ] = None,
    json_file: JsonOption = None,
    plot_file: Annotated[
        Path | None,
        typer.Option("--plot", help="PNG file for the plot", dir_okay=False, writable=True),
    ] = None,
) -> None:
    """Measure steps/s against batch size: features only, with decoding, and as NumPy arrays.

    Every cell runs seven times, in turns with all others; the table has the median and the best.
    Beside them stands the share of the limit: of what the machine's matrix products allow, measured
    in the same run. Before a world is measured, its dreams are as
    long as its attention window.
    """
    options = family_options(option)
    if (world is None) == (random is None):
        raise ValueError("give either --world or --random FAMILY:SIZES")
    made_of = None
    if module is not None:
        made_of = import_function(module, "--module", "returns a torch.nn.Module")()
    with tempfile.TemporaryDirectory(prefix="genie_env_bench_") as folder:
        directory = (
            find_world(world or "") if random is None else random_world(random, Path(folder))
        )
        loader = measuring.Loader(directory, torch.device(device), options)
        measuring.bench(loader, batch, dtype, seconds, json_file, plot_file, made_of)


def random_world(text: str, folder: Path) -> Path:
    """Writes the world that `--random` describes into `folder`; returns its directory."""
    name, _, sizes = text.partition(":")
    able = [family.name for family in families() if family.random_world is not None]
    family = find_family(name)
    if family.random_world is None:
        raise ValueError(
            f"--random is {text!r}, but the family {name} makes no random worlds; those that do: "
            f"{', '.join(able)}"
        )
    try:
        return family.random_world(folder / "world", sizes)
    except ValueError as error:
        raise ValueError(f"--random is {text!r}: {error}") from error

"""The Python side of a world family of a user's own: see tests/cpp/linear_gaussian.

Importing this registers it, its C++ part through an extension module of its own.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch  # first: it loads the libraries that the extension is linked to
from safetensors.torch import save_file

from genie_env.families import Costs, Family, Product, register_family

NAME = "linear-gaussian"
MODULES = "GENIE_ENV_TEST_MODULES"
"""The environment variable that says where the tests' extension modules are built."""


def extension() -> Path | None:
    """The built `_linear_gaussian`, which comes with GENIE_ENV_TESTS=ON; None where it is missing."""
    build = Path(__file__).parents[3] / "build"
    given = os.environ.get(MODULES)
    folders = [Path(given)] if given else sorted(build.glob("*/tests/cpp"))
    found = [file for folder in folders for file in folder.glob("_linear_gaussian.*.so")]
    return max(found, key=lambda file: file.stat().st_mtime, default=None)


def load_extension(file: Path) -> None:
    """Imports it: its C++ part registers the family with the installed package."""
    spec = importlib.util.spec_from_file_location("_linear_gaussian", file)
    assert spec is not None and spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


def costs(config: Mapping[str, Any], options: Mapping[str, Any]) -> Costs:
    """A step multiplies a vector by the transition matrix."""
    return Costs(step=[Product("transition", 1, config["dimension"], config["dimension"])])


def write_linear_gaussian(directory: Path, dimension: int = 3, name: str = "small") -> Path:
    """Writes a world of this family; returns the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    config = {
        "format_version": 2,
        "family": NAME,
        "name": name,
        "dimension": dimension,
        "actions": ["left", "right"],
        "noise": 0.5,
        "limit": 4.0,
        "max_episode_steps": 50,
    }
    (directory / "config.json").write_text(json.dumps(config))
    pushes = torch.zeros(2, dimension)
    pushes[0, 0], pushes[1, 0] = -0.3, 0.3
    weights = {"transition": 0.9 * torch.eye(dimension), "pushes": pushes}
    save_file(weights, directory / "model.safetensors")
    starts = {"x": torch.arange(4.0)[:, None].repeat(1, dimension) / 4}
    save_file(starts, directory / "starts.safetensors")
    return directory


FAMILY = Family(NAME, default_batches=(1, 64), costs=costs)


def register(file: Path) -> None:
    """Registers both halves."""
    load_extension(file)
    register_family(FAMILY)

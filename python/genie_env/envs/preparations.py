"""What a family does before one of its worlds is loaded. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from genie_env.envs.world_card import read_config

PREPARATIONS: dict[str, Callable[[Path, Mapping[str, Any]], None]] = {}
"""By family, `Family.prepare`. Filled where families are registered, so that this room needs none."""


def prepare_world(directory: Path, options: Mapping[str, Any]) -> None:
    """Prepares the world of a directory for these options of its family."""
    if options:  # without, no family has anything to prepare
        prepare = PREPARATIONS.get(read_config(directory, {"family": str})["family"])
        if prepare is not None:
            prepare(directory, options)

"""What changed between the format versions of a genie world's config.json. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def with_todays_names(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config of any version as version 3 has it."""
    today = dict(config)
    if config["format_version"] == 1:
        for network in ("tokenizer", "dynamics"):
            sizes = dict(config[network])
            sizes["window"] = sizes.pop("band")
            today[network] = sizes
    return today


def dynamics_window(config: Mapping[str, Any]) -> int:
    """The attention window of the dynamics, in frames: format version 1 calls it "band"."""
    name = "band" if config["format_version"] == 1 else "window"
    return int(config["dynamics"][name])

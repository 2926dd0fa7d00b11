"""What changed between the format versions of a genie world's config.json. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FEATURE_AREAS = 4
"""Of a frame: the features are means over each."""
REWARD_BINS = 63
HEAD_UNITS = 256


def with_todays_names(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config of any version as version 3 has it."""
    today = dict(config)
    if config["format_version"] == 1:
        for network in ("tokenizer", "dynamics"):
            sizes = dict(config[network])
            sizes["window"] = sizes.pop("band")
            today[network] = sizes
    return today


def heads_of(config: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """The heads that judge reward and termination (models/genie/heads.h), by name: how many numbers
    each reads and gives. Versions before 3 have none, and neither has a world of video alone."""
    if config["format_version"] < 3 or "reward" not in config:
        return {}
    rewards = REWARD_BINS if config["reward"]["type"] == "learned" else 0
    ends = int(config["termination"] != "never")
    judges = ends if config["termination_reads"] == "next_frame" else 0
    features = FEATURE_AREAS * int(config["dynamics"]["width"])
    before = features + len(config["actions"]["meanings"])
    sizes = {"outcome": (before + features, rewards + judges), "ending": (before, ends - judges)}
    return {name: size for name, size in sizes.items() if size[1]}


def dynamics_window(config: Mapping[str, Any]) -> int:
    """The attention window of the dynamics, in frames: format version 1 calls it "band"."""
    name = "band" if config["format_version"] == 1 else "window"
    return int(config["dynamics"][name])

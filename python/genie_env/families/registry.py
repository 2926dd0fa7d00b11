"""The world families that Python knows. Needs no torch."""

from __future__ import annotations

from pathlib import Path

from genie_env.envs.latent_actions import INFERENCES
from genie_env.envs.preparations import PREPARATIONS
from genie_env.envs.world_card import read_config
from genie_env.families.base import Family
from genie_env.families.exported import EXPORTED
from genie_env.families.genie import GENIE
from genie_env.families.vision_memory import VISION_MEMORY

_FAMILIES: dict[str, Family] = {}


def register_family(family: Family) -> None:
    """Adds a family. Raises ValueError where one of that name is registered."""
    if family.name in _FAMILIES:
        raise ValueError(
            f"a world family {family.name!r} is registered already (registered: {_names()}): give "
            "yours another name"
        )
    _FAMILIES[family.name] = family
    if family.infer_actions is not None:
        INFERENCES[family.name] = family.infer_actions
    if family.prepare is not None:
        PREPARATIONS[family.name] = family.prepare


def families() -> tuple[Family, ...]:
    """All registered families, in the order of their registration."""
    return tuple(_FAMILIES.values())


def find_family(name: str) -> Family:
    """Raises ValueError where no family of that name is registered."""
    if name not in _FAMILIES:
        raise ValueError(
            f"unknown world family {name!r}: give one of {_names()}, or register it with "
            "genie_env.families.register_family"
        )
    return _FAMILIES[name]


def family_of_world(name: str) -> Family:
    """The family of a loaded world, by `world.spec.family`. One that is registered in C++ alone has
    a name and nothing else."""
    return _FAMILIES.get(name, Family(name))


def knows_outcomes(world: Path) -> bool:
    """Whether the world in a directory pays rewards or ends episodes."""
    config = read_config(world, {"family": str})
    if not family_of_world(config["family"]).frames_alone:
        return True
    return config.get("reward") is not None or config.get("termination", "never") != "never"


def _names() -> str:
    return ", ".join(sorted(_FAMILIES))


for _family in (VISION_MEMORY, GENIE, EXPORTED):
    register_family(_family)

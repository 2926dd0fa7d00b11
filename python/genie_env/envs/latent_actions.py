"""How the actions of a world that no recording holds are inferred from frames. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from genie_env.envs.json_files import Schema
from genie_env.envs.world_card import read_config

if TYPE_CHECKING:
    import torch

    from genie_env._core import World


@dataclass(frozen=True)
class ActionInference:
    """The model that infers a world's latent actions."""

    reach: int
    """Frames that an action depends on: the one that it led to, and those before."""
    name: str
    """Of the model, its weights and its precision, as a part of the path of what is kept."""
    encode: Callable[[torch.Tensor], torch.Tensor]
    """Consecutive frames, uint8 [1, T, H, W, 3], to the actions between them, int64 [1, T - 1]."""


_CONFIG: Schema = {"actions?": {"recorded?": bool}}

INFERENCES: dict[str, Callable[[Path], ActionInference]] = {}
"""By family, what loads the model of a world directory; raises ValueError where it has none. Filled
where families are registered, so that this room needs no family."""


def has_latent_actions(family: str, directory: Path) -> bool:
    """Whether the actions of the world in a directory are latent: those of a family that infers them,
    unless config.json says that this world's are recorded. Raises ValueError where that is damaged."""
    if family not in INFERENCES:
        return False
    return not read_config(directory, _CONFIG).get("actions", {}).get("recorded", False)


def action_inference(world: World) -> ActionInference | None:
    """None where a world's actions are those of its recordings. Raises ValueError where they are
    latent, and nothing infers them."""
    family, directory = world.spec.family, Path(world.directory)
    return INFERENCES[family](directory) if has_latent_actions(family, directory) else None

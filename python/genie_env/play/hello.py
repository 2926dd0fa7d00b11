"""What a page is told of its world before anything else."""

from __future__ import annotations

import math
from typing import Any

from genie_env._core import World, WorldSpec
from genie_env.envs.frame_rate import frames_per_second
from genie_env.play.shared import Shared

STARTS = 24
"""In the picker: those that the seeds 0, 1, 2, ... draw."""


def offered(spec: WorldSpec) -> dict[str, Any]:
    """The options of a world that a page may change, by name. To compile a model takes minutes."""
    return {name: option for name, option in spec.options.items() if name != "compile"}


def hello(world: World, shared: Shared, temperature: float) -> dict[str, Any]:
    spec = world.spec
    return {
        "type": "hello",
        "world": spec.name,
        "family": spec.family,
        "fps": frames_per_second(spec),
        "actions": shared.controls.as_json(),
        "temperature": temperature,
        "options": [_option(option) for option in offered(spec).values()],
        "starts": STARTS,
        "takes_pictures": spec.begins_from_frames,
        "real": shared.no_real_game is None,
        "agent": shared.agent_name,
    }


def _option(option: Any) -> dict[str, Any]:
    bounded = option.type in ("integer", "number")
    return {
        "name": option.name,
        "type": option.type,
        "choices": list(option.choices) or None,
        "minimum": option.low if bounded and math.isfinite(option.low) else None,
        "maximum": option.high if bounded and math.isfinite(option.high) else None,
        "value": option.value,
        "description": option.description,
    }

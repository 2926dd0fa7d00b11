"""A vision-memory world of random weights, for `genie-env bench --random vision-memory:SIZES`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from genie_env._core import Memory, Trainer, Vision
from genie_env.families.random_sizes import parse_sizes
from genie_env.families.world_files import prefixed, write_world

_NUMBERS = ("latents", "hidden", "components")
_EXPECTED = (
    "each of latents, hidden, components once, as in latents=64,hidden=512,components=5, and "
    "mixture=joint for one mixture over whole latent vectors"
)
_ACTIONS = ["left", "stay", "right"]
_FRAME = {"height": 64, "width": 64}
_STARTS = 16


def random_vision_memory_world(directory: Path, text: str) -> Path:
    """Writes the world of these sizes, as in "latents=64,hidden=512,components=5,mixture=joint";
    returns the directory. `mixture` may be left out.

    Raises ValueError where one is missing, unknown, given twice or cannot be.
    """
    given = parse_sizes(text, _NUMBERS, ("mixture",), _EXPECTED, words=("mixture",))
    sizes = {name: given[name] for name in _NUMBERS}
    kind: dict[str, Any] = {"mixture": given.get("mixture", "independent")}
    memory = Trainer(Memory(**sizes, **kind, actions=len(_ACTIONS), seed=1)).weights()
    # M has something to say, and about one step in 150 ends an episode.
    memory = {name: 3 * weight for name, weight in memory.items()}
    memory["output.bias"][-1] = -5
    generator = torch.Generator().manual_seed(0)
    write_world(
        directory,
        {
            "family": "vision-memory",
            "name": "random-vision-memory",
            "sizes": sizes,
            **kind,
            "actions": {"type": "discrete", "meanings": _ACTIONS, "start": 0},
            "frame": _FRAME,
            "frame_skip": 1,
            "max_episode_steps": 2**31 - 1,
            "reward": {"type": "constant", "per_step": 1.0},
            "temperature": 1.0,
            "termination": "sampled",
            "termination_reads": "action",
        },
        {
            **prefixed("vision", Trainer(Vision(latents=sizes["latents"], **_FRAME)).weights()),
            **prefixed("memory", memory),
        },
        {
            "mu": torch.randn(_STARTS, sizes["latents"], generator=generator),
            "logvar": torch.full((_STARTS, sizes["latents"]), -2.0),
        },
    )
    return directory

"""The vision-memory family: World Models (Ha & Schmidhuber 2018)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from genie_env.families.base import RESUMES, Command, Family
from genie_env.families.vision_memory.costs import vision_memory_costs

if TYPE_CHECKING:
    from genie_env._core import WorldSpec

_COMMANDS = "genie_env.families.vision_memory.commands"


def _random_world(directory: Path, sizes: str) -> Path:
    from genie_env.families.vision_memory.random_world import random_vision_memory_world

    return random_vision_memory_world(directory, sizes)


def _latents(spec: WorldSpec) -> tuple[str, str, int]:
    """z, of `zch` and `zh`, which are z, c and h, and z and h."""
    sizes = {each.name: each.shape[0] for each in spec.observations}
    return "z", "zch", 2 * sizes["zh"] - sizes["zch"]


VISION_MEMORY = Family(
    name="vision-memory",
    costs=vision_memory_costs,
    random_world=_random_world,
    random_sizes="latents=64,hidden=512,components=5,mixture=joint",
    latents=_latents,
    calibrated_option="termination",
    commands=(
        Command(
            "train",
            "vision",
            f"{_COMMANDS}:train_vision",
            "Train V, a variational autoencoder, on recorded frames.",
            "train vision --data data/doom --out runs/vision",
            RESUMES,
        ),
        Command(
            "train",
            "memory",
            f"{_COMMANDS}:train_memory",
            "Train M, an LSTM with a mixture density output, on recorded episodes as V encodes them.",
            "train memory --data data/doom --vision runs/vision --out runs/memory",
            RESUMES,
        ),
        Command(
            "freeze",
            "vision-memory",
            f"{_COMMANDS}:freeze_vision_memory",
            "Freeze V and M into a world directory.",
            "freeze vision-memory --vision runs/vision --memory runs/memory --out runs/world",
        ),
        Command(
            "import",
            "checkpoint",
            f"{_COMMANDS}:import_checkpoint",
            "Bring V and M that others published into a world directory, as they are.",
            "import checkpoint --layout ctallec --vision vae/best.tar --memory mdrnn/best.tar "
            "--starts data/car --reward-per-step 0 --out runs/car",
        ),
    ),
)

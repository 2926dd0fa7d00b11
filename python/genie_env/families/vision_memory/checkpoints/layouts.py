"""The layouts of published checkpoints that are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from genie_env.families.vision_memory.checkpoints.ctallec import read_ctallec
from genie_env.families.vision_memory.checkpoints.hardmaru import read_hardmaru
from genie_env.families.vision_memory.checkpoints.networks import ReadNetworks
from genie_env.families.vision_memory.checkpoints.sksq96 import read_sksq96


@dataclass(frozen=True)
class Layout:
    """How a repository names, shapes and uses the tensors of V and M."""

    repository: str
    """On GitHub."""
    read: Callable[[Path, Path], ReadNetworks]
    """V's file and M's. Raises ValueError, which lists all that does not fit, and OSError."""


LAYOUTS = {
    "ctallec": Layout("ctallec/world-models", read_ctallec),
    "hardmaru": Layout("hardmaru/WorldModelsExperiments", read_hardmaru),
    "sksq96": Layout("sksq96/pytorch-vae and sksq96/pytorch-mdn", read_sksq96),
}

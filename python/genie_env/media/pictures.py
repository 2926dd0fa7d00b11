"""Pictures that a training run leaves beside its figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

ENLARGED = 2


def save_rows(file: Path, rows: Sequence[torch.Tensor]) -> None:
    """Writes one picture of rows of frames, each uint8 [M, H, W, 3], the first on top."""
    grid = torch.stack(list(rows)).permute(0, 2, 1, 3, 4).flatten(2, 3).flatten(0, 1)
    picture = Image.fromarray(grid.cpu().numpy())
    size = (picture.width * ENLARGED, picture.height * ENLARGED)
    picture.resize(size, Image.Resampling.NEAREST).save(file)

"""Pictures that a training run leaves beside its figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image


def save_rows(file: Path, rows: Sequence[torch.Tensor], scale: int = 2) -> None:
    """Writes one picture of rows of frames, each uint8 [M, H, W, 3], the first on top, every pixel
    enlarged to a block of `scale` x `scale`."""
    grid = torch.stack(list(rows)).permute(0, 2, 1, 3, 4).flatten(2, 3).flatten(0, 1)
    picture = Image.fromarray(grid.cpu().numpy())
    size = (picture.width * scale, picture.height * scale)
    picture.resize(size, Image.Resampling.NEAREST).save(file)

"""Writes pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from genie_env.data.files import write_atomically


def save_picture(file: Path, picture: Image.Image) -> None:
    """Writes a picture in the format that the file's name ends with. Raises ValueError where that
    is none, OSError where the disk is full; `file` is then as it was."""
    formats = Image.registered_extensions()
    kind = formats.get(file.suffix.lower(), "")
    if kind not in Image.SAVE:
        raise ValueError(f"{file} does not end as the name of a picture does: give .png or .jpg")
    write_atomically(file, lambda temporary: picture.save(temporary, format=kind))


def save_rows(file: Path, rows: Sequence[torch.Tensor], scale: int = 2) -> None:
    """Writes one picture of rows of frames, each uint8 [M, H, W, 3], the first on top, every pixel
    enlarged to a block of `scale` x `scale`."""
    grid = torch.stack(list(rows)).permute(0, 2, 1, 3, 4).flatten(2, 3).flatten(0, 1)
    picture = Image.fromarray(grid.cpu().numpy())
    size = (picture.width * scale, picture.height * scale)
    save_picture(file, picture.resize(size, Image.Resampling.NEAREST))

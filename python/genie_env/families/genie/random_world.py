"""A genie world of random weights, for `genie-env bench --random genie:SIZES`."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch

from genie_env._core import Dynamics, Tokenizer, Trainer
from genie_env.families.world_files import prefixed, write_world
from genie_env.training.dynamics import DynamicsSizes
from genie_env.training.tokenizer import TokenizerSizes

_EXAMPLE = "T=16,S=64,d=256,blocks=6,heads=8,codes=1024,K=8"
_ACTIONS = 6
_STARTS = 16


@dataclass(frozen=True)
class GenieSizes:
    """The dynamics' sizes, by the letters of the paper. The tokenizer's are the defaults of its
    training."""

    T: int
    """Attention window, in frames."""
    S: int
    """Tokens a frame."""
    d: int
    """Width."""
    blocks: int
    heads: int
    codes: int
    K: int
    """MaskGIT passes a frame."""

    @staticmethod
    def parse(text: str) -> GenieSizes:
        """From "T=16,S=64,d=256,blocks=6,heads=8,codes=1024,K=8": all of them, in any order.

        Raises ValueError where one is missing, unknown, given twice or no integer.
        """
        names = [field.name for field in fields(GenieSizes)]
        sizes: dict[str, int] = {}
        for part in text.split(","):
            name, _, value = part.partition("=")
            if name not in names or name in sizes or not value.isdecimal():
                raise ValueError(
                    f"{part!r} in it is not understood; expected each of {', '.join(names)} once, as in "
                    f"{_EXAMPLE}"
                )
            if len(value) > 9:
                raise ValueError(f"{name} in it is larger than any world's")
            sizes[name] = int(value)
        missing = [name for name in names if name not in sizes]
        if missing:
            raise ValueError(f"it is without {', '.join(missing)}: give them too")
        return GenieSizes(**sizes)


def random_genie_world(directory: Path, sizes: GenieSizes) -> Path:
    """Writes such a world; returns the directory.

    A frame is the rectangle of S patches that is closest to a square. Raises ValueError naming the
    size that no network can have.
    """
    if sizes.S < 1:
        raise ValueError(f"S is {sizes.S}, expected 1 or more")
    try:
        return _write(directory, sizes)
    except ValueError as error:
        raise ValueError(
            f"{error} (T is the window, S the number of patches, d the width, K the passes)"
        ) from error


def _write(directory: Path, sizes: GenieSizes) -> Path:
    tokenizer_sizes = asdict(TokenizerSizes(codes=sizes.codes))
    dynamics_sizes = asdict(
        DynamicsSizes(
            width=sizes.d,
            heads=sizes.heads,
            blocks=sizes.blocks,
            window=sizes.T,
            passes=sizes.K,
        )
    )
    frame = _frame(sizes.S, tokenizer_sizes["patch"])
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(_ACTIONS, tokenizer_sizes["code_dimensions"], generator=generator)
    tokenizer = Trainer(Tokenizer(frame=frame, **tokenizer_sizes))
    dynamics = Trainer(Dynamics(codes, positions=sizes.S, codes=sizes.codes, **dynamics_sizes))
    write_world(
        directory,
        {
            "family": "genie",
            "name": "random-genie",
            "frame": {"height": frame[0], "width": frame[1]},
            "tokenizer": tokenizer_sizes,
            "dynamics": dynamics_sizes,
            "order": "confidence",
            "actions": {
                "meanings": [str(i) for i in range(_ACTIONS)],
                "code_dimensions": codes.shape[1],
            },
            "frame_skip": 1,
            "max_episode_steps": 2**31 - 1,
            "temperature": 1.0,
        },
        {
            **prefixed("tokenizer", tokenizer.weights()),
            **prefixed("dynamics", dynamics.weights()),
            "action_codes": codes,
        },
        {"tokens": torch.randint(sizes.codes, (_STARTS, sizes.S), generator=generator)},
    )
    return directory


def _frame(positions: int, patch: int) -> tuple[int, int]:
    """Height and width in pixels."""
    rows = next(n for n in range(math.isqrt(positions), 0, -1) if positions % n == 0)
    return rows * patch, positions // rows * patch

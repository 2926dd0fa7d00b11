"""A world of the genie family with random weights: what `genie-env bench --genie` measures."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path

import torch

from genie_env._core import Dynamics, Tokenizer, Trainer
from genie_env.families.world_files import prefixed, write_world

_EYES = {
    "patch": 8,
    "width": 192,
    "heads": 3,
    "encoder_blocks": 4,
    "decoder_blocks": 4,
    "code_dimensions": 8,
    "window": 4,
}
"""The tokenizer's sizes: those that training takes by default."""
_ACTIONS = 6
_STARTS = 16


@dataclass(frozen=True)
class GenieSizes:
    """The dynamics' sizes, by the letters that `--genie` takes."""

    T: int
    """Frames that a layer looks at."""
    S: int
    """Tokens a frame."""
    d: int
    """Width."""
    blocks: int
    heads: int
    codes: int
    K: int
    """Passes of MaskGIT a frame."""

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
                    f"--genie is {text!r}, and {part!r} in it is not understood; expected each of "
                    f"{', '.join(names)} once, as in T=16,S=64,d=256,blocks=6,heads=8,codes=1024,"
                    "K=8"
                )
            if len(value) > 9:
                raise ValueError(
                    f"--genie is {text!r}, and {name} in it is larger than any world's"
                )
            sizes[name] = int(value)
        missing = [name for name in names if name not in sizes]
        if missing:
            raise ValueError(f"--genie is {text!r}, without {', '.join(missing)}: give them too")
        return GenieSizes(**sizes)


def random_genie_world(directory: Path, sizes: GenieSizes) -> Path:
    """Writes such a world; returns the directory.

    A frame is the rectangle of S patches that is closest to a square. Sizes that no network can
    have raise ValueError, which names the one that is wrong.
    """
    if sizes.S < 1:
        raise ValueError(f"S is {sizes.S}, expected 1 or more")
    frame = _frame(sizes.S)
    eyes = {**_EYES, "codes": sizes.codes}
    mind = {
        "width": sizes.d,
        "heads": sizes.heads,
        "blocks": sizes.blocks,
        "window": sizes.T,
        "passes": sizes.K,
    }
    generator = torch.Generator().manual_seed(0)
    action_codes = torch.randn(_ACTIONS, _EYES["code_dimensions"], generator=generator)
    tokenizer = Trainer(Tokenizer(frame=frame, **eyes))
    dynamics = Trainer(Dynamics(action_codes, positions=sizes.S, codes=sizes.codes, **mind))
    write_world(
        directory,
        {
            "family": "genie",
            "name": "random-genie",
            "frame": {"height": frame[0], "width": frame[1]},
            "tokenizer": eyes,
            "dynamics": mind,
            "order": "confidence",
            "actions": {
                "meanings": [str(i) for i in range(_ACTIONS)],
                "code_dimensions": action_codes.shape[1],
            },
            "frame_skip": 1,
            "max_episode_steps": 2**31 - 1,
            "temperature": 1.0,
        },
        {
            **prefixed("tokenizer", tokenizer.weights()),
            **prefixed("dynamics", dynamics.weights()),
            "action_codes": action_codes,
        },
        {"tokens": torch.randint(sizes.codes, (_STARTS, sizes.S), generator=generator)},
    )
    return directory


def _frame(positions: int) -> tuple[int, int]:
    """Height and width in pixels."""
    rows = next(n for n in range(math.isqrt(positions), 0, -1) if positions % n == 0)
    patch = _EYES["patch"]
    return rows * patch, positions // rows * patch


"""A genie world of random weights, for `genie-env bench --random genie:SIZES`."""

from __future__ import annotations

import math
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from genie_env._core import Dynamics, Heads, Tokenizer, Trainer
from genie_env.families.genie.config import FEATURE_AREAS
from genie_env.families.random_sizes import parse_sizes
from genie_env.families.world_files import prefixed, write_world
from genie_env.training.dynamics import DynamicsSizes
from genie_env.training.tokenizer import TokenizerSizes

_EXAMPLE = "T=16,S=64,d=256,blocks=6,heads=8,codes=1024,K=8"
_ACTIONS = 6
_STARTS = 16
OUTCOMES: dict[str, Any] = {
    "reward": {"type": "learned", "low": -1.0, "high": 1.0},
    "termination": "sampled",
    "termination_reads": "next_frame",
}
"""What the config of a world with heads says of them."""


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
    judges: int = 0
    """1: with heads that judge reward and termination; may be left out."""
    local: int = 0
    """1: dynamics that are given what is near (`train dynamics --local`); may be left out."""

    @staticmethod
    def parse(text: str) -> GenieSizes:
        """From "T=16,S=64,d=256,blocks=6,heads=8,codes=1024,K=8": all of them, in any order; and
        judges=1 for a world with heads that judge reward and termination, local=1 for one whose dynamics
        are given what is near (`train dynamics --local`).

        Raises ValueError where one is missing, unknown, given twice or no integer.
        """
        names = [field.name for field in fields(GenieSizes)]
        optional = [field.name for field in fields(GenieSizes) if field.default is not MISSING]
        required = [name for name in names if name not in optional]
        expected = (
            f"each of {', '.join(required)} once, as in {_EXAMPLE}, and {optional[0]}=1 for a world "
            f"with rewards and terminations, {optional[1]}=1 for dynamics that are given what is near"
        )
        return GenieSizes(**parse_sizes(text, required, optional, expected))


def random_genie_world(directory: Path, sizes: GenieSizes) -> Path:
    """Writes such a world; returns the directory.

    A frame is the rectangle of S patches that is closest to a square. Raises ValueError naming the
    size that no network can have.
    """
    if sizes.S < 1:
        raise ValueError(f"S is {sizes.S}, expected 1 or more")
    for name in ("judges", "local"):
        if getattr(sizes, name) not in (0, 1):
            raise ValueError(f"{name} is {getattr(sizes, name)}, expected 0 or 1")
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
    if sizes.local:
        dynamics_sizes["columns"] = frame[1] // tokenizer_sizes["patch"]
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
            **(OUTCOMES if sizes.judges else {}),
        },
        {
            **prefixed("tokenizer", tokenizer.weights()),
            **prefixed("dynamics", dynamics.weights()),
            "action_codes": codes,
            **(_heads(FEATURE_AREAS * sizes.d) if sizes.judges else {}),
        },
        {"tokens": torch.randint(sizes.codes, (_STARTS, sizes.S), generator=generator)},
    )
    return directory


def _heads(features: int) -> dict[str, torch.Tensor]:
    """The weights of heads of which about one step in 150 ends an episode."""
    low, high = OUTCOMES["reward"]["low"], OUTCOMES["reward"]["high"]
    heads = Heads(
        features=features,
        actions=_ACTIONS,
        rewards=(low, high),
        termination=True,
        judges_termination=True,
    )
    weights = Trainer(heads).weights()
    weights["outcome.output.bias"][-1] = -5
    return prefixed("heads", weights)


def _frame(positions: int, patch: int) -> tuple[int, int]:
    """Height and width in pixels."""
    rows = next(n for n in range(math.isqrt(positions), 0, -1) if positions % n == 0)
    return rows * patch, positions // rows * patch

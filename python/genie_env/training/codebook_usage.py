"""How evenly a codebook is used, and whether it has collapsed."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from genie_env.training.loop import CollapseWatch


def usage(codes: torch.Tensor, count: int) -> dict[str, float]:
    """Of codes over many clips: "codes_used", the share of the `count` codes that occur;
    "perplexity", the number of codes that would be as varied if used alike; "rarest", the share of
    the code that occurs least.

    >>> usage(torch.tensor([[0, 1, 1, 0]]), 4)
    {'codes_used': 0.5, 'perplexity': 2.0, 'rarest': 0.0}
    """
    shares = torch.bincount(codes.flatten(), minlength=count).double() / codes.numel()
    entropy = -torch.special.xlogy(shares, shares).sum()
    return {
        "codes_used": (shares > 0).double().mean().item(),
        "perplexity": entropy.exp().item(),
        "rarest": shares.min().item(),
    }


def least_varied(count: int) -> float:
    """The perplexity below which `count` codes say next to nothing: 2, or of two codes 1.5."""
    return min(2, (1 + count) / 2)


def watch_perplexity(least: float, remedy: str, *, stop: bool) -> CollapseWatch:
    """Calls a perplexity below `least` a collapse."""

    def find(figures: Mapping[str, float]) -> str:
        perplexity = figures["perplexity"]
        if perplexity >= least:
            return ""
        return (
            f"its codes are as varied as {perplexity:.2f} codes used alike (expected at least "
            f"{least:g}); {remedy}"
        )

    return CollapseWatch(find, stop)

"""How evenly a codebook is used, and whether it has collapsed."""

from __future__ import annotations

import torch

from genie_env.training.loop import CollapseWatch


def usage(codes: torch.Tensor, count: int) -> dict[str, float]:
    """How often each of the `count` codes occurs in `codes`, integers of any shape.

    "codes_used" is the share of the codebook that occurs at all; "perplexity" the exponential of
    the entropy, which is `count` where all codes occur equally often; "rarest" the share of the
    code that occurs least.

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
    """The perplexity below which a codebook of `count` codes has collapsed: 2, or 1.5 of two codes."""
    return min(2, (1 + count) / 2)


def watch_perplexity(least: float, remedy: str, *, stop: bool) -> CollapseWatch:
    """A watch for which a perplexity below `least` is a collapse; `remedy` ends its warning."""

    def find(perplexity: float) -> str:
        if perplexity >= least:
            return ""
        return (
            f"its codes are as varied as {perplexity:.2f} codes used alike (expected at least "
            f"{least:g}); {remedy}"
        )

    return CollapseWatch("perplexity", find, stop)

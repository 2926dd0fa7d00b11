"""The matrix products of a step of V and M."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genie_env.families.base import Costs, Options, Product


def vision_memory_costs(config: Mapping[str, Any], options: Options) -> Costs:
    """Every transposed convolution counts as a product over the pixels of its input. The first two
    layers of the decoder, both linear, are one, as on the CPU."""
    sizes = config["sizes"]
    latents, hidden = sizes["latents"], sizes["hidden"]
    return Costs(
        step=[
            Product("input", 1, latents + 2, 4 * hidden),
            Product("hidden", 1, hidden, 4 * hidden),
            Product("output", 1, hidden, 3 * latents * sizes["components"] + 1),
        ],
        decoding=[
            Product("deconv1", 1 * 1, latents, 128 * 5 * 5),
            Product("deconv2", 5 * 5, 128, 64 * 5 * 5),
            Product("deconv3", 13 * 13, 64, 32 * 6 * 6),
            Product("deconv4", 30 * 30, 32, 3 * 6 * 6),
        ],
    )

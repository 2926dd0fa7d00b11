"""The matrix products that a world's step is made of: what `bench` measures it against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Product:
    """[rows, inner] x [inner, outer], for one dream of a batch."""

    rows: int
    inner: int
    outer: int

    @property
    def flops(self) -> int:
        return 2 * self.rows * self.inner * self.outer


def step_products(config: dict[str, Any]) -> list[Product]:
    """The matrix products of one step without pixels."""
    sizes = _vision_memory_sizes(config)
    latents, hidden = sizes["latents"], sizes["hidden"]
    return [
        Product(1, latents + 2, 4 * hidden),
        Product(1, hidden, 4 * hidden),
        Product(1, hidden, 3 * latents * sizes["components"] + 1),
    ]


def decoding_products(config: dict[str, Any]) -> list[Product]:
    """Those of decoding one frame: every transposed convolution as a product over its input."""
    latents = _vision_memory_sizes(config)["latents"]
    return [
        Product(1, latents, 1024),
        Product(1 * 1, 1024, 128 * 5 * 5),
        Product(5 * 5, 128, 64 * 5 * 5),
        Product(13 * 13, 64, 32 * 6 * 6),
        Product(30 * 30, 32, 3 * 6 * 6),
    ]


def _vision_memory_sizes(config: dict[str, Any]) -> dict[str, int]:
    if config["family"] != "vision-memory":
        raise ValueError(
            f"the world's family is {config['family']!r}; the matrix products of 'vision-memory' "
            "alone are known"
        )
    sizes: dict[str, int] = config["sizes"]
    return sizes

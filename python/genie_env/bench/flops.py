"""The matrix products that a world's step is made of: what `bench` measures it against."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch  # noqa: F401  (comes first: it loads the libraries that _core is linked to)

from genie_env._core import mask_schedule


@dataclass(frozen=True)
class Product:
    """[rows, inner] x [inner, outer], for one dream of a batch."""

    layer: str
    """Whose weights; products of one layer share them."""
    rows: int
    inner: int
    outer: int

    @property
    def flops(self) -> int:
        return 2 * self.rows * self.inner * self.outer


def step_products(config: dict[str, Any]) -> list[Product]:
    """The products with weights of one step without pixels, in their order."""
    if config["family"] == "genie":
        return list(_genie_step(config))
    sizes = _vision_memory_sizes(config)
    latents, hidden = sizes["latents"], sizes["hidden"]
    return [
        Product("input", 1, latents + 2, 4 * hidden),
        Product("hidden", 1, hidden, 4 * hidden),
        Product("output", 1, hidden, 3 * latents * sizes["components"] + 1),
    ]


def decoding_products(config: dict[str, Any]) -> list[Product]:
    """Those of decoding one frame: every transposed convolution as a product over its input."""
    if config["family"] == "genie":
        return list(_genie_decoding(config))
    latents = _vision_memory_sizes(config)["latents"]
    return [
        Product("expand", 1, latents, 1024),
        Product("deconv1", 1 * 1, 1024, 128 * 5 * 5),
        Product("deconv2", 5 * 5, 128, 64 * 5 * 5),
        Product("deconv3", 13 * 13, 64, 32 * 6 * 6),
        Product("deconv4", 30 * 30, 32, 3 * 6 * 6),
    ]


def window(config: dict[str, Any]) -> int:
    """Steps after which a step costs what all later ones cost: until then it has less to look at."""
    if config["family"] != "genie":
        return 0
    name = "band" if config["format_version"] == 1 else "window"
    return int(config["dynamics"][name])


def _genie_step(config: dict[str, Any]) -> Iterator[Product]:
    """MaskGIT's passes over a frame, and the one that commits it (see worlds/genie/genie_cpu.cc): the
    last block computes only positions that are hidden, and, where the frame is committed, keys and
    values alone. Positions look at each other in products without weights, which are left out."""
    sizes, positions = config["dynamics"], _positions(config)
    width, last = sizes["width"], sizes["blocks"] - 1

    def feed(block: str, rows: int) -> Iterator[Product]:
        yield Product(f"{block}.time.output", rows, width, width)
        yield Product(f"{block}.widen", rows, width, 4 * width)
        yield Product(f"{block}.narrow", rows, 4 * width, width)

    def blocks(hidden: int) -> Iterator[Product]:
        for i in range(last + 1):
            rows = positions if i < last else hidden
            yield Product(f"{i}.space.qkv", positions, width, 3 * width)
            yield Product(f"{i}.space.output", positions, width, width)
            yield Product(f"{i}.time.qkv", rows or positions, width, 3 * width)
            if rows:
                yield from feed(str(i), rows)

    hidden = positions
    for left in mask_schedule(positions, sizes["passes"]):
        if left < hidden:
            yield from blocks(hidden)
            yield Product("to_logits", hidden, width, config["tokenizer"]["codes"])
        hidden = left
    yield from blocks(0)


def _genie_decoding(config: dict[str, Any]) -> Iterator[Product]:
    sizes, positions = config["tokenizer"], _positions(config)
    width = sizes["width"]
    for i in range(sizes["decoder_blocks"]):
        yield Product(f"decoder{i}.space.qkv", positions, width, 3 * width)
        yield Product(f"decoder{i}.space.output", positions, width, width)
        yield Product(f"decoder{i}.widen", positions, width, 4 * width)
        yield Product(f"decoder{i}.narrow", positions, 4 * width, width)
    yield Product("to_pixels", positions, width, 3 * sizes["patch"] ** 2)


def _positions(config: dict[str, Any]) -> int:
    frame, patch = config["frame"], config["tokenizer"]["patch"]
    return int(frame["height"] // patch * (frame["width"] // patch))


def _vision_memory_sizes(config: dict[str, Any]) -> dict[str, int]:
    if config["family"] != "vision-memory":
        raise ValueError(
            f"the world's family is {config['family']!r}; the matrix products of 'vision-memory' "
            "and 'genie' alone are known"
        )
    sizes: dict[str, int] = config["sizes"]
    return sizes

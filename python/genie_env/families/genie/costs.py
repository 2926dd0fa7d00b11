"""The matrix products of a step of Genie's dynamics, and of decoding a frame's tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from genie_env.families.base import Costs, Options, Product
from genie_env.families.genie.config import HEAD_UNITS, dynamics_window, heads_of


def genie_costs(config: Mapping[str, Any], options: Options) -> Costs:
    """Left out are the products in which positions attend to each other, which have no weights, and
    convolutions over neighbours."""
    passes = int(options.get("passes", config["dynamics"]["passes"]))
    return Costs(
        step=list(_step(config, passes)),
        decoding=list(_decoding(config)),
        warm_up_steps=dynamics_window(config),
    )


def _step(config: Mapping[str, Any], passes: int) -> Iterator[Product]:
    """MaskGIT's passes over a frame, and the one that commits it (see worlds/genie/genie_cpu.cc): the
    last block computes only positions that are hidden, and, where the frame is committed, keys and
    values alone."""
    import torch  # noqa: F401  (comes first: it loads the libraries that _core is linked to)

    from genie_env._core import mask_schedule

    sizes, positions = config["dynamics"], _positions(config)
    width, last = sizes["width"], sizes["blocks"] - 1

    def blocks(hidden: int) -> Iterator[Product]:
        for i in range(last + 1):
            rows = positions if i < last else hidden
            yield Product(f"{i}.space.qkv", positions, width, 3 * width)
            yield Product(f"{i}.space.output", positions, width, width)
            yield Product(f"{i}.time.qkv", rows or positions, width, 3 * width)
            if rows:
                yield Product(f"{i}.time.output", rows, width, width)
                yield from _feed_forward(str(i), rows, width)

    hidden = positions
    for left in mask_schedule(positions, passes):
        if left < hidden:
            yield from blocks(hidden)
            yield Product("to_logits", hidden, width, config["tokenizer"]["codes"])
        hidden = left
    yield from blocks(0)
    for name, (inputs, outputs) in heads_of(config).items():
        yield Product(f"{name}.units", 1, inputs, HEAD_UNITS)
        yield Product(f"{name}.output", 1, HEAD_UNITS, outputs)


def _decoding(config: Mapping[str, Any]) -> Iterator[Product]:
    sizes, positions = config["tokenizer"], _positions(config)
    width = sizes["width"]
    for i in range(sizes["decoder_blocks"]):
        yield Product(f"decoder{i}.space.qkv", positions, width, 3 * width)
        yield Product(f"decoder{i}.space.output", positions, width, width)
        yield from _feed_forward(f"decoder{i}", positions, width)
    yield Product("to_pixels", positions, width, 3 * sizes["patch"] ** 2)


def _feed_forward(block: str, rows: int, width: int) -> Iterator[Product]:
    import torch  # noqa: F401  (see _step)

    from genie_env._core import Dynamics

    hidden = Dynamics.feed_forward_factor * width
    yield Product(f"{block}.widen", rows, width, hidden)
    yield Product(f"{block}.narrow", rows, hidden, width)


def _positions(config: Mapping[str, Any]) -> int:
    frame, patch = config["frame"], config["tokenizer"]["patch"]
    return int(frame["height"] // patch * (frame["width"] // patch))

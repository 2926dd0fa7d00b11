"""The matrix products of a step of V and M."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genie_env.envs.actions import actions_of_json
from genie_env.families.base import Costs, Options, Product

OUTCOME_UNITS, REWARD_BINS = 256, 63
"""As in models/vision_memory/sizes.h and models/layers/reward_range.h."""


def vision_memory_costs(config: Mapping[str, Any], options: Options) -> Costs:
    """Every transposed convolution counts as a product over the pixels of its input. The first two
    layers of the decoder, both linear, are one, as on the CPU."""
    sizes = config["sizes"]
    latents, hidden = sizes["latents"], sizes["hidden"]
    outputs = _judged(config)
    outcome = [
        Product("outcome units", 1, hidden + latents, OUTCOME_UNITS),
        Product("outcome", 1, OUTCOME_UNITS, outputs),
    ]
    return Costs(
        step=[
            Product("input", 1, latents + _action_inputs(config) + 1, 4 * hidden),
            Product("hidden", 1, hidden, 4 * hidden),
            Product("output", 1, hidden, _outputs(config)),
            *(outcome if outputs else []),
        ],
        decoding=_decoding(latents, config["frame"], config.get("decoder_features") == "rectified"),
    )


def _decoding(latents: int, frame: Mapping[str, int], rectified: bool) -> list[Product]:
    # Sides of 48 are seen as 64 (VisionSide in models/vision_memory/sizes.h).
    sides = [(max(frame[side], 64) - 48) // 16 for side in ("height", "width")]
    products = []
    if rectified:
        products.append(Product("expand", 1, latents, 1024 * sides[0] * sides[1]))
    layers = [(1024, 128, 5), (128, 64, 5), (64, 32, 6), (32, 3, 6)]
    for index, (inputs, outputs, kernel) in enumerate(layers, start=1):
        height, width = sides
        sides = [2 * (side - 1) + kernel for side in sides]
        if index == 1 and not rectified:  # with the layer before it
            products.append(Product("deconv1", 1, latents, outputs * sides[0] * sides[1]))
        else:
            products.append(
                Product(f"deconv{index}", height * width, inputs, outputs * kernel * kernel)
            )
    return products


def _outputs(config: Mapping[str, Any]) -> int:
    """As in models/vision_memory/sizes.h."""
    latents, components = (config["sizes"][name] for name in ("latents", "components"))
    mixtures = 1 if config.get("mixture") == "joint" else latents
    outputs: int = (mixtures + 2 * latents) * components + 1
    return outputs


def _action_inputs(config: Mapping[str, Any]) -> int:
    """Numbers that M reads of an action: one in formats 1 and 2."""
    actions = config["actions"]
    return 1 if "inputs" in actions else actions_of_json(actions).width


def _judged(config: Mapping[str, Any]) -> int:
    """Numbers that M's head gives; 0 without one."""
    reward = REWARD_BINS if config.get("reward", {}).get("type") == "learned" else 0
    return reward + int(config.get("termination_reads") == "next_frame")

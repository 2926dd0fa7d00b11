"""The layout of sksq96/pytorch-vae (V) and sksq96/pytorch-mdn (M, mdn-rnn.ipynb), with actions.

V is the paper's. M has a mixture for every latent; its three linear layers give log weights, means
and log standard deviations, each [components, latents]. The notebook's M reads z alone; one that reads
[z, action] is a world.
"""

from __future__ import annotations

from pathlib import Path

from genie_env.families.vision_memory.checkpoints.files import read_state_dict
from genie_env.families.vision_memory.checkpoints.networks import (
    ReadMemory,
    ReadNetworks,
    linear,
    lstm_shapes,
    vision_of,
    vision_shapes,
)
from genie_env.families.vision_memory.checkpoints.shapes import ShapeChecks

_LAYERS = range(1, 5)
_VISION = {
    **{f"conv{i}": f"encoder.{2 * (i - 1)}" for i in _LAYERS},
    "mu": "fc1",
    "logvar": "fc2",
    "expand": "fc3",
    **{f"deconv{i}": f"decoder.{2 * i - 1}" for i in _LAYERS},
}
_VISION_SHAPES = vision_shapes(
    [_VISION[f"conv{i}"] for i in _LAYERS],
    [_VISION["mu"], _VISION["logvar"]],
    _VISION["expand"],
    [_VISION[f"deconv{i}"] for i in _LAYERS],
)
_MEMORY_SHAPES = {
    **lstm_shapes("lstm"),
    **{f"fc{i}.weight": ("gaussians", "hidden") for i in (1, 2, 3)},
    **{f"fc{i}.bias": ("gaussians",) for i in (1, 2, 3)},
}


def read_sksq96(vision_file: Path, memory_file: Path) -> ReadNetworks:
    """Raises ValueError, which lists all that does not fit, and OSError."""
    vision, memory = read_state_dict(vision_file), read_state_dict(memory_file)
    checks = ShapeChecks("sksq96")
    checks.check(vision_file, vision, _VISION_SHAPES)
    checks.check(memory_file, memory, _MEMORY_SHAPES)
    checks.refuse()
    latents, gaussians = checks.sizes["latents"], checks.sizes["gaussians"]
    components, rest = divmod(gaussians, latents)
    if rest:
        raise ValueError(
            f"this is no checkpoint of the layout sksq96: fc1 of {memory_file} has {gaussians} "
            f"outputs, expected as many for each of the {latents} latents of {vision_file}"
        )
    of_input = memory["lstm.weight_ih_l0"]
    by_latent = ((components, latents), (1, 0))
    return ReadNetworks(
        latents,
        checks.sizes["hidden"],
        vision_of(vision, _VISION),
        rectified_features=False,
        memory=ReadMemory(
            mixture="independent",
            components=components,
            of_z=of_input[:, :latents],
            of_action=of_input[:, latents:],
            of_restart=None,
            of_hidden=memory["lstm.weight_hh_l0"],
            bias=memory["lstm.bias_ih_l0"].double() + memory["lstm.bias_hh_l0"].double(),
            log_weights=linear(memory, "fc1").reordered(*by_latent),
            means=linear(memory, "fc2").reordered(*by_latent),
            log_stds=linear(memory, "fc3").reordered(*by_latent),
        ),
    )

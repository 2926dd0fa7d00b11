"""The layout of ctallec/world-models, and of what was derived from it without other names.

V is the paper's but for two things: it gives the logarithm of a standard deviation, and the decoder's
features are rectified. M's mixture is one over whole vectors; it reads [action, z], and its linear
layer gives means and log standard deviations [components, latents], log weights [components], and,
where it was trained with them, the reward and the termination logit. M's training (class MDRNN) is
what is followed: MDRNNCell normalises the log weights over the batch instead of the components.
"""

from __future__ import annotations

from pathlib import Path

from genie_env.families.vision_memory.checkpoints.files import Tensors, read_state_dict
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
    **{f"conv{i}": f"encoder.conv{i}" for i in _LAYERS},
    "mu": "encoder.fc_mu",
    "logvar": "encoder.fc_logsigma",
    "expand": "decoder.fc1",
    **{f"deconv{i}": f"decoder.deconv{i}" for i in _LAYERS},
}
_VISION_SHAPES = vision_shapes(
    [_VISION[f"conv{i}"] for i in _LAYERS],
    [_VISION["mu"], _VISION["logvar"]],
    _VISION["expand"],
    [_VISION[f"deconv{i}"] for i in _LAYERS],
)
_MEMORY_SHAPES = {
    **lstm_shapes("rnn"),
    "gmm_linear.weight": ("outputs", "hidden"),
    "gmm_linear.bias": ("outputs",),
}


def read_ctallec(vision_file: Path, memory_file: Path) -> ReadNetworks:
    """Raises ValueError, which lists all that does not fit, and OSError."""
    vision = read_state_dict(vision_file)
    memory = _as_lstm(read_state_dict(memory_file))
    checks = ShapeChecks("ctallec")
    checks.check(vision_file, vision, _VISION_SHAPES)
    checks.check(memory_file, memory, _MEMORY_SHAPES)
    checks.refuse()
    latents, hidden = checks.sizes["latents"], checks.sizes["hidden"]
    return ReadNetworks(
        latents,
        hidden,
        vision_of(vision, _VISION, log_std=True),
        rectified_features=True,
        memory=_memory(memory_file, memory, latents, checks.sizes["inputs"] - latents),
    )


def _as_lstm(tensors: Tensors) -> Tensors:
    """MDRNNCell's LSTMCell has the same tensors without a layer's number."""
    cell = [f"rnn.{kind}_{of}" for kind in ("weight", "bias") for of in ("ih", "hh")]
    return {f"{name}_l0" if name in cell else name: tensor for name, tensor in tensors.items()}


def _memory(file: Path, tensors: Tensors, latents: int, actions: int) -> ReadMemory:
    output = linear(tensors, "gmm_linear")
    components, heads = divmod(len(output.bias), 2 * latents + 1)
    if heads not in (0, 2) or components == 0:
        raise ValueError(
            f"this is no checkpoint of the layout ctallec: gmm_linear of {file} has "
            f"{len(output.bias)} outputs, expected {2 * latents + 1} for each component of the mixture "
            f"over {latents} latents, and 2 more where M predicts reward and termination"
        )
    inputs, gaussians = tensors["rnn.weight_ih_l0"], components * latents
    by_latent = ((components, latents), (1, 0))
    return ReadMemory(
        mixture="joint",
        components=components,
        of_z=inputs[:, actions:] if actions > 0 else inputs,
        of_action=inputs[:, : max(actions, 0)],
        of_restart=None,
        of_hidden=tensors["rnn.weight_hh_l0"],
        bias=tensors["rnn.bias_ih_l0"].double() + tensors["rnn.bias_hh_l0"].double(),
        log_weights=output.rows(2 * gaussians, components),
        means=output.rows(0, gaussians).reordered(*by_latent),
        log_stds=output.rows(gaussians, gaussians).reordered(*by_latent),
        reward=output.rows(len(output.bias) - 2, 1) if heads else None,
        termination=output.rows(len(output.bias) - 1, 1) if heads else None,
    )

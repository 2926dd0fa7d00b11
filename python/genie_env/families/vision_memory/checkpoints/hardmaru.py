"""The layout of hardmaru/WorldModelsExperiments: vae.json and rnn.json of the paper's authors.

TensorFlow's variables in the order of their making, as lists of integers: 10,000 times the values. The
repository has two M: one reads [z, action, restart flag], and the first of its outputs is the
termination logit; the other reads [z, action] and has neither. Their LSTM (LayerNormBasicLSTMCell
without layer norm) has the gates input, cell, forget, output, and adds 1 to the forget gate.
"""

from __future__ import annotations

from pathlib import Path

import torch

from genie_env.families.vision_memory.checkpoints.files import Tensors, read_json_arrays
from genie_env.families.vision_memory.checkpoints.networks import (
    CONVOLUTIONS,
    DECONVOLUTIONS,
    FEATURES,
    Linear,
    ReadMemory,
    ReadNetworks,
)
from genie_env.families.vision_memory.checkpoints.shapes import ShapeChecks, Shapes

FORGET_BIAS = 1.0
_ENCODED = (2, 2, 256)
"""Height, width and channels of the encoder's last image."""
_LAYERS = range(1, 5)


def _vision_shapes() -> Shapes:
    """In the order of the variables: kernels [height, width, inputs, outputs] of convolutions, and
    [height, width, outputs, inputs] of transposed ones."""
    shapes: dict[str, tuple[int | str, ...]] = {}
    for i, (inputs, outputs, kernel) in enumerate(CONVOLUTIONS, start=1):
        shapes[f"enc_conv{i}/kernel"] = (kernel, kernel, inputs, outputs)
        shapes[f"enc_conv{i}/bias"] = (outputs,)
    for name in ("enc_fc_mu", "enc_fc_log_var"):
        shapes |= {f"{name}/kernel": (FEATURES, "latents"), f"{name}/bias": ("latents",)}
    shapes |= {"dec_fc/kernel": ("latents", FEATURES), "dec_fc/bias": (FEATURES,)}
    for i, (inputs, outputs, kernel) in enumerate(DECONVOLUTIONS, start=1):
        shapes[f"dec_deconv{i}/kernel"] = (kernel, kernel, outputs, inputs)
        shapes[f"dec_deconv{i}/bias"] = (outputs,)
    return shapes


_VISION_SHAPES = _vision_shapes()
_LSTM_SHAPES: Shapes = {"kernel": ("read", "4*hidden"), "bias": ("4*hidden",)}
_OUTPUT_SHAPES: Shapes = {"output_w": ("hidden", "outputs"), "output_b": ("outputs",)}


def read_hardmaru(vision_file: Path, memory_file: Path) -> ReadNetworks:
    """Raises ValueError, which lists all that does not fit, and OSError."""
    vision = read_json_arrays(vision_file, tuple(_VISION_SHAPES))
    memory, shapes = _read_memory(memory_file)
    checks = ShapeChecks("hardmaru")
    checks.check(vision_file, vision, _VISION_SHAPES)
    checks.check(memory_file, memory, shapes)
    checks.refuse()
    latents, hidden = checks.sizes["latents"], checks.sizes["hidden"]
    return ReadNetworks(
        latents, hidden, _vision(vision), False, _memory(memory_file, memory, latents, hidden)
    )


def _read_memory(file: Path) -> tuple[Tensors, Shapes]:
    """The M with terminations makes its LSTM first, the other its output layer: the LSTM's kernel has
    four columns for every row of the other matrix."""
    lstm_first: Shapes = {**_LSTM_SHAPES, **_OUTPUT_SHAPES}
    output_first: Shapes = {**_OUTPUT_SHAPES, **_LSTM_SHAPES}
    arrays = read_json_arrays(file, tuple(output_first))
    if len(arrays) >= 4:
        first, _, third, _ = list(arrays.values())[:4]
        if first.dim() == third.dim() == 2 and first.shape[1] == 4 * third.shape[0]:
            names = [*lstm_first, *list(arrays)[4:]]
            return dict(zip(names, arrays.values(), strict=True)), lstm_first
    return arrays, output_first


def _vision(tensors: Tensors) -> Tensors:
    vision: Tensors = {}
    for i in _LAYERS:
        for ours, theirs in ((f"conv{i}", f"enc_conv{i}"), (f"deconv{i}", f"dec_deconv{i}")):
            vision[f"{ours}.weight"] = tensors[f"{theirs}/kernel"].permute(3, 2, 0, 1).contiguous()
            vision[f"{ours}.bias"] = tensors[f"{theirs}/bias"]
    for ours, theirs in (("mu", "enc_fc_mu"), ("logvar", "enc_fc_log_var")):
        kernel = tensors[f"{theirs}/kernel"]  # of an image with its channels innermost
        weight = kernel.reshape(*_ENCODED, -1).permute(3, 2, 0, 1).flatten(1)
        vision |= {f"{ours}.weight": weight.contiguous(), f"{ours}.bias": tensors[f"{theirs}/bias"]}
    vision["expand.weight"] = tensors["dec_fc/kernel"].t().contiguous()
    vision["expand.bias"] = tensors["dec_fc/bias"]
    return vision


def _memory(file: Path, tensors: Tensors, latents: int, hidden: int) -> ReadMemory:
    output = Linear(tensors["output_w"].t(), tensors["output_b"])
    components, termination = divmod(len(output.bias), 3 * latents)
    if termination > 1 or components == 0:
        raise ValueError(
            f"this is no checkpoint of the layout hardmaru: output_w of {file} has "
            f"{len(output.bias)} outputs, expected {3 * latents} for each component of the mixtures of "
            f"{latents} latents, and 1 more where M predicts terminations"
        )
    weight = _in_torchs_order(tensors["kernel"].t())
    bias = _in_torchs_order(tensors["bias"].double())
    bias[hidden : 2 * hidden] += FORGET_BIAS
    read = weight.shape[1] - hidden  # with the termination comes the restart flag
    parts = output.rows(termination, 3 * latents * components)
    # Theirs are [latents, (log weights, means, log standard deviations), components].
    parts = parts.reordered((latents, 3, components), (1, 0, 2))
    size = latents * components
    return ReadMemory(
        mixture="independent",
        components=components,
        of_z=weight[:, :latents],
        of_action=weight[:, latents : max(read - termination, latents)],
        of_restart=weight[:, read - 1] if termination else None,
        of_hidden=weight[:, read:],
        bias=bias,
        log_weights=parts.rows(0, size),
        means=parts.rows(size, size),
        log_stds=parts.rows(2 * size, size),
        termination=output.rows(0, 1) if termination else None,
    )


def _in_torchs_order(gates: torch.Tensor) -> torch.Tensor:
    """Of gates (input, cell, forget, output), one after another in the first dimension."""
    i, j, f, o = gates.chunk(4)
    return torch.cat([i, f, j, o])

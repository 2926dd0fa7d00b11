"""Our safetensors reader and writer against the `safetensors` package.

`tests/data/reference.safetensors` was written by the package. The C++ test reads it, and writes the
same tensors again, byte for byte; so here it only has to be what the package writes and reads. To
make it anew: python tests/python/test_safetensors.py
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load, save

REFERENCE = Path(__file__).parents[1] / "data" / "reference.safetensors"
METADATA = {"kind": "reference, \u03c4 = 1.15"}


def reference_tensors() -> dict[str, torch.Tensor]:
    """One tensor of every type that the library knows; also a scalar and an empty one."""
    return {
        "bool": torch.tensor([True, False, True]),
        "bytes": torch.arange(5, dtype=torch.uint8),
        "integers": torch.tensor([[-1, 2], [3, -(2**62)]]),
        "half": torch.tensor([[0.5, -2.0, 65504.0]], dtype=torch.float16),
        "bfloat16": torch.tensor([1.0, -3.0], dtype=torch.bfloat16),
        "vision.weight": torch.tensor([0.1, -0.2, 0.3]),
        "double": torch.tensor(1 / 3, dtype=torch.float64),
        "empty": torch.zeros(0, 4),
        'named "\u03c4" \\': torch.tensor([1.0]),
    }


def test_the_reference_is_what_the_package_writes() -> None:
    assert REFERENCE.read_bytes() == save(reference_tensors(), METADATA)


def test_the_package_reads_what_the_library_writes() -> None:
    tensors = load(REFERENCE.read_bytes())
    expected = reference_tensors()
    assert tensors.keys() == expected.keys()
    for name, tensor in expected.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor), name
    with safe_open(REFERENCE, "pt") as opened:
        assert opened.metadata() == METADATA


if __name__ == "__main__":
    REFERENCE.write_bytes(save(reference_tensors(), METADATA))

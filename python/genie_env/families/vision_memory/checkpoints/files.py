"""Reads the tensors of a checkpoint that others published, without running code of its."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

Tensors = dict[str, torch.Tensor]

_WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Under which key a training's checkpoint keeps its network's state dict."""

JSON_SCALE = 10_000.0
"""What the numbers of hardmaru/WorldModelsExperiments were multiplied by before they were rounded."""


def read_state_dict(file: Path) -> Tensors:
    """The tensors of a file of `torch.save` or of safetensors, in float32, by their names.

    A training's checkpoint is taken too: its state dict is what counts. The prefix of DataParallel is
    left out of names. Raises ValueError naming the file where it holds anything else, or could only
    be read by running code of its, and OSError where it cannot be read.
    """
    _check_readable(file)
    found = _safetensors(file) if file.suffix == ".safetensors" else _torch(file)
    for key in _WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
            break
    if not isinstance(found, Mapping) or not found:
        raise ValueError(f"{file} holds {_kind(found)}, but a state dict is expected")
    tensors: Tensors = {}
    for name, value in found.items():
        if not isinstance(value, torch.Tensor) or value.layout is not torch.strided:
            raise ValueError(
                f"{file}: {name!r} is {_kind(value)}, but a state dict of tensors is expected"
            )
        tensors[str(name).removeprefix("module.")] = _float(value, f"{file}: {name!r}")
    return tensors


def read_json_arrays(file: Path, names: Sequence[str]) -> Tensors:
    """The arrays of a JSON list, divided by JSON_SCALE, as hardmaru/WorldModelsExperiments writes
    them; `names` are theirs, in order. More than these are called "array 5" and so on. Raises
    ValueError naming the file, and OSError."""
    arrays = _json(file)
    if not isinstance(arrays, list):
        raise ValueError(f"{file} holds {_kind(arrays)}, but a JSON list of arrays is expected")
    tensors = {}
    for i, value in enumerate(arrays):
        name = names[i] if i < len(names) else f"array {i + 1}"
        tensors[name] = _array(value, f"{file}: {name!r}")
    return tensors


def read_latents(file: Path) -> Tensors:
    """Latents: "mu", and "logvar" where the file has it, float32 [starts, latents].

    `file`: .npz, .json (as initial_z.json of hardmaru/WorldModelsExperiments), else as
    `read_state_dict` takes it. Raises ValueError naming the file, and OSError.
    """
    if file.suffix == ".npz":
        tensors = _npz(file)
    elif file.suffix == ".json":
        tensors = read_json_arrays(file, ("mu", "logvar"))
    else:
        tensors = read_state_dict(file)
    unknown = [name for name in tensors if name not in ("mu", "logvar")]
    if "mu" not in tensors or unknown:
        raise ValueError(
            f"{file} holds {', '.join(map(repr, tensors)) or 'nothing'}; expected 'mu', the means of "
            "latents [starts, latents], and, where they have a spread, 'logvar'"
        )
    return tensors


def _check_readable(file: Path) -> None:
    try:
        with file.open("rb"):
            pass
    except OSError as error:
        raise type(error)(f"{file} cannot be read: {error.strerror or error}") from error


def _safetensors(file: Path) -> Any:
    try:
        return load_file(file)
    except SafetensorError as error:
        raise ValueError(f"{file} is not a safetensors file: {error}") from error


def _torch(file: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of older ways to pickle, which are read all the same
            return torch.load(file, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # of the unpickler, of zipfile, of torch: a file can be anything
        reason = str(error).strip().splitlines()
        raise ValueError(
            f"{file} holds no state dict that could be read without running code of its "
            f"({type(error).__name__}: {_without_advice(reason)}): save that alone where the file "
            "comes from, torch.save(model.state_dict(), ...), or as safetensors"
        ) from error


def _without_advice(lines: Sequence[str]) -> str:
    """What torch says is wrong, and not that one might load the file unsafely."""
    about = [line for line in lines if "WeightsUnpickler" in line or "nsupported" in line]
    return (about or list(lines) or ["no reason given"])[0].strip()[:200]


def _json(file: Path) -> Any:
    _check_readable(file)
    try:
        return json.loads(file.read_bytes(), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is not JSON ({error})") from error


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


def _array(value: Any, place: str) -> torch.Tensor:
    try:
        array = np.atleast_1d(np.array(value))
    except ValueError as error:  # lists of several lengths
        raise ValueError(f"{place} is not an array of numbers ({error})") from error
    if array.dtype.kind not in "if":
        raise ValueError(f"{place} is not an array of numbers")
    return _float(torch.from_numpy(array.astype(np.float64) / JSON_SCALE), place)


def _npz(file: Path) -> Tensors:
    _check_readable(file)
    try:
        with np.load(file, allow_pickle=False) as arrays:
            tensors = {name: torch.from_numpy(arrays[name]) for name in arrays}
    except OSError:
        raise
    except Exception as error:  # of zipfile and of NumPy
        raise ValueError(f"{file} is not a .npz file of numbers ({error})") from error
    return {name: _float(tensor, f"{file}: {name!r}") for name, tensor in tensors.items()}


def _float(tensor: torch.Tensor, place: str) -> torch.Tensor:
    if not tensor.dtype.is_floating_point:
        raise ValueError(f"{place} is of {tensor.dtype}, but floating point numbers are expected")
    converted = tensor.detach().to(torch.float32).contiguous()
    if not converted.isfinite().all():
        raise ValueError(f"{place} holds a value that is not a finite float32")
    return converted


def _kind(value: Any) -> str:
    return f"a {type(value).__name__}"

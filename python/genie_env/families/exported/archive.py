"""Writes graphs and their weights as a torch.export archive: model.pt2 of a world directory.

As torch.export.save would, but for two things: a weight that several graphs use is stored once, and
no sample inputs are stored, which would be a pickle.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any

import torch
from torch._export.serde.schema import PayloadConfig, PayloadMeta
from torch._export.serde.serialize import (
    _dataclass_to_dict,
    serialize,
    serialize_tensor_meta,
)
from torch.export import ExportedProgram
from torch.export.pt2_archive import PT2ArchiveWriter
from torch.export.pt2_archive.constants import (
    CONSTANTS_CONFIG_FILENAME_FORMAT,
    CONSTANTS_DIR,
    MODELS_FILENAME_FORMAT,
    TENSOR_CONSTANT_FILENAME_PREFIX,
    WEIGHT_FILENAME_PREFIX,
    WEIGHTS_CONFIG_FILENAME_FORMAT,
    WEIGHTS_DIR,
)


ARCHIVE = "model.pt2"
"""Its name in a world directory."""


def write_archive(file: IO[bytes], graphs: Mapping[str, ExportedProgram]) -> None:
    """Writes the archive. Raises ValueError naming a weight that is no plain tensor."""
    with PT2ArchiveWriter(file) as archive:
        weights = _Records(archive, WEIGHTS_DIR, WEIGHT_FILENAME_PREFIX)
        constants = _Records(archive, CONSTANTS_DIR, TENSOR_CONSTANT_FILENAME_PREFIX)
        for name, graph in graphs.items():
            for records, tensors, config in (
                (weights, graph.state_dict, WEIGHTS_CONFIG_FILENAME_FORMAT),
                (constants, graph.constants, CONSTANTS_CONFIG_FILENAME_FORMAT),
            ):
                metas = PayloadConfig(config=records.write(tensors))
                archive.write_string(
                    config.format(name),
                    json.dumps(_dataclass_to_dict(metas)),  # type: ignore[no-untyped-call]
                )
            archive.write_bytes(MODELS_FILENAME_FORMAT.format(name), _json_of(graph))


def _json_of(graph: ExportedProgram) -> bytes:
    """A graph as the archive keeps it.

    On the CPU its results are said to be on the device "meta", which only tells LibTorch's runner to
    compute them with torch's own operators: see genie_env/worlds/exported/archive.h.
    """
    graph._example_inputs = None  # which would be pickled
    program = json.loads(serialize(graph).exported_program)
    graph_json = program["graph_module"]["graph"]
    given = {tensor["as_tensor"]["name"] for tensor in graph_json["inputs"]}
    for name, described in graph_json["tensor_values"].items():
        if name not in given and described["device"]["type"] == "cpu":
            described["device"] = {"type": "meta", "index": None}
    return json.dumps(program).encode()


class _Records:
    """The tensors of one folder of an archive, each stored once."""

    def __init__(self, archive: PT2ArchiveWriter, folder: str, prefix: str) -> None:
        self._archive = archive
        self._folder = folder
        self._prefix = prefix
        self._written: dict[tuple[Any, ...], str] = {}

    def write(self, tensors: Mapping[str, Any]) -> dict[str, PayloadMeta]:
        """Writes those that are not there yet; returns where each is."""
        return {name: self._meta(name, tensor) for name, tensor in tensors.items()}

    def _meta(self, name: str, tensor: Any) -> PayloadMeta:
        if type(getattr(tensor, "data", None)) is not torch.Tensor:
            raise ValueError(
                f"{name} is a {type(tensor).__name__}: only plain tensors can be stored in a world"
            )
        plain = tensor.detach().contiguous()
        key = (
            tensor.data_ptr(),
            plain.dtype,
            tuple(plain.shape),
            tuple(tensor.stride()),
        )
        if key not in self._written:
            self._written[key] = f"{self._prefix}{len(self._written)}"
            data = plain.cpu().reshape(-1).view(torch.uint8).numpy().tobytes()
            self._archive.write_bytes(f"{self._folder}{self._written[key]}", data)
        return PayloadMeta(
            path_name=self._written[key],
            is_param=isinstance(tensor, torch.nn.Parameter),
            use_pickle=False,
            tensor_meta=serialize_tensor_meta(plain),
        )

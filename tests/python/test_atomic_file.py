"""Files that readers see whole or not at all, and safetensors whose bytes are a function of what they
hold."""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from genie_env._core import AtomicFile, safetensors_bytes


def test_the_end_of_the_block_publishes(tmp_path: Path) -> None:
    file = tmp_path / "scores.json"
    file.write_text("old")
    with AtomicFile(file) as temporary:
        assert temporary.parent == tmp_path and temporary != file
        temporary.write_text("new")
        assert file.read_text() == "old"
    assert file.read_text() == "new"
    assert list(tmp_path.iterdir()) == [file]


def test_what_is_not_published_leaves_nothing_behind(tmp_path: Path) -> None:
    file = tmp_path / "scores.json"
    file.write_text("old")
    with pytest.raises(KeyboardInterrupt), AtomicFile(str(file)) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    forgotten = AtomicFile(os.fsencode(file))
    forgotten.temporary.write_text("half")
    del forgotten
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_it_is_published_once(tmp_path: Path) -> None:
    atomic = AtomicFile(tmp_path / "scores.json")
    atomic.publish()
    with pytest.raises(
        ValueError, match=r"scores.json was published or given up already; make a n"
    ):
        atomic.publish()
    assert os.listdir(tmp_path) == ["scores.json"]


def test_failures_are_the_systems(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as missing:
        AtomicFile(tmp_path / "nowhere" / "scores.json")
    assert missing.value.filename == tmp_path / "nowhere" / "scores.json"
    (tmp_path / "directory").mkdir()
    with pytest.raises(IsADirectoryError) as taken, AtomicFile(tmp_path / "directory"):
        pass
    assert taken.value.errno == errno.EISDIR
    assert os.listdir(tmp_path) == ["directory"]


def write_often(file: Path, content: bytes, barrier: Any) -> None:
    barrier.wait()
    for _ in range(100):
        with AtomicFile(file) as temporary, temporary.open("r+b") as opened:
            for byte in content:  # slowly
                opened.write(bytes([byte]))


def test_writers_of_one_file_do_not_mix(tmp_path: Path) -> None:
    """Each process publishes its own bytes, and none fails."""
    file, contents = tmp_path / "cache", {bytes([letter]) * 200 for letter in b"abc"}
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(len(contents))
    writers = [
        context.Process(target=write_often, args=(file, content, barrier)) for content in contents
    ]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        if file.exists():
            assert file.read_bytes() in contents
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert list(tmp_path.iterdir()) == [file]


def test_a_temporary_name_that_is_taken_is_passed_over(tmp_path: Path) -> None:
    """By a process of another machine that has the same number, or by one that was killed."""
    with AtomicFile(tmp_path / "cache") as temporary:
        number = int(temporary.name.split("-")[-1].removesuffix(".tmp"))
    taken = tmp_path / f"cache.genie_env-{os.getpid()}-{number + 1}.tmp"
    taken.write_text("another's")
    with AtomicFile(tmp_path / "cache") as temporary:
        assert temporary != taken
    assert taken.read_text() == "another's"


def test_a_mask_of_permissions_is_honoured(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        AtomicFile(tmp_path / "scores.json").publish()
    finally:
        os.umask(before)
    assert (tmp_path / "scores.json").stat().st_mode & 0o777 == 0o640


def test_a_full_disk_is_an_oserror(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            with AtomicFile(tmp_path / "scores.json") as temporary:
                temporary.write_bytes(bytes(1000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path) == []


def test_equal_tensors_give_equal_bytes() -> None:
    tensors = {
        "weight": torch.from_numpy(np.arange(6, dtype=np.float32).reshape(2, 3)),
        "half": torch.tensor([0.5, -2.0], dtype=torch.float16),
        "bfloat16": torch.tensor(1.0, dtype=torch.bfloat16),
        "codes": torch.arange(6).reshape(2, 3).t(),  # not contiguous
        "used": torch.tensor([True, False]),
        "empty": torch.zeros(0, 4, dtype=torch.float64),
        "bytes": torch.arange(3, dtype=torch.uint8).requires_grad_(False),
        "learned": torch.ones(2, requires_grad=True),
    }
    metadata = {f"key {i}": str(i) for i in range(20)}
    content = safetensors_bytes(tensors, metadata)
    assert content == safetensors_bytes(
        dict(reversed(tensors.items())), dict(reversed(metadata.items()))
    )
    for name, tensor in load(content).items():
        assert torch.equal(tensor, tensors[name]) and tensor.dtype == tensors[name].dtype
    # The package writes the same, but for the order of more than one key.
    plain = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    assert safetensors_bytes(tensors) == save(plain)
    assert safetensors_bytes(tensors, {"key": "1"}) == save(plain, {"key": "1"})


def test_types_that_are_not_stored_are_named() -> None:
    with pytest.raises(
        ValueError, match="a tensor of type Int cannot be stored; expected bool, uint8"
    ):
        safetensors_bytes({"a": torch.zeros(2, dtype=torch.int32)})

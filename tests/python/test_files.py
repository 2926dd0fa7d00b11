"""Files of runs: what is read back, and the words where they are damaged."""

from __future__ import annotations

import re
import resource
from pathlib import Path

import pytest

from genie_env.data.files import claim_run, read_json, write_atomically, write_json


def test_what_was_written_is_read(tmp_path: Path) -> None:
    value = {"scores": [1.5, 2.0], "seed": 2**63, "player": None}
    write_json(tmp_path / "new" / "scores.json", value)
    assert read_json(tmp_path / "new" / "scores.json") == value


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not JSON (Expecting value: line 1 column 1 (char 0)); it was damaged"),
        (b'{"scores": [1, 2', "is not JSON (Expecting ',' delimiter"),
        (b"\xff{}", "is not JSON ('utf-8' codec can't decode byte 0xff"),
        (b"[1, 2]", "holds a list, but a JSON object is expected: remove it"),
        (b"null", "holds a NoneType, but a JSON object is expected"),
        (b"true", "holds a bool, but a JSON object is expected"),
        (b"1e3", "holds a float, but a JSON object is expected"),
        (b'"x"', "holds a str, but a JSON object is expected"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "settings.json"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(f"{file} {words}")):
        read_json(file)
    with pytest.raises(ValueError, match=re.escape(f"{file} {words}")):
        claim_run(tmp_path, {})


def test_a_full_disk_is_named_and_leaves_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "scores.json"
    write_json(file, {"scores": [1]})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(OSError, match=r"scores\.json could not be written \(File too large\)"):
            write_json(file, {"scores": [1] * 1000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert read_json(file) == {"scores": [1]}
    assert list(tmp_path.iterdir()) == [file]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    words = "scores.json could not be written (File exists): make room there, or give another place"
    with pytest.raises(OSError, match=re.escape(words)):
        write_json(tmp_path / "a file" / "scores.json", {})


def test_whatever_stops_a_write_leaves_nothing_behind(tmp_path: Path) -> None:
    def write(file: Path) -> None:
        file.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "agent.safetensors", write)
    assert list(tmp_path.iterdir()) == []

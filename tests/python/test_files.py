"""Files of runs: what is read back, and the words where they are damaged."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from genie_env.data.files import write_atomically, write_json
from genie_env.data.kept import kept
from genie_env.data.run_directory import claim_run, only_writer
from genie_env.envs.json_files import read_json, read_json_lines


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
        (b"[" * 100_000, "is not JSON (maximum recursion depth"),
        (b'{"a": 1e999}', "is not JSON (1e999 is too large)"),
        (b'{"a": NaN}', "is not JSON (NaN is no number of JSON)"),
        (b"[1, 2]", "holds [1, 2], but a JSON object is expected; it was damaged"),
        (b"null", "holds None, but a JSON object is expected"),
        (b"true", "holds True, but a JSON object is expected"),
        (b"1e3", "holds 1000.0, but a JSON object is expected"),
        (b'"x"', "holds 'x', but a JSON object is expected"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "settings.json"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(f"{file} {words}")):
        read_json(file)
    (tmp_path / "log").write_text("a result")
    with pytest.raises(ValueError, match=re.escape(f"{file} {words}")):
        with claim_run(tmp_path, {}, ["log"]):
            pass


SCHEMA = {
    **{"name": str, "steps": int, "rate": (float, None), "on": bool, "scores": [float]},
    **{"sizes": {"frame": [int, int], "heads?": int, "*": ()}, "figures": {"*": (float, None)}},
}
FITS = {
    **{"name": "x", "steps": 3, "rate": None, "on": True, "scores": [1, 2.5], "more": [None]},
    **{"sizes": {"frame": [1, 2]}, "figures": {"loss": 1, "share": None}},
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": 5}, '"name" is 5, expected a text;'),
        ({"steps": True}, '"steps" is True, expected an integer;'),
        ({"steps": 3.0}, '"steps" is 3.0, expected an integer;'),
        ({"steps": 2**63}, '"steps" is 9223372036854775808, expected an integer;'),
        ({"rate": "1"}, "\"rate\" is '1', expected a number or null;"),
        ({"rate": 10**400}, ", expected a number or null;"),
        ({"on": 1}, '"on" is 1, expected true or false;'),
        ({"scores": {}}, '"scores" is {}, expected a list (each a number);'),
        ({"scores": [1, None]}, '"scores[1]" is None, expected a number;'),
        ({"sizes": []}, '"sizes" is [], expected an object;'),
        ({"sizes": {}}, '"sizes.frame" is missing, expected a list of 2 (each an integer);'),
        ({"sizes": {"frame": [1]}}, '"sizes.frame" is [1], expected a list of 2 (each an'),
        ({"sizes": {"frame": [1, 2], "heads": None}}, '"sizes.heads" is None, expected an int'),
        ({"sizes": {"frame": [1, 2], "haeds": 1}}, '"sizes.haeds" is 1, expected no such name;'),
        ({"figures": {"loss": []}}, '"figures.loss" is [], expected a number or null;'),
        ({"name": None}, '"name" is None, expected a text;'),
    ],
)
def test_a_field_of_another_kind_is_named(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    file = tmp_path / "file.json"
    write_json(file, FITS)
    assert read_json(file, SCHEMA) == FITS
    write_json(file, FITS | change)
    with pytest.raises(ValueError, match=re.escape(words)) as refused:
        read_json(file, SCHEMA)
    assert str(refused.value).startswith(f"{file}: ") and len(str(refused.value)) < 300
    file.write_text(json.dumps(FITS) + "\n" + json.dumps(FITS | change) + "\nhalf a li")
    with pytest.raises(ValueError, match=re.escape(words)) as refused:
        read_json_lines(file, SCHEMA)
    assert str(refused.value).startswith(f"{file}, line 2: ")


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    for file, words in ((tmp_path, "Is a directory"), (tmp_path / "x", "No such file or directory")):
        with pytest.raises(OSError, match=f"^{re.escape(str(file))} cannot be read: {words}$"):
            read_json(file)


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


def test_two_writers_of_one_file_do_not_share_a_temporary_name(tmp_path: Path) -> None:
    def write(temporary: Path) -> None:
        temporary.write_text("the last one")
        write_json(tmp_path / "scores.json", {"written": "meanwhile"})

    write_atomically(tmp_path / "scores.json", write)
    assert (tmp_path / "scores.json").read_text() == "the last one"
    assert len(list(tmp_path.iterdir())) == 1


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


def test_what_killed_writers_left_is_removed_by_the_next(tmp_path: Path) -> None:
    """At once by who has the lock; elsewhere where no process of another machine can be at it."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    mine, of_users = f"a.json.genie_env-{os.getpid()}-1.tmp", f"name.{ended.pid}-11.tmp"
    others = [mine, "notes.tmp", f"{ended.pid}-1.tmp", of_users]
    fresh, old = (f"b.json.genie_env-{ended.pid}-{number}.tmp" for number in (1, 22))
    for name in (*others, fresh, old):
        (tmp_path / name).touch()
    an_hour_ago = time.time() - 3600
    for name in (*others, old):
        os.utime(tmp_path / name, (an_hour_ago, an_hour_ago))
    found = kept(tmp_path, {"seed": 1}, {"score": float}, lambda midway: {"score": 2.0})
    assert found == {"seed": 1, "score": 2.0}
    left = sorted(file.name for file in tmp_path.glob("*.tmp"))
    assert left == sorted([*others, fresh])
    with only_writer(tmp_path):
        assert sorted(file.name for file in tmp_path.glob("*.tmp")) == sorted(others)

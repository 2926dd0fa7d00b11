"""Archives of exported worlds that strangers may have made: each is refused in one line, without a
crash, without running anything of it and without taking much memory."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from exported_archives import (
    KINDS,
    MODELS,
    archive,
    hostile_archives,
    sound_members,
    write_world,
)

from genie_env._core import FormatError, check_archive, why_not_served

LOADER = Path(__file__).with_name("load_archives.py")
MEBIBYTE = 1 << 20


def answers(files: list[Path], mark: Path) -> list[tuple[int, str]]:
    """The peak of memory and the error of each file, all loaded in a child process."""
    child = subprocess.run(
        [sys.executable, LOADER],
        input="".join(f"{file}\n" for file in files),
        env={**os.environ, "OMP_NUM_THREADS": "1", "GENIE_ENV_MARK": str(mark)},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [json.loads(line) for line in child.stdout.splitlines()]
    crashed = files[len(lines)].name if len(lines) < len(files) else ""
    assert child.returncode == 0, f"{crashed} ended the process: {child.returncode} {child.stderr}"
    assert [line[0] for line in lines] == [str(file) for file in files]
    return [(peak, error) for _, peak, error in lines]


def refuse(each: int, tmp_path: Path) -> None:
    hostile = list(hostile_archives(each))
    assert len(hostile) == each * len(KINDS)
    files = []
    for name, content, _ in hostile:
        files.append(write_world(tmp_path / name, content))
    mark = tmp_path / "executed"
    wrong = []
    for (name, content, said), (peak, error) in zip(hostile, answers(files, mark), strict=True):
        clear = re.search(said, error) and "\n" not in error and len(error) < 700
        if not clear or not error.startswith(str(tmp_path / name)):
            wrong.append((name, error, said))
        elif peak >= 2 * len(content) + 16 * MEBIBYTE:
            wrong.append((name, peak, error, "memory"))
    assert not wrong, wrong[:20]
    assert not mark.exists(), "something of an archive was executed"


def test_two_hundred_hostile_archives(tmp_path: Path) -> None:
    refuse(20, tmp_path)


@pytest.mark.long
def test_a_thousand_hostile_archives(tmp_path: Path) -> None:
    refuse(100, tmp_path)


def test_a_sound_archive_is_loaded(tmp_path: Path) -> None:
    file = write_world(tmp_path / "world", archive(sound_members()))
    ((peak, error),) = answers([file], tmp_path / "executed")
    assert error == ""
    assert peak < 2 * file.stat().st_size + 16 * MEBIBYTE
    graphs = check_archive(file, MODELS)
    inputs, outputs = graphs["step"]
    assert inputs == [
        *(("h", [-1, 8]), ("c", [-1, 8]), ("ring", [-1, 4, 3])),
        *(("action", [-1]), ("tau", [-1]), ("noise", [-1, 4])),
    ]
    assert [shape for _, shape in outputs] == [[-1, 8], [-1, 8], [-1, 4, 3], [-1], [-1]]


def test_an_archive_of_another_torch_is_to_be_exported_again(tmp_path: Path) -> None:
    members = dict(sound_members())
    program = json.loads(members["models/step.json"])
    program["torch_version"] = "2.10.0+cpu"
    members["models/step.json"] = json.dumps(program).encode()
    file = tmp_path / "model.pt2"
    file.write_bytes(archive(members))
    with pytest.raises(FormatError, match=r"made by torch 2\.10\.0.*runs torch 2\.11\..*again"):
        check_archive(file, MODELS)


def test_guards_in_python_are_refused(tmp_path: Path) -> None:
    members = dict(sound_members())
    program = json.loads(members["models/step.json"])
    program["guards_code"] = ["__import__('os').abort()"]
    members["models/step.json"] = json.dumps(program).encode()
    file = write_world(tmp_path / "world", archive(members))
    with pytest.raises(FormatError, match="guards_code.*nothing of an archive is executed"):
        check_archive(file, MODELS)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("torch.ops.aten.add.Tensor", ""),
        ("_operator.mul", ""),
        ("torch.ops.aten.randn_like.default", "draws random numbers: declare them in `noise`"),
        ("torch.ops.aten.dropout.default", "belongs to training: call eval()"),
        ("torch.ops.aten.nonzero.default", "whose shape depends on values"),
        ("torch.ops.aten.item.default", "reads a number out of a tensor"),
        ("torch.ops.aten.add_.Tensor", "changes a tensor in place"),
        ("torch.ops.mylib.custom.default", "is a custom operator"),
        ("torch.ops.higher_order.cond", "runs other graphs within"),
        ("torch.ops.aten.linalg_svd.default", "is not in the list of operators"),
        ("os.system", "is not in the list of operators"),
    ],
)
def test_operators_that_are_not_served_say_why(target: str, said: str) -> None:
    assert said in why_not_served(target) and bool(said) == bool(why_not_served(target))

"""The dtype of a training: chosen by timing, written down, obeyed; the timing leaves no trace.

Time is a clock of these tests, which every update moves by what its dtype costs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_hostile_options import said
from test_training import losses, record

from genie_env._core import Memory, Tokenizer, Trainer
from genie_env.families.genie.commands import (
    train_dynamics,
    train_latent_actions,
    train_tokenizer,
)
from genie_env.families.vision_memory.commands import train_memory, train_vision
from genie_env.training import dtype as timing
from genie_env.training import loop, settings
from genie_env.training.dtype import ROUNDS, RunSize, TrainedDType, choose_dtype
from genie_env.training.runs import read_checkpoint

SIZE = RunSize(updates=25_000, items=64, item="frames")
FASTER_BFLOAT16 = {"float32": 2.0, "bfloat16": 1.0}


class Timed(Trainer):
    """A trainer whose updates take the seconds that its dtype costs, times the share of the batch."""

    now = 0.0
    costs: dict[str, float] = FASTER_BFLOAT16
    made: list[tuple[str, int]] = []
    """The dtype and the rows of every update."""

    def __init__(self, *arguments: Any, bf16: bool, **options: Any) -> None:
        super().__init__(*arguments, bf16=bf16, **options)
        self.dtype = "bfloat16" if bf16 else "float32"

    def backward(self, batch: dict[str, torch.Tensor]) -> dict[str, float]:
        rows = len(next(iter(batch.values())))
        Timed.made.append((self.dtype, rows))
        Timed.now += self.costs[self.dtype]
        return super().backward(batch)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Timed, "made", [])
    monkeypatch.setattr(Timed, "costs", FASTER_BFLOAT16)
    monkeypatch.setattr(settings, "Trainer", Timed)
    monkeypatch.setattr(timing, "perf_counter", lambda: Timed.now)


def trainers(kind: type[Trainer] = Timed) -> Callable[[TrainedDType], Trainer]:
    memory = Memory(latents=2, hidden=3, components=1)
    return lambda dtype: kind(memory, bf16=dtype == "bfloat16")


def windows() -> dict[str, torch.Tensor]:
    """A batch of two."""
    batch = {name: torch.zeros(2, 4) for name in ("finals", "restarts", "terminations")}
    batch["actions"] = torch.zeros(2, 4, 1)
    return batch | {name: torch.zeros(2, 4, 2) for name in ("mu", "logvar")}


def updates(dtype: str, rows: int) -> int:
    return Timed.made.count((dtype, rows))


@pytest.mark.parametrize(
    ("asked", "float32", "bfloat16", "lines"),
    [
        (
            "auto",
            0.5,
            0.25,
            [
                "dtype: bfloat16, at 256 frames/s, against 128 frames/s in float32",
                "25,000 updates in bfloat16 at 256 frames/s: about 104.2 minutes, evaluations not "
                "counted",
            ],
        ),
        (
            "auto",
            0.32,
            9.6,
            [
                "dtype: float32, at 200 frames/s, against at most 6.7 frames/s in bfloat16",
                "25,000 updates in float32 at 200 frames/s: about 2.2 hours, evaluations not counted",
            ],
        ),
        (
            "bfloat16",
            0.5,
            1.0,
            [
                "dtype: bfloat16 as asked, although it is slower here: 64 frames/s, against 128 "
                "frames/s in float32",
                "25,000 updates in bfloat16 at 64 frames/s: about 6.9 hours, evaluations not counted",
            ],
        ),
        (
            "bfloat16",
            0.5,
            0.0004,
            ["25,000 updates in bfloat16 at 160,000 frames/s: about 10 seconds, evaluations not"],
        ),
        (
            "float32",
            20,
            1,
            ["25,000 updates in float32 at 3.2 frames/s: about 5.8 days, evaluations not counted"],
        ),
    ],
)
def test_the_dtype_is_chosen_by_timing_or_as_asked_and_the_run_is_estimated(
    asked: Any,
    float32: float,
    bfloat16: float,
    lines: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Timed, "costs", {"float32": float32, "bfloat16": bfloat16})
    chosen = choose_dtype(trainers(), asked, windows, SIZE)
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == len(lines)
    assert all(line.startswith(start) for line, start in zip(printed, lines, strict=True)), printed
    assert f"in {chosen} at" in printed[-1]


def test_the_timing_is_bounded_by_count(monkeypatch: pytest.MonkeyPatch) -> None:
    choose_dtype(trainers(), "auto", windows, SIZE)
    assert len(Timed.made) <= 2 * (ROUNDS + 3)
    assert updates("float32", 2) == updates("bfloat16", 2) == ROUNDS
    Timed.made.clear()
    choose_dtype(trainers(), "float32", windows, SIZE)
    assert updates("float32", 2) == len(Timed.made) == ROUNDS


def test_a_dtype_that_is_slow_on_many_rows_alone_is_not_timed_on_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Steep(Timed):
        def backward(self, batch: dict[str, torch.Tensor]) -> dict[str, float]:
            Timed.now += len(batch["mu"]) if self.dtype == "bfloat16" else 0
            return super().backward(batch)

    def many() -> dict[str, torch.Tensor]:
        return {name: torch.cat([tensor] * 32) for name, tensor in windows().items()}

    monkeypatch.setattr(Timed, "costs", {"float32": 2.0, "bfloat16": 1.0})
    assert choose_dtype(trainers(Steep), "auto", many, SIZE) == "float32"
    assert {rows for dtype, rows in Timed.made if dtype == "bfloat16"} == {1, 4, 16}


def test_a_slow_dtype_is_never_timed_on_a_whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Timed, "costs", {"float32": 1.0, "bfloat16": 30.0})
    assert choose_dtype(trainers(), "auto", windows, SIZE) == "float32"
    assert (updates("bfloat16", 1), updates("bfloat16", 2)) == (2, 0)
    assert updates("float32", 2) == ROUNDS


def test_updates_that_take_long_are_timed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Timed, "costs", {"float32": 100.0, "bfloat16": 90.0})
    assert choose_dtype(trainers(), "auto", windows, SIZE) == "bfloat16"
    assert updates("float32", 2) == updates("bfloat16", 2) == 1
    assert len(Timed.made) == 5


def test_a_first_update_that_warms_up_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    class Cold(Timed):
        def update(self) -> None:
            Timed.now += 3.0 if self.dtype == "bfloat16" and self.step == 0 else 0.0
            super().update()

    assert choose_dtype(trainers(Cold), "auto", windows, SIZE) == "bfloat16"


def test_float32_that_needs_too_much_memory_leaves_bfloat16(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Large(Timed):
        def backward(self, batch: dict[str, torch.Tensor]) -> dict[str, float]:
            if self.dtype == "float32" and len(batch["mu"]) > 1:
                raise MemoryError
            return super().backward(batch)

    assert choose_dtype(trainers(Large), "auto", windows, SIZE) == "bfloat16"
    assert "against 0.0 frames/s in float32" in capsys.readouterr().out
    with pytest.raises(MemoryError):
        choose_dtype(trainers(Large), "float32", windows, SIZE)


def test_the_timing_leaves_weights_and_buffers_as_they_were() -> None:
    tokenizer = Tokenizer(frame=[8, 8], width=8, heads=2, codes=20, patch=4)
    used = Trainer(tokenizer)
    frames = {"frames": torch.randint(256, (2, 3, 8, 8, 3), dtype=torch.uint8)}
    used.backward(frames)
    used.update()
    before = used.state()
    chosen = choose_dtype(
        lambda dtype: Timed(tokenizer, bf16=dtype == "bfloat16"), "auto", lambda: frames, SIZE
    )
    assert chosen == "bfloat16" and len(Timed.made) > 2
    after = used.state()
    assert any(before["buffer.quantizer.idle"] > 0)
    assert all(torch.equal(after[name], before[name]) for name in before)


# Whole runs.

SMALL: dict[str, Any] = {"width": 8, "heads": 2, "window": 3, "clip": 3}
BLOCKS: dict[str, Any] = {"encoder_blocks": 1, "decoder_blocks": 1}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("data"), 40)


def untimed(monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    """From now on, runs that begin train in this dtype and time nothing."""
    monkeypatch.setattr(loop, "choose_dtype", lambda *_: dtype)


def train_all(data: Path, runs: Path, **options: Any) -> None:
    """One small run of every network."""
    common = {"data": [data], "steps": 3, "batch": 2, **options}
    train_vision(out=runs / "vision", latents=4, **common)
    sizes = {"window": 4, "hidden": 8, "components": 2}
    train_memory(out=runs / "memory", vision=runs / "vision", **sizes, **common)
    train_tokenizer(out=runs / "tokenizer", codes=20, **SMALL, **BLOCKS, **common)
    train_latent_actions(out=runs / "actions", **SMALL, **BLOCKS, **common)
    made = {"tokenizer": runs / "tokenizer", "latent_actions": runs / "actions"}
    train_dynamics(out=runs / "dynamics", blocks=1, **made, **SMALL, **common)


NETWORKS = ("vision", "memory", "tokenizer", "actions", "dynamics")


def check_equal(run: Path, other: Path) -> None:
    assert losses(run) == losses(other)
    one, two = read_checkpoint(run), read_checkpoint(other)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_run_whose_dtype_was_timed_is_bit_equal_to_one_that_was_given_it(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_all(data, tmp_path / "auto")
    assert {dtype for dtype, _ in Timed.made} == {"float32", "bfloat16"}
    untimed(monkeypatch, "bfloat16")
    train_all(data, tmp_path / "given", dtype="bfloat16")
    for network in NETWORKS:
        written = json.loads((tmp_path / "auto" / network / "settings.json").read_text())
        assert written["dtype"] == "bfloat16" and "bf16" not in written
        check_equal(tmp_path / "auto" / network, tmp_path / "given" / network)


@pytest.fixture(scope="module")
def unbroken(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run in bfloat16 that was never timed."""
    runs = tmp_path_factory.mktemp("unbroken")
    with pytest.MonkeyPatch.context() as patch:
        untimed(patch, "bfloat16")
        tokenizer(data, runs / "tokenizer", dtype="bfloat16")
    return runs / "tokenizer"


def tokenizer(data: Path, out: Path, **options: Any) -> None:
    train_tokenizer([data], out, steps=4, batch=2, codes=20, **SMALL, **BLOCKS, **options)


@pytest.fixture
def broken(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that "auto" began in bfloat16 and Ctrl-C ended after two steps."""

    rate = loop.Schedule.learning_rate_at

    def stop(schedule: loop.Schedule, step: int) -> float:
        if step == 2:
            raise KeyboardInterrupt
        return rate(schedule, step)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Schedule, "learning_rate_at", stop)
        with pytest.raises(KeyboardInterrupt):
            tokenizer(data, tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("older", "given"),
    [(False, {}), (True, {}), (True, {"dtype": "bfloat16"}), (True, {"bf16": True})],
)
def test_a_run_goes_on_in_the_dtype_that_it_began_in(
    data: Path, unbroken: Path, broken: Path, older: bool, given: dict[str, Any]
) -> None:
    """Without another timing; also one of an older version, whose settings say bf16."""
    file = broken / "settings.json"
    written = json.loads(file.read_text())
    assert written["dtype"] == "bfloat16"
    if older:
        del written["dtype"]
        file.write_text(json.dumps({**written, "bf16": True}))
    before = file.read_bytes()
    with pytest.raises(ValueError, match=r"dtype was 'bfloat16' and is now 'float32'\)"):
        tokenizer(data, broken, dtype="float32")
    Timed.made.clear()
    tokenizer(data, broken, **given)
    assert Timed.made == [("bfloat16", 2)] * 2
    check_equal(broken, unbroken)
    assert file.read_bytes() == before


def test_a_dtype_in_settings_that_is_none_is_named(data: Path, broken: Path) -> None:
    file = broken / "settings.json"
    file.write_text(file.read_text().replace("bfloat16", "bfloat8"))
    with pytest.raises(
        ValueError, match="settings.json: \"dtype\" is 'bfloat8', expected 'auto' or"
    ):
        tokenizer(data, broken)


def test_wrong_dtypes_are_refused_before_a_run_begins(data: Path, tmp_path: Path) -> None:
    words = "dtype is 'float16', expected 'auto' or 'float32' or 'bfloat16'"
    with pytest.raises(ValueError, match=words):
        tokenizer(data, tmp_path / "run", dtype="float16")
    words = "dtype is 'float32', but bf16 is True, which means 'bfloat16': leave out bf16"
    with pytest.raises(ValueError, match=words):
        tokenizer(data, tmp_path / "run", dtype="float32", bf16=True)
    with pytest.raises(
        ValueError, match="dtype is 'bfloat16', but bf16 is False, which means 'floa"
    ):
        tokenizer(data, tmp_path / "run", dtype="bfloat16", bf16=False)
    assert not (tmp_path / "run").exists()


def test_where_bfloat16_is_missing_auto_is_float32_and_bfloat16_is_refused(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Missing(Timed):
        def backward(self, batch: dict[str, torch.Tensor]) -> dict[str, float]:
            if self.dtype == "bfloat16":
                raise RuntimeError("no such type\nand where that was")
            return super().backward(batch)

    monkeypatch.setattr(settings, "Trainer", Missing)
    words = (
        r"^dtype is 'bfloat16', but this network cannot be trained in it on this machine \(no such "
        r"type\): give 'float32' or 'auto'$"
    )
    with pytest.raises(RuntimeError, match=words):
        tokenizer(data, tmp_path / "run", dtype="bfloat16")
    tokenizer(data, tmp_path / "run")
    assert {dtype for dtype, _ in Timed.made} == {"float32"}
    assert {rows for _, rows in Timed.made} == {2}
    assert json.loads((tmp_path / "run" / "settings.json").read_text())["dtype"] == "float32"
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "dtype: float32, because bfloat16 fails on this machine (no such type)"
    assert lines[1].startswith("4 updates in float32 at 3.0 frames/s: about 8 seconds")


@pytest.mark.parametrize(
    ("words", "dtype"),
    [
        ("--no-bf16", "float32"),
        ("--bf16", "bfloat16"),
        ("--dtype bfloat16 --bf16", "bfloat16"),
        ("--dtype float32", "float32"),
        ("", "auto"),
    ],
)
def test_the_options_of_the_command_line(
    words: str, dtype: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "run" / "settings.json"
    written: list[str] = []  # while the training goes on; without a result it is removed
    monkeypatch.setattr(
        "genie_env.training.vision.train", lambda *_, **__: written.append(settings.read_text())
    )
    line = f"train vision --data {data} --out {tmp_path / 'run'} --batch 2"
    code, _, errors = said([*line.split(), *words.split()], monkeypatch)
    assert code == 0, errors
    assert [json.loads(text)["dtype"] for text in written] == [dtype]


def test_wrong_options_of_the_command_line_are_one_line(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = f"train vision --data {data} --out {tmp_path / 'run'} --batch 2"
    code, _, errors = said([*line.split(), "--dtype", "float16"], monkeypatch)
    assert code == 2
    assert re.search(r"Invalid value for '--dtype': .*'float16' is not one of 'auto', 'fl", errors)
    code, _, errors = said([*line.split(), "--dtype", "float32", "--bf16"], monkeypatch)
    assert (code, errors) == (
        1,
        "genie-env: dtype is 'float32', but bf16 is True, which means 'bfloat16': leave out bf16\n",
    )
    assert not (tmp_path / "run").exists()

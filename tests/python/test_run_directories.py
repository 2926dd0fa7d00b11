"""Directories of runs: one writer at a time, nothing claimed before there is work, one that is told
to end by its scheduler."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_world import write_random_world

from genie_env._core import EpisodeWriter
from genie_env.agents.dreams import Dreams
from genie_env.agents.evolution import ControllerSettings, train_controller
from genie_env.cli.app import APP
from genie_env.data.run_directory import claim_run, only_writer

META = {
    **{"format_version": 1, "game": "doom-take-cover", "frame_skip": 1},
    **{"actions": ["left", "stay", "right"]},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    with EpisodeWriter(directory, 64, 64, json.dumps(META)) as writer:
        for _ in range(20):
            ends = np.arange(4) == 3
            frames = rng.integers(0, 256, (4, 64, 64, 3)).astype(np.uint8)
            writer.append(frames, np.arange(4) % 3, np.ones(4, np.float32), ends, ends & False)
    return directory


OFTEN = (
    "from genie_env.data import progress\n"
    "from genie_env.cli.app import main\n"
    "progress.SECONDS_A_LINE = 0.1\n"
    "main()\n"
)
"""The command line, with a line of progress every tenth of a second."""


def start(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", OFTEN, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        **options,
    )


def run(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit code of a command in this process, and what it says on standard error."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit:
        APP.main([*arguments], prog_name="genie-env")
    return int(str(exit.value.code or 0)), capsys.readouterr().err


def vision(data: Path, out: Path, steps: int = 2, **more: Any) -> list[str]:
    options = {"batch": 4, "latents": 4, **more}
    words = [f"--{name}={value}" for name, value in options.items()]
    return ["train", "vision", f"--data={data}", f"--out={out}", f"--steps={steps}", *words]


def wait_for(line: str, child: subprocess.Popen[str]) -> None:
    assert child.stdout is not None
    for printed in child.stdout:
        if re.match(line, printed):
            return
    raise AssertionError(f"the command has ended: {child.communicate()}")


def has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


# One writer.


def test_a_second_writer_is_told_who_writes(tmp_path: Path) -> None:
    """Whether a directory or a file; the lock leaves nothing behind."""
    for place, lock in ((tmp_path / "run", None), (tmp_path / "x.json", tmp_path / ".x.json.lock")):
        with only_writer(place, lock):
            words = rf"^this process is writing into {place} already: end that first \(in a noteb"
            with pytest.raises(RuntimeError, match=words):
                with only_writer(place, lock):
                    pass
        with only_writer(place, lock):
            pass
    assert list(tmp_path.rglob("*")) == []


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from genie_env.data.run_directory import only_writer\n"
        "with only_writer(Path(sys.argv[1])): print('in', flush=True); sys.stdin.read()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert child.stdout is not None and child.stdout.readline() == "in\n"
    words = rf"^process {child.pid} on .* is writing into {tmp_path}: wait until it has ended"
    with pytest.raises(RuntimeError, match=words):
        with only_writer(tmp_path):
            pass
    child.kill()
    child.communicate()
    with only_writer(tmp_path):
        pass


def test_a_file_system_without_locks_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", refuse)
    with only_writer(tmp_path):
        pass
    said = capsys.readouterr().out
    assert said.startswith(f"{tmp_path} cannot be locked (Operation not supported): see to it that")


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file/run could not be written .Not a directory.: make room"):
        with only_writer(tmp_path / "file" / "run"):
            pass
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_directories_that_a_writer_made_go_with_it_where_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its parents, too; also where it is refused."""
    with only_writer(tmp_path / "new" / "below" / "run"):
        assert (tmp_path / "new" / "below" / "run").is_dir()
    assert list(tmp_path.iterdir()) == []
    with only_writer(tmp_path / "new" / "run"):
        (tmp_path / "new" / "kept").touch()
    assert [each.name for each in (tmp_path / "new").iterdir()] == ["kept"]

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("genie_env.data.run_directory._lock", full)
    with pytest.raises(OSError, match="below/run could not be written .No space left on device.: m"):
        with only_writer(tmp_path / "other" / "below" / "run"):
            pass
    assert [each.name for each in tmp_path.iterdir()] == ["new"]


@pytest.mark.parametrize("command", ["vision", "controller"])
def test_two_trainings_do_not_share_a_directory(
    command: str, data: Path, random_world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    words = vision(data, out)
    if command == "controller":
        words = ["train", "controller", f"--world={random_world}", f"--out={out}", "--steps=1"]
        words += ["--population=4", "--dreams=1"]
    with only_writer(out):
        code, said = run(*words, capsys=capsys)
        assert code == 1 and said.count("\n") == 1
        assert said.startswith(f"genie-env: this process is writing into {out} already: ")
        assert [file.name for file in out.iterdir()] == [".lock"]
    assert run(*words, capsys=capsys) == (0, "")


GAME = "toy_games:Counter-v0"


@pytest.mark.parametrize(
    ("work", "words"),
    [
        ("cli.dream.dream_under_every_action", ["dream", "--world={world}", "--out={out}"]),
        (
            "evaluation.fidelity.actions_of",
            ["fidelity", "--world={world}", "--data={data}", "--out={out}"],
        ),
        ("cli.demo_training.affordable_dreams", ["demo", "--out={out}"]),
        ("data.recording.play_episodes", ["record", GAME, "--out={out}"]),
        (
            "evaluation.evaluate.play_episodes",
            ["evaluate", f"--game={GAME}", "--policy=random", "--json={out}/scores.json"],
        ),
    ],
)
def test_no_work_is_done_for_a_place_that_another_writer_has(
    work: str,
    words: list[str],
    data: Path,
    random_world: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("it works before it knows where its results go")

    monkeypatch.setattr(f"genie_env.{work}", fail)
    out = tmp_path / "out"
    out.mkdir()
    given = [word.format(world=random_world, data=data, out=out) for word in words]
    locks = (None, out / ".scores.json.lock")
    place = out / "scores.json" if "evaluate" in words else out
    with only_writer(place, locks["evaluate" in words]):
        code, said = run(*given, capsys=capsys)
    assert code == 1 and said.count("\n") == 1
    assert re.match(rf"genie-env: .*process.* is (writing|recording) into {place}\b", said)
    assert list(out.iterdir()) == []


def test_a_generator_that_is_left_frees_its_directory(tmp_path: Path, random_world: Path) -> None:
    settings = ControllerSettings(steps=10**6, population=4, dreams=1)
    dreams = Dreams.load(random_world)
    running = train_controller(dreams, settings, out=tmp_path)
    next(running)
    with pytest.raises(RuntimeError, match="is writing into"):
        next(train_controller(dreams, settings, out=tmp_path))
    running.close()
    assert next(train_controller(dreams, settings, out=tmp_path)).index == 0


# Claims.


def test_a_run_with_nothing_in_it_is_replaced(tmp_path: Path) -> None:
    work = ["*/log", "checkpoint"]

    def settings() -> Any:
        return json.loads((tmp_path / "settings.json").read_text())

    killed = subprocess.Popen(["true"])
    killed.wait()
    for seed in (1, 2):
        (tmp_path / f"checkpoint.safetensors.genie_env-{killed.pid}-4.tmp").write_text("half")
        with claim_run(tmp_path, {"seed": seed}, work):
            assert settings() == {"seed": seed}
            assert {each.name for each in tmp_path.iterdir()} == {".lock", "settings.json"}
    (tmp_path / "settings.json").write_text("{")  # damaged, and of nothing
    (tmp_path / "checkpoint").touch()
    with claim_run(tmp_path, {"seed": 3}, work):
        (tmp_path / "cell").mkdir()
        (tmp_path / "cell" / "log").write_text("a result")
    with pytest.raises(ValueError, match=r"other settings \(seed was 3 and is now 4\); give the"):
        with claim_run(tmp_path, {"seed": 4}, work):
            pass
    with claim_run(tmp_path, {"seed": 4}, work, lambda known: {"seed": known["seed"] + 1}):
        assert settings() == {"seed": 3}
    (tmp_path / "settings.json").unlink()
    with pytest.raises(ValueError, match="holds log but no settings.json, so nobody knows what"):
        with claim_run(tmp_path, {"seed": 3}, work):
            pass


def test_dreams_that_do_not_fit_into_memory_are_refused_before_anything_is_claimed(
    random_world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "run"
    words = ["train", "controller", f"--world={random_world}", f"--out={out}", "--dreams=1000000"]
    code, said = run(*words, "--population=10000", capsys=capsys)
    assert code == 1 and said.count("\n") == 1
    assert re.match(
        r"genie-env: a generation of 10,000 candidates in 1,000,000 dreams each does not fit into "
        r"memory \(10000000256 rows need .* are free on cpu: .*\): give fewer --dreams or a smaller "
        "--population\n",
        said,
    ), said
    assert list(tmp_path.iterdir()) == []


def test_what_is_stopped_before_its_first_step_claims_nothing(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no memory for the first batch")

    with monkeypatch.context() as patch:
        patch.setattr("genie_env.training.vision.train", fail)
        assert run(*vision(data, tmp_path / "run"), capsys=capsys)[0] == 1
    assert list(tmp_path.iterdir()) == []
    assert run(*vision(data, tmp_path / "run", steps=1, batch=2), capsys=capsys) == (0, "")
    code, said = run(*vision(data, tmp_path / "run", steps=1), capsys=capsys)
    assert code == 1 and "other settings (batch was 2 and is now 4)" in said


def test_a_game_that_cannot_be_played_claims_no_recording(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "data"
    words = ["record", "toy_games:Counter-v0", f"--out={out}", "--episodes=1", "--workers=1"]
    code, said = run(*words, '--env-args={"trouble": "EOFError"}', capsys=capsys)
    assert code == 1 and "own server is gone" in said
    assert not out.exists()
    # Older versions made the directory first.
    with EpisodeWriter(out, 64, 64, json.dumps(META)):
        pass
    assert run(*words, capsys=capsys) == (0, "")


# SIGTERM.


def test_a_training_that_its_scheduler_ends_writes_a_checkpoint(
    data: Path, tmp_path: Path
) -> None:
    child = start(*vision(data, tmp_path / "run", steps=100_000))
    wait_for("vision [1-9]", child)
    for _ in range(2):  # some send more than one
        child.send_signal(signal.SIGTERM)
    out, err = child.communicate(timeout=30)
    assert (child.returncode, err) == (143, "")
    assert out.splitlines()[-1] == "stopped; the same command goes on from here"
    assert (tmp_path / "run" / "checkpoint.safetensors").exists()
    assert not (tmp_path / "run" / ".lock").exists()


def test_a_recording_that_its_scheduler_ends_keeps_its_episodes(tmp_path: Path) -> None:
    """Schedulers send SIGTERM to all processes of a job, the workers and games among them."""
    out = tmp_path / "data"
    words = ["record", "toy_games:Counter-v0", f"--out={out}", "--episodes=1000000"]
    child = start(*words)
    wait_for("recording [1-9]", child)
    workers = [
        int(pid)
        for task in Path(f"/proc/{child.pid}/task").iterdir()
        for pid in (task / "children").read_text().split()
    ]
    assert len(workers) >= 2
    for pid in [*workers, child.pid]:
        os.kill(pid, signal.SIGTERM)
    printed, said = child.communicate(timeout=30)
    assert (child.returncode, said) == (143, "")
    assert printed.splitlines()[-1] == "stopped; the same command goes on from here"
    assert len(np.load(out / "episode_starts.npy")) > 1
    for _ in range(100):
        if all(map(has_ended, workers)):
            return
        time.sleep(0.05)
    raise AssertionError("a worker has outlived the command")


def test_a_table_claims_nothing_before_its_first_generation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("vizdoom")
    from genie_env.evaluation.table import table

    world = write_random_world(tmp_path / "world")

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("stopped")

    monkeypatch.setattr("genie_env.evaluation.table.fill_cell", fail)
    for steps in (1000, 2000):
        with pytest.raises(RuntimeError, match="stopped"):
            table(world, tmp_path / "out", steps=steps)

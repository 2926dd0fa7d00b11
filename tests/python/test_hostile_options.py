"""Hostile values of every option of every command: each is accepted, or refused in one line that
names it, before anything is written.

Commands and options are found in the command line itself. A new command needs a line in LINES.
"""

from __future__ import annotations

import functools
import inspect
import io
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import gymnasium
import numpy as np
import pytest
import torch
import uvicorn
from published_checkpoints import Ctallec, write_starts
from test_cli import commands
from test_minari import MISSING, WHY, collect
from typer.models import OptionInfo, ParameterInfo

from genie_env import _core
from genie_env.agents.controller import LinearController
from genie_env.cli.app import APP, LazyCommand
from genie_env.data import workers
from genie_env.families.genie.commands import (
    freeze_genie,
    train_dynamics,
    train_heads,
    train_latent_actions,
    train_tokenizer,
)
from genie_env.families.option_checks import declared_options, word
from genie_env.families.vision_memory.commands import train_memory, train_vision
from genie_env.games.doom import DoomGame

RUNS = "--data {data} --out {out}"
LINES = {
    "demo": "--out {out} --world {world}",
    "worlds": "{world} --json {file}",
    "check": "{world} --json {file}",
    "play": "{world} --recordings {out} --no-browser --port 0",
    "record": "doom-take-cover --out {out}",
    "import minari": "{minari} --out {out} --picture near",
    "import checkpoint": "--layout ctallec --vision {checkpoint}/vae/best.tar --memory "
    "{checkpoint}/mdrnn/best.tar --starts {checkpoint}/starts.npz --actions left stay right "
    "--max-episode-steps 9 --out {out}",
    "inspect": "{data} --picture {file}",
    "train vision": f"{RUNS} --batch 4",
    "train memory": f"{RUNS} --vision {{runs}}/vision --batch 2 --window 4",
    "train tokenizer": f"{RUNS} --batch 2 --width 8 --heads 2 --clip 4",
    "train latent-actions": f"{RUNS} --batch 2 --width 8 --heads 2 --clip 4",
    "train dynamics": f"{RUNS} --tokenizer {{runs}}/tokenizer --latent-actions {{runs}}/actions "
    "--batch 2 --width 8 --heads 2 --clip 4 --window 3",
    "train heads": f"{RUNS} --world {{runs}}/world --batch 2",
    "train controller": "--world {world} --out {out} --starts {data} --burn-in 2",
    "train ppo": "--world {world} --out {out} --starts {data} --burn-in 2",
    "train clone": f"{RUNS} --world {{world}} --batch 2",
    "map-actions": "--latent-actions {runs}/actions --data {data} --out {out} --labelled 20",
    "freeze vision-memory": "--vision {runs}/vision --memory {runs}/memory --out {out}",
    "freeze genie": "--dynamics {runs}/dynamics --out {out}",
    "freeze heads": "--heads {runs}/heads --out {out}",
    "dream": "--world {world} --out {out}",
    "calibrate": "--world {world} --out {out}",
    "outcomes": "--world {world} --data {data} --out {out} --windows 4 --horizon 2",
    "fidelity": "--world {world} --data {data} --out {out} --starts 4 --burn-in 2 --horizon 2",
    "continuity": "--world {world} --data {data} --out {out} --ages 1 --burn-in 2",
    "dream-score": "--world {world} --agent {agent} --starts {data} --burn-in 2",
    "film": "--world {world} --agent {agent} --out {file}",
    "evaluate": "--world {world} --agent {agent}",
    "table": "--world {world} --out {out}",
    "rank": "--world {world} --agent {agents} --out {out}",
    "bench": "--world {world}",
}
"""What every command is given besides the hostile value: enough to reach its work."""

NUMBERS = ("0", "-1", str(2**63), str(2**64), str(10**30), "nan", "", "x")
TEXTS = ("", "\udcff", "x" * 5000, "%s {0}")
VALUES: dict[type, tuple[str, ...]] = {
    int: (*NUMBERS, "1e3", "0x10", "9" * 5000),
    float: (*NUMBERS, "inf", "-inf", "1e999", "-0.0"),
    str: TEXTS,
    bool: (),
    Path: ("", "x\udcff", "x" * 300, "{file}", "{file}/x", "{folder}", "/proc/x"),
}


class Accepted(BaseException):
    """The work has begun: everything was checked."""


def kind_of(command: LazyCommand, name: str) -> Any:
    """The type of an option's value, of one of several where it takes a list."""
    kind = get_type_hints(command.load())[name]
    while get_origin(kind) is not None and get_origin(kind) is not Literal:
        kind = get_args(kind)[0]
    return kind


@functools.cache
def options() -> list[tuple[str, str, ParameterInfo]]:
    """Command, name in Python, and what typer knows, of every option and argument there is."""
    return [
        (name, parameter, info)
        for name, command in commands()
        for parameter, info in declared_options(command.load()).items()
    ]


EVERY = pytest.mark.parametrize(
    ("command", "name"),
    [(c, n) for c, n, _ in options()],
    ids=[f"{c}-{n}" for c, n, _ in options()],
)


@pytest.mark.parametrize("command", [name for name, _ in commands()])
def test_every_option_declares_its_type_and_range(command: str) -> None:
    function = dict(commands())[command].load()
    declared = declared_options(function)
    begin = ("dream", "play")  # from a picture, which they read
    assert declared.keys() == inspect.signature(function).parameters.keys()
    for name, info in declared.items():
        kind = kind_of(dict(commands())[command], name)
        assert kind in VALUES or get_origin(kind) is Literal, f"{command}: {name} is a {kind}"
        if kind in (int, float):
            assert info.min is not None and info.max is not None, f"{command}: {name} has no range"
        if kind is int:
            assert info.max < 2**63, f"{command}: {name} does not end in 64 bits"
        outputs = ("out", "json_file", "plot_file", "picture", "real_scores", "record")
        if kind is Path and name in outputs and (name != "picture" or command not in begin):
            assert info.writable, f"{command}: {name} does not say that it is written"


@dataclass(frozen=True)
class Places:
    """What stands for the words in braces of LINES and VALUES."""

    world: Path
    data: Path
    runs: Path
    agent: Path
    agents: Path
    minari: Path
    checkpoint: Path
    file: Path
    folder: Path

    def fill(self, text: str, out: Path) -> list[str]:
        """The words of a command line."""
        names = {**vars(self), "out": out}
        return [each.format(**names) for each in text.split(" ")]


@pytest.fixture(scope="module")
def places(random_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Places:
    folder = tmp_path_factory.mktemp("hostile")
    data, runs = folder / "data", folder / "runs"
    random = np.random.default_rng(0)
    actions = ["left", "stay", "right"]
    meta = {"format_version": 1, "game": "doom-take-cover", "frame_skip": 1, "actions": actions}
    with _core.EpisodeWriter(data, 64, 64, json.dumps(meta)) as writer:
        for _ in range(40):
            frames = random.integers(0, 256, (9, 64, 64, 3)).astype(np.uint8)
            last = np.arange(9) == 8
            actions = random.integers(0, 3, 9)
            writer.append(frames, actions, np.ones(9, np.float32), last, last & False)
    small = {"data": [data], "steps": 1, "batch": 2, "bf16": False}
    train_vision(out=runs / "vision", latents=4, **small)
    memory = {"window": 4, "hidden": 8, "components": 2}
    train_memory(out=runs / "memory", vision=runs / "vision", **memory, **small)
    sizes = {"width": 8, "heads": 2, "clip": 4}
    blocks = {"encoder_blocks": 1, "decoder_blocks": 1}
    train_tokenizer(out=runs / "tokenizer", **sizes, **blocks, **small)
    train_latent_actions(out=runs / "actions", **sizes, **blocks, **small)
    codes = {"tokenizer": runs / "tokenizer", "latent_actions": runs / "actions"}
    train_dynamics(out=runs / "dynamics", blocks=1, window=3, **codes, **sizes, **small)
    freeze_genie(runs / "dynamics", runs / "world")
    train_heads(out=runs / "heads", world=str(runs / "world"), **small)
    spec = _core.World.load(random_world).spec
    features = spec.observations[0].shape[0]
    agent = folder / "agent.safetensors"
    agents = folder / "agents"
    for number, file in enumerate([agent, *(agents / f"{n}.safetensors" for n in range(6))]):
        weight = np.full(features, max(0, number - 1), np.float32)
        LinearController(weight, spec.observations[0].name, spec.fingerprint).save(file)
    file = folder / "a file"
    file.write_text("not what anybody expects")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", str(folder / "minari"))
        if not MISSING:
            collect(gymnasium.make("genie_env_tests/Several-v0"))
    dataset = folder / "minari" / "noise-v0"
    checkpoint = folder / "checkpoint"
    Ctallec().write(checkpoint)
    write_starts(checkpoint / "starts.npz")
    return Places(
        random_world,
        data,
        runs,
        agent,
        agents,
        dataset,
        checkpoint,
        file.rename(folder / "file"),
        folder,
    )


@pytest.fixture
def without_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first thing of all work is Accepted: training, dreams, real games, measurements, files."""

    def accept(*_: Any, **__: Any) -> None:
        raise Accepted

    for kind, method in (
        (_core.Trainer, "backward"),
        (_core.Trainer, "evaluate"),
        (_core.VecEnv, "__init__"),
        (_core.World, "make_state"),
        (_core.EpisodeWriter, "__init__"),
        (_core.LatentAction, "encode"),
        (_core.Tokenizer, "encode"),
        (torch.Tensor, "backward"),
        (workers._Worker, "__init__"),
        (uvicorn.Server, "run"),
        (DoomGame, "make"),
    ):
        monkeypatch.setattr(kind, method, accept)


def said(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> tuple[int | None, str, str]:
    """The exit code of a command, None where its work begins, and what it prints, as a terminal's
    streams take it: a name that is no UTF-8 is an error on the first and shown on the second."""
    out, err = (
        io.TextIOWrapper(io.BytesIO(), "utf-8"),
        io.TextIOWrapper(io.BytesIO(), "utf-8", errors="backslashreplace"),
    )
    code: int | None = 0
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", out)
        patched.setattr(sys, "stderr", err)
        patched.setenv("COLUMNS", "9999")
        try:
            APP.main(arguments, prog_name="genie-env")
        except SystemExit as exit:
            code = int(exit.code or 0)
        except Accepted:
            code = None
    shown = []
    for stream in (out, err):
        stream.flush()
        shown.append(stream.buffer.getvalue().decode())  # type: ignore[attr-defined]
    return code, shown[0], shown[1]


def check_refused(shown: str, code: int, words: str, value: str) -> None:
    """One line that names the option or what it was given."""
    assert code in (1, 2), shown
    assert "Traceback" not in shown
    lines = [
        line for line in shown.splitlines() if line.startswith("genie-env: ") or "Invalid" in line
    ]
    assert len(lines) == 1, shown
    if not value:
        assert "is empty" in lines[0], shown
        return
    named = (
        words,
        words.strip("-"),
        words.strip("-").replace("-", "_"),
        words.strip("-").replace("-", " "),
    )
    given = [
        value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"),
        value.encode("utf-8", "backslashreplace").decode(),
    ]
    line = lines[0].replace("\\", "").lower()
    names = {*named, *(each.replace("\\", "")[:40] for each in given)}
    assert any(each.lower() in line for each in names), shown


@EVERY
def test_hostile_values(
    command: str,
    name: str,
    places: Places,
    without_work: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if command == "import minari" and MISSING:
        pytest.skip(WHY)
    monkeypatch.chdir(tmp_path)
    entry = dict(commands())[command]
    info = declared_options(entry.load())[name]
    option, kind = word(name, info), kind_of(entry, name)
    for value in VALUES.get(kind, TEXTS):
        empty(tmp_path)
        out = tmp_path / "out"
        line = places.fill(LINES[command], out)
        value = places.fill(value, out)[0] if value.startswith("{") else value
        if not isinstance(info, OptionInfo):
            line[0] = value
        elif option in line:
            line[line.index(option) + 1] = value
        else:
            line += [option, value]
        code, shown, errors = said([*command.split(), *line], monkeypatch)
        if code not in (0, None):
            check_refused(errors, code, "video files" if "few video" in errors else option, value)
            assert not list(tmp_path.iterdir()), f"{option} {value[:99]!r} wrote something"


def empty(folder: Path) -> None:
    """Removes what is in it."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


HUGE = "--width 8192 --heads 2"
PROCESSES = {
    "demo": "--seed 1" + "0" * 30,
    "worlds": "{data}",
    "check": "{data}",
    "play": "{data}",
    "record": "no-such-game --out {out}",
    "import minari": "{folder} --out {out}",
    "import checkpoint": f"{LINES['import checkpoint']} --memory {{folder}}",
    "inspect": "{file}",
    "train vision": f"{LINES['train vision']} --latents {2**63}",
    "train memory": f"{LINES['train memory']} --hidden 65536",
    "train tokenizer": f"{RUNS} --batch 2 --clip 4 {HUGE} --encoder-blocks 64",
    "train latent-actions": f"{RUNS} --batch 2 --clip 4 {HUGE} --encoder-blocks 64",
    "train dynamics": f"{LINES['train dynamics']} {HUGE} --blocks 64",
    "train heads": f"{LINES['train heads']} --batch 65536",
    "train controller": f"{LINES['train controller']} --dreams 1000000",
    "train ppo": f"{LINES['train ppo']} --observation smell",
    "train clone": f"{LINES['train clone']} --batch 1000000",
    "map-actions": f"{LINES['map-actions']} --labelled 1000000000",
    "freeze vision-memory": f"{LINES['freeze vision-memory']} --temperature nan",
    "freeze genie": f"{LINES['freeze genie']} --passes 64",
    "freeze heads": f"{LINES['freeze heads']} --termination soon",
    "dream": f"{LINES['dream']} --picture {{file}}",
    "calibrate": f"{LINES['calibrate']} --dreams 1000000",
    "outcomes": f"{LINES['outcomes']} --seed -1",
    "fidelity": f"{LINES['fidelity']} --horizon 100000",
    "continuity": f"{LINES['continuity']} --drift 1 100000",
    "dream-score": f"{LINES['dream-score']} --episodes 1000000000000",
    "film": f"{LINES['film']} --out {{folder}}",
    "evaluate": f"{LINES['evaluate']} --json {{folder}}",
    "table": f"{LINES['table']} --steps 1e400",
    "rank": f"{LINES['rank']} --agent {{agent}}",
    "bench": f"{LINES['bench']} --batch 1 -5",
}
"""A hostile line of every command, each for a process of its own that has a quarter of a GiB of memory left."""

OUT_OF_MEMORY = ("memory", "tokenizer", "latent-actions", "dynamics", "controller")
"""The trainings that ask for more."""

FORKS = """
import json, os, resource, sys
import torch
import genie_env.agents.evolution, genie_env.cli.app, genie_env.families.genie.commands

for name, (words, folder) in json.loads(sys.argv[1]).items():
    sys.stdout.flush()
    if os.fork() == 0:
        with open("/proc/self/statm") as pages:
            used = int(pages.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, used + 2**28))
        for stream, number in (("out", 1), ("err", 2)):
            os.dup2(os.open(f"{folder}/{stream}", os.O_WRONLY | os.O_CREAT), number)
        sys.argv = ["genie-env", *words]
        try:
            genie_env.cli.app.main()
        except SystemExit as exit:
            sys.stdout.flush()
            os._exit(exit.code or 0)
        os._exit(99)
    print(json.dumps([name, os.waitstatus_to_exitcode(os.wait()[1])]))
"""


@pytest.fixture(scope="module")
def processes(
    places: Places, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[int, Path]]:
    """The exit code of every line of PROCESSES, and the folder of what it printed and wrote."""
    folders = {name: tmp_path_factory.mktemp(name.replace(" ", "-")) for name in PROCESSES}
    lines = {
        name: ([*name.split(), *places.fill(line, folders[name] / "written")], str(folders[name]))
        for name, line in PROCESSES.items()
    }
    done = subprocess.run(
        [sys.executable, "-c", FORKS, json.dumps(lines)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "9999"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    codes = dict(json.loads(line) for line in done.stdout.splitlines())
    return {name: (codes[name], folders[name]) for name in PROCESSES}


@pytest.mark.parametrize("command", [name for name, _ in commands()])
def test_a_process_of_its_own(command: str, processes: dict[str, tuple[int, Path]]) -> None:
    code, folder = processes[command]
    errors = (folder / "err").read_text()
    assert code in (1, 2), errors
    assert "Traceback" not in errors
    lines = [line for line in errors.splitlines() if line.startswith("genie-env: ")]
    assert len(lines) == 1 or (code == 2 and "Invalid value for '--" in errors), errors
    if command.partition(" ")[2] in OUT_OF_MEMORY:
        # What is free, or, where that would be enough, what the process may have.
        words = r"out of memory: [\d.]+ \w+ .*; ask for less|.* does not fit into memory .*: give fewer"
        assert re.match(f"genie-env: ({words})", lines[0]), errors
    if command != "train controller":  # there it is the work itself that asks for more
        assert not (folder / "written").exists()

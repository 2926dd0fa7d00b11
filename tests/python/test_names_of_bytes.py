"""Names of files are bytes: those that are no UTF-8 are taken by every option, and shown with backslash
escapes by every output and every error."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import toy_games  # noqa: F401  (registers games)
from random_world import write_random_world

from genie_env import World
from genie_env._core import EpisodeStore
from genie_env.agents.agent import load_agent
from genie_env.cli.app import APP
from genie_env.data.paths import in_utf8, shown, shown_in

SMALL = (
    *("--steps", 1, "--batch", 2, "--width", 8, "--heads", 1, "--clip", 2, "--window", 2),
    *("--encoder-blocks", 1, "--decoder-blocks", 1),
)


class Commands:
    """Runs commands with outputs that hold no other than UTF-8, as a user's terminal."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch

    def __call__(self, *arguments: object, fails: bool = False) -> str:
        streams = [io.TextIOWrapper(io.BytesIO(), "utf-8", errors="strict") for _ in range(2)]
        self._patch.setattr(sys, "stdout", streams[0])
        self._patch.setattr(sys, "stderr", streams[1])
        with pytest.raises(SystemExit) as ended:
            APP.main([str(argument) for argument in arguments], prog_name="genie-env")
        for stream in streams:
            stream.flush()
        output, errors = (stream.buffer.getvalue().decode() for stream in streams)  # type: ignore[attr-defined]
        assert ended.value.code == int(fails), errors
        return " ".join((errors if fails else output).split())


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Commands:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "1000")
    return Commands(monkeypatch)


def named(directory: Path, name: str) -> Path:
    """A path whose last name ends with a byte that is no UTF-8: "name" followed by Latin-1's é."""
    return directory / os.fsdecode(name.encode() + b"\xe9")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    directory = tmp_path / os.fsdecode(b"caf\xe9")
    directory.mkdir()
    return directory


def test_a_genie_world_is_made_where_no_name_is_utf_8(run: Commands, place: Path) -> None:
    data, tokenizer, actions, dynamics, world = (
        named(place, name) for name in ("data", "tokenizer", "actions", "dynamics", "world")
    )
    record = ("record", "toy_games:Counter-v0", "--episodes", 20, "--workers", 1, "--out", data)
    assert r"caf\xe9/data\xe9 holds 0 episodes" in run(*record)
    sheet = named(place, "sheet").with_suffix(os.fsdecode(b".\xe9.png"))
    assert r"contact sheet: " in run("inspect", data, "--picture", sheet)
    assert sheet.exists()
    codes = ("--codes", 8, "--code-dimensions", 2)
    run("train", "tokenizer", "--data", data, "--out", tokenizer, *SMALL, *codes)
    run("train", "latent-actions", "--data", data, "--out", actions, *SMALL)
    assert list((tokenizer / "tensorboard").iterdir())
    run(
        *("train", "dynamics", "--data", data, "--tokenizer", tokenizer, "--out", dynamics),
        *("--latent-actions", actions, *SMALL[:12], "--blocks", 1),
    )
    assert r"wrote " in run("freeze", "genie", "--dynamics", dynamics, "--out", world)
    assert World.load(world).spec.name == r"world\xe9"
    found = named(place, "found.json")
    run("worlds", world, "--json", found)
    assert json.loads(found.read_text())["name"] == r"world\xe9"
    clips = run(
        "dream", "--world", world, "--picture", sheet, "--out", named(place, "clips"), "--frames", 1
    )
    assert r"caf\xe9/clips\xe9/" in clips
    run(
        *("fidelity", "--world", world, "--data", data, "--out", named(place, "fidelity")),
        *("--starts", 1, "--burn-in", 1, "--horizon", 1, "--json", named(place, "fidelity.json")),
    )
    assert (named(place, "fidelity") / "fidelity.mp4").exists()


def test_an_agent_is_trained_where_no_name_is_utf_8(run: Commands, place: Path) -> None:
    world, out = write_random_world(named(place, "world")), named(place, "agent")
    train = (
        "train",
        "controller",
        "--world",
        world,
        "--steps",
        50,
        "--population",
        4,
        "--dreams",
        1,
    )
    assert r"agent\xe9/agent.safetensors: " in run(*train, "--out", out)
    agent = out / "agent.safetensors"
    run(*train, "--out", named(place, "warm"), "--warm", agent)
    run("dream-score", "--world", world, "--agent", agent, "--episodes", 1)
    assert load_agent(agent).world == World.load(world).spec.fingerprint


@pytest.mark.parametrize(
    "command",
    [
        ("inspect",),
        ("worlds",),
        ("train", "vision", "--out", "out", "--data"),
        ("train", "tokenizer", "--out", "out", "--data"),
        ("train", "controller", "--out", "out", "--world"),
        ("freeze", "genie", "--out", "out", "--dynamics"),
        ("dream", "--out", "out", "--world"),
        ("dream", "--out", "out", "--world", "doom-take-cover", "--picture"),
        ("calibrate", "--out", "out", "--world"),
        ("fidelity", "--data", "data", "--world"),
        ("dream-score", "--world", "doom-take-cover", "--agent"),
        ("bench", "--world"),
    ],
)
def test_errors_show_what_was_given(
    run: Commands, command: tuple[Any, ...], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    error = run(*command, named(Path(), "none"), fails=True)
    assert r"none\xe9" in error and "codec" not in error, error


def test_errors_of_the_compiled_part_show_them_too(place: Path) -> None:
    with pytest.raises(ValueError, match=r"none\\xe9 is not a directory of episodes"):
        EpisodeStore(named(place, "none"))
    with pytest.raises(ValueError, match=r"none\\xe9 is not a world directory"):
        World.load(named(place, "none"))
    (place / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"caf\\xe9/config.json"):
        World.load(place)


def test_a_text_is_shown_without_half_characters() -> None:
    assert shown(os.fsdecode(b"a\xff\xc3\xa9")) == r"a\xffé"
    assert shown("\ud800 \U0001f480 é") == "\\ud800 \U0001f480 é"
    assert shown(Path("a/b")) == "a/b"
    value = {"a\udcff": ["b\udcfe", 1, None, ("c",)], "d": {"e": "\udcfd"}}
    assert shown_in(value) == {r"a\xff": [r"b\xfe", 1, None, ["c"]], "d": {"e": r"\xfd"}}


def test_software_that_takes_utf_8_alone_gets_a_link(place: Path, tmp_path: Path) -> None:
    with in_utf8(place) as path:
        (path / "a").write_text("b")
        assert shown(path) == str(path)
    assert (place / "a").read_text() == "b" and not path.exists()
    with in_utf8(tmp_path) as path:
        assert path == tmp_path


def test_an_output_of_ascii_shows_other_characters_as_escapes(
    monkeypatch: pytest.MonkeyPatch, place: Path
) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), "ascii", errors="strict")
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    with pytest.raises(SystemExit):
        APP.main(["inspect", str(named(place, "ö"))], prog_name="genie-env")
    stream.flush()
    assert rb"\xf6\xe9 is not a directory" in stream.buffer.getvalue()  # type: ignore[attr-defined]

"""Every JSON and array file that Python reads: whatever is in it, the answer is one line that begins
with the file."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from random_world import write_random_world
from rich.console import Console
from safetensors.numpy import load_file, save_file

from genie_env._core import EpisodeStore, EpisodeWriter, Vision
from genie_env.agents.agent import load_agent
from genie_env.agents.controller import LinearController
from genie_env.agents.dreams import Dreams, EpisodeResults
from genie_env.agents.evolution import ControllerSettings, evolve
from genie_env.cli.inspect import inspect
from genie_env.data.files import write_json
from genie_env.data.players import BlindPlayer
from genie_env.data.recording import record_episodes
from genie_env.data.recording_metadata import action_meanings, recorded_game, recorded_score
from genie_env.envs.world_card import read_card
from genie_env.evaluation import action_mapping, dream_score
from genie_env.evaluation.action_classifier import Classified
from genie_env.evaluation.evaluate import RealScores, blind_player
from genie_env.evaluation.table import FRESH_DREAMS
from genie_env.families.genie.commands import (
    train_dynamics,
    train_latent_actions,
    train_tokenizer,
)
from genie_env.families.vision_memory.commands import train_memory, train_vision
from genie_env.games.real_game import real_game
from genie_env.games.registry import find_game
from genie_env.training.dynamics import DYNAMICS, load_dynamics
from genie_env.training.latent_actions import (
    LATENT_ACTIONS,
    encoded_actions,
    load_latent_actions,
    watch_latent_actions,
)
from genie_env.training.memory import MEMORY, load_memory
from genie_env.training.runs import Network, final_report, is_frozen
from genie_env.training.tokenizer import TOKENIZER, load_tokenizer, watch_tokenizer

GAME = "toy_games:Counter-v0"
META = {
    **{"format_version": 1, "game": "doom-take-cover", "frame_skip": 1},
    **{"actions": ["left", "stay", "right"]},
    **{"score": {"name": "survival", "unit": "tics", "higher_is_better": True}},
}
ONCE: dict[str, Any] = {"steps": 1, "batch": 2, "bf16": False}
SMALL: dict[str, Any] = ONCE | {"width": 8, "heads": 2, "window": 3, "patch": 32}
BLOCKS: dict[str, Any] = {"encoder_blocks": 1, "decoder_blocks": 1, "clip": 4}


SMALL_VISION = Vision(latents=2)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with one of every file that is read."""
    here = tmp_path_factory.mktemp("good")
    rng = np.random.default_rng(0)
    with EpisodeWriter(here / "data", 64, 64, json.dumps(META)) as writer:
        for _ in range(20):
            ends = np.arange(8) == 7
            frames = rng.integers(0, 256, (8, 64, 64, 3)).astype(np.uint8)
            writer.append(frames, np.arange(8) % 3, np.ones(8, np.float32), ends, ends & False)
    data = [here / "data"]
    train_vision(data, here / "vision", latents=2, **ONCE)
    memory = {"window": 4, "hidden": 4, "components": 2}
    train_memory(data, here / "vision", here / "memory", **ONCE, **memory)
    train_tokenizer(data, here / "tokenizer", codes=20, **SMALL, **BLOCKS)
    train_latent_actions(data, here / "actions", **SMALL, **BLOCKS)
    sizes = {name: value for name, value in SMALL.items() if name != "patch"}
    codes = {"tokenizer": here / "tokenizer", "latent_actions": here / "actions"}
    train_dynamics(data, out=here / "dynamics", **codes, **sizes, blocks=1)
    world = write_random_world(here / "world")
    config = json.loads((world / "config.json").read_text())
    config["training"] = {"data": {"vision": [META]}}
    (world / "config.json").write_text(json.dumps(config))
    LinearController(np.zeros(20, np.float32), "zch", "ab" * 32).save(here / "agent.safetensors")
    (here / "evolution").mkdir()
    evolution(here)
    list(RealScores(player(), here / "real.json").play(2, workers=1))
    with pytest.MonkeyPatch.context() as patch:
        made_again(patch)
        dreamt(here)
        supervised(here)
    return here


def made_again(patch: pytest.MonkeyPatch) -> None:
    """What takes long is not done."""
    figures = Classified(accuracy=0.5, transitions=10, validation_accuracy=0.5, step=1)
    patch.setattr(action_mapping, "train_classifier", lambda *_, **__: figures)

    def dream_scores(
        dreams: Dreams, agent: Path, seed: int, episodes: int, file: Path, console: Console
    ) -> dict[str, Any]:
        identity = dream_score.dream_identity(dreams, agent, seed)
        found = {**identity, "scores": [1.5] * episodes, "seeds": [7] * episodes}
        write_json(file, found)
        return found

    patch.setattr(dream_score, "dream_scores", dream_scores)


def player() -> Any:
    return blind_player("random", 0, find_game(GAME))


def evolution(here: Path) -> None:
    def evaluate(weights: Any, owners: Any, seeds: list[int]) -> EpisodeResults:
        return EpisodeResults(np.ones(len(owners), np.float32), len(owners))

    settings = ControllerSettings(steps=1, population=4, dreams=1)
    first = LinearController(np.zeros(3, np.float32), "zch", "ab" * 32)
    list(evolve(evaluate, first, settings, here / "evolution"))


@lru_cache
def dreams(world: Path) -> Dreams:
    return Dreams.load(world)


def dreamt(here: Path) -> None:
    file, agent = here / "dream.json", here / "agent.safetensors"
    dream_score.kept_dream_scores(
        dreams(here / "world"), agent, 0, FRESH_DREAMS, file, Console()
    )


def supervised(here: Path) -> None:
    stores = [EpisodeStore(here / "data")]
    action_mapping._supervised(here / "map", stores, actions=3, window=3, steps=1, seed=0)


def recording(here: Path) -> None:
    directories, stores = [here / "data"], [EpisodeStore(here / "data")]
    recorded_game(directories, stores)
    action_meanings(directories, stores)
    recorded_score(directories[0], stores[0])
    inspect(here / "data")


def card(here: Path) -> None:
    read_card(here / "world")
    real_game(here / "world")


def network(
    name: str, kind: Network, load: Callable[[Path], Any] = lambda here: None
) -> Callable[[Path], None]:
    def read(here: Path) -> None:
        is_frozen(here / name)
        report = final_report(here / name, kind)
        if kind in (TOKENIZER, LATENT_ACTIONS):
            watch = watch_tokenizer if kind == TOKENIZER else watch_latent_actions
            watch(6, stop=False).check(here / name, 1, report["held_out"])
        load(here)

    return read


def actions_of(here: Path) -> None:
    model = load_latent_actions(here / "actions")
    encoded_actions(here / "actions", model, [here / "data"], [EpisodeStore(here / "data")])


@dataclass(frozen=True)
class Read:
    """A file, and who reads it."""

    file: str
    read: Callable[[Path], Any]
    lines: bool = False
    """Whether it is a JSON object a line."""
    made_again: bool = False
    """Whether it is a cache, which is made again."""


def networks() -> Iterator[Read]:
    """All but V, which is read like M, and whose checkpoints are large."""
    for name, kind, load in (
        ("memory", MEMORY, lambda here: load_memory(here / "memory", SMALL_VISION)),
        ("tokenizer", TOKENIZER, lambda here: load_tokenizer(here / "tokenizer")),
        ("actions", LATENT_ACTIONS, actions_of),
        (
            "dynamics",
            DYNAMICS,
            lambda here: load_dynamics(
                here / "dynamics", load_latent_actions(here / "actions").codes()
            ),
        ),
    ):
        yield Read(f"{name}/settings.json", network(name, kind, load))
        yield Read(f"{name}/metrics.jsonl", network(name, kind), lines=True)
        yield Read(f"{name}/checkpoint.safetensors", network(name, kind, load))


JSON_FILES = [
    *(each for each in networks() if not each.file.endswith(".safetensors")),
    Read("evolution/generations.jsonl", evolution, lines=True),
    Read("real.json", lambda here: RealScores(player(), here / "real.json")),
    Read("dream.json", dreamt),
    Read("map/*.json", supervised, made_again=True),
    Read("data/meta.json", recording),
    Read("world/config.json", card),
]
ARRAYS = [
    *(each for each in networks() if each.file.endswith(".safetensors")),
    Read("agent.safetensors", lambda here: load_agent(here / "agent.safetensors")),
    Read("actions/actions-float32/*/*.npy", actions_of, made_again=True),
]


@pytest.fixture
def here(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made_again(monkeypatch)
    copy = tmp_path / "good"
    shutil.copytree(good, copy, ignore=shutil.ignore_patterns("vision", "tensorboard"))
    return copy


def answer(read: Read, here: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What is said of a hostile file; empty where it is read."""
    capsys.readouterr()
    try:
        read.read(here)
    except (ValueError, RuntimeError, OSError) as error:
        said = str(error)
    else:
        said = capsys.readouterr().out if read.made_again else ""
    if said:
        assert said.startswith(str(here / read.file.partition("/")[0])), said
        assert said.rstrip("\n").count("\n") == 0 and len(said) < 500, said
        assert "Traceback" not in said and "unsafely" not in said and "incompatible" not in said
    return said


@pytest.mark.parametrize("read", JSON_FILES, ids=[each.file for each in JSON_FILES])
def test_json_files(read: Read, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (file,) = here.glob(read.file)
    content = file.read_bytes()
    assert answer(read, here, file, capsys) == ""
    for hostile in (b"", b"{", b"[1]", b"5", b"null", b'"x"', b"\xff\xfe", b"[" * 100_000, b"\0" * 99):
        file.write_bytes(hostile + b"\n" * read.lines)
        assert answer(read, here, file, capsys).startswith(str(file)), hostile
    if "meta" not in read.file:
        file.write_bytes(b"{}" + b"\n" * read.lines)
        assert answer(read, here, file, capsys).startswith(str(file))
    good = json.loads(content.splitlines()[0] if read.lines else content)
    for value in (None, -1, 2**70, "x", {"x": 1}):
        for spoilt in spoilt_by(value, good):
            file.write_text(json.dumps(spoilt) + "\n")
            answer(read, here, file, capsys)


def spoilt_by(value: Any, good: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Copies with every field, and every field of an object within, replaced."""
    for name, field in good.items():
        yield {**good, name: value}
        if isinstance(field, dict):
            yield from ({**good, name: inner} for inner in spoilt_by(value, field))


@pytest.mark.parametrize("read", ARRAYS, ids=[each.file for each in ARRAYS])
def test_array_files(read: Read, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (file,) = here.glob(read.file)
    content = file.read_bytes()
    assert answer(read, here, file, capsys) == ""
    flipped = bytearray(content)
    flipped[9] ^= 0xFF
    for hostile in (
        *(b"", b"x", b"not an array" * 99, bytes(flipped), content[: len(content) // 2]),
        *(content[:-1], b"\x93NUMPY" + b"\xff" * 99, pickle.dumps([1] * 99), b"PK\3\4" + b"\0" * 99),
        (2**63 - 1).to_bytes(8, "little") + b"{" * 99,
    ):
        file.write_bytes(hostile)
        assert answer(read, here, file, capsys).startswith(str(file)), hostile[:20]
    if file.suffix == ".safetensors" and read.file != "agent.safetensors":
        file.write_bytes(content)
        tensors = load_file(file)
        for name in list(tensors)[:3] + ["step", "buffer.action_codes"] * ("step" in tensors):
            for other in (np.zeros((2, 2)), np.zeros(0, np.int64), np.full((), np.nan, np.float32)):
                save_file({**tensors, name: other}, file)
                answer(read, here, file, capsys)


def test_a_checkpoint_whose_losses_were_changed_is_named(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(good / "vision", tmp_path / "vision")
    file = tmp_path / "vision" / "checkpoint.safetensors"
    tensors = load_file(file)
    for losses in ({"report.a": np.zeros((1, 1))}, {"report.a": np.zeros(1), "report.b": np.zeros(2)}):
        save_file({**tensors, **losses}, file)
        with pytest.raises(ValueError, match=r"^.*/vision/checkpoint.safetensors does not fit: its"):
            train_vision([good / "data"], tmp_path / "vision", latents=2, **ONCE)
    assert torch.tensor(tensors["step"]) == 1


def test_a_recording_of_a_damaged_description_is_not_continued(tmp_path: Path) -> None:
    record_episodes(BlindPlayer(find_game(GAME), 0, ("random",)), tmp_path, 1, workers=1)
    (tmp_path / "meta.json").write_text('{"format_version": 1, "actions": 5}')
    with pytest.raises(ValueError, match="holds episodes of format 1, as an older genie_env"):
        record_episodes(BlindPlayer(find_game(GAME), 0, ("random",)), tmp_path, 2, workers=1)


def test_dreams_of_another_agent_are_dreamt_again(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table keeps an agent's scores in a file beside it."""
    LinearController(np.ones(20, np.float32), "zch", "ab" * 32).save(here / "agent.safetensors")
    for expected in ("dream.json holds other dreams (agent was ", ""):
        capsys.readouterr()
        dreamt(here)
        assert expected in capsys.readouterr().out.replace("\n", "")

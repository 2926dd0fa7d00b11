"""What a user may get wrong with a world of the genie family: one clear error, and nothing lost."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.error import InvalidAction
from safetensors.torch import load_file, save_file

import genie_env
from genie_env._core import FormatError, World
from genie_env.cli.app import APP
from genie_env.families.genie.random_world import GenieSizes, random_genie_world

SIZES = GenieSizes(T=3, S=12, d=32, blocks=2, heads=2, codes=20, K=2)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_genie_world(tmp_path_factory.mktemp("worlds") / "genie", SIZES)


FRAMES = np.zeros((3, 24, 32, 3), np.uint8)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda env: env.step([0, 6, 1]), InvalidAction, "actions[1] is 6, expected 0 to 5"),
        (lambda env: env.step([-1, 0, 0]), InvalidAction, "actions[0] is -1, expected 0 to 5"),
        (lambda env: env.step([0, 0]), ValueError, "actions: got int64 [2], expected int64 [3]"),
        (lambda env: env.step([0.5, 0, 0]), TypeError, "actions: got float64, expected integers"),
        (
            lambda env: env.follow([0, 0, 7], FRAMES),
            InvalidAction,
            "actions[2] is 7, expected 0 to 5",
        ),
        (
            lambda env: env.follow([0, 0, 0], FRAMES[:, :-1]),
            ValueError,
            "frames: got uint8 [3, 23, 32, 3], expected uint8 [3, 24, 32, 3]",
        ),
        (
            lambda env: env.reset(
                options={"frames": FRAMES[:, None].repeat(2, 1), "actions": [[0], [9], [0]]}
            ),
            InvalidAction,
            "actions[1] is 9, expected 0 to 5",
        ),
    ],
)
def test_latent_actions_and_frames_that_cannot_be(
    world: Path, call: Callable[[Any], object], error: type[Exception], words: str
) -> None:
    env, other = (genie_env.make_vec(world, 3) for _ in range(2))
    for each in (env, other):
        each.reset(seed=0)
        each.step([1, 2, 3])
    with pytest.raises(error, match=re.escape(words)):
        call(env)
    np.testing.assert_array_equal(env.step([0, 5, 1])[0], other.step([0, 5, 1])[0])


def changed(*path: Any) -> Callable[[Path], None]:
    """Writes path[-1] where the names before it lead in config.json."""

    def change(directory: Path) -> None:
        file = directory / "config.json"
        config = json.loads(file.read_text())
        place = config
        for name in path[:-2]:
            place = place[name]
        place[path[-2]] = path[-1]
        file.write_text(json.dumps(config))

    return change


def tensors(
    file: str, change: Callable[[dict[str, torch.Tensor]], object]
) -> Callable[[Path], None]:
    def rewrite(directory: Path) -> None:
        stored = load_file(directory / file)
        change(stored)
        save_file(stored, directory / file)

    return rewrite


@pytest.mark.parametrize(
    ("change", "words"),
    [
        # What config.json says against the weights.
        (changed("tokenizer", "codes", 30), 'embedding" has shape [21, 32], expected [31, 32]'),
        (changed("tokenizer", "patch", 4), 'positions" has shape [12, 32], expected [48, 32]'),
        (changed("tokenizer", "width", 96), "has shape [192], expected [96]"),
        (changed("frame", "height", 48), 'positions" has shape [12, 32], expected [24, 32]'),
        (changed("dynamics", "width", 64), 'embedding" has shape [21, 32], expected [21, 64]'),
        (changed("dynamics", "blocks", 3), 'no tensor "dynamics.transformer.block2.'),
        (changed("dynamics", "blocks", 1), ".block1."),
        (changed("actions", "code_dimensions", 4), 'codes" has shape [6, 8], expected [6, 4]'),
        (changed("actions", "meanings", ["a"]), 'codes" has shape [6, 8], expected [1, 8]'),
        # Tokenizer, dynamics, starts and codebook of different worlds.
        (
            tensors(
                "model.safetensors",
                lambda stored: stored.update({"dynamics.embedding": torch.zeros(41, 32)}),
            ),
            'embedding" has shape [41, 32], expected [21, 32]',
        ),
        (
            tensors("model.safetensors", lambda stored: stored.pop("action_codes")),
            'has no tensor "action_codes"',
        ),
        (
            tensors(
                "starts.safetensors",
                lambda stored: stored.update(tokens=torch.zeros(3, 9, dtype=torch.int64)),
            ),
            '"tokens" has shape [3, 9], expected [any, 12]',
        ),
        (
            tensors(
                "starts.safetensors",
                lambda stored: stored.update(tokens=torch.full((3, 12), 20)),
            ),
            '"tokens" holds 20, expected 0 to 19',
        ),
        # K and T.
        (changed("dynamics", "passes", 0), '"dynamics.passes" is 0, expected an integer from'),
        (changed("dynamics", "passes", 65), '"dynamics.passes" is 65, expected an integer'),
        (changed("dynamics", "passes", "4"), '"dynamics.passes" is "4", expected an integer'),
        (changed("dynamics", "window", 1), '"dynamics.window" is 1, expected an integer from 2'),
        (changed("dynamics", "window", 1025), '"dynamics.window" is 1025, expected an integer'),
    ],
)
def test_parts_that_do_not_fit_together(
    world: Path, change: Callable[[Path], None], words: str, tmp_path: Path
) -> None:
    copy = tmp_path / "world"
    shutil.copytree(world, copy)
    change(copy)
    with pytest.raises(FormatError, match=re.escape(words)) as refused:
        World.load(copy)
    assert re.match(rf"{re.escape(str(copy))}/(config\.json|\w+\.safetensors)", str(refused.value))
    assert str(refused.value).endswith("; copy the world here again, or freeze it again")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("T=0", "window is 0, expected 2 to 1024 (T is the window"),
        ("T=1", "window is 1, expected 2 to 1024 (T is the window"),
        ("T=1025", "window is 1025, expected 2 to 1024"),
        ("K=0", "passes is 0, expected 1 to 64"),
        ("K=65", "passes is 65, expected 1 to 64"),
        ("S=0", "S is 0, expected 1 or more"),
        ("S=4097", "the number of patches a frame is 4097, expected 1 to 4096"),
        ("d=0", "width is 0, expected 1 to 8192"),
        ("heads=0", "heads is 0, expected 1 to 8192"),
        ("codes=1", "codes is 1, expected 2 to 65536"),
        ("K=99999999999999999999", "K in it is larger than any world's"),
    ],
)
def test_sizes_to_measure_that_cannot_be(
    change: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = {"T": 3, "S": 12, "d": 32, "blocks": 2, "heads": 2, "codes": 20, "K": 2}
    name, _, value = change.partition("=")
    text = ",".join(f"{n}={value if n == name else s}" for n, s in sizes.items())
    with pytest.raises(SystemExit) as exit:
        APP.main(["bench", "--random", f"genie:{text}"], prog_name="genie-env")
    assert exit.value.code == 1
    said = " ".join(capsys.readouterr().err.split())
    assert said.startswith(f"genie-env: --random is 'genie:{text}'") and words in said


def test_a_batch_too_large_to_measure(capsys: pytest.CaptureFixture[str]) -> None:
    text = "T=200,S=12,d=32,blocks=2,heads=2,codes=20,K=2"
    with pytest.raises(SystemExit) as exit:
        APP.main(
            ["bench", "--random", f"genie:{text}", "--batch", "1000000"],
            prog_name="genie-env",
        )
    assert exit.value.code == 1
    said = " ".join(capsys.readouterr().err.split())
    assert re.fullmatch(
        r"genie-env: 1000000 rows need .* of state \(\d+ bytes each\), but .* of memory are "
        r"free on cpu: ask for at most \d+ rows",
        said,
    )


@pytest.mark.parametrize("name", ["num_envs", "max_episode_steps", "passes"])
def test_numbers_beyond_64_bits(world: Path, name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} is 1\d+, expected an integer that 64 bits"):
        genie_env.make_vec(world, **{name: 10**30})  # type: ignore[arg-type]

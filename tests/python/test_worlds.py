"""`genie-env worlds`, and what a world directory says about itself."""

from __future__ import annotations

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
from pathlib import Path

import gymnasium
import pytest

from genie_env import World
from genie_env.cli.app import APP
from genie_env.envs.actions import actions_of_world
from genie_env.envs.registry import environment_id, find_world, installed_worlds
from genie_env.envs.world_card import WorldCard, read_card


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as exit:
        APP.main(["worlds", *arguments], prog_name="genie-env")
    assert exit.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", installed_worlds())
def test_a_card_agrees_with_the_loaded_world(name: str) -> None:
    card, spec = read_card(name), World.load(find_world(name)).spec
    assert (card.name, card.family) == (spec.name, spec.family)
    assert card.actions == actions_of_world(spec.actions)
    assert spec.frame is not None and card.frame == tuple(spec.frame.shape[:2])
    assert card.megabytes > 1
    assert card.game is not None
    notice = (find_world(name) / "FREEDOOM-NOTICE.txt").exists()
    assert card.licence == ("MIT, with FREEDOOM-NOTICE.txt" if notice else "MIT")
    assert card.id is not None and gymnasium.spec(card.id).kwargs == {"world": name}
    assert card.real_game in (None, card.game)


def test_a_card_of_a_directory(random_world: Path, tmp_path: Path) -> None:
    card = read_card(random_world)
    assert (card.name, card.family, card.frame) == ("random", "vision-memory", (64, 64))
    assert (card.licence, card.id) == (None, None)
    (tmp_path / "config.json").write_text(json.dumps({"name": "a", "family": "b", "actions": 3}))
    (tmp_path / "licence.txt").write_text("")
    bare = WorldCard("a", "b", None, None, None, card.megabytes, "licence.txt")
    assert read_card(tmp_path).__dict__ | {"megabytes": card.megabytes} == bare.__dict__


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (None, "config.json cannot be read: .*; give a world directory"),
        ("{", "config.json is not JSON"),
        ("[]", "config.json holds .*, but a JSON object is expected"),
        ('{"name": "x"}', 'config.json: "family" is missing, expected a text'),
        (
            '{"name": "x", "family": "y", "training": {"data": 5}}',
            r'config.json: "training.data" is 5, expected a list \(each an object\) or an obj',
        ),
    ],
)
def test_what_is_no_world_says_so(config: str | None, words: str, tmp_path: Path) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(ValueError, match=words):
        read_card(tmp_path)


def test_the_installed_worlds_are_listed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    shown = printed(capsys, "--json", str(tmp_path / "worlds.json"))
    listed = json.loads((tmp_path / "worlds.json").read_text())
    assert [world["name"] for world in listed] == installed_worlds()
    for world in listed:
        assert world["name"] in shown and world["family"] in shown


@pytest.mark.parametrize("name", installed_worlds())
def test_a_world_is_shown_with_its_options(
    name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    shown = printed(capsys, name, "--json", str(tmp_path / "world.json"))
    world, spec = (
        json.loads((tmp_path / "world.json").read_text()),
        World.load(find_world(name)).spec,
    )
    assert [option["name"] for option in world["options"]] == list(spec.options)
    for option in spec.options.values():
        assert option.name in shown and option.range in shown
    for observation in spec.observations:
        assert observation.name in shown
    first = spec.observations[0]  # the default: what any policy can read
    assert (first.dtype, len(first.shape)) == ("float32", 1)
    assert world["fingerprint"] == spec.fingerprint
    assert environment_id(name) in shown
    assert ("never: give a termination_fn" in shown) == (spec.family == "genie")
    assert (world["temperature"], world["dtype"]) == (spec.temperature, spec.dtype)


def test_a_directory_is_shown_as_well(
    random_world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "termination" in printed(capsys, str(random_world))


def test_the_list_needs_no_torch() -> None:
    code = (
        "import sys\n"
        "from genie_env.cli.app import APP\n"
        "try: APP.main(['worlds'])\n"
        "except SystemExit: pass\n"
        "sys.exit('imported torch' if 'torch' in sys.modules else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("world", "expected"),
    [
        ("doom-take-cover", "genie_env/DoomTakeCover-v0"),
        ("coin_run.hard2", "genie_env/CoinRunHard2-v0"),
        ("x", "genie_env/X-v0"),
    ],
)
def test_ids(world: str, expected: str) -> None:
    assert environment_id(world) == expected


def test_ctrl_c_works_while_a_world_is_hashed(random_world: Path, tmp_path: Path) -> None:
    """A file of weights with 200 GiB, which takes no room on the disk."""
    directory = tmp_path / "huge"
    shutil.copytree(random_world, directory)
    size = 200 << 30
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    weights = directory / "model.safetensors"
    weights.write_bytes(struct.pack("<Q", len(header)) + header)
    os.truncate(weights, 8 + len(header) + size)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            World.load(directory)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    # What the header does not cover is refused at once.
    os.truncate(weights, 9 + len(header) + size)
    with pytest.raises(ValueError, match="model.safetensors: 1 bytes after the last tensor belong"):
        World.load(directory)

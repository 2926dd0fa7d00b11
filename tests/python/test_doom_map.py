"""Doom with other walls, floor or light: the same game in other pictures, and agents that play it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from random_world import write_random_world

from genie_env.cli.app import APP
from genie_env.games.doom import DoomTakeCover
from genie_env.games.doom_map import MapChanges, changed_map
from genie_env.games.registry import find_game

vizdoom = pytest.importorskip("vizdoom")
PACKAGE = Path(vizdoom.__file__).parent
SCENARIO, TEXTURES = PACKAGE / "scenarios" / "take_cover.wad", PACKAGE / "freedoom2.wad"


def played(**changes: Any) -> tuple[NDArray[np.uint8], list[tuple[float, bool]]]:
    """Frames and outcomes of one episode that stands still at the left wall."""
    env = DoomTakeCover(**changes)
    try:
        frames, outcomes = [env.reset(seed=5)[0]], []
        while not (outcomes and outcomes[-1][1]):
            frame, reward, terminated, truncated, _ = env.step(0)
            frames.append(frame)
            outcomes.append((reward, terminated or truncated))
    finally:
        env.close()
    return np.stack(frames), outcomes


def test_it_is_the_same_game_in_other_pictures() -> None:
    frames, outcomes = played()
    walls, floor = np.s_[:, 24:34], np.s_[:, 44:]
    for changes, changed, kept in (
        ({"walls": "marble1"}, walls, floor),
        ({"floor": "GRASS1"}, floor, np.s_[:, :20]),
    ):
        others, as_before = played(**changes)
        assert as_before == outcomes and others.shape == frames.shape
        start = np.s_[:10]  # before the player is at the wall
        far = np.abs(others.astype(int) - frames)[start]
        assert far[changed].mean() > 10 and far[kept].mean() < 1
    dark, as_before = played(light=100)
    assert as_before == outcomes and dark.mean() < 0.6 * frames.mean()
    twice, _ = played(light=100)
    assert np.array_equal(dark, twice)


def test_nothing_changed_is_the_map_itself() -> None:
    changed = changed_map(SCENARIO, TEXTURES, MapChanges(walls="BRICK12", light=210))
    assert changed[:4] == b"PWAD" and not MapChanges()
    same = changed_map(SCENARIO, TEXTURES, MapChanges())
    assert changed == same and len(same) == SCENARIO.stat().st_size


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"walls": 5}, "walls is 5; expected the name of a texture"),
        ({"light": 256}, "light is 256; expected a whole number from 0 to 255"),
        ({"light": True}, "light is True; expected a whole number"),
        ({"sky": "F_SKY1"}, 'takes the environment arguments "view_bob", true or false, "walls" and'),
        ({"view_bob": 1}, "takes the environment arguments"),
    ],
)
def test_arguments_that_cannot_be(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        find_game("doom-take-cover", env_args=arguments)


def test_a_texture_that_there_is_not_is_named_before_the_game_starts() -> None:
    with pytest.raises(ValueError, match=r"freedoom2.wad has no wall 'NOPE'; it has [\w-]+, .* others"):
        DoomTakeCover(walls="NOPE")
    with pytest.raises(ValueError, match="has no floor 'BRICK12'; it has "):
        DoomTakeCover(floor="BRICK12")


def test_agents_and_policies_are_evaluated_in_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world, file = write_random_world(tmp_path / "world"), tmp_path / "scores.json"
    config = json.loads((world / "config.json").read_text())
    meta = {"game": "doom-take-cover", "env_args": {"view_bob": False}}
    training = {"training": {"data": [meta]}}
    (world / "config.json").write_text(json.dumps({**config, **training}))

    def run(*more: str) -> tuple[int, str]:
        line = f"evaluate --world {world} --policy left --episodes 2 --workers 1 --json {file}"
        with pytest.raises(SystemExit) as ended:
            APP.main([*line.split(), *more], prog_name="genie-env")
        said = capsys.readouterr()
        return ended.value.code or 0, said.out + said.err  # type: ignore[return-value]

    assert run("--env-args", '{"walls": "STONE2"}')[0] == 0
    found = json.loads(file.read_text())
    assert found["env_args"] == {"view_bob": False, "walls": "STONE2"}
    code, said = run()
    assert code == 1 and "holds other scores" in said
    assert json.loads(file.read_text()) == found
    code, said = run("--env-args", "[1]")
    assert code == 1 and "--env-args '[1]' is not a JSON object" in said
    code, said = run("--env-args", '{"walls": "NOPE"}')
    assert code == 1 and "holds other scores" in said
    file.unlink()
    code, said = run("--env-args", '{"walls": "NOPE"}')
    assert code == 1 and "freedoom2.wad has no wall 'NOPE'" in said and not file.exists()

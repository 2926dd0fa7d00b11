"""The table: what a cell is made of, what is not done again, how it is written."""

import json
import sys
from pathlib import Path

import pytest
from random_world import write_random_world

from genie_env.evaluation.statistics import Summary
from genie_env.evaluation.table import Cell, markdown, table
from genie_env.games.base import Score

SURVIVAL = Score("survival", "tics")


def cell(temperature: float, seed: int, dream: float, real: float) -> Cell:
    return Cell(
        temperature,
        seed,
        Summary(dream, 10.0, (dream - 1, dream + 1), 512),
        Summary(real, 20.0, (real - 2, real + 2), 100),
    )


def test_markdown_has_every_run_and_the_mean_of_each_temperature() -> None:
    text = markdown([cell(0.1, 0, 2000, 200), cell(0.1, 1, 1000, 100), cell(1.15, 0, 900, 1092)], SURVIVAL)
    assert text.splitlines() == [
        "| tau | seed | dream survival (tics) | real survival (tics) | 95 % interval |",
        "|---|---|---|---|---|",
        "| 0.1 | 0 | 2,000 ± 10 | 200 ± 20 | 198 to 202 |",
        "| 0.1 | 1 | 1,000 ± 10 | 100 ± 20 | 98 to 102 |",
        "| **0.1** | mean | **1,500** | **150** | |",
        "| 1.15 | 0 | 900 ± 10 | 1,092 ± 20 | 1,090 to 1,094 |",
        "| **1.15** | mean | **900** | **1,092** | |",
    ]


def test_a_single_episode_has_no_spread() -> None:
    alone = Summary(200, None, None, 1)
    row = markdown([Cell(1.0, 0, alone, alone)], SURVIVAL).splitlines()[2]
    assert row == "| 1 | 0 | 200 ± - | 200 ± - | - |"


def test_missing_vizdoom_is_said_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = write_random_world(tmp_path / "world")
    monkeypatch.setitem(sys.modules, "vizdoom", None)
    with pytest.raises(ImportError, match=r"needs ViZDoom, .* pip install 'genie_env\[doom\]'"):
        table(world, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_table_is_filled_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("vizdoom")
    world = write_random_world(tmp_path / "world")
    out = tmp_path / "table"
    arguments = {"world": world, "out": out, "temperatures": [0.8], "seeds": 1, "workers": 1}
    table(**arguments, steps=1000, episodes=1)
    found = json.loads((out / "table.json").read_text())
    (only,) = found["cells"]
    assert (only["temperature"], only["seed"]) == (0.8, 0)
    assert (only["dream"]["n"], only["real"]["n"]) == (512, 1)
    assert (out / "table.md").read_text().startswith("| tau | seed |")
    assert (out / "tau-0.8" / "seed-0" / "agent.safetensors").exists()

    made = {file: file.stat().st_mtime_ns for file in (out / "tau-0.8").rglob("*.*")}
    table(**arguments, steps=1000, episodes=1)
    assert {file: file.stat().st_mtime_ns for file in (out / "tau-0.8").rglob("*.*")} == made
    assert json.loads((out / "table.json").read_text()) == found
    with pytest.raises(ValueError, match=r"other settings \(steps was 1000 and is now 2000\)"):
        table(**arguments, steps=2000, episodes=1)

    # Dream scores are made again where the file has others, and a line says how they differ.
    file = out / "tau-0.8" / "seed-0" / "dream.json"
    known = json.loads(file.read_text())
    capsys.readouterr()
    for changes, why in (
        ({"scores": known["scores"][:3]}, "3 of them, and 512 are taken here"),
        ({"seed": 7}, "seed was 7 and is now 0"),
    ):
        file.write_text(json.dumps({**known, **changes}))
        table(**arguments, steps=1000, episodes=1)
        said = f"{file} holds other dreams ({why}): they are dreamt again\n"
        assert said in capsys.readouterr().out
        assert json.loads(file.read_text()) == known

"""`genie-env bench` on a small random world: what it measures, and what it writes."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from random_world import random_config, write_random_world

from genie_env.bench import bench
from genie_env.cli.app import APP
from genie_env.families import Costs, find_family, registry
from genie_env.families.genie.random_world import GenieSizes, random_genie_world

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from plain_torch_genie_world import PlainGenieDream  # noqa: E402
from plain_torch_models import PlainMemory, PlainVision  # noqa: E402


def run(*args: str) -> object:
    with pytest.raises(SystemExit) as exit:
        APP.main(["bench", *args], prog_name="genie-env")
    return exit.value.code


def test_json_table_and_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = write_random_world(tmp_path / "world")
    file, picture = tmp_path / "out" / "b.json", tmp_path / "out" / "b.png"
    options = ["--seconds", "0.05", "--dtype", "float32", "--json", str(file), "--plot"]
    assert run("--world", str(world), "--batch", "1", "4", "9", *options, str(picture)) == 0

    report = json.loads(file.read_text())
    cells = [(r["batch"], r["tier"], r["dtype"]) for r in report["results"]]
    assert cells == [(b, t, "float32") for b in (1, 4, 9) for t in ("features", "pixels", "numpy")]
    for result in report["results"]:
        assert 0 < result["steps_per_s"] <= result["best"]
        share = result["steps_per_s"] / result["limit_steps_per_s"]
        assert result["limit_share"] == pytest.approx(share, rel=0.01, abs=1e-4)
    (cost,) = report["environment"]
    assert (cost["batch"], cost["dtype"]) == (9, "float32") and cost["step_ms"] > 0
    assert -1 < cost["overhead_share"] < 100
    assert report["machine"]["cpu"] and report["machine"]["cores"] >= 1
    assert report["machine"]["torch"] == torch.__version__
    squares = report["machine"]["square_flops_per_s"]
    assert {*squares} <= {"float32", "bfloat16"} and {*squares["float32"]} == {"torch", "packed"}
    assert min(squares["float32"].values()) > 1e8
    assert report["machine"]["instruction_sets"].split(",")[0] in ("baseline", "avx2", "avx512")
    assert report["world"]["name"] == "random" and report["repeats"] == 7
    assert picture.read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "features" in printed and "pixels" in printed and "1024 x 1024 in float32" in printed
    assert "a step of 9 dreams in float32 takes" in " ".join(printed.split())


def test_auto_names_the_type_it_stands_for(tmp_path: Path) -> None:
    world = write_random_world(tmp_path / "world")
    file = tmp_path / "b.json"
    assert run("--world", str(world), "--batch", "2", "--seconds", "0.01", "--json", str(file)) == 0
    assert {r["dtype"] for r in json.loads(file.read_text())["results"]} <= {"float32", "bfloat16"}


@pytest.mark.parametrize("joint", [False, True])
def test_products_are_those_of_the_networks(joint: bool) -> None:
    """Counted again from the layers of the plain PyTorch networks."""
    config = random_config(latents=64, hidden=512, components=5)
    if joint:
        config["mixture"] = "joint"
    memory = PlainMemory(joint=joint)
    weights = [memory.lstm.weight_ih_l0, memory.lstm.weight_hh_l0, memory.output.weight]
    costs = costs_of(config)
    flops = sum(p.flops for p in costs.step)
    assert flops == 2 * sum(weight.numel() for weight in weights)

    vision = PlainVision()
    counted = []

    def count(layer: Any, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        pixels = inputs[0].shape[2:].numel()  # 1 for the linear layer
        counted.append(2 * pixels * layer.weight.numel())

    for layer in (vision.expand, vision.deconv1, vision.deconv2, vision.deconv3, vision.deconv4):
        layer.register_forward_hook(count)
    vision.decode(torch.zeros(1, 64))
    latents, pixels = vision.expand.in_features, vision.deconv1.weight[0].numel()
    assert [p.flops for p in costs.decoding] == [2 * latents * pixels, *counted[2:]]


@pytest.mark.parametrize(
    "sizes",
    [
        "genie:T=3,S=12,d=32,blocks=2,heads=2,codes=20,K=2",
        "vision-memory:latents=8,hidden=16,components=2,mixture=joint",
    ],
)
def test_a_world_of_random_weights(sizes: str, tmp_path: Path) -> None:
    file = tmp_path / "b.json"
    options = ["--batch", "1", "3", "--seconds", "0.05", "--dtype", "float32", "--json", str(file)]
    assert run("--random", sizes, *options) == 0
    report = json.loads(file.read_text())
    assert report["world"]["name"] == f"random-{sizes.partition(':')[0]}"
    assert [(r["batch"], r["tier"]) for r in report["results"]] == [
        (b, t) for b in (1, 3) for t in ("features", "pixels", "numpy")
    ]
    assert all(r["limit_share"] > 0 for r in report["results"])


def test_products_of_a_genie_world(tmp_path: Path) -> None:
    """Counted again where the plain PyTorch dream multiplies."""
    counted: list[tuple[str, int, int]] = []

    class Counting(PlainGenieDream):
        def _linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
            y = super()._linear(name, x)
            counted.append((name, x.shape[-2], 2 * x.numel() * y.shape[-1]))
            return y

    sizes = GenieSizes.parse("T=3,S=64,d=32,blocks=2,heads=2,codes=20,K=1")
    world = random_genie_world(tmp_path / "one", sizes)
    dream = Counting(world, torch.zeros(1, 64, dtype=torch.int64), torch.float32)
    counted.clear()
    dream.step(torch.zeros(1, dtype=torch.int64))
    config = json.loads((world / "config.json").read_text())
    names = [(p.layer, p.rows, p.flops) for p in costs_of(config).step]
    assert names == [(n.removeprefix("transformer.block"), r, f) for n, r, f in counted]

    costs = costs_of(config, passes=4)
    for layer in ("to_logits", "1.widen"):
        assert [p.rows for p in costs.step if p.layer == layer] == [64, 59, 45, 24]
    config["dynamics"]["passes"] = 4
    assert costs_of(config) == costs
    assert costs.warm_up_steps == 3
    config["format_version"], config["dynamics"]["band"] = 1, config["dynamics"].pop("window")
    assert costs_of(config) == costs

    tokenizer = 2 * 64 * (4 * 12 * 192**2 + 192 * 192)
    assert sum(p.flops for p in costs.decoding) == tokenizer


def test_options_that_are_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = GenieSizes.parse("T=3,S=12,d=32,blocks=2,heads=2,codes=20,K=2")
    world = random_genie_world(tmp_path / "world", sizes)
    file = tmp_path / "b.json"
    options = ["--batch", "1", "--seconds", "0.05", "--json", str(file)]
    chosen = ["--option", "passes=5", "--option", "order=random"]
    assert run("--world", str(world), *options, *chosen) == 0
    assert json.loads(file.read_text())["world"]["options"] == {"passes": 5, "order": "random"}
    assert "passes=5, order=random" in " ".join(capsys.readouterr().out.split())

    def refused(world: str, option: str) -> str:
        assert run("--world", world, *options, "--option", option) == 1
        return " ".join(capsys.readouterr().err.split())

    assert "is 65, expected an integer from 1 to 64" in refused(str(world), "passes=65")
    assert "doom-take-cover (vision-memory) has no option 'passes'" in refused(
        "doom-take-cover", "passes=2"
    )
    assert "--option is 'passes', expected name=value" in refused(str(world), "passes")
    # The products of a step are those of the passes that were asked for.
    counted = []
    for given in ({}, {"passes": 2}, {"passes": 5}):
        loader = bench.Loader(world, torch.device("cpu"), given)
        costs = bench.costs_of(loader.load("float32"), world)
        assert costs is not None
        counted.append(sum(p.flops for p in costs.step))
    assert counted[0] == counted[1] < counted[2]


def test_a_family_that_python_does_not_know_has_no_products(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is registered in C++ alone."""
    monkeypatch.delitem(registry._FAMILIES, "vision-memory")
    world = write_random_world(tmp_path / "world")
    file, picture = tmp_path / "b.json", tmp_path / "b.png"
    options = [
        "--batch",
        "1",
        "2",
        "--seconds",
        "0.02",
        "--json",
        str(file),
        "--plot",
        str(picture),
    ]
    assert run("--world", str(world), *options) == 0
    results = json.loads(file.read_text())["results"]
    assert len(results) == 6 and all(r["steps_per_s"] > 0 for r in results)
    for name in ("limit_steps_per_s", "limit_share"):
        assert {r[name] for r in results} == {None}
    lines = [line for line in capsys.readouterr().out.splitlines() if "features" in line]
    assert lines and all(line.count("- │") == 1 for line in lines)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_repeats_take_turns() -> None:
    calls: list[str] = []
    steps = {name: lambda name=name: calls.append(name) for name in ("a", "b")}
    rates = bench.interleaved(steps, 0.01, torch.device("cpu"))
    turns = [name for i, name in enumerate(calls) if i == 0 or calls[i - 1] != name]
    assert turns == ["a", "b"] * (1 + bench.REPEATS)
    assert {name: len(rate) for name, rate in rates.items()} == dict.fromkeys("ab", bench.REPEATS)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--batch", "0"], "Invalid value for '--batch'"),
        (["--seconds", "0"], "Invalid value for '--seconds'"),
    ],
)
def test_wrong_arguments(
    options: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--world", str(write_random_world(tmp_path / "world")), *options) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "give either --world or --random FAMILY:SIZES"),
        (
            ["--world", "doom-take-cover", "--random", "genie:T=3"],
            "give either --world or --random FAMILY:SIZES",
        ),
        (["--random", "genie:T=3"], "without S, d, blocks, heads, codes, K: give them too"),
        (
            ["--random", "genie"],
            "--random is 'genie': '' in it is not understood; expected each of T",
        ),
        (["--random", "dice:6"], "unknown world family 'dice': give one of exported, genie, vision-memory"),
        (
            ["--random", "vision-memory:64"],
            "--random is 'vision-memory:64': '64' in it is not understood; expected each of latents,",
        ),
        (
            ["--random", "vision-memory:latents=8,hidden=8,components=2,mixture=both"],
            'mixture is "both", expected "independent" or "joint"',
        ),
    ],
)
def test_a_world_or_sizes(args: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*args) == 1
    assert words in " ".join(capsys.readouterr().err.split())


def costs_of(config: dict[str, Any], **options: int) -> Costs:
    costs = find_family(config["family"]).costs
    assert costs is not None
    return costs(config, options)


def test_more_threads_than_cores_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0})
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    world = write_random_world(tmp_path / "world")
    assert run("--world", str(world), "--batch", "1", "--seconds", "0.1") == 0
    assert "torch runs 3 threads, but this process may use 1 of the cores" in capsys.readouterr().out

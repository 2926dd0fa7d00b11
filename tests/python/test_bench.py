"""`genie-env bench` on a small random world: what it measures, and what it writes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from random_world import random_config, write_random_world

from genie_env.bench import bench
from genie_env.bench import flops as products
from genie_env.cli.app import APP
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
    assert run(str(world), "--batch", "1", "4", "9", *options, str(picture)) == 0

    report = json.loads(file.read_text())
    cells = [(r["batch"], r["tier"], r["dtype"]) for r in report["results"]]
    assert cells == [(b, t, "float32") for b in (1, 4, 9) for t in ("latents", "pixels", "numpy")]
    for result in report["results"]:
        assert 0 < result["steps_per_s"] <= result["best"]
        share = result["steps_per_s"] / result["products_per_s"]
        assert result["products_share"] == pytest.approx(share, rel=0.01, abs=1e-4)
        assert result["peak_share"] >= 0
    (cost,) = report["environment"]
    assert (cost["batch"], cost["dtype"]) == (9, "float32") and cost["step_ms"] > 0
    assert -1 < cost["overhead_share"] < 100
    assert report["machine"]["cpu"] and report["machine"]["cores"] >= 1
    assert report["machine"]["torch"] == torch.__version__
    assert report["machine"]["peak_flops_per_s"]["float32"] > 1e8
    assert report["world"]["name"] == "random" and report["repeats"] == 5
    assert picture.read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "latents" in printed and "pixels" in printed and "GFLOP/s in float32" in printed
    assert "a step of 9 dreams in float32 takes" in " ".join(printed.split())


def test_auto_names_the_type_it_stands_for(tmp_path: Path) -> None:
    world = write_random_world(tmp_path / "world")
    file = tmp_path / "b.json"
    assert run(str(world), "--batch", "2", "--seconds", "0.01", "--json", str(file)) == 0
    assert {r["dtype"] for r in json.loads(file.read_text())["results"]} <= {"float32", "bfloat16"}


def test_products_are_those_of_the_networks() -> None:
    """Counted again from the layers of the plain PyTorch networks."""
    config = random_config(latents=64, hidden=512, components=5)
    memory = PlainMemory()
    weights = [memory.lstm.weight_ih_l0, memory.lstm.weight_hh_l0, memory.output.weight]
    flops = sum(p.flops for p in products.step_products(config))
    assert flops == 2 * sum(weight.numel() for weight in weights)

    vision = PlainVision()
    counted = []

    def count(layer: Any, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        pixels = inputs[0].shape[2:].numel()  # 1 for the linear layer
        counted.append(2 * pixels * layer.weight.numel())

    for layer in (vision.expand, vision.deconv1, vision.deconv2, vision.deconv3, vision.deconv4):
        layer.register_forward_hook(count)
    vision.decode(torch.zeros(1, 64))
    assert [p.flops for p in products.decoding_products(config)] == counted


def test_a_genie_world_of_random_weights(tmp_path: Path) -> None:
    file = tmp_path / "b.json"
    sizes = "T=3,S=12,d=32,blocks=2,heads=2,codes=20,K=2"
    options = ["--batch", "1", "3", "--seconds", "0.05", "--dtype", "float32", "--json", str(file)]
    assert run("--genie", sizes, *options) == 0
    report = json.loads(file.read_text())
    assert report["world"]["name"] == "random-genie"
    assert [(r["batch"], r["tier"]) for r in report["results"]] == [
        (b, t) for b in (1, 3) for t in ("latents", "pixels", "numpy")
    ]
    assert all(r["products_share"] > 0 for r in report["results"])


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
    names = [(p.layer, p.rows, p.flops) for p in products.step_products(config)]
    assert names == [(n.removeprefix("transformer.block"), r, f) for n, r, f in counted]

    config["dynamics"]["passes"] = 4
    expected = [p for p in products.step_products(config) if p.layer == "to_logits"]
    assert [p.rows for p in expected] == [64, 59, 45, 24]
    last = [p.rows for p in products.step_products(config) if p.layer == "1.widen"]
    assert last == [64, 59, 45, 24]
    assert products.window(config) == 3

    eyes = 2 * 64 * (4 * 12 * 192**2 + 192 * 192)
    assert sum(p.flops for p in products.decoding_products(config)) == eyes


def test_passes_and_order_that_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = GenieSizes.parse("T=3,S=12,d=32,blocks=2,heads=2,codes=20,K=2")
    world = random_genie_world(tmp_path / "world", sizes)
    file = tmp_path / "b.json"
    options = ["--batch", "1", "--seconds", "0.05", "--json", str(file)]
    assert run(str(world), *options, "--passes", "5", "--order", "random") == 0
    told = json.loads(file.read_text())["world"]
    assert (told["passes"], told["order"]) == (5, "random")
    assert "5 passes, order: random" in " ".join(capsys.readouterr().out.split())

    assert run(str(world), *options, "--passes", "65") == 1
    assert "passes is 65, expected 1 to 64" in " ".join(capsys.readouterr().err.split())
    assert run("doom-take-cover", *options, "--passes", "2") == 1
    assert "is of the vision-memory family, which has none" in " ".join(
        capsys.readouterr().err.split()
    )
    # What a step multiplies is counted at the passes that were asked for.
    counted = [
        sum(p.flops for p in products.step_products(bench.Loader(*where).config()))
        for where in ((world, torch.device("cpu"), n, None) for n in (None, 2, 5))
    ]
    assert counted[0] == counted[1] < counted[2]


def test_repeats_take_turns() -> None:
    calls: list[str] = []
    steps = {name: lambda name=name: calls.append(name) for name in ("a", "b")}
    rates = bench.interleaved(steps, 0.01, torch.device("cpu"))
    turns = [name for i, name in enumerate(calls) if i == 0 or calls[i - 1] != name]
    assert turns == ["a", "b"] * (1 + bench.REPEATS)
    assert {name: len(rate) for name, rate in rates.items()} == {"a": 5, "b": 5}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--batch", "0"], "batch is 0; expected 1 or more"),
        (["--seconds", "0"], "seconds is 0.0; expected a number above 0"),
    ],
)
def test_wrong_arguments(
    options: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(str(write_random_world(tmp_path / "world")), *options) == 1
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "give either a world or --genie with sizes"),
        (["doom-take-cover", "--genie", "T=3"], "give either a world or --genie with sizes"),
        (["--genie", "T=3"], "without S, d, blocks, heads, codes, K: give them too"),
    ],
)
def test_a_world_or_sizes(args: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*args) == 1
    assert words in " ".join(capsys.readouterr().err.split())


def test_unknown_family() -> None:
    with pytest.raises(ValueError, match="family is 'dice'; .* and 'genie' alone are known"):
        products.step_products({**random_config(), "family": "dice"})

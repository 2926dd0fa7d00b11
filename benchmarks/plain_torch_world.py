"""The dream step of World Models in careful plain PyTorch, and ours beside it, in turns.

    python benchmarks/plain_torch_world.py --world WORLD [--batch 1 64 1024] [--compile]

Nothing in `PlainDream` calls genie_env. Careful means: inference mode, weights transposed and
permuted beforehand, every large result written into a buffer that is there already, the mixture's
components one after another so that reductions over them are vectorised, components chosen with one
random number each. It does not compute the surprise, which ours always does.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from genie_env._core import RowCounters, World
from genie_env.bench.bench import usable_dtypes


class PlainDream:
    """N dreams of a world directory, begun at z = 0 and stepped together. Nothing ends them: a row
    that has died dreams on, which costs the same."""

    def __init__(self, world: Path, rows: int, dtype: torch.dtype) -> None:
        config = json.loads((world / "config.json").read_text())
        latents, hidden, components = (
            config["sizes"][name] for name in ("latents", "hidden", "components")
        )
        self.latents, self.rows = latents, rows
        mixtures = 1 if config.get("mixture") == "joint" else latents
        self.inputs = self._action_inputs(config["actions"]).to(dtype)
        width = self.inputs.shape[1]
        self.temperature: float = config["temperature"]
        self._load(load_file(world / "model.safetensors"), components, mixtures, dtype)

        # z, action, restart and h lie side by side: what the LSTM reads needs no concatenation.
        self.input = torch.zeros(rows, latents + width + 1 + hidden, dtype=dtype)
        self.z, self.action, restart, self.h = self.input.split([latents, width, 1, hidden], dim=1)
        self.restart = restart[:, 0]
        self.c = torch.zeros(rows, hidden)
        self.restart.fill_(1)
        self.gates = torch.zeros(rows, 4 * hidden, dtype=dtype)
        self.tanh = torch.zeros(rows, hidden)
        sizes = [mixtures * components, latents * components, latents * components, 1]
        self.output = torch.zeros(rows, sum(sizes), dtype=dtype)
        self.uniform = torch.zeros(rows, 1, mixtures)
        self.normal = torch.zeros(rows, latents)
        self.sizes, self.components = sizes, components

    @staticmethod
    def _action_inputs(actions: Mapping[str, Any]) -> Tensor:
        """What M reads of each action: a number in worlds of format 1 and 2, else one-hot."""
        if "inputs" in actions:
            return torch.tensor(actions["inputs"])[:, None]
        return torch.eye(len(actions["meanings"]))

    def _parts(self, output: Tensor) -> list[Tensor]:
        """Log weights, [N, components, mixtures], means and log standard deviations, [N, components,
        latents], float32."""
        parts = output.float().split(self.sizes, dim=1)[:3]
        return [part.unflatten(1, (self.components, -1)) for part in parts]

    def _load(
        self, weights: Mapping[str, Tensor], components: int, mixtures: int, dtype: torch.dtype
    ) -> None:
        m = {name.removeprefix("memory."): weights[name].float() for name in weights}

        def components_first(parameter: Tensor) -> Tensor:
            weights, gaussians = parameter[:-1].split(
                [mixtures * components, 2 * self.latents * components]
            )
            weights = weights.unflatten(0, (mixtures, components)).transpose(0, 1)
            gaussians = gaussians.unflatten(0, (2, self.latents, components)).transpose(1, 2)
            return torch.cat([weights.flatten(0, 1), gaussians.flatten(0, 2), parameter[-1:]])

        def transposed(weight: Tensor) -> Tensor:
            return weight.to(dtype).T.contiguous()

        self.weight = transposed(torch.cat([m["weight_ih"], m["weight_hh"]], 1))
        self.bias = m["bias"].to(dtype)
        self.output_weight = transposed(components_first(m["output.weight"]))
        self.output_bias = components_first(m["output.bias"]).to(dtype)

    @torch.inference_mode()
    def step(self, actions: Tensor) -> Tensor:
        """actions: int64 [N]. Advances z, c and h; returns bool [N], which rows died."""
        self.action.copy_(self.inputs[actions])
        torch.addmm(self.bias, self.input, self.weight, out=self.gates)
        i, f, g, o = self.gates.chunk(4, 1)
        self.gates[:, : 2 * i.shape[1]].sigmoid_()
        g.tanh_()
        o.sigmoid_()
        self.c.mul_(f).addcmul_(i.float(), g.float())
        torch.tanh(self.c, out=self.tanh)
        self.h.copy_(self.tanh.mul_(o))
        torch.addmm(self.output_bias, self.h, self.output_weight, out=self.output)
        return self._sample()

    def _sample(self) -> Tensor:
        logits, means, log_stds = self._parts(self.output)
        reached = logits.mul_(1 / self.temperature).softmax(1).cumsum_(1)
        component = (reached[:, :-1] < self.uniform.uniform_()).sum(1, keepdim=True)
        component = component.expand(-1, 1, self.latents)
        mean = means.gather(1, component).squeeze(1)
        std = log_stds.gather(1, component).squeeze(1).exp_()
        self.normal.normal_().mul_(math.sqrt(self.temperature))
        self.z.copy_(mean.addcmul_(std, self.normal))
        self.restart.zero_()
        return torch.rand(self.rows) < self.output[:, -1].float().sigmoid()


class CompiledDream(PlainDream):
    """The same, through torch.compile."""

    def __init__(self, world: Path, rows: int, dtype: torch.dtype) -> None:
        super().__init__(world, rows, dtype)
        self._compiled = torch.compile(self._formulas, dynamic=False)

    def _formulas(self, z: Tensor, h: Tensor, c: Tensor, actions: Tensor) -> tuple[Tensor, ...]:
        action = self.inputs[actions]
        inputs = torch.cat([z, action, torch.zeros_like(action[:, :1]), h], 1)
        i, f, g, o = torch.addmm(self.bias, inputs, self.weight).float().chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = (torch.sigmoid(o) * torch.tanh(c)).to(h.dtype)
        output = torch.addmm(self.output_bias, h, self.output_weight).float()
        logits, means, log_stds = self._parts(output)
        reached = (logits / self.temperature).softmax(1).cumsum(1)
        component = (reached[:, :-1] < torch.rand_like(self.uniform)).sum(1, keepdim=True)
        component = component.expand(-1, 1, self.latents)
        mean = means.gather(1, component).squeeze(1)
        std = log_stds.gather(1, component).squeeze(1).exp()
        noise = torch.randn_like(mean) * math.sqrt(self.temperature)
        died = torch.rand_like(output[:, -1]) < output[:, -1].sigmoid()
        return (mean + std * noise).to(z.dtype), h, c, died

    @torch.inference_mode()
    def step(self, actions: Tensor) -> Tensor:
        self.z, self.h, self.c, died = self._compiled(self.z, self.h, self.c, actions)
        return died


class OurDream:
    """The same dreams in genie_env."""

    def __init__(self, world: Path, rows: int, dtype: str) -> None:
        self.world = World.load(world, dtype=dtype)
        self.state = self.world.make_state(rows)
        self.seeds = np.arange(rows)
        self.temperature = torch.full((rows,), self.world.spec.temperature)
        self.steps = 0
        self.world.begin(self.state, torch.ones(rows, dtype=torch.bool), self._counters())

    def _counters(self) -> RowCounters:
        zeros = np.zeros_like(self.seeds)
        return RowCounters(self.seeds, zeros, zeros + self.steps)

    def step(self, actions: Tensor) -> Tensor:
        self.steps += 1
        counters = self._counters()
        return self.world.step(self.state, actions, self.temperature, counters).terminated


def measure(
    steps: Mapping[str, Callable[[Tensor], Tensor]],
    rows: int,
    seconds: float,
    repeats: int,
    clock: Callable[[], float],
) -> dict[str, list[float]]:
    """Dream steps (rows x calls) a second of each, `repeats` times, in turns."""
    actions = torch.randint(3, (rows,))
    rates: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(repeats + 1):
        for name, step in steps.items():
            calls, began = 0, clock()
            while calls < 3 or clock() - began < seconds:
                step(actions)
                calls += 1
            if repeat > 0:  # the first turn warms up
                rates[name].append(calls * rows / (clock() - began))
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description="Dream steps a second: ours and plain PyTorch.")
    parser.add_argument("--world", type=Path, required=True)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16, 64, 256, 1024])
    parser.add_argument("--seconds", type=float, default=0.3, help="of one measurement")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--processor-time",
        action="store_true",
        help="seconds of processor time, all threads together: for machines that are busy",
    )
    parser.add_argument("--compile", action="store_true", help="torch.compile as well")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.processor_time else time.perf_counter

    results = []
    print(f"{'batch':>6} {'':24} {'best':>10} {'median':>10}  dream steps/s")
    for rows in options.batch:
        steps: dict[str, Callable[[Tensor], Tensor]] = {}
        for name in usable_dtypes():
            dtype = getattr(torch, name)
            steps[f"genie_env {name}"] = OurDream(options.world, rows, name).step
            steps[f"plain {name}"] = PlainDream(options.world, rows, dtype).step
            if options.compile:
                steps[f"compiled {name}"] = CompiledDream(options.world, rows, dtype).step
        all_rates = measure(steps, rows, options.seconds, options.repeats, clock)
        for name, rates in all_rates.items():
            best, median = max(rates), statistics.median(rates)
            results.append({"batch": rows, "name": name, "best": best, "median": median})
            print(f"{rows:6} {name:24} {best:10.0f} {median:10.0f}", flush=True)
    if options.json:
        options.json.write_text(json.dumps({"threads": options.threads, "results": results}))


if __name__ == "__main__":
    main()

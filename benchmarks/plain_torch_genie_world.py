"""The dream step of Genie in careful plain PyTorch, and ours beside it, in turns.

    python benchmarks/plain_torch_genie_world.py \\
        [--world WORLD | --genie T=16,S=64,d=256,blocks=6,heads=8,codes=1024,K=8] [--batch 4 16]

Nothing in `PlainGenieDream` is computed by genie_env. Careful means: inference mode, everything in the type
of the products, keys and values of past frames in a ring that is written in place, scaled dot
product attention over space and, as each position has one query, batched products over the ring,
which take less than half its time there; positions that are unmasked already are left out of the
logits, and the last pass over a frame stops where its keys and values are known. It does not compute
the surprise, which ours always does.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from plain_torch_world import OurDream, measure
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from genie_env.bench.bench import usable_dtypes
from genie_env.families.genie.config import dynamics_window
from genie_env.families.genie.random_world import GenieSizes, random_genie_world

BENCH = "T=16,S=64,d=256,blocks=6,heads=8,codes=1024,K=8"


class PlainGenieDream:
    """N dreams of a world directory, begun together from given tokens. temperature 0 is greedy."""

    def __init__(
        self, world: Path, tokens: Tensor, dtype: torch.dtype, temperature: float | None = None
    ) -> None:
        config = json.loads((world / "config.json").read_text())
        sizes = config["dynamics"]
        self.heads, self.blocks, self.width = sizes["heads"], sizes["blocks"], sizes["width"]
        self.codes, self.passes = config["tokenizer"]["codes"], sizes["passes"]
        self.temperature = config["temperature"] if temperature is None else temperature
        weights = load_file(world / "model.safetensors")
        own = {
            name.removeprefix("dynamics."): weight.to(dtype)
            for name, weight in weights.items()
            if name.startswith("dynamics.")
        }
        self.w = own
        self.actions = functional.linear(
            weights["action_codes"].to(dtype), own["from_action.weight"], own["from_action.bias"]
        )
        self.rows, self.positions = tokens.shape
        self.columns = sizes.get("columns", 0)
        self.window = dynamics_window(config)
        self.slots = self.window - 1
        # One a block: [2, rows * positions, heads, window, head]. The last place is this frame's.
        head = self.width // self.heads
        shape = (2, self.rows * self.positions, self.heads, self.slots + 1, head)
        self.rings = [torch.zeros(shape, dtype=dtype) for _ in range(self.blocks)]
        self.speeds = 10000.0 ** (-torch.arange(0, head, 2, dtype=torch.float64) / head)
        self.time = 0
        self.tokens = tokens
        self._commit(None, None)

    @torch.inference_mode()
    def step(self, actions: Tensor) -> Tensor:
        """actions: int64 [N]. Returns the next frame's tokens, int64 [N, S]."""
        before, tokens = self.tokens, torch.full_like(self.tokens, self.codes)
        hidden = torch.arange(self.positions).repeat(self.rows, 1)  # [N, those that are]
        for number in range(1, self.passes + 1):
            left = math.floor(self.positions * math.cos(math.pi / 2 * number / self.passes))
            left = 0 if number == self.passes else left
            count = hidden.shape[1] - left
            if count == 0:
                continue
            x = self._run(self._embed(tokens, actions, before))
            x = x.gather(1, hidden[:, :, None].expand(-1, -1, self.width))
            logits = self._linear("to_logits", self._norm("transformer.norm.gain", x)).float()
            certainty = logits.amax(-1) - logits.logsumexp(-1)
            chosen = certainty.sort(descending=True, stable=True).indices[:, :count]
            drawn = self._draw(logits.gather(1, chosen[:, :, None].expand(-1, -1, self.codes)))
            tokens.scatter_(1, hidden.gather(1, chosen), drawn)
            stays = torch.ones_like(hidden, dtype=torch.bool).scatter_(1, chosen, False)
            hidden = hidden[stays].view(self.rows, left)
        self.tokens = tokens
        self._commit(actions, before)
        return tokens

    def _draw(self, logits: Tensor) -> Tensor:
        if self.temperature == 0:
            return logits.argmax(-1)
        reached = (logits / self.temperature).softmax(-1).cumsum(-1)
        return (reached[..., :-1] < torch.rand(*logits.shape[:-1], 1)).sum(-1)

    @torch.inference_mode()
    def _commit(self, actions: Tensor | None, before: Tensor | None) -> None:
        self._run(self._embed(self.tokens, actions, before), commit=True)
        self.time += 1

    def _embed(self, tokens: Tensor, actions: Tensor | None, before: Tensor | None) -> Tensor:
        x = functional.embedding(tokens, self.w["embedding"]) + self.w["positions"]
        if actions is None or before is None:
            return x
        x = x + self.actions[actions][:, None]
        return x + functional.embedding(before, self.w["previous"]) if self.columns else x

    def _norm(self, gain: str, x: Tensor) -> Tensor:
        return functional.layer_norm(x, (self.width,), self.w[gain])

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return functional.linear(x, self.w[f"{name}.weight"], self.w[f"{name}.bias"])

    def _project(self, name: str, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values: [N, S, heads, head]."""
        qkv = self._linear(f"{name}.qkv", self._norm(f"{name}.norm.gain", x))
        q, k, v = qkv.view(self.rows, self.positions, 3, self.heads, -1).unbind(2)
        head = (q.shape[-1],)
        return (
            functional.layer_norm(q, head, self.w[f"{name}.query_gain"]),
            functional.layer_norm(k, head),
            v,
        )

    def _run(self, x: Tensor, commit: bool = False) -> Tensor:
        """x: [N, S, width] through all blocks."""
        angles = self.time * self.speeds
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)

        def turned(y: Tensor) -> Tensor:
            even, odd = y[..., 0::2], y[..., 1::2]
            return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2)

        seen = min(self.time, self.slots)
        for i, ring in enumerate(self.rings):
            block = f"transformer.block{i}"
            if self.columns:
                pictures = x.unflatten(1, (-1, self.columns)).permute(0, 3, 1, 2)
                weight = self.w[f"{block}.neighbours"]
                convolved = functional.conv2d(pictures, weight, padding=1, groups=self.width)
                x = x + convolved.flatten(2).mT
            q, k, v = (part.transpose(1, 2) for part in self._project(f"{block}.space", x))
            mixed = functional.scaled_dot_product_attention(q, k, v)
            x = x + self._linear(f"{block}.space.output", mixed.transpose(1, 2).flatten(2))

            q, k, v = self._project(f"{block}.time", x)
            k = turned(k)
            ring[0, :, :, -1] = k.flatten(0, 1)
            ring[1, :, :, -1] = v.flatten(0, 1)
            past = ring
            if seen < self.slots:  # until the window is full, the first places and the last one
                past = torch.cat([ring[:, :, :, :seen], ring[:, :, :, -1:]], 3)
            if not (commit and i == self.blocks - 1):
                keys, values = past.flatten(1, 2)
                scores = torch.bmm(turned(q).flatten(0, 2)[:, None], keys.mT)
                shares = scores.mul_(keys.shape[2] ** -0.5).softmax(2)
                mixed = torch.bmm(shares, values)
                x = x + self._linear(f"{block}.time.output", mixed.view(x.shape))
            if commit:
                ring[:, :, :, self.time % self.slots] = ring[:, :, :, -1]
                if i == self.blocks - 1:
                    break

            wide = self._linear(f"{block}.widen", self._norm(f"{block}.norm.gain", x))
            x = x + self._linear(f"{block}.narrow", functional.gelu(wide, approximate="tanh"))
        return x


def main() -> None:
    parser = argparse.ArgumentParser(description="Dream steps a second: ours and plain PyTorch.")
    given = parser.add_mutually_exclusive_group()
    given.add_argument("--world", type=Path)
    given.add_argument("--genie", default=BENCH, help="sizes of a world of random weights")
    parser.add_argument("--batch", type=int, nargs="+", default=[4, 16])
    parser.add_argument("--dtype", nargs="+", default=usable_dtypes())
    parser.add_argument("--seconds", type=float, default=1.0, help="of one measurement")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--processor-time",
        action="store_true",
        help="seconds of processor time, all threads together: for machines that are busy",
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.processor_time else time.perf_counter

    results = []
    with tempfile.TemporaryDirectory() as folder:
        world = options.world
        if world is None:
            world = random_genie_world(Path(folder) / "world", GenieSizes.parse(options.genie))
        print(f"{'batch':>6} {'':24} {'best':>10} {'median':>10}  dream steps/s")
        for rows in options.batch:
            for dtype in options.dtype:
                ours = OurDream(world, rows, dtype)
                tokens = ours.world.observe(ours.state, "tokens")
                plain = PlainGenieDream(world, tokens, getattr(torch, dtype))
                steps: dict[str, Callable[[Tensor], Tensor]] = {
                    f"genie_env {dtype}": ours.step,
                    f"plain {dtype}": plain.step,
                }
                for step in steps.values():  # until the window is full
                    for _ in range(plain.window):
                        step(torch.zeros(rows, dtype=torch.int64))
                best = {}
                for name, rates in measure(
                    steps, rows, options.seconds, options.repeats, clock
                ).items():
                    best[name], median = max(rates), statistics.median(rates)
                    results.append(
                        {"batch": rows, "name": name, "best": best[name], "median": median}
                    )
                    print(f"{rows:6} {name:24} {best[name]:10.1f} {median:10.1f}", flush=True)
                ratio = best[f"genie_env {dtype}"] / best[f"plain {dtype}"]
                print(f"{rows:6} {'times as fast':24} {ratio:10.2f}", flush=True)
    if options.json:
        options.json.write_text(json.dumps({"threads": options.threads, "results": results}))


if __name__ == "__main__":
    main()

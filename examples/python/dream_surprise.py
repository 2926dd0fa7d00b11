"""What a dream says of itself while a controller exploits it.

At a temperature near 0 a dream forgets how to hurt (Ha & Schmidhuber 2018, section 4.5), and what a
controller scores in it says little of reality. This plays such a dream with a controller that learned
there and with random play, and draws how surprised the world is by each of its own frames, and how far
these are from frames of the real game.

    genie-env train controller --world doom-take-cover --temperature 0.1 --steps 10M --out runs/exploit
    python examples/python/dream_surprise.py --agent runs/exploit/agent.safetensors --temperature 0.1
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray

import genie_env
from genie_env.agents.agent import load_agent
from genie_env.agents.decisions import Decisions

matplotlib.use("Agg")
from matplotlib import pyplot

SCORES = {
    "surprise": "surprise, nats a latent dimension",
    "latent_distance": "distance from the training frames' latents (Mahalanobis)",
}


@dataclass
class Played:
    """Every step of some dreams: [steps, dreams], NaN where a dream had ended."""

    scores: dict[str, NDArray[np.float64]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Steps that each dream lasted: [dreams]."""
        return np.isfinite(self.scores["surprise"]).sum(0)


def play(
    dreams: genie_env.DreamVectorEnv,
    act: Callable[[NDArray[np.float32], int], NDArray[np.int64]],
    steps: int,
    seed: int,
) -> Played:
    """Each row's first episode, of at most so many steps."""
    observations, _ = dreams.reset(seed=seed)
    alive = np.ones(dreams.num_envs, bool)
    scores = {name: np.full((steps, dreams.num_envs), np.nan) for name in SCORES}
    for step in range(steps):
        observations, _, terminated, truncated, infos = dreams.step(act(observations, step))
        for name, values in scores.items():
            values[step, alive] = infos[name][alive]
        alive &= ~(terminated | truncated)
        if not alive.any():
            break
    return Played(scores)


def report(name: str, played: Played) -> None:
    lengths = played.lengths
    print(f"{name}: {lengths.mean():.0f} +- {lengths.std():.0f} steps in {len(lengths)} dreams")
    for score, values in played.scores.items():
        seen = values[np.isfinite(values)]
        low, middle, high = np.percentile(seen, [5, 50, 95])
        print(f"    {score}: mean {seen.mean():.3f}, 5, 50, 95 %: {low:.3f}, {middle:.3f}, {high:.3f}")


def draw(players: dict[str, Played], title: str, file: Path) -> None:
    """On the left every step's score, on the right its mean by age, while a tenth still dreams."""
    figure, grid = pyplot.subplots(len(SCORES), 2, figsize=(10, 6), layout="constrained")
    for (score, label), (left, right) in zip(SCORES.items(), grid, strict=True):
        everything = np.concatenate([p.scores[score].ravel() for p in players.values()])
        bins = np.linspace(*np.nanpercentile(everything, [0.1, 99.9]), 80)
        for name, played in players.items():
            values = played.scores[score]
            left.hist(values.ravel(), bins, density=True, histtype="step", label=name)
            many = np.isfinite(values).sum(1) >= values.shape[1] / 10
            mean = np.nanmean(values[many], axis=1)
            window = min(20, len(mean))
            smooth = np.convolve(mean, np.ones(window) / window, "valid")
            right.plot(np.arange(len(smooth)) + window // 2, smooth, label=name)
        left.set(xlabel=label, yticks=[], ylabel="share of steps")
        right.set(xlabel="age of the dream, steps", ylabel=label)
        left.legend()
    figure.suptitle(title)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=100)
    pyplot.close(figure)


def main(arguments: list[str] | None = None) -> dict[str, Played]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--world", default="doom-take-cover", help="a name or a world directory")
    parser.add_argument("--agent", type=Path, required=True, help="agent file, which `genie-env train controller` writes")
    parser.add_argument("--temperature", type=float, default=0.1, help="sampling temperature of all dreams")
    parser.add_argument("--num-envs", type=int, default=256, help="number of dreams that each player plays")
    parser.add_argument("--steps", type=int, default=2100, help="steps after which a dream stops")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/dream-surprise.png"))
    args = parser.parse_args(arguments)

    agent = load_agent(args.agent)
    dreams = genie_env.make_vec(
        args.world,
        args.num_envs,
        observation=agent.observation,
        temperature=args.temperature,
        latent_distance=True,
    )
    generator = np.random.default_rng(args.seed)
    actions = int(dreams.single_action_space.n)

    decisions = Decisions(agent)

    def chosen(observations: NDArray[np.float32], step: int) -> NDArray[np.int64]:
        return decisions.act(torch.from_numpy(observations), step).numpy()

    def random(observations: NDArray[np.float32], step: int) -> NDArray[np.int64]:
        return generator.integers(actions, size=len(observations))

    players = {
        "controller": play(dreams, chosen, args.steps, args.seed),
        "random play": play(dreams, random, args.steps, args.seed),
    }
    dreams.close()
    for name, played in players.items():
        report(name, played)
    draw(players, f"{args.num_envs} dreams each at temperature {args.temperature:g}", args.out)
    print(f"wrote {args.out}")
    return players


if __name__ == "__main__":
    main()

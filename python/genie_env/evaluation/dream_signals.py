"""What an agent's dreams tell of themselves, before it has played any real game."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genie_env.agents.agent import Agent
from genie_env.agents.decisions import Decisions
from genie_env.agents.dreams import Dreams, derived_seeds

PASTS, FUTURES = 32, 8
LOOK_EVERY = 25
"""Steps between two frames that are encoded again."""

SIGNALS = {
    "surprise": "the mean surprise of a dreamed frame, nats a latent dimension or token",
    "latent_distance": "its mean distance from the training frames' latents (Mahalanobis)",
    "round_trip": "mean squared error of a dreamed frame, encoded and decoded again, in thousandths",
    "spread": f"standard deviation of the scores of {FUTURES} dreams that begin alike",
}


def dream_signals(
    dreams: Dreams, agent: Agent, seed: int, progress: Callable[[int], None] = lambda ended: None
) -> dict[str, float | None]:
    """Plays `agent` in FUTURES dreams, whose draws alone differ, of each of PASTS beginnings, to
    their ends. Each of SIGNALS as a mean over frames, or over beginnings; None where the world cannot
    tell it. `progress` is called after every step with the dreams that have ended."""
    spec = dreams.world.spec
    count = PASTS * FUTURES
    env = dreams.make_env(count, agent.observation, latent_distance=spec.has_latent_statistics)
    past, future = derived_seeds(seed, 1, count=PASTS), derived_seeds(seed, 2, count=count)
    env.reset(seeds=[each for each in past for _ in range(FUTURES)])
    observation = env.restore(env.snapshot(), seeds=future)
    decisions = Decisions(agent)
    rows = torch.arange(count)  # the dream that each row is
    scores = torch.zeros(count, dtype=torch.float64)
    told: dict[str, list[NDArray[Any]]] = {name: [] for name in SIGNALS if name != "spread"}
    for step in itertools.count():
        brought = env.step(decisions.act(observation, step))
        told["surprise"].append(brought.surprise.cpu().numpy())
        if brought.latent_distance is not None:
            told["latent_distance"].append(brought.latent_distance.cpu().numpy())
        if spec.begins_from_frames and step % LOOK_EVERY == 0:
            told["round_trip"].append(_round_trip(dreams, env.render()))
        scores[rows] += brought.reward.cpu().double()
        kept = (~(brought.terminated | brought.truncated)).nonzero()[:, 0]
        progress(count - len(kept))
        if len(kept) == 0:
            break
        observation = brought.observation
        if len(kept) < len(rows):
            env.keep(kept)
            decisions.keep(kept)
            rows, observation = rows[kept.cpu()], observation[kept]
    spread = scores.view(PASTS, FUTURES).std(1).mean().item()
    found = {name: float(np.concatenate(parts).mean()) for name, parts in told.items() if parts}
    return {**dict.fromkeys(SIGNALS), **found, "spread": spread}


def _round_trip(dreams: Dreams, frames: torch.Tensor) -> NDArray[Any]:
    """Of every one of these frames, uint8 [N, H, W, 3], in thousandths: float64 [N]."""
    again = dreams.make_env(len(frames))
    again.reset(seeds=[*range(len(frames))], frames=frames)
    error = (again.render().double() - frames.double()) / 255
    return 1000 * error.square().flatten(1).mean(1).cpu().numpy()

"""What an agent's dreams tell of themselves, before it has played any real game."""

from __future__ import annotations

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
    dreams: Dreams, agent: Agent, seed: int, progress: Callable[[int], None] = lambda steps: None
) -> dict[str, float | None]:
    """Plays `agent` in FUTURES dreams, whose draws alone differ, of each of PASTS beginnings, to their
    ends. Each of SIGNALS as a mean over frames, or over beginnings; None where the world cannot tell
    it. `progress` is called after every step with the dreams that have ended."""
    spec = dreams.world.spec
    rows = PASTS * FUTURES
    env = dreams.make_env(rows, agent.observation, latent_distance=spec.has_latent_statistics)
    past, future = derived_seeds(seed, 1, count=PASTS), derived_seeds(seed, 2, count=rows)
    env.reset(seeds=[each for each in past for _ in range(FUTURES)])
    observation = env.restore(env.snapshot(), seeds=future)
    eyes = dreams.make_env(rows) if spec.begins_from_frames else None
    decisions = Decisions(agent)
    alive = torch.ones(rows, dtype=torch.bool, device=dreams.world.device)
    scores = torch.zeros(rows, dtype=torch.float64)
    told: dict[str, list[NDArray[Any]]] = {name: [] for name in SIGNALS}
    step = 0
    while alive.any():
        brought = env.step(decisions.act(observation, step))
        observation = brought.observation
        step += 1
        seen = alive.cpu()
        told["surprise"].append(brought.surprise.cpu()[seen].numpy())
        if brought.latent_distance is not None:
            told["latent_distance"].append(brought.latent_distance.cpu()[seen].numpy())
        if eyes is not None and step % LOOK_EVERY == 1:
            frames = env.render()
            eyes.reset(seeds=future, frames=frames)
            error = (eyes.render().double() - frames.double()) / 255
            told["round_trip"].append(1000 * error.square().flatten(1).mean(1).cpu()[seen].numpy())
        scores += brought.reward.cpu().double() * seen
        alive &= ~(brought.terminated | brought.truncated)
        progress(rows - int(alive.sum()))
    found = {name: _mean(parts) for name, parts in told.items()}
    spread = scores.view(PASTS, FUTURES).std(1).mean().item()
    return {**found, "spread": spread}


def _mean(parts: list[NDArray[Any]]) -> float | None:
    return float(np.concatenate(parts).mean()) if parts else None

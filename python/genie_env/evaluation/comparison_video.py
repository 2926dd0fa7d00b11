"""A video of one agent in the real game and in its dream, side by side."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn

from genie_env._core import VecEnv
from genie_env.agents.agent import Agent
from genie_env.agents.dreams import Dreams, derived_seeds
from genie_env.data.episode import Episode
from genie_env.data.progress import Progress, busy
from genie_env.envs.frame_rate import frames_per_second
from genie_env.media.video import Picture, side_by_side, write_video

FILMED = 20
"""Episodes, and dreams, of which the video shows the median one."""


def film_side_by_side(
    dreams: Dreams,
    agent: Agent,
    episode: Episode,
    episodes: int,
    file: Path,
    seed: int,
    console: Console,
) -> None:
    """Films an episode of the real game, which has kept its frames and is the median one of
    `episodes` that the agent played, beside the median one of FILMED dreams."""
    assert episode.frames is not None
    seeds = derived_seeds(seed, FILMED, count=FILMED)
    with busy("dreaming", console=console):
        dreamt = dream_lengths(dreams, agent, seeds)
    dream = dream_frames(dreams, agent, seeds, median(dreamt))
    sides = (
        _Side("reality", iter(episode.frames), len(episode) if episode.truncated else math.inf),
        _Side("dream", dream, dreams.world.spec.max_episode_steps),
    )
    columns = (TextColumn("filming"), BarColumn(bar_width=20), TimeRemainingColumn())
    rate = frames_per_second(dreams.world.spec)
    a_second = math.ceil(rate)

    def pictures() -> Iterator[Picture]:
        held = 0  # pictures after both have ended: a second to see how
        while held < a_second:
            panels = [side.following() for side in sides]
            yield side_by_side([p[0] for p in panels], [p[1] for p in panels])
            held += all(side.over for side in sides)
            progress.advance(task)

    with Progress(*columns, console=console) as progress:
        length = a_second + max(len(episode), dreamt[median(dreamt)])
        task = progress.add_task("", total=length)
        write_video(file, pictures(), rate)
    console.print(
        f"wrote {file}: the median of {episodes} episodes and of {FILMED} dreams", soft_wrap=True
    )


class _Side:
    """One side of the video."""

    def __init__(self, name: str, frames: Iterator[Picture], limit: float) -> None:
        """`limit`: the number of steps after which the time limit ended the episode."""
        self._name, self._frames, self._limit = name, frames, limit
        self._last = np.zeros(0, np.uint8)
        self._steps = 0
        self.over = False

    def following(self) -> tuple[Picture, str]:
        """The next frame and its caption; when it is over, the last frame, darkened."""
        frame = next(self._frames, None)
        if frame is not None:
            self._last = frame
            self._steps += 1
            return frame, f"{self._name}: step {self._steps}"
        self.over = True
        end = "over" if self._steps < self._limit else "time limit"
        return self._last // 3, f"{self._name}: {end} after {self._steps} steps"


def median(scores: Sequence[float]) -> int:
    """The index of the middle score (the upper one of two)."""
    return sorted(range(len(scores)), key=lambda i: scores[i])[len(scores) // 2]


def dream_lengths(dreams: Dreams, agent: Agent, seeds: Sequence[int]) -> list[int]:
    """How many frames the dream of every seed lasts."""
    lengths = torch.zeros(len(seeds), dtype=torch.int64)
    for _, alive in _dream(dreams, agent, seeds):
        lengths += alive
    return [int(length) for length in lengths]


def dream_frames(
    dreams: Dreams, agent: Agent, seeds: Sequence[int], row: int
) -> Iterator[Picture]:
    """Every frame of one of these dreams, until it ends.

    All are dreamt again: in float32 a dream alone may differ from the same dream in a batch.
    """
    for env, alive in _dream(dreams, agent, seeds):
        if not alive[row]:
            return
        yield env.render(torch.tensor([row]))[0].cpu().numpy()


def _dream(
    dreams: Dreams, agent: Agent, seeds: Sequence[int]
) -> Iterator[tuple[VecEnv, torch.Tensor]]:
    """Dreams together, and at every frame says which rows go on: bool [len(seeds)]. The others
    dream on unseen, so that the batch keeps its size."""
    env = dreams.make_env(len(seeds), agent.observation)
    observation = env.reset(seeds=list(seeds))
    alive = torch.ones(len(seeds), dtype=torch.bool)
    while alive.any():
        yield env, alive
        step = env.step(agent.act(observation))
        observation = step.observation
        alive = alive & ~(step.terminated | step.truncated).cpu()

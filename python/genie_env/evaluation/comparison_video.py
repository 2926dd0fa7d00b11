"""A video of one agent in the real game and in its dream, side by side."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn

from genie_env._core import VecEnv
from genie_env.agents.agent import Agent
from genie_env.agents.decisions import Decisions
from genie_env.agents.dreams import Dreams, derived_seeds
from genie_env.data.episode import Episode
from genie_env.data.progress import Progress, busy
from genie_env.envs.actions import Actions
from genie_env.envs.frame_rate import frames_per_second
from genie_env.games.base import Game, rounded
from genie_env.media.action_strip import action_strip
from genie_env.media.video import Picture, side_by_side, write_video

FILMED = 20
"""Episodes, and dreams, of which the video shows the one with the median score."""

SCALE = 8
"""Pixels of the video for a pixel of a frame, each way."""


def film_side_by_side(
    dreams: Dreams,
    agent: Agent,
    game: Game,
    episode: Episode,
    episodes: int,
    file: Path,
    seed: int,
    console: Console,
) -> None:
    """Films an episode of the real game, `game`, which has kept its frames and is the median one of
    `episodes` that the agent played, beside the median one of FILMED dreams. Above each stands its
    score so far, below it the agent's action."""
    seeds = derived_seeds(seed, FILMED, count=FILMED)
    with busy("dreaming", console=console):
        dreamt = dream_results(dreams, agent, seeds)
    row = median(dreamt)
    score, length = dreamt[row]
    real_limit = len(episode) if episode.truncated else math.inf
    dream_limit = dreams.world.spec.max_episode_steps
    dreamed, unit = dream_frames(dreams, agent, seeds, row), dreams.score.unit
    sides = (
        _Side("reality", game.actions, unit, played_frames(episode), episode.score, real_limit),
        _Side("dream", dreams.actions, unit, dreamed, score, dream_limit),
    )
    columns = (TextColumn("filming"), BarColumn(bar_width=20), TimeRemainingColumn())
    rate = frames_per_second(dreams.world.spec)
    a_second = math.ceil(rate)

    def pictures() -> Iterator[Picture]:
        held = 0  # pictures after both have ended: a second to see how
        while held < a_second:
            yield _side_by_side([side.following() for side in sides])
            held += all(side.over for side in sides)
            progress.advance(task)

    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=a_second + max(len(episode), length))
        write_video(file, pictures(), rate)
    console.print(
        f"wrote {file}: the median of {episodes} episodes and of {FILMED} dreams", soft_wrap=True
    )


@dataclass(frozen=True)
class Moment:
    """A frame, and what is known on seeing it."""

    frame: Picture
    action: Any
    """What the agent chooses on seeing the frame."""
    score: float
    """The sum of the rewards before it."""


@dataclass(frozen=True)
class _Panel:
    frame: Picture
    caption: str
    action: Picture


class _Side:
    """One side of the video."""

    def __init__(
        self,
        name: str,
        actions: Actions,
        unit: str,
        moments: Iterator[Moment],
        score: float,
        limit: float,
    ) -> None:
        """`actions`: what the moments' are among; a world of latent ones has others than its game.
        `unit`: of the scores. `score`: of the whole episode. `limit`: the number of steps after which
        the time limit ended it."""
        self._name, self._moments, self._score, self._limit = name, moments, score, limit
        self._actions, self._unit = actions, unit
        self._last = np.zeros(0, np.uint8)
        self._steps = 0
        self.over = False

    def following(self) -> _Panel:
        """The next frame with its caption and action; when it is over, the last frame, darkened."""
        moment = next(self._moments, None)
        if moment is not None:
            self._last = moment.frame
            self._steps += 1
            return self._panel(moment.frame, f"step {self._steps}", moment.score, moment.action)
        self.over = True
        end = "over" if self._steps < self._limit else "time limit"
        return self._panel(self._last // 3, f"{end} after {self._steps} steps", self._score, None)

    def _panel(self, frame: Picture, when: str, score: float, action: Any) -> _Panel:
        return _Panel(
            frame,
            f"{self._name}: {when}, {rounded(score)} {self._unit}",
            action_strip(self._actions, action, SCALE * frame.shape[1]),
        )


def _side_by_side(panels: Sequence[_Panel]) -> Picture:
    above = side_by_side([p.frame for p in panels], [p.caption for p in panels], SCALE)
    gap = np.zeros((len(panels[0].action), SCALE, 3), np.uint8)
    below = [part for panel in panels for part in (gap, panel.action)][1:]
    return np.concatenate([above, np.concatenate(below, axis=1)])


def median(scores: Sequence[Any]) -> int:
    """The index of the middle score (the upper one of two)."""
    return sorted(range(len(scores)), key=lambda i: scores[i])[len(scores) // 2]


def played_frames(episode: Episode) -> Iterator[Moment]:
    """Every frame of an episode that has kept them."""
    assert episode.frames is not None
    before = np.cumsum(episode.rewards) - episode.rewards
    for frame, action, score in zip(episode.frames, episode.actions, before, strict=True):
        yield Moment(frame, action, float(score))


def dream_results(dreams: Dreams, agent: Agent, seeds: Sequence[int]) -> list[tuple[float, int]]:
    """The score of the dream of every seed, and how many frames it lasts."""
    scores, lengths = torch.zeros(len(seeds)), torch.zeros(len(seeds), dtype=torch.int64)
    for now in _dream(dreams, agent, seeds):
        scores = now.scores
        lengths += now.alive
    return list(zip(scores.tolist(), lengths.tolist(), strict=True))


def dream_frames(
    dreams: Dreams, agent: Agent, seeds: Sequence[int], row: int
) -> Iterator[Moment]:
    """Every frame of one of these dreams, until it ends.

    All are dreamt again: in float32 a dream alone may differ from the same dream in a batch.
    """
    for now in _dream(dreams, agent, seeds):
        if not now.alive[row]:
            return
        frame = now.env.render(torch.tensor([row]))[0].cpu().numpy()
        yield Moment(frame, now.actions[row].cpu().numpy(), float(now.scores[row]))


@dataclass(frozen=True)
class _Now:
    """N dreams at one frame."""

    env: VecEnv
    alive: torch.Tensor
    """bool [N]: which of them go on."""
    actions: torch.Tensor
    """[N, ...], chosen on seeing the frame."""
    scores: torch.Tensor
    """float32 [N]: the sums of the rewards before it."""


def _dream(dreams: Dreams, agent: Agent, seeds: Sequence[int]) -> Iterator[_Now]:
    """Dreams together, until all have ended, the frame after that included. The others dream on
    unseen, so that the batch keeps its size."""
    env = dreams.make_env(len(seeds), agent.observation)
    observation = env.reset(seeds=list(seeds))
    alive, scores = torch.ones(len(seeds), dtype=torch.bool), torch.zeros(len(seeds))
    decisions = Decisions(agent)
    for age in itertools.count():
        actions = decisions.act(observation, age)
        yield _Now(env, alive, actions, scores)
        if not alive.any():
            return
        step = env.step(actions)
        observation = step.observation
        scores = scores + step.reward.cpu() * alive
        alive = alive & ~(step.terminated | step.truncated).cpu()

"""How well a world knows reward and termination, on episodes that no training used.

Where `freeze` calibrated the termination, it fitted two numbers on the held-out episodes of the
world's own recordings.

The world follows episodes from their first frame to their end, and says at every step what
reward the action brought and how likely it ended the episode. Windows of some steps, cut at the
ends of episodes, compare sums of rewards; beside each, a dream of the same steps begins where the
window does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genie_env._core import EpisodeStore, RowCounters, World, WorldStep
from genie_env.agents.dreams import derived_seeds
from genie_env.data.datasets import HELD_OUT_EVERY

ROWS = 64
"""Episodes that are followed at once."""
BINS = 10
"""Of termination probabilities, each of as many steps."""


@dataclass(frozen=True)
class Episode:
    """An episode of a recording."""

    store: EpisodeStore
    index: int
    actions: NDArray[Any]
    """The action from every frame to the next: [steps, ...]."""

    def __len__(self) -> int:
        """Steps."""
        return len(self.actions)

    @property
    def first(self) -> int:
        return int(self.store.episode_starts[self.index])

    @property
    def rewards(self) -> NDArray[np.float32]:
        return self.store.rewards[self.first : self.first + len(self)]

    @property
    def terminates(self) -> bool:
        """Whether its last step ended it (rather than a limit)."""
        return bool(self.store.terminations[self.first + len(self) - 1])

    def frame_after(self, step: int) -> NDArray[np.uint8]:
        """What was seen after a step: the next frame; after the last one the final frame, or, where
        the game shows none, the last frame again. After the end, the same."""
        finals, frame = self.store.final_frames, self.first + step + 1
        if step + 1 < len(self):
            seen = self.store.frames[frame]
        elif finals is not None:
            seen = finals[self.index]
        else:
            seen = self.store.frames[self.first + len(self) - 1]
        return np.asarray(seen)


def drawn_episodes(
    stores: Sequence[EpisodeStore],
    episodes: Sequence[NDArray[np.bool_]],
    actions: Sequence[NDArray[Any]],
    horizon: int,
    windows: int,
    seed: int,
) -> list[Episode]:
    """Some of the episodes in random order, as many as make `windows` windows of `horizon` steps;
    all, where they make fewer. episodes: bool [E] a store; actions: [frames, ...] a store. Raises
    ValueError where there are none."""
    every = [
        Episode(store, index, taken[store.episode_starts[index] : store.episode_starts[index + 1]])
        for store, wanted, taken in zip(stores, episodes, actions, strict=True)
        for index in np.flatnonzero(wanted).tolist()
    ]
    random = np.random.Generator(np.random.Philox(key=[seed, 0]))
    chosen: list[Episode] = []
    made = 0
    for index in random.permutation(len(every)):
        if made >= windows:
            break
        chosen.append(every[index])
        made += -(-len(every[index]) // horizon)
    if not chosen:
        raise ValueError(
            f"no episode of the recordings is held out (every {HELD_OUT_EVERY}th is): record more"
        )
    return chosen


@dataclass(frozen=True)
class Outcomes:
    """What N followed steps and W windows brought, and what the world said."""

    steps: NDArray[np.float64]
    """[N, 2]: termination probability (0 where the world never terminates), and whether the step
    ended its episode."""
    by_step: NDArray[np.float64]
    """[horizon, 4], of every step of a window: how many recorded episodes had not ended before it,
    how many it ended, how many dreams had not ended before it, and their termination probabilities'
    sum."""
    windows: NDArray[np.float64]
    """[W, 3]: the sum of recorded rewards, of those that the world gave as it followed, and of those
    that it gave in its dream."""


def measure(
    world: World,
    episodes: Sequence[Episode],
    *,
    horizon: int,
    temperature: float,
    seed: int,
    progress: Callable[[int], None] = lambda steps: None,
) -> Outcomes:
    """Follows the episodes, in batches of similar length. `progress` is called with the number of
    recorded steps done since its last call.

    A window is cut where its recorded episode ends. Its dream takes the recorded actions. Where the
    recorded episode terminates within the window, a dream that lives on repeats the last one until
    the window would be full; where it was truncated, the dream is cut there too.
    """
    ordered = sorted(episodes, key=len)
    seeds = np.array(derived_seeds(seed, count=len(ordered)), np.uint64)
    found = []
    for first in range(0, len(ordered), ROWS):
        rows = slice(first, first + ROWS)
        found.append(
            _measure_batch(world, ordered[rows], seeds[rows], horizon, temperature, progress)
        )
    return Outcomes(
        np.concatenate([each.steps for each in found]),
        np.sum([each.by_step for each in found], axis=0),
        np.concatenate([each.windows for each in found]),
    )


def _measure_batch(
    world: World,
    episodes: Sequence[Episode],
    seeds: NDArray[np.uint64],
    horizon: int,
    temperature: float,
    progress: Callable[[int], None],
) -> Outcomes:
    count = len(episodes)
    lengths = np.array([len(episode) for episode in episodes])
    terminates = np.array([episode.terminates for episode in episodes])
    tau = torch.full((count,), temperature)
    # A dream goes on behind an episode that terminated, until its window is full.
    ends = np.where(terminates, -(-lengths // horizon) * horizon, lengths)
    rewards = np.zeros((int(ends.max()), count))
    for row, episode in enumerate(episodes):
        rewards[: len(episode), row] = episode.rewards

    def counters(step: int) -> RowCounters:
        return RowCounters(seeds, np.zeros(count, np.int64), np.full(count, step))

    state = world.make_state(count)
    first = np.stack([episode.store.frames[episode.first] for episode in episodes])
    world.begin(
        state, torch.ones(count, dtype=torch.bool), counters(0), frames=torch.from_numpy(first)
    )
    steps, windows, by_step = [], [], np.zeros((horizon, 4))
    for step in range(len(rewards)):
        if step % horizon == 0:
            dream, dreaming = state.clone(), step < lengths
            sums = np.zeros((count, 3))
            begun = dreaming.copy()
        alive = step < lengths
        taken = torch.from_numpy(np.stack([e.actions[min(step, len(e) - 1)] for e in episodes]))
        seen = torch.from_numpy(np.stack([episode.frame_after(step) for episode in episodes]))
        given = world.follow(state, taken, seen, counters(step + 1), None)
        dreamt = world.step(dream, taken, tau, counters(step + 1), None)
        ended = (step == lengths - 1) & terminates
        steps.append(np.stack([_probability(given), ended], axis=1)[alive])
        sums[:, 0] += rewards[step]
        sums[:, 1] += np.where(alive, given.reward.double().cpu().numpy(), 0)
        dreaming = dreaming & (step < ends)
        told = _probability(dreamt)[dreaming].sum()
        by_step[step % horizon] += alive.sum(), (ended & alive).sum(), dreaming.sum(), told
        sums[:, 2] += np.where(dreaming, dreamt.reward.double().cpu().numpy(), 0)
        dreaming = dreaming & ~dreamt.terminated.cpu().numpy()
        if step % horizon == horizon - 1 or step == len(rewards) - 1:
            windows.append(sums[begun])
        progress(int(alive.sum()))
    return Outcomes(np.concatenate(steps), by_step, np.concatenate(windows))


def _probability(step: WorldStep) -> NDArray[np.float64]:
    """Of termination; 0 where the world never terminates."""
    said = step.termination_probability
    return np.zeros(len(step.reward)) if said is None else said.double().cpu().numpy()


@dataclass(frozen=True)
class Returns:
    """How well sums of rewards were told: of W windows."""

    r2: float | None
    """1 - squared error / variance; None where the recorded sums do not vary."""
    error: float
    """Mean absolute error."""
    mean: float
    """Of the recorded sums."""

    @classmethod
    def of(cls, recorded: NDArray[np.float64], told: NDArray[np.float64]) -> Returns:
        varies = float(np.square(recorded - recorded.mean()).sum())
        wrong = float(np.square(recorded - told).sum())
        r2 = (
            1 - wrong / varies
            if varies > 1e-9 * max(1.0, float(np.square(recorded).sum()))
            else None
        )
        return cls(r2, float(np.abs(recorded - told).mean()), float(recorded.mean()))


@dataclass(frozen=True)
class Bin:
    """Steps of similar termination probability."""

    steps: int
    predicted: float
    """Mean probability."""
    observed: float
    """The share of steps that ended their episode."""
    low: float
    high: float
    """95 % Wilson interval of the observed share (Wilson 1927)."""

    @property
    def agrees(self) -> bool:
        return bool(self.low <= self.predicted <= self.high)


def bins_of(steps: NDArray[np.float64], bins: int = BINS) -> list[Bin]:
    """Steps [N, 2] in bins of equal count, by ascending probability. No bin is empty."""
    ordered = steps[np.argsort(steps[:, 0], kind="stable")]
    parts = np.array_split(ordered, min(bins, len(ordered)))
    return [_bin(len(part), float(part[:, 0].mean()), float(part[:, 1].mean())) for part in parts]


def dreamed_bins_of(by_step: NDArray[np.float64], bins: int = BINS) -> list[Bin]:
    """Outcomes.by_step in bins of neighbouring steps of a window, of about equal count.

    A dream goes its own way, so its probabilities are not those of the recorded steps; but at the same
    step of a window as many dreams as recorded episodes should end.
    """
    reached = by_step[(by_step[:, 0] > 0) & (by_step[:, 2] > 0)]
    before = np.cumsum(reached[:, 0]) - reached[:, 0]
    places = (before * bins / reached[:, 0].sum()).astype(int)
    sums = [reached[places == place].sum(0) for place in np.unique(places)]
    return [_bin(int(n), told / dreams, ended / n) for n, ended, dreams, told in sums]


def agreeing(bins: Sequence[Bin]) -> int:
    """How many agree."""
    return sum(each.agrees for each in bins)


def _bin(n: int, predicted: float, observed: float) -> Bin:
    z = 1.959963984540054  # of the normal distribution's 97.5th percentile
    middle = (observed + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(observed * (1 - observed) / n + z * z / (4 * n * n))
    low, high = min(middle - half, observed), max(middle + half, observed)  # but for rounding
    return Bin(n, float(predicted), float(observed), float(low), float(high))

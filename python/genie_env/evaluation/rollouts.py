"""Dreams that begin in recorded episodes: a world follows real frames, then dreams on by itself.

Uses nothing but the surface that every world has (`World` in _core), so that families can be
compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genie_env._core import EpisodeStore, RowCounters, World, WorldStep
from genie_env.agents.dreams import derived_seeds
from genie_env.data.datasets import HELD_OUT_EVERY, Clips, check_enough, held_out, longest_episode
from genie_env.data.midway import Midway, Tensors
from genie_env.envs.actions import Actions, Taken

GREEDY = 1e-6
"""The temperature of the likeliest dream. At temperature 1, even a perfect world dreams another future
than the recorded one, and every detail that is random lowers its PSNR; the likeliest dreams differ
in little but their actions."""

ROWS = 64
"""Dreams at once: the state of a world with a kv cache takes megabytes a row."""


@dataclass(frozen=True)
class Starts:
    """N places in recordings at which a world begins, and what it then follows and dreams.

    It follows the frame of the place and `burn_in` more, and dreams `horizon` frames. Index t of a
    recording holds frame t and the action that leads to frame t + 1.
    """

    stores: Sequence[EpisodeStore]
    actions: Sequence[NDArray[Any]]
    """The action from every frame to the next: [frames, ...] a store."""
    burn_in: int
    horizon: int
    places: NDArray[np.int64]
    """[N, 2]: store, first frame."""
    seeds: NDArray[np.uint64]
    """[N], of the dreams' random draws."""
    random_actions: Taken
    """[N, horizon, ...], instead of the recorded ones."""

    @classmethod
    def draw(
        cls,
        stores: Sequence[EpisodeStore],
        actions: Sequence[NDArray[Any]],
        space: Actions,
        *,
        burn_in: int,
        horizon: int,
        count: int,
        seed: int,
    ) -> Starts:
        """`count` different starts, all equally likely, of the held-out episodes that are long
        enough. Raises ValueError where there are too few."""
        length = 1 + burn_in + horizon
        check_enough(stores, trained=0, unseen=length)
        longest = longest_episode(stores, held_out_part=True)
        if longest < length:
            raise ValueError(
                f"a start takes {length} frames of one episode (the first, {burn_in} of the "
                f"burn-in, {horizon} of the horizon), but the longest held-out episode, of every "
                f"{HELD_OUT_EVERY}th, has {longest}: lower --burn-in or --horizon, or record "
                "longer episodes"
            )
        clips = Clips(stores, length, held_out_part=True)
        if count > len(clips):
            raise ValueError(
                f"{count:,} starts were asked for, but only {len(clips):,} frames of the held-out "
                f"episodes have another {length - 1} after them: lower --starts, or record more"
            )
        places = [(store, frames.start) for store, frames in clips.batch(count, seed, 0)]
        # The order of the clips is keyed by (seed, 0).
        random = np.random.Generator(np.random.Philox(key=[seed, 1]))
        return cls(
            stores,
            actions,
            burn_in,
            horizon,
            np.array(places, np.int64),
            np.array(derived_seeds(seed, count=count), np.uint64),
            space.draw(random, (count, horizon)),
        )

    def __len__(self) -> int:
        return len(self.places)

    def take(self, rows: slice | NDArray[np.int64]) -> Starts:
        """Some of the starts."""
        return replace(
            self,
            places=self.places[rows],
            seeds=self.seeds[rows],
            random_actions=self.random_actions[rows],
        )

    @property
    def episodes(self) -> NDArray[np.int64]:
        """[N]: the episode of each start, numbered from 0."""
        keys = [
            (s, np.searchsorted(self.stores[s].episode_starts, f, side="right"))
            for s, f in self.places
        ]
        return np.unique(np.array(keys), axis=0, return_inverse=True)[1].reshape(-1)

    @property
    def too_short(self) -> int:
        """Held-out episodes that are too short for any start."""
        lengths = [np.diff(store.episode_starts)[held_out(store)] for store in self.stores]
        return int((np.concatenate(lengths) < 1 + self.burn_in + self.horizon).sum())

    def frames_at(self, index: int) -> torch.Tensor:
        """The recorded frames, `index` after the first: uint8 [N, H, W, 3]."""
        frames = [self.stores[s].frames[f + index] for s, f in self.places]
        return torch.from_numpy(np.stack(frames))

    def actions_at(self, index: int) -> torch.Tensor:
        """The actions from there to the next frame: int64 [N] or float32 [N, ...]."""
        actions = np.array([self.actions[s][f + index] for s, f in self.places])
        return torch.from_numpy(actions.astype(self.random_actions.dtype, copy=False))

    def counters_at(self, index: int) -> RowCounters:
        """The same for all dreams of a start, so that their random draws are equal."""
        return RowCounters(self.seeds, np.zeros(len(self), np.int64), np.full(len(self), index))


@dataclass(frozen=True)
class Dreamt:
    """One frame after the burn-in, as a world renders it: uint8 [N, H, W, 3] each."""

    given: torch.Tensor
    """Having followed the recording up to this frame: the world's reconstruction of it."""
    recorded: torch.Tensor
    """Dreamt under the actions of the recording."""
    random: torch.Tensor
    """Dreamt under random actions."""


@dataclass(frozen=True)
class Moment:
    """One frame of N starts."""

    real: torch.Tensor
    """uint8 [N, H, W, 3], the recorded frames."""
    surprise: torch.Tensor
    """float32 [N]: the surprise of the world that follows it, in nats a latent dimension or token."""
    dreamt: Dreamt | None
    """None in the burn-in."""


def roll_out(world: World, starts: Starts, temperature: float) -> Iterator[Moment]:
    """Frames 1, 2, ... to `burn_in + horizon` after the first, of all starts in one batch."""
    tau = torch.full((len(starts),), temperature)
    assert world.spec.frame is not None  # check_recordings
    state, frame = world.make_state(len(starts)), world.spec.frame.name
    begun = torch.ones(len(starts), dtype=torch.bool)
    world.begin(state, begun, starts.counters_at(0), frames=starts.frames_at(0))

    def follow(index: int, observation: str | None) -> tuple[torch.Tensor, WorldStep]:
        real, counters = starts.frames_at(index), starts.counters_at(index)
        actions = starts.actions_at(index - 1)
        return real, world.follow(state, actions, real, counters, observation)

    for index in range(1, starts.burn_in + 1):
        real, given = follow(index, None)
        yield Moment(real, given.surprise, None)
    recorded, random = state.clone(), state.clone()
    for ahead in range(starts.horizon):
        index = starts.burn_in + 1 + ahead
        real, given = follow(index, frame)
        counters = starts.counters_at(index)
        actions = starts.actions_at(index - 1), torch.from_numpy(starts.random_actions[:, ahead])
        # A dream that has ended is stepped on, as the recording that it is compared with goes on.
        dreams = (
            world.step(dream, chosen, tau, counters, frame).observation
            for dream, chosen in zip((recorded, random), actions, strict=True)
        )
        yield Moment(real, given.surprise, Dreamt(given.observation, *dreams))


def psnr(frames: torch.Tensor, real: torch.Tensor) -> NDArray[np.float64]:
    """Peak signal-to-noise ratio of every frame, in dB: uint8 [N, H, W, 3] twice -> [N].

    At most 58.9: rounding to 8 bits is an error of 1/12, which equal frames are taken to have.

    >>> psnr(torch.zeros(1, 2, 2, 3, dtype=torch.uint8), torch.full((1, 2, 2, 3), 255).byte())
    array([0.])
    """
    difference = frames.float() - real.to(frames.device).float()
    error = difference.square().flatten(1).mean(1).double().clamp(min=1 / 12)
    return (10 * torch.log10(255**2 / error)).cpu().numpy()


def measure(
    world: World,
    starts: Starts,
    temperature: float = GREEDY,
    progress: Callable[[int], None] = lambda frames: None,
    midway: Midway | None = None,
) -> dict[str, NDArray[np.float64]]:
    """Figures of every start and frame.

    In dB against the recorded frame, float64 [N, horizon]: "psnr" of the dream under the recorded
    actions, "psnr_random" under random ones, and "dpsnr", the difference (Bruce et al. 2024);
    "psnr_given" of the world's reconstruction of the frame itself, the most that a dream can reach;
    "psnr_still" of the last frame of the burn-in, the least that a dream should reach. "surprise",
    float64 [N, burn_in + horizon], of the recorded frames after the first, in nats a latent
    dimension or token. `progress` is called with the number of frames done since its last call.
    `midway` keeps the figures of every batch, and what it holds is not measured again.
    """
    midway = midway or Midway(None, {})
    found = {name: values.numpy() for name, values in midway.found.items()}
    done = len(found["psnr"]) if found else 0
    for first in range(done, len(starts), ROWS):
        some = starts.take(slice(first, first + ROWS))
        batch = _measure_batch(world, some, temperature, progress)
        found = {
            name: np.concatenate([found[name], values]) if found else values
            for name, values in batch.items()
        }
        midway.keep(partial(_tensors, found), at_once=True)
    return found


def _tensors(figures: dict[str, NDArray[np.float64]]) -> Tensors:
    return {name: torch.from_numpy(values) for name, values in figures.items()}


def _measure_batch(
    world: World, starts: Starts, temperature: float, progress: Callable[[int], None]
) -> dict[str, NDArray[np.float64]]:
    still = starts.frames_at(starts.burn_in)
    names = ("dpsnr", "psnr", "psnr_random", "psnr_given", "psnr_still", "surprise")
    found: dict[str, list[NDArray[np.float64]]] = {name: [] for name in names}
    for moment in roll_out(world, starts, temperature):
        found["surprise"].append(moment.surprise.double().cpu().numpy())
        if (dreamt := moment.dreamt) is not None:
            recorded, random = psnr(dreamt.recorded, moment.real), psnr(dreamt.random, moment.real)
            found["psnr"].append(recorded)
            found["psnr_random"].append(random)
            found["dpsnr"].append(recorded - random)
            found["psnr_given"].append(psnr(dreamt.given, moment.real))
            found["psnr_still"].append(psnr(still, moment.real))
        progress(len(starts))
    return {name: np.stack(values, axis=1) for name, values in found.items()}

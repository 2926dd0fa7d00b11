"""Follows recorded episodes, and dreams on from some of their frames.

Uses nothing but the surface that every world has (`World` in _core), so that families can be
compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray

from genie_env._core import RowCounters, World, WorldState
from genie_env.agents.dreams import derived_seeds
from genie_env.evaluation.continuity.episodes import Past
from genie_env.evaluation.outcomes import Episode

BYTES = 1 << 29
"""Of states that are held at once. That of a world with a kv cache takes megabytes a row."""
MOST_ROWS = 4096

Advance = Callable[[int], None]
Arrays = dict[str, NDArray[np.generic]]
Observe = Callable[[WorldState, torch.Tensor | None], torch.Tensor]
"""What is read of a state, of the given rows (int64 [R]; None: all): [R, ...]."""


@dataclass(frozen=True)
class Dreaming:
    """Dreams of some pasts, at one age."""

    pasts: NDArray[np.int64]
    """[R]: of which past each row is."""
    samples: NDArray[np.int64]
    """[R]: which dream of the past it is."""
    age: int
    """Frames dreamed."""
    state: WorldState


def frames_followed(pasts: Sequence[Past]) -> int:
    """What `observed` follows."""
    return sum(max(pasts[place].frame for place in own) for own in _by_episode(pasts).values())


def rows_at_once(world: World) -> int:
    return int(np.clip(BYTES // max(1, world.spec.state_bytes_per_row), 16, MOST_ROWS))


def observed(
    world: World,
    episodes: Sequence[Episode],
    pasts: Sequence[Past],
    kinds: Mapping[str, Observe],
    *,
    seed: int,
    every: Mapping[str, int] | None = None,
    advance: Advance = lambda frames: None,
) -> Arrays:
    """What the world makes of recorded frames that it is given: [P, ...] of every kind, in the order
    of the pasts, whose frames they are. every: of a kind, only that of one past in every[kind], [P / every,
    ...]. `advance` is called with the number of frames followed."""
    thinned = {kind: (every or {}).get(kind, 1) for kind in kinds}
    found: dict[str, dict[int, torch.Tensor]] = {kind: {} for kind in kinds}
    by_episode = _by_episode(pasts)
    for batch in _batches([*by_episode], lambda _: 1, rows_at_once(world)):
        until = [pasts[by_episode[episode][-1]].frame for episode in batch]
        for frame, state in _follow(world, episodes, batch, until, seed, advance):
            here = [
                (row, place)
                for row, episode in enumerate(batch)
                for place in by_episode[episode]
                if pasts[place].frame == frame
            ]
            if here:
                for kind, observe in kinds.items():
                    wanted = [(row, place) for row, place in here if place % thinned[kind] == 0]
                    if wanted:
                        rows = torch.tensor([row for row, _ in wanted])
                        seen = zip(wanted, observe(state, rows).cpu(), strict=True)
                        found[kind] |= {place: each for (_, place), each in seen}
    return {
        kind: torch.stack([each[place] for place in sorted(each)]).numpy()
        for kind, each in found.items()
    }


def dreams(
    world: World,
    episodes: Sequence[Episode],
    pasts: Sequence[Past],
    *,
    horizon: int,
    samples: int,
    temperature: float,
    seed: int,
    advance: Advance = lambda frames: None,
) -> Iterator[Dreaming]:
    """Dreams of every past under the actions of its episode, as many as `samples`, at the ages 0 (the
    frame itself, as the world was given it), 1, ... to `horizon`. Every dream has a seed of its own.

    A dream that has ended is stepped on, as the recording that it is compared with goes on.
    `advance` is called with the number of frames dreamed.
    """
    limit = rows_at_once(world)
    seeds = np.array(derived_seeds(seed, 1, count=len(pasts) * samples), np.uint64)
    by_episode = _by_episode(pasts)
    for batch in _batches([*by_episode], lambda episode: len(by_episode[episode]), limit):
        places = np.array([place for episode in batch for place in by_episode[episode]])
        kept = world.make_state(len(places))
        until = [pasts[by_episode[episode][-1]].frame for episode in batch]
        for frame, state in _follow(world, episodes, batch, until, seed, lambda frames: None):
            to = [row for row, place in enumerate(places) if pasts[place].frame == frame]
            if to:
                of = [batch.index(pasts[places[row]].episode) for row in to]
                WorldState.copy_rows(state, torch.tensor(of), kept, torch.tensor(to))
        every = np.stack(np.meshgrid(np.arange(len(places)), np.arange(samples)), -1).reshape(-1, 2)
        for first in range(0, len(every), limit):
            rows, which = every[first : first + limit].T
            own = seeds[places[rows] * samples + which]
            state = kept.select(torch.from_numpy(rows.copy()))
            yield Dreaming(places[rows], which, 0, state)
            for age in range(1, horizon + 1):
                taken = [
                    episodes[pasts[p].episode].actions[pasts[p].frame + age - 1]
                    for p in places[rows]
                ]
                world.step(
                    state,
                    _actions(world, taken),
                    torch.full((len(rows),), temperature),
                    _counters(own, age),
                    None,
                )
                advance(len(rows))
                yield Dreaming(places[rows], which, age, state)


def _by_episode(pasts: Sequence[Past]) -> dict[int, list[int]]:
    """The places of the pasts of each episode, by their frames; first the episode that is followed for
    the shortest time, so that those of a batch end together."""
    ordered = sorted(range(len(pasts)), key=lambda p: (pasts[p].episode, pasts[p].frame))
    found = [(e, [*places]) for e, places in groupby(ordered, key=lambda p: pasts[p].episode)]
    return dict(sorted(found, key=lambda each: pasts[each[1][-1]].frame))


def _batches(
    episodes: Sequence[int], rows: Callable[[int], int], limit: int
) -> Iterator[list[int]]:
    """Episodes in groups whose rows are no more than `limit` in all, or of a single one."""
    batch: list[int] = []
    for episode in episodes:
        if batch and sum(map(rows, batch)) + rows(episode) > limit:
            yield batch
            batch = []
        batch.append(episode)
    if batch:
        yield batch


def _follow(
    world: World,
    episodes: Sequence[Episode],
    batch: Sequence[int],
    until: Sequence[int],
    seed: int,
    advance: Advance,
) -> Iterator[tuple[int, WorldState]]:
    """The state after each frame of some episodes in turn. One that ends before the others, or is
    needed no further, repeats its last frame."""
    count = len(batch)
    seeds = np.array(derived_seeds(seed, 0, count=len(episodes)), np.uint64)[np.array(batch)]
    some = [episodes[episode] for episode in batch]

    def frames_at(index: int) -> torch.Tensor:
        frames = [
            each.store.frames[each.first + min(index, last)]
            for each, last in zip(some, until, strict=True)
        ]
        return torch.from_numpy(np.stack(frames))

    state = world.make_state(count)
    begun = torch.ones(count, dtype=torch.bool)
    world.begin(state, begun, _counters(seeds, 0), frames=frames_at(0))
    yield 0, state
    for index in range(1, max(until) + 1):
        taken = [each.actions[min(index, len(each)) - 1] for each in some]
        world.follow(state, _actions(world, taken), frames_at(index), _counters(seeds, index), None)
        advance(sum(index <= last for last in until))
        yield index, state


def _actions(world: World, taken: Sequence[object]) -> torch.Tensor:
    dtype = np.int64 if world.spec.actions.shape is None else np.float32
    return torch.from_numpy(np.array(taken).astype(dtype))


def _counters(seeds: NDArray[np.uint64], step: int) -> RowCounters:
    return RowCounters(seeds, np.zeros(len(seeds), np.int64), np.full(len(seeds), step))

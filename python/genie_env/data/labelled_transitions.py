"""Transitions of recordings, with the latent action that was inferred for each and the recorded one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genie_env._core import EpisodeStore
from genie_env.data.action_dictionary import (
    Counts,
    count_after,
    count_together,
    most_frequent,
    most_frequent_after,
)
from genie_env.data.datasets import transitions
from genie_env.data.recording_metadata import numbered_actions


@dataclass(frozen=True)
class CodeCounts:
    """How often each code and each real action occurred together."""

    alone: Counts
    """int64 [codes, actions]."""
    after: Counts
    """int64 [actions, codes, actions], by the action before; where an episode begins there is none."""

    def dictionary(self, start: int) -> tuple[dict[int, int], dict[int, dict[int, int]]]:
        """The most frequent action of every code, alone, and after each action; numbered from `start`."""

        def numbered(actions: NDArray[np.int64]) -> dict[int, int]:
            return {code: start + int(action) for code, action in enumerate(actions)}

        by_action = enumerate(most_frequent_after(self.alone, self.after), start)
        return (
            numbered(most_frequent(self.alone)),
            {before: numbered(means) for before, means in by_action},
        )


@dataclass(frozen=True)
class LabelledTransitions:
    """M transitions. Actions are numbered from 0."""

    codes: NDArray[np.integer]
    actions: NDArray[np.int64]
    before: NDArray[np.int64]
    """The action of the transition before; -1 where an episode begins."""

    @classmethod
    def of(
        cls,
        stores: Sequence[EpisodeStore],
        codes: Sequence[NDArray[np.integer]],
        *,
        held_out_part: bool,
    ) -> LabelledTransitions:
        """One part of recordings. codes: [frames] a store."""
        parts = []
        for store, inferred in zip(stores, codes, strict=True):
            rows, taken = transitions(store, held_out_part=held_out_part), numbered_actions(store)
            before = np.roll(taken, 1)
            before[store.episode_starts[:-1]] = -1
            parts.append((inferred[rows], taken[rows], before[rows]))
        return cls(*(np.concatenate(each) for each in zip(*parts, strict=True)))

    def __len__(self) -> int:
        return len(self.codes)

    def only(self, rows: NDArray[np.int64]) -> LabelledTransitions:
        return LabelledTransitions(self.codes[rows], self.actions[rows], self.before[rows])

    def counts(self, shape: tuple[int, int]) -> CodeCounts:
        """`shape`: codes and actions."""
        return CodeCounts(
            count_together(self.codes, self.actions, shape),
            count_after(self.before, self.codes, self.actions, shape),
        )

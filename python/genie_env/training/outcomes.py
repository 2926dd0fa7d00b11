"""Rewards and terminations of recordings, as networks learn them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from genie_env._core import EpisodeStore
from genie_env.data.datasets import HELD_OUT_EVERY, held_out

SHARES = {
    "death_recall": ("deaths_found", "deaths"),
    "false_alarms": ("false_alarms", "survivals"),
}
"""Reported in place of the counts in a loss: the share of terminations (deaths) that are predicted,
and of other steps at which one is."""


NO_TERMINATION = (
    f"no held-out episode (every {HELD_OUT_EVERY}th) ends in a termination, though others do, so the "
    "termination probability could not be calibrated: give more of the recorded episodes, or record more"
)


@dataclass(frozen=True)
class Outcomes:
    """What there is to learn of an action's outcome in some recordings."""

    rewards: list[float] | None
    """The smallest and the largest reward; None where all are equal: there is nothing to learn."""
    reward_per_step: float
    """The reward of every step, where all are equal."""
    terminates: bool
    """Whether any episode ends by a termination."""
    judges_termination: bool
    """Whether the frame after a termination was recorded, which shows what ended the episode."""

    @staticmethod
    def of(stores: Sequence[EpisodeStore], episodes: Sequence[int] | None = None) -> Outcomes:
        """A reward is judged with the frame after it: those of steps without one do not count.
        episodes: how many of each store's first ones are looked at; all unless given. Raises
        ValueError where some terminate, but none that is held out."""
        finals = all(store.final_frames is not None for store in stores)
        low, high, terminates, terminates_unseen = math.inf, -math.inf, False, False
        for index, store in enumerate(stores):
            last = store.num_episodes if episodes is None else episodes[index]
            frames = int(store.episode_starts[last])
            judged = np.ones(frames, bool)
            judged[store.episode_starts[1 : last + 1] - 1] = finals
            rewards = store.rewards[:frames][judged] if judged.any() else store.rewards[:frames]
            low, high = min(low, float(rewards.min())), max(high, float(rewards.max()))
            terminated = store.terminations[:frames]
            terminates |= bool(terminated.any())
            unseen = np.repeat(held_out(store), np.diff(store.episode_starts))[:frames]
            terminates_unseen |= bool(terminated[unseen].any())
        if terminates and not terminates_unseen:
            raise ValueError(NO_TERMINATION)
        return Outcomes(
            rewards=[low, high] if low < high else None,
            reward_per_step=low,
            terminates=terminates,
            judges_termination=finals,
        )

"""Agents' scores in the dream beside those in the real game, and what the two orders say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genie_env.evaluation.dream_signals import SIGNALS
from genie_env.evaluation.rank_correlation import rank_correlation
from genie_env.evaluation.statistics import Figure, Summary, summarise


@dataclass(frozen=True)
class Ranked:
    """One agent in both places."""

    name: str
    dream: Sequence[float]
    real: Sequence[float]
    signals: Mapping[str, float | None]

    @property
    def summaries(self) -> tuple[Summary, Summary]:
        return summarise(self.dream), summarise(self.real)

    @property
    def means(self) -> tuple[float, float]:
        """In the dream, and in the real game."""
        return float(np.mean(self.dream)), float(np.mean(self.real))


@dataclass(frozen=True)
class Ranking:
    """All agents, and what their scores say of the dream."""

    agents: Sequence[Ranked]
    higher_is_better: bool = True

    @property
    def by_dream(self) -> list[Ranked]:
        """The agent that the dream thinks best comes first."""
        return sorted(self.agents, key=lambda each: -self._worth(each.means[0]))

    @property
    def better_half(self) -> list[Ranked]:
        """By the dream, which is all that is known when one is chosen."""
        return self.by_dream[: (len(self.agents) + 1) // 2]

    @property
    def best(self) -> Ranked:
        """In the real game."""
        return max(self.agents, key=lambda each: self._worth(each.means[1]))

    def gap(self, agent: Ranked) -> float:
        """How much the dream flatters it, as a difference of mean scores."""
        dream, real = agent.means
        return self._worth(dream) - self._worth(real)

    def correlation(self, agents: Sequence[Ranked]) -> Figure | None:
        """Of dream and reality; None where all of these `agents` have the same score in one."""
        dream, real = zip(*(each.means for each in agents), strict=True)
        return rank_correlation(dream, real)

    def signals(self, *, given_score: bool = False) -> dict[str, Figure | None]:
        """The rank correlation of each signal with the gap; None where it is not known of all agents,
        or of all the same. `given_score`: in what the dream score does not explain of either, as the
        gap holds that score itself."""
        found: dict[str, Figure | None] = dict.fromkeys(SIGNALS)
        gaps = [self.gap(each) for each in self.agents]
        scores = [each.means[0] for each in self.agents] if given_score else None
        for name in SIGNALS:
            told = [a.signals.get(name) for a in self.agents]
            values = [value for value in told if value is not None and np.isfinite(value)]
            if len(values) == len(told):
                found[name] = rank_correlation(values, gaps, scores)
        return found

    def as_json(self) -> dict[str, Any]:
        chosen, best = self.by_dream[0], self.best
        return {
            "rank_correlation": _json(self.correlation(self.agents)),
            "better_half": {
                "agents": [each.name for each in self.better_half],
                "rank_correlation": _json(self.correlation(self.better_half)),
            },
            "chosen_by_the_dream": {"agent": chosen.name, "real": chosen.means[1]},
            "best_in_reality": {"agent": best.name, "real": best.means[1]},
            "signals_and_gap": {name: _json(each) for name, each in self.signals().items()},
            "signals_and_gap_given_score": {
                name: _json(each) for name, each in self.signals(given_score=True).items()
            },
            "agents": {each.name: self._agent_json(each) for each in self.by_dream},
        }

    def _agent_json(self, agent: Ranked) -> dict[str, Any]:
        dream, real = (summary.as_json() for summary in agent.summaries)
        gap = self.gap(agent)
        return {"dream": dream, "real": real, "gap": gap, "signals": dict(agent.signals)}

    def _worth(self, score: float) -> float:
        return score if self.higher_is_better else -score


def _json(figure: Figure | None) -> dict[str, Any] | None:
    return None if figure is None else figure.as_json()

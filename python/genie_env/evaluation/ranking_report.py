"""A ranking as a picture and as words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure as Canvas
from numpy.typing import NDArray

from genie_env.data.files import write_atomically
from genie_env.evaluation.ranking import Ranking
from genie_env.evaluation.statistics import Figure, Summary
from genie_env.games.base import Score, rounded


def draw(ranking: Ranking, world: str, score: Score, file: Path) -> None:
    """A point an agent, its dream score across and its real one up."""
    figure = Canvas(figsize=(6.4, 6), layout="constrained")
    panel = figure.subplots()
    for agents, label, color in (
        (ranking.by_dream[len(ranking.better_half) :], "the others", "C7"),
        (ranking.better_half, "the better half, by the dream", "C0"),
    ):
        summaries = [each.summaries for each in agents]
        x, y = (np.array([pair[i].mean for pair in summaries]) for i in (0, 1))
        panel.errorbar(
            x,
            y,
            xerr=_bars(x, [pair[0] for pair in summaries]),
            yerr=_bars(y, [pair[1] for pair in summaries]),
            fmt="o",
            color=color,
            elinewidth=0.8,
            label=label,
        )
    ends = [*panel.get_xlim(), *panel.get_ylim()]
    panel.plot([min(ends), max(ends)], [min(ends), max(ends)], ":", color="black", linewidth=1)
    whole, half = (
        _said(ranking.correlation(agents)) for agents in (ranking.agents, ranking.better_half)
    )
    panel.set(
        xlabel=f"in the dream, mean {score.unit} (95 % interval)",
        ylabel=f"in the real game, mean {score.unit} (95 % interval)",
        title=f"{world}: rank correlation {whole},\nof the better half {half}",
    )
    panel.legend()
    write_atomically(file, lambda temporary: figure.savefig(temporary, format="png", dpi=120))


def _bars(means: NDArray[np.float64], summaries: Sequence[Summary]) -> NDArray[np.float64]:
    """[2, N], the distances of the intervals' ends from the means."""
    ends = np.array([each.ci95 or (each.mean, each.mean) for each in summaries]).T
    return np.abs(ends - means)


def _said(figure: Figure | None) -> str:
    if figure is None:
        return "unknown, as all have the same score"
    low, high = figure.ci95 or (None, None)
    interval = "" if low is None else f" ({low:.2f} to {high:.2f})"
    return f"{figure.mean:.2f}{interval}"


def said_of(ranking: Ranking) -> list[str]:
    """The findings, a line each."""
    chosen, best = ranking.by_dream[0], ranking.best
    lines = [
        f"rank correlation of dream and reality {_said(ranking.correlation(ranking.agents))}, of the "
        f"better half by the dream {_said(ranking.correlation(ranking.better_half))}",
        f"the dream would choose {chosen.name}: {rounded(chosen.means[1])} in reality, where the "
        f"best, {best.name}, has {rounded(best.means[1])}",
    ]
    alike = ranking.signals(given_score=True)
    for name, figure in ranking.signals().items():
        if figure is None:
            continue
        beyond = alike[name]
        more = "" if beyond is None else f", beyond what the dream score says {_said(beyond)}"
        lines.append(f"{name} and how much the dream flatters: {_said(figure)}{more}")
    return lines

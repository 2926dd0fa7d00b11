"""Does the dream say which agents are good? Their scores in the dream beside those in the real game."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Canvas
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

from genie_env.agents.agent import AGENT, file_hash, load_agent
from genie_env.agents.dreams import Dreams
from genie_env.agents.players import AgentPlayer
from genie_env.agents.real_play import agent_player
from genie_env.data.files import write_atomically, write_json
from genie_env.data.progress import Progress, track
from genie_env.data.run_directory import claim_run
from genie_env.envs.json_files import read_json
from genie_env.envs.options import FamilyValue
from genie_env.evaluation.dream_score import dream_identity, kept_dream_scores
from genie_env.evaluation.dream_signals import FUTURES, LOOK_EVERY, PASTS, SIGNALS, dream_signals
from genie_env.evaluation.evaluate import FRESH_GAMES, RealScores
from genie_env.evaluation.rank_correlation import rank_correlation
from genie_env.evaluation.statistics import Figure, Summary, summarise
from genie_env.games.base import Score, rounded

LEAST = 6
"""Agents: the better half of fewer has no order to speak of."""

_FIGURES = {name: (float, None) for name in SIGNALS}


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

    def signals(self) -> dict[str, Figure | None]:
        """The rank correlation of each signal with the gap; None where it is not known of all agents,
        or of all the same."""
        found: dict[str, Figure | None] = dict.fromkeys(SIGNALS)
        for name in SIGNALS:
            told = [a.signals.get(name) for a in self.agents]
            values = [value for value in told if value is not None and np.isfinite(value)]
            if len(values) == len(told):
                found[name] = rank_correlation(values, [self.gap(a) for a in self.agents])
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
            "signals_and_gap": {name: _json(figure) for name, figure in self.signals().items()},
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


def agent_files(given: Sequence[Path]) -> dict[str, Path]:
    """Agent files by name: a run directory's own name, or a file's without its ending. Raises
    ValueError where there are too few, or two have one name or the same content.

    `given`: agent files, run directories, or directories of either.
    """
    found: dict[str, Path] = {}
    hashes: dict[str, str] = {}
    for file in (file.resolve() for path in given for file in _files_in(path)):
        name = file.parent.name if file.name == AGENT else file.stem
        if name in found:
            raise ValueError(f"{found[name]} and {file} would both be called {name}: rename one")
        load_agent(file)  # says what is wrong with it
        if (same := hashes.setdefault(file_hash(file), name)) != name:
            raise ValueError(f"{file} is the same agent as {found[same]}: leave one out")
        found[name] = file
    if len(found) < LEAST:
        raise ValueError(
            f"{len(found)} agents were given; expected {LEAST} or more, of mixed quality, or their "
            "order says nothing: runs that were stopped early are agents too"
        )
    return found


def _files_in(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    if (path / AGENT).is_file():
        return [path / AGENT]
    found = sorted([*path.glob("*.safetensors"), *path.glob(f"*/{AGENT}")])
    if not found:
        raise ValueError(
            f"{path} holds no agent: give an agent file, the run directory of one, or a directory of "
            "either"
        )
    return found


def rank_agents(
    dreams: Dreams,
    world: Path,
    agents: Mapping[str, Path],
    out: Path,
    *,
    options: Mapping[str, FamilyValue],
    seed: int,
    fresh_dreams: int,
    episodes: int,
    workers: int,
    with_signals: bool,
    console: Console,
) -> Ranking:
    """Plays every agent in the dream, then in the real game, and writes ranking.json and ranking.png
    into `out`. What it holds already is not played again.

    All dreams are over before the first real game begins, and `out` takes no other agents
    afterwards: nobody can choose them by how they did. Raises ValueError before anything is played
    where an agent cannot play, and later where its file has changed.
    """
    players = {
        name: agent_player(world, file, FRESH_GAMES, options) for name, file in agents.items()
    }
    for file in agents.values():
        load_agent(file).check_world(dreams.world)
        dreams.try_step(load_agent(file))
    hashes = {name: file_hash(file) for name, file in agents.items()}
    identity = {
        "world": dreams.fingerprint,
        "dtype": dreams.world.spec.dtype,
        **dreams.settings,
        "agents": hashes,
        "dreams": fresh_dreams,
        "seed": seed,
    }

    def unchanged(name: str) -> Path:
        if file_hash(agents[name]) != hashes[name]:
            raise ValueError(
                f"{agents[name]} has changed since the ranking began: bring it back from a copy, or "
                "begin another --out once its training is over"
            )
        return agents[name]

    with claim_run(out, identity, ["dream/*.json", "signals/*.json", "real/*.json"]):
        dreamt, signals, real = {}, dict.fromkeys(agents, dict[str, float | None]()), {}
        for name in track(agents, "dreams", len(agents), console=console):
            file, kept = unchanged(name), f"{name}.json"
            dreamt[name] = kept_dream_scores(
                dreams, file, seed, fresh_dreams, out / "dream" / kept, console
            )
            if with_signals:
                signals[name] = _kept_signals(dreams, file, seed, out / "signals" / kept, console)
        for name, player in players.items():
            unchanged(name)
            file = out / "real" / f"{name}.json"
            real[name] = _real_scores(player, file, episodes, workers, console)
        ranking = Ranking(
            [Ranked(name, dreamt[name], real[name], signals[name]) for name in agents],
            dreams.score.higher_is_better,
        )
        found = {**identity, "agent_files": hashes, **ranking.as_json()}
        write_json(out / "ranking.json", found)
        score = next(iter(players.values())).game.score
        draw(ranking, dreams.world.spec.name, score, out / "ranking.png")
    return ranking


def _kept_signals(
    dreams: Dreams, agent: Path, seed: int, file: Path, console: Console
) -> dict[str, float | None]:
    """The signals that `file` keeps; found again where they are of other dreams."""
    identity = {
        **dream_identity(dreams, agent, seed),
        "pasts": PASTS,
        "futures": FUTURES,
        "look_every": LOOK_EVERY,
    }
    if file.exists():
        known = read_json(file, {"signals": _FIGURES})
        if {name: value for name, value in known.items() if name != "signals"} == identity:
            kept: dict[str, float | None] = known["signals"]
            return kept
    columns = (TextColumn("signals"), BarColumn(), MofNCompleteColumn(), TextColumn("have ended"))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=PASTS * FUTURES)
        found = dream_signals(
            dreams, load_agent(agent), seed, lambda ended: bar.update(task, completed=ended)
        )
    write_json(file, {**identity, "signals": found})
    return found


def _real_scores(
    player: AgentPlayer, file: Path, episodes: int, workers: int, console: Console
) -> list[float]:
    real = RealScores(player, file)
    missing = max(0, episodes - len(real.scores))
    playing = real.play(episodes, workers)
    for _ in track(playing, f"real games of {file.stem}", missing, console=console):
        pass
    return real.scores[:episodes]


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
    for name, figure in ranking.signals().items():
        if figure is not None:
            lines.append(f"{name} and how much the dream flatters: {_said(figure)}")
    return lines

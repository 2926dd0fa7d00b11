"""Plays agents in the dream, then in the real game, and ranks them in both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

from genie_env.agents.agent import AGENT, file_hash, load_agent
from genie_env.agents.dreams import Dreams
from genie_env.agents.players import AgentPlayer
from genie_env.agents.real_play import agent_player
from genie_env.data.files import write_json
from genie_env.data.progress import Progress, track
from genie_env.data.run_directory import claim_run
from genie_env.envs.json_files import read_json
from genie_env.envs.options import FamilyValue
from genie_env.evaluation.dream_score import dream_identity, kept_dream_scores
from genie_env.evaluation.dream_signals import FUTURES, LOOK_EVERY, PASTS, SIGNALS, dream_signals
from genie_env.evaluation.evaluate import FRESH_GAMES, RealScores
from genie_env.evaluation.ranking import Ranked, Ranking
from genie_env.evaluation.ranking_report import draw

LEAST = 6
"""Agents: the better half of fewer has no order to speak of."""

_FIGURES = {name: (float, None) for name in SIGNALS}


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
        agent = load_agent(file)
        agent.check_world(dreams.world)
        dreams.try_step(agent)
    hashes = {name: file_hash(file) for name, file in agents.items()}
    identity = {
        "world": dreams.fingerprint,
        "dtype": dreams.world.spec.dtype,
        **dreams.settings,
        "agent_files": hashes,
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
        write_json(out / "ranking.json", {**identity, **ranking.as_json()})
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

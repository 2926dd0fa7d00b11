"""`genie-env demo`: an agent that was trained in dreams alone plays the real game."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from genie_env.agents.agent import AGENT, load_agent
from genie_env.agents.controller import LinearController
from genie_env.agents.dreams import Dreams
from genie_env.agents.evolution import ControllerSettings
from genie_env.agents.players import AgentPlayer
from genie_env.agents.real_play import agent_player
from genie_env.cli.demo_training import Round, Training, training_of
from genie_env.cli.options import (
    FamilyOption,
    RealEpisodesOption,
    SeedOption,
    WorkersOption,
    WorldOption,
    family_options,
)
from genie_env.data.episode import Episode
from genie_env.data.files import write_atomically, write_json
from genie_env.data.progress import Progress
from genie_env.data.run_directory import only_writer
from genie_env.data.workers import play_episodes
from genie_env.envs.options import FamilyValue
from genie_env.envs.registry import find_world
from genie_env.evaluation.comparison_video import FILMED, film_side_by_side, median
from genie_env.evaluation.evaluate import FRESH_GAMES, Player, blind_player, show_scores
from genie_env.evaluation.statistics import Summary, summarise
from genie_env.games.base import Game, rounded
from genie_env.games.real_game import real_game

WORLD = "doom-take-cover"
SHIPPED_CONTROLLER = "controller.safetensors"
"""In a world's directory: the controller that ships with it, from which `--warm` starts."""
SHIPPED_AGENT = "dream-agent.safetensors"
"""In a world's directory: an agent that was trained in its dream for longer, which plays beside the
demo's."""

UNTRAINED = "untrained controller"
TRAINED = "trained in the dream"
SHIPPED = "agent that ships"

RESULTS, CURVE = "results.json", "learning_curve.png"
FILM = "dream_and_reality.mp4"


@dataclasses.dataclass
class Findings:
    """The results of a demo so far, so that stopping it early keeps them."""

    game: Game
    training: Training
    rounds: list[Round] = dataclasses.field(default_factory=list)
    scores: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    """The score of every real episode, by what the table calls the player."""
    filmed: list[Episode] = dataclasses.field(default_factory=list)
    """The trained agent's first episodes, with their frames."""

    @property
    def summaries(self) -> dict[str, Summary]:
        """In the order of the table."""
        rows = (*self.game.yardsticks, UNTRAINED, TRAINED, SHIPPED)
        return {name: summarise(self.scores[name]) for name in rows if self.scores.get(name)}


def demo(
    minutes: Annotated[float, typer.Option(help="minutes to train", min=1e-6, max=1e6)] = 3.0,
    warm: Annotated[
        bool, typer.Option("--warm", help="start from the controller that ships with the world")
    ] = False,
    episodes: RealEpisodesOption = 20,
    out: Annotated[
        Path,
        typer.Option(help="directory for everything it writes", file_okay=False, writable=True),
    ] = Path("demo"),
    seed: SeedOption = 0,
    workers: WorkersOption = 2,
    world: WorldOption = WORLD,
    option: FamilyOption = None,
) -> None:
    """Train an agent inside a dream for three minutes, then let it play the real game.

    The agent is a linear controller, trained by CMA-ES, or, in a world of continuous actions, a small
    network, trained by PPO (pip install 'genie_env[sb3]'). Prints its scores beside those of players
    that learned nothing, and writes the agent, its learning curve and a video of dream and real game
    side by side. Ctrl-C keeps what there is.
    """
    for name, value in (("episodes", episodes), ("workers", workers)):
        if value < 1:
            raise ValueError(f"{name} is {value}; expected 1 or more")
    ControllerSettings(minutes=minutes, seed=seed).check()
    with only_writer(out):
        check_unused(out)
        directory = find_world(world)
        game = real_game(directory)
        game.make().close()  # fails here, not after the training, where the game cannot be played
        options = family_options(option)
        dreams = Dreams.load(directory, options=options)
        start = shipped_controller(directory) if warm else None
        findings = Findings(game, training_of(dreams, minutes, seed, start))
        shipped = shipped_agent(directory, dreams)

        console = Console()
        try:
            train(dreams, findings, out, console)
            _play(
                directory, options, dreams, findings, shipped, out, episodes, workers, seed, console
            )
        finally:  # also after Ctrl-C
            _report(findings, out, console)
        played = findings.filmed
        shown = played[median([episode.score for episode in played])]
        agent = findings.rounds[-1].agent
        film_side_by_side(dreams, agent, game, shown, len(played), out / FILM, seed, console)


def check_unused(out: Path) -> None:
    """Raises ValueError where an earlier demo has left its results: a new one would mix with them,
    and its first, untrained generation replace the agent."""
    if earlier := [name for name in (AGENT, RESULTS, CURVE, FILM) if (out / name).exists()]:
        raise ValueError(
            f"{out} holds an earlier demo's {', '.join(earlier)}: give another --out, or remove it"
        )


def shipped_controller(world: Path) -> LinearController:
    """The controller that ships with a world; raises ValueError where there is none."""
    file = world / SHIPPED_CONTROLLER
    if not file.exists():
        raise ValueError(f"{world} has no {SHIPPED_CONTROLLER} to start from: leave out --warm")
    agent = load_agent(file)
    assert isinstance(agent, LinearController)
    return agent


def shipped_agent(world: Path, dreams: Dreams) -> Path | None:
    """The agent file that ships with a world; None where there is none. Raises ValueError for an agent
    of another world."""
    file = world / SHIPPED_AGENT
    if not file.exists():
        return None
    load_agent(file).check_world(dreams.world)
    return file


def train(dreams: Dreams, findings: Findings, out: Path, console: Console) -> None:
    """Trains an agent in the dream, for the given time."""
    spec = dreams.world.spec
    console.print(
        f"training in the dream of [bold]{spec.name}[/] (world {spec.fingerprint[:12]}, "
        f"temperature {dreams.temperature:g}); the real game is not running"
    )
    for now in findings.training.rounds(console):
        # Ctrl-C may come between any two lines: what is found is already saved.
        now.agent.save(out / AGENT)
        findings.rounds.append(now)


def _play(
    world: Path,
    options: Mapping[str, FamilyValue],
    dreams: Dreams,
    findings: Findings,
    shipped: Path | None,
    out: Path,
    episodes: int,
    workers: int,
    seed: int,
    console: Console,
) -> None:
    """Every player plays the same real games, which no recording holds; the trained one first."""
    game, games = findings.game, FRESH_GAMES + seed
    # No more games at a time than there are to play: every row of a batch costs.
    lanes = min(AgentPlayer.lanes, math.ceil(episodes / workers))

    def agent(file: Path) -> AgentPlayer:
        return dataclasses.replace(agent_player(world, file, games, options), lanes=lanes)

    players: dict[str, Player] = {TRAINED: dataclasses.replace(agent(out / AGENT), keep_frames=True)}
    if (untrained := findings.training.untrained()) is not None:
        file = out / "untrained.safetensors"
        untrained.save(file)
        players[UNTRAINED] = agent(file)
    if shipped is not None:
        players[SHIPPED] = agent(shipped)
        steps = load_agent(shipped).notes.get("steps")
        console.print(
            f"{shipped.name} ships with the world: it was trained in the dream before"
            + (f", for {int(steps) / 1e6:.1f} M steps" if steps and steps.isdecimal() else ""),
            highlight=False,
        )
    players |= {name: blind_player(each, games, game) for name, each in game.yardsticks.items()}
    columns = (
        TextColumn("real game: {task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[mean]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        for name, player in players.items():
            task = progress.add_task(name, total=episodes, mean="")
            scores = findings.scores.setdefault(name, [])
            with contextlib.closing(play_episodes(player, range(episodes), workers)) as played:
                for episode in played:
                    scores.append(episode.score)
                    if name == TRAINED and len(findings.filmed) < FILMED:
                        findings.filmed.append(episode)
                    progress.update(
                        task,
                        advance=1,
                        mean=f"mean {rounded(float(np.mean(scores)))} {game.score.unit}",
                    )


def _report(findings: Findings, out: Path, console: Console) -> None:
    """Prints and writes what there is."""
    training, score = findings.training, findings.game.score
    if not findings.rounds:
        console.print(f"none of the {training.unit} was finished, so there is nothing to keep")
        return
    last = findings.rounds[-1]
    if last.best_score is not None:
        console.print(
            f"in the dream the {training.noun} reaches a {score.name} of {rounded(last.best_score)} "
            f"{score.unit}, after {last.index} {training.unit} and {last.steps / 1e6:.1f} M dream "
            "steps"
        )
    if findings.summaries:
        show_scores(console, findings.summaries, score)
    write_json(out / RESULTS, _as_json(findings))
    plot(out / CURVE, findings)
    for name in (AGENT, RESULTS, CURVE):
        console.print(f"wrote {out / name}", soft_wrap=True)


def _as_json(findings: Findings) -> dict[str, Any]:
    columns = ("index", "steps", "seconds", "mean", "best", "score")
    return {
        "world": findings.rounds[-1].agent.world,
        findings.training.unit: [{c: getattr(r, c) for c in columns} for r in findings.rounds],
        "real": {
            name: {**summary.as_json(), "scores": findings.scores[name]}
            for name, summary in findings.summaries.items()
        },
    }


def plot(file: Path, findings: Findings) -> None:
    """Scores in the dream during training; beside them, where there are any, the real episodes."""
    summaries = findings.summaries
    widths = [3, 2] if summaries else [1]
    figure = Figure(figsize=(12 if summaries else 7.5, 4.8), layout="constrained")
    axes = figure.subplots(1, len(widths), sharey=True, squeeze=False, width_ratios=widths)
    dream, *reality = axes[0]
    learned = [r for r in findings.rounds if r.mean is not None]
    millions = [r.steps / 1e6 for r in learned]
    candidates = any(r.best is not None for r in learned)
    if candidates:
        best = [r.best for r in learned]
        dream.plot(millions, best, color="tab:blue", alpha=0.5, label="best candidate")
    label = "population" if candidates else "the last dreams, exploring"
    dream.plot(millions, [r.mean for r in learned], color="tab:blue", label=label)
    scored = [(r.steps / 1e6, r.score) for r in findings.rounds if r.score is not None]
    label = f"{findings.training.noun}, in fresh dreams"
    if scored:
        dream.plot(*zip(*scored, strict=True), "o", color="tab:orange", label=label)
    dream.set(
        xlabel="dream steps (millions)",
        ylabel=str(findings.game.score),
        title="learning in the dream",
    )
    dream.legend()
    for panel, (name, summary) in [(p, item) for p in reality for item in summaries.items()]:
        row = list(summaries).index(name)
        scores = findings.scores[name]
        # Spread sideways, so that equal scores can be told apart.
        across = row + np.linspace(-0.25, 0.25, len(scores))
        colour = "tab:orange" if name in (TRAINED, SHIPPED) else "tab:gray"
        panel.plot(across, scores, ".", color=colour, alpha=0.6)
        low, high = summary.ci95 or (summary.mean, summary.mean)
        panel.errorbar(
            row,
            summary.mean,
            [[summary.mean - low], [high - summary.mean]],
            fmt="_",
            markersize=36,
            markeredgewidth=2,
            color="black",
            capsize=5,
        )
        panel.set_xticks(range(len(summaries)), [name.replace(" ", "\n", 1) for name in summaries])
        panel.set_title("the real game: episodes, mean, 95 % interval")
    from_zero = all(panel.dataLim.ymin >= 0 for panel in axes[0])
    for panel in axes[0]:
        panel.grid(alpha=0.3)
        if from_zero:
            panel.set_ylim(bottom=0)
    write_atomically(file, lambda temporary: figure.savefig(temporary, format="png", dpi=150))

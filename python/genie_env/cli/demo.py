"""`genie-env demo`: an agent that was trained in dreams alone plays the real game."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from genie_env._core import VecEnv
from genie_env.agents.agent import load_agent
from genie_env.agents.controller import LinearController
from genie_env.agents.dreams import Dreams
from genie_env.agents.evolution import ControllerSettings, Generation, train_controller
from genie_env.agents.players import AgentPlayer
from genie_env.agents.real_play import agent_player
from genie_env.agents.training_progress import TrainingProgress
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
from genie_env.data.progress import Progress, busy
from genie_env.data.run_directory import only_writer
from genie_env.data.workers import play_episodes
from genie_env.envs.options import FamilyValue
from genie_env.envs.registry import find_world
from genie_env.evaluation.comparison_video import FILMED, film_side_by_side, median
from genie_env.evaluation.evaluate import FRESH_GAMES, Player, blind_player, show_scores
from genie_env.evaluation.statistics import Summary, summarise
from genie_env.games.base import Game, Score, rounded
from genie_env.games.real_game import real_game

WORLD = "doom-take-cover"
SHIPPED_AGENT = "controller.safetensors"
"""The controller that ships with a world, in its directory."""

BEST_SWEEP = "sweep:100"
"""The best blind policy known."""

GENERATIONS = 12
"""The least number of generations that the training should get through, and ..."""
EXPECTED_STEPS = 400
"""... the steps that a dream then lasts on average."""

UNTRAINED = "untrained controller"
TRAINED = "trained in the dream"
RANDOM = "random play"
SWEEP = "best blind sweep"
ROWS = (RANDOM, UNTRAINED, SWEEP, TRAINED)
"""The lines of the table, in order."""

AGENT, RESULTS, CURVE = "agent.safetensors", "results.json", "learning_curve.png"
FILM = "dream_and_reality.mp4"


@dataclasses.dataclass
class Findings:
    """The results of a demo so far, so that stopping it early keeps them."""

    score: Score
    generations: list[Generation] = dataclasses.field(default_factory=list)
    scores: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    """The score of every real episode, by ROWS."""
    filmed: list[Episode] = dataclasses.field(default_factory=list)
    """The trained controller's first episodes, with their frames."""

    @property
    def summaries(self) -> dict[str, Summary]:
        return {name: summarise(self.scores[name]) for name in ROWS if self.scores.get(name)}


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
    """Train a controller inside a dream for three minutes, then let it play the real game.

    Prints its scores beside those of players that learned nothing, and writes the controller, its
    learning curve and a video of dream and real game side by side. Ctrl-C keeps what there is.
    """
    for name, value in (("episodes", episodes), ("workers", workers)):
        if value < 1:
            raise ValueError(f"{name} is {value}; expected 1 or more")
    settings = ControllerSettings(steps=10**12, minutes=minutes, seed=seed)
    settings.check()  # minutes and seed; the number of dreams is decided below
    with only_writer(out):
        check_unused(out)
        directory = find_world(world)
        game = real_game(directory)
        game.make().close()  # fails here, not after the training, where the game cannot be played
        options = family_options(option)
        dreams = Dreams.load(directory, options=options)
        start = shipped_controller(directory) if warm else None
        with busy("measuring how fast this machine dreams"):
            settings = dataclasses.replace(settings, dreams=affordable_dreams(dreams, settings))

        console = Console()
        findings = Findings(game.score)
        try:
            train(dreams, settings, start, findings, out, console)
            _play(directory, options, game, dreams, findings, out, episodes, workers, seed, console)
        finally:  # also after Ctrl-C
            _report(findings, out, console)
        controller = findings.generations[-1].controller
        played = findings.filmed
        shown = played[median([episode.score for episode in played])]
        film_side_by_side(dreams, controller, shown, len(played), out / FILM, seed, console)


def check_unused(out: Path) -> None:
    """Raises ValueError where an earlier demo has left its results: a new one would mix with them,
    and its first, untrained generation replace the agent."""
    if earlier := [name for name in (AGENT, RESULTS, CURVE, FILM) if (out / name).exists()]:
        raise ValueError(
            f"{out} holds an earlier demo's {', '.join(earlier)}: give another --out, or remove it"
        )


def shipped_controller(world: Path) -> LinearController:
    """The controller that ships with a world; raises ValueError where there is none."""
    file = world / SHIPPED_AGENT
    if not file.exists():
        raise ValueError(f"{world} has no {SHIPPED_AGENT} to start from: leave out --warm")
    agent = load_agent(file)
    assert isinstance(agent, LinearController)
    return agent


def affordable_dreams(dreams: Dreams, settings: ControllerSettings) -> int:
    """Dreams a candidate, at most the usual number: few enough that a slow machine, too, gets
    through GENERATIONS in its time."""
    env = VecEnv(dreams.world, num_envs=512, temperature=dreams.temperature)
    env.reset(seeds=list(range(512)))
    actions = torch.arange(512) % len(dreams.world.spec.actions.meanings)
    env.step(actions)
    began, steps = time.perf_counter(), 16
    for _ in range(steps):
        env.step(actions)
    steps_per_s = 512 * steps / (time.perf_counter() - began)
    generation = 60 * (settings.minutes or 0) / GENERATIONS  # seconds
    affordable = generation * steps_per_s / (settings.population * EXPECTED_STEPS)
    return min(max(int(affordable), 1), settings.dreams)


def train(
    dreams: Dreams,
    settings: ControllerSettings,
    start: LinearController | None,
    findings: Findings,
    out: Path,
    console: Console,
) -> None:
    """Evolves a controller in the dream, from `start` or from zero weights, for the given time."""
    spec = dreams.world.spec
    console.print(
        f"training in the dream of [bold]{spec.name}[/] (world {spec.fingerprint[:12]}, "
        f"temperature {dreams.temperature:g}); the real game is not running\n"
        f"a generation: {settings.population} candidates, {settings.dreams} dreams each"
    )
    score = findings.score
    with TrainingProgress(settings, score, console) as progress:
        run = train_controller(
            dreams,
            settings,
            warm=start,
            on_step=progress.step,
            higher_is_better=score.higher_is_better,
        )
        for generation in run:
            # Ctrl-C may come between any two lines: what is found is already saved.
            generation.controller.save(out / AGENT)
            findings.generations.append(generation)
            progress.generation(generation)


def _play(
    world: Path,
    options: Mapping[str, FamilyValue],
    game: Game,
    dreams: Dreams,
    findings: Findings,
    out: Path,
    episodes: int,
    workers: int,
    seed: int,
    console: Console,
) -> None:
    """Every player plays the same real games, which no recording holds; the trained one first."""
    untrained = out / "untrained.safetensors"
    _random_controller(dreams, seed).save(untrained)
    games = FRESH_GAMES + seed
    # No more games at a time than there are to play: every row of a batch costs.
    lanes = min(AgentPlayer.lanes, math.ceil(episodes / workers))
    agent = dataclasses.replace(agent_player(world, untrained, games, options), lanes=lanes)
    trained = str(out / AGENT)
    players: dict[str, Player] = {
        TRAINED: dataclasses.replace(agent, agent=trained, keep_frames=True),
        UNTRAINED: agent,
        RANDOM: blind_player("random", games, game),
        SWEEP: blind_player(BEST_SWEEP, games, game),
    }
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


def _random_controller(dreams: Dreams, seed: int) -> LinearController:
    """A candidate of evolution's first population."""
    random = np.random.Generator(np.random.Philox(key=seed))
    weight = random.normal(0, ControllerSettings().sigma, dreams.num_features)
    return LinearController(
        weight.astype(np.float32), dreams.observation, dreams.fingerprint, {}, dreams.actions
    )


def _report(findings: Findings, out: Path, console: Console) -> None:
    """Prints and writes what there is."""
    if not findings.generations:
        console.print("no generation was finished, so there is nothing to keep")
        return
    last = findings.generations[-1]
    score = findings.score
    console.print(
        f"in the dream the controller reaches a {score.name} of {rounded(last.best_score)} "
        f"{score.unit}, after {last.index} generations and {last.steps / 1e6:.1f} M dream steps"
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
        "world": findings.generations[-1].controller.world,
        "generations": [{c: getattr(g, c) for c in columns} for g in findings.generations],
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
    played = [g for g in findings.generations if g.mean is not None]
    millions = [g.steps / 1e6 for g in played]
    best = [g.best for g in played]
    dream.plot(millions, best, color="tab:blue", alpha=0.5, label="best candidate")
    dream.plot(millions, [g.mean for g in played], color="tab:blue", label="population")
    scored = [(g.steps / 1e6, g.score) for g in findings.generations if g.score is not None]
    label = "controller, in fresh dreams"
    dream.plot(*zip(*scored, strict=True), "o", color="tab:orange", label=label)
    dream.set(
        xlabel="dream steps (millions)", ylabel=str(findings.score), title="learning in the dream"
    )
    dream.legend()
    for panel, (name, summary) in [(p, item) for p in reality for item in summaries.items()]:
        row = list(summaries).index(name)
        scores = findings.scores[name]
        # Spread sideways, so that equal scores can be told apart.
        across = row + np.linspace(-0.25, 0.25, len(scores))
        colour = "tab:orange" if name == TRAINED else "tab:gray"
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
    for panel in axes[0]:
        panel.grid(alpha=0.3)
        panel.set_ylim(bottom=0)
    write_atomically(file, lambda temporary: figure.savefig(temporary, format="png", dpi=150))

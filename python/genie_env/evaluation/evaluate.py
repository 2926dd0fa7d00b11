"""`genie-env evaluate`: how long an agent, or a policy that never looks, survives the real game."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import gymnasium
import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from genie_env.agents.controller import LinearController
from genie_env.agents.dreams import Arena, Dreams, Played
from genie_env.data.files import changed_settings, read_json, write_json
from genie_env.data.players import AgentPlayer, BlindPlayer, PopulationPlayer
from genie_env.data.workers import play_episodes
from genie_env.envs.registry import find_world
from genie_env.evaluation.statistics import Summary, summarise
from genie_env.games.blind import check_policy
from genie_env.games.frames import DOOM, Game

FRESH_GAMES = 1_000_000
"""The default seed of evaluations: data is recorded with others, so the games are new."""

SECONDS_A_WRITE = 10.0
"""Scores are written this often: a kill loses no more, and summing them up costs less than that."""

Player = AgentPlayer | BlindPlayer


def blind_player(policy: str, seed: int, game: Game) -> BlindPlayer:
    """Plays a real game by a policy of `games.blind`. Raises ValueError for an unknown one."""
    check_policy(policy, len(game.describe()["actions"]))
    return BlindPlayer(game, seed, (policy,), keep_frames=False)


def agent_player(world: str | Path, agent: Path, seed: int) -> AgentPlayer:
    """Plays the real game of a world by a controller that sees it through World::Follow.

    Raises ValueError where the agent was not trained in this world, or no real game is known.
    """
    directory = find_world(world)
    dreams = Dreams.load(directory)
    LinearController.load(agent).check_world(dreams.fingerprint, dreams.features)
    game = real_game(directory)
    return AgentPlayer(game, seed, str(directory), str(agent), keep_frames=False)


def real_game(world: Path) -> Game:
    """The game that a world directory was learned from.

    Gymnasium would import the module of "module:Name-v0"; a world that somebody sent must not make
    anything run, so its game has to be known before.
    """
    file = world / "config.json"
    config = read_json(file)
    if "real_game" not in config:
        raise ValueError(f'{file} names no "real_game" that could be played')
    name, frame_skip = config["real_game"], config.get("frame_skip")
    if not isinstance(name, str) or (name != DOOM and name not in gymnasium.registry):
        raise ValueError(
            f'{file}: "real_game" is {name!r}; expected {DOOM!r}, or the id of a Gymnasium '
            "environment that is registered already (a world imports no module)"
        )
    if type(frame_skip) is not int or frame_skip < 1:
        raise ValueError(f'{file}: "frame_skip" is {frame_skip!r}; expected 1 or more')
    return Game(name, frame_skip)


def real_arena(world: Path, observation: str, workers: int) -> Arena:
    """Tries controllers in the real game instead of the dream; they see it through the world."""
    game = real_game(world)

    def arena(
        weights: NDArray[np.float32], owners: NDArray[np.int64], seeds: list[int]
    ) -> Played:
        player = PopulationPlayer(game, str(world), observation, weights, owners, seeds)
        with contextlib.closing(play_episodes(player, range(len(seeds)), workers)) as played:
            episodes = [(episode.score, len(episode)) for episode in played]
        scores, steps = np.array(episodes).T
        return Played(scores.astype(np.float32), int(steps.sum()))

    return arena


class RealScores:
    """Scores of episodes 0, 1, 2, ... of one player, and the file in which they grow.

    Episode i is the same whenever it is played, so a broken-off evaluation goes on and a finished
    one can be extended.
    """

    def __init__(self, player: Player, file: Path | None = None) -> None:
        """Raises ValueError where `file` holds another player's scores, or another seed's, or
        something else."""
        self._player = player
        self._file = file
        self._identity = {**player.game.describe(), **player.describe(), "seed": player.seed}
        self.scores: list[float] = []
        self._seeds: list[int] = []
        if file is not None and file.exists():
            known = read_json(file)
            changes = changed_settings({k: known.get(k) for k in self._identity}, self._identity)
            if changes:
                raise ValueError(
                    f"{file} holds other scores ({changes}); give the same arguments to go on, or "
                    "another file"
                )
            scores, seeds = known.get("scores"), known.get("seeds")
            if not (isinstance(scores, list) and isinstance(seeds, list)):
                raise ValueError(f'{file} has no lists of "scores" and "seeds"; give another file')
            self.scores, self._seeds = scores, seeds

    def play(self, episodes: int, workers: int) -> Iterator[float]:
        """Plays until there are `episodes` scores, and yields the new ones.

        Writes the file after the first one (a place that cannot be written shows at once), then
        every SECONDS_A_WRITE, and at the end, also when it is left early.
        """
        missing = range(len(self.scores), episodes)
        if not missing:
            return
        written = -math.inf
        try:
            with contextlib.closing(play_episodes(self._player, missing, workers)) as played:
                for episode in played:
                    self.scores.append(episode.score)
                    self._seeds.append(episode.seed)
                    if time.monotonic() - written > SECONDS_A_WRITE:
                        self._write()
                        written = time.monotonic()
                    yield episode.score
        finally:
            self._write()

    def _write(self) -> None:
        if self._file is not None and self.scores:
            write_json(self._file, self.as_json())

    def as_json(self) -> dict[str, Any]:
        """What is published: the summary, who played what, and every episode's score and seed."""
        return {
            **summarise(self.scores).as_json(),
            **self._identity,
            "scores": self.scores,
            "seeds": self._seeds,
        }


def evaluate(
    episodes: Annotated[int, typer.Option(help="real episodes to play")] = 100,
    world: Annotated[
        str | None,
        typer.Option(help="the agent's world, or the policy's game: a shipped name or a directory"),
    ] = None,
    agent: Annotated[Path | None, typer.Option(help="agent file")] = None,
    policy: Annotated[
        str | None,
        typer.Option(help="instead of an agent: random, held, left, right, still, sweep:100, ..."),
    ] = None,
    workers: Annotated[int, typer.Option(help="processes that play")] = 2,
    seed: Annotated[int, typer.Option(help="of the games")] = FRESH_GAMES,
    json_file: Annotated[Path | None, typer.Option("--json", help="file for every score")] = None,
) -> None:
    """Play the real game, with an agent or a policy that never looks.

    A policy plays the game of --world, or Doom. Prints the scores, and keeps them in --json; a file
    that is there already is gone on with. Ctrl-C keeps the episodes played so far: they come in
    order, so they are no selection.
    """
    if episodes < 1:
        raise ValueError(f"episodes is {episodes}; expected 1 or more")
    player: Player
    if policy is not None and agent is None:
        game = Game(DOOM) if world is None else real_game(find_world(world))
        player, who = blind_player(policy, seed, game), policy
    elif policy is None and agent is not None and world is not None:
        player, who = agent_player(world, agent, seed), agent.name
    else:
        raise ValueError(
            "give either --policy (with --world: in that world's game), or --world and --agent"
        )
    console = Console()
    real = RealScores(player, json_file)
    columns = (
        TextColumn("playing"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("episodes, mean {task.fields[mean]:,.0f} tics"),
        TimeRemainingColumn(),
    )
    try:
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("", total=episodes, completed=len(real.scores), mean=0.0)
            for _ in real.play(episodes, workers):
                progress.update(task, advance=1, mean=sum(real.scores) / len(real.scores))
    finally:
        # Whatever ended it: Ctrl-C, or a full disk, for which the table is all that is left.
        if real.scores:
            show_scores(console, {who: summarise(real.scores)})
    if json_file is not None:
        console.print(f"wrote {json_file}", soft_wrap=True)


def show_scores(
    console: Console, rows: Mapping[str, Summary], where: str = "the real game"
) -> None:
    """A table of survival."""
    table = Table(title=f"survival in {where}, tics")
    table.add_column("")
    for column in ("mean", "std", "95 % interval", "episodes"):
        table.add_column(column, justify="right")
    for name, summary in rows.items():
        table.add_row(
            name, f"{summary.mean:,.0f}", summary.spread, summary.interval, f"{summary.n:,}"
        )
    console.print(table)

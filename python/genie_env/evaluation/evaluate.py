"""Scores in the real game, of agents and of blind policies, and the file in which they grow."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from genie_env.agents.players import AgentPlayer
from genie_env.data.files import write_json
from genie_env.data.players import BlindPlayer
from genie_env.data.recording import with_todays_keys
from genie_env.data.run_directory import changed_settings, only_writer
from genie_env.data.workers import play_episodes
from genie_env.envs.json_files import read_json
from genie_env.evaluation.statistics import Summary, summarise
from genie_env.games.base import Game, Score, rounded

FRESH_GAMES = 1_000_000
"""The default seed of evaluations: data is recorded with others, so the games are new."""

SECONDS_A_WRITE = 10.0
"""Scores are written this often: a kill loses no more, and writing takes a small part of it."""

_WHERE_GIVEN = ("options", "action_map")
"""What decides scores, and stands only in files of players that have it."""

Player = AgentPlayer | BlindPlayer


def blind_player(policy: str, seed: int, game: Game) -> BlindPlayer:
    """Plays a real game by one of its policies, blind or scripted. Raises ValueError for an unknown one."""
    game.check_real_policy(policy)
    return BlindPlayer(game, seed, (policy,), keep_frames=False)


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
        self._read()

    def _read(self) -> None:
        file = self._file
        if file is not None and file.exists():
            known = read_json(file, {"scores": [float], "seeds": [int]})
            old = with_todays_keys(known, self._identity)
            changes = changed_settings(
                {k: old.get(k) for k in (*self._identity, *_WHERE_GIVEN)}, self._identity
            )
            if changes:
                raise ValueError(
                    f"{file} holds other scores ({changes}); give the same arguments to go on, or "
                    "another file"
                )
            if len(known["scores"]) != len(known["seeds"]):
                raise ValueError(
                    f"{file} has {len(known['scores'])} scores and {len(known['seeds'])} seeds, "
                    "expected as many: give another file"
                )
            self.scores, self._seeds = known["scores"], known["seeds"]

    def play(self, episodes: int, workers: int) -> Iterator[float]:
        """Plays until there are `episodes` scores, and yields the new ones.

        Writes the file after the first one (a place that cannot be written shows at once), then
        every SECONDS_A_WRITE, and at the end, also when it is left early. Raises RuntimeError where
        another process writes into it.
        """
        if len(self.scores) >= episodes:
            return
        file = self._file
        alone = only_writer(file, file.with_name(f".{file.name}.lock")) if file else nullcontext()
        with alone:
            self._read()  # another process may have written until now
            yield from self._play(range(len(self.scores), episodes), workers)

    def _play(self, missing: range, workers: int) -> Iterator[float]:
        written = -math.inf
        try:
            with closing(play_episodes(self._player, missing, workers)) as played:
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
        """The file's content: the summary, game and player, and every episode's score and seed."""
        return {
            **summarise(self.scores).as_json(),
            **self._identity,
            "scores": self.scores,
            "seeds": self._seeds,
        }


def show_scores(
    console: Console,
    rows: Mapping[str, Summary],
    score: Score,
    where: str = "the real game",
) -> None:
    """Prints a table of scores, in the game's words."""
    table = Table(title=f"{score.name} in {where}, {score.unit}")
    table.add_column("")
    for column in ("mean", "std", "95 % interval", "episodes"):
        table.add_column(column, justify="right")
    for name, summary in rows.items():
        table.add_row(
            name, f"{rounded(summary.mean)}", summary.spread, summary.interval, f"{summary.n:,}"
        )
    console.print(table)

"""`genie-env record`: plays a real game and keeps what was seen and done."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from genie_env.data.episode import Episode
from genie_env.data.files import changed_settings, read_json
from genie_env.data.players import AgentPlayer, BlindPlayer
from genie_env.data.workers import play_episodes
from genie_env.games.blind import POLICIES, check_policy
from genie_env.games.doom import FRAME_SIZE
from genie_env.games.frames import DOOM, Game

_SECONDS_A_LINE = 30.0
_SEEDING = (
    "numpy.random.SeedSequence(seed, spawn_key=(episode,)).generate_state(3): game, policy, world"
)
_POLICY_HELP = "; ".join(f"{name}: {meaning}" for name, meaning in POLICIES.items())


def record_episodes(
    player: BlindPlayer | AgentPlayer,
    directory: Path,
    episodes: int,
    workers: int,
    on_episode: Callable[[Episode], None] = lambda episode: None,
    on_start: Callable[[int], None] = lambda recorded: None,
) -> None:
    """Records until `directory` holds `episodes` episodes, going on after those already there.

    The same player gives the same files, whatever the number of workers and wherever an earlier
    recording was broken off. Raises ValueError where the episodes there were recorded otherwise.
    `on_start` is told how many there were, `on_episode` sees each new one once it is on the disk.
    """
    from genie_env import _core

    meta = describe(player)
    _check_same(directory, meta)
    text = json.dumps(meta, indent=2) + "\n"
    with _core.EpisodeWriter(directory, FRAME_SIZE, FRAME_SIZE, text) as writer:
        on_start(writer.num_episodes)
        missing = range(writer.num_episodes, episodes)
        with contextlib.closing(play_episodes(player, missing, workers)) as played:
            for episode in played:
                writer.append(
                    episode.frames,
                    episode.actions,
                    episode.rewards,
                    episode.terminations,
                    episode.truncations,
                )
                on_episode(episode)


def describe(player: BlindPlayer | AgentPlayer) -> dict[str, Any]:
    """meta.json: all that decides what this player's episodes look like, and whose software."""
    packages = ["genie_env", "gymnasium", "numpy", "opencv-python-headless"]
    return {
        "format_version": 1,
        **player.game.describe(),
        **player.describe(),
        "seed": player.seed,
        "seeding": _SEEDING,
        "versions": {package: _version(package) for package in packages},
    }


def _check_same(directory: Path, meta: dict[str, Any]) -> None:
    file = directory / "meta.json"
    if not file.exists():
        return
    old = read_json(file)
    # Other versions of the software may go on with a recording; its meta.json then names the last.
    changes = changed_settings({**old, "versions": None}, {**meta, "versions": None})
    if changes:
        raise ValueError(
            f"{directory} holds episodes that were recorded otherwise ({changes}); "
            "give the same arguments to go on, or another --out"
        )


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def record(
    game: Annotated[
        str,
        typer.Argument(
            help="doom-take-cover, or the id of a Gymnasium environment with image frames "
            "(module:Name-v0 where a module of yours registers it)"
        ),
    ],
    out: Annotated[Path, typer.Option(help="directory to record into; one already there goes on")],
    episodes: Annotated[int, typer.Option(help="episodes there when done", min=1)] = 1500,
    workers: Annotated[int, typer.Option(help="processes that play", min=1)] = 2,
    frame_skip: Annotated[
        int, typer.Option(help="tics that an action is held for; one frame is kept of them", min=1)
    ] = 1,
    seed: Annotated[int, typer.Option(help="of games and policies", min=0)] = 0,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            help="blind behaviour; several share the episodes evenly, every round of them in a new "
            f"order. {_POLICY_HELP}. "
            f"[default: mixture in {DOOM}, held elsewhere]"
        ),
    ] = None,
    agent: Annotated[
        Path | None, typer.Option(help="agent file: a learned controller plays, with --world")
    ] = None,
    world: Annotated[
        str | None, typer.Option(help="the agent's world: a shipped name or a directory")
    ] = None,
    explore: Annotated[
        float,
        typer.Option(help="part of the time that random holds overrule the agent", min=0, max=1),
    ] = 0.0,
    env_args: Annotated[
        str, typer.Option(help='further arguments of gymnasium.make, as JSON: \'{"level": 3}\'')
    ] = "{}",
) -> None:
    """Play a real game and record every frame, action, reward and end.

    A recording of any game is good for `inspect`, `train vision`, `tokenizer`, `latent-actions`,
    `dynamics` and `freeze genie`. `train memory` and `freeze vision-memory` know the actions of
    doom-take-cover only, so far.
    """
    played = Game(game, frame_skip, _json_object(env_args))
    player: BlindPlayer | AgentPlayer
    if agent is None:
        if world is not None or explore:
            raise ValueError("--world and --explore belong to an agent; give --agent as well")
        policies = tuple(policy or (["mixture"] if game == DOOM else ["held"]))
        actions = len(played.describe()["actions"])
        for name in policies:
            check_policy(name, actions)
        player = BlindPlayer(played, seed, policies)
    else:
        if policy or world is None:
            raise ValueError("an agent plays itself, in its world: give --world, and no --policy")
        from genie_env.evaluation.evaluate import agent_player

        player = replace(agent_player(world, agent, seed), explore=explore, keep_frames=True)
        if player.game != played:
            raise ValueError(
                f"the agent's world is of {player.game.name} at {player.game.frame_skip} tics a "
                f"frame, but {game} at {frame_skip} is to be recorded"
            )

    progress = RecordingProgress(out, episodes)
    try:
        record_episodes(player, out, episodes, workers, progress.episode, progress.start)
    finally:
        progress.close()


class RecordingProgress:
    """Shows how a recording goes: a bar on a terminal, now and then a line anywhere else."""

    def __init__(self, directory: Path, episodes: int) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._directory = directory
        self._progress = Progress(
            TextColumn("recording"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("episodes, {task.fields[frames]:,} frames, {task.fields[rate]:,.0f}/s"),
            TimeRemainingColumn(),
        )
        self._task = self._progress.add_task("recording", total=episodes, frames=0, rate=0.0)
        self._frames = self._timed = 0
        self._since = self._said = time.perf_counter()

    def start(self, recorded: int) -> None:
        """Of a recording that holds `recorded` episodes already."""
        self._progress.update(self._task, completed=recorded)
        self._progress.start()
        self._say(f"{self._directory} holds {recorded:,} episodes")

    def episode(self, episode: Episode) -> None:
        """Another episode is on the disk."""
        now = time.perf_counter()
        # The rate begins after the first episode: starting the workers is not playing.
        if self._frames == 0:
            self._since = now
        else:
            self._timed += len(episode)
        self._frames += len(episode)
        rate = self._timed / max(now - self._since, 1e-9)
        self._progress.update(self._task, advance=1, frames=self._frames, rate=rate)
        if not self._progress.console.is_terminal and now - self._said > _SECONDS_A_LINE:
            self._say(self._report())

    def close(self) -> None:
        if self._progress.live.is_started:
            self._say(self._report())
            self._progress.stop()

    def _report(self) -> str:
        task = self._progress.tasks[self._task]
        return (
            f"{task.completed:,.0f} of {task.total:,.0f} episodes, {self._frames:,} new frames, "
            f"{task.fields['rate']:,.0f} frames/s"
        )

    def _say(self, text: str) -> None:
        self._said = time.perf_counter()
        self._progress.console.print(text, soft_wrap=True)


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError(f"--env-args {text!r} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"--env-args {text!r} is not a JSON object; expected {{\"name\": value}}")
    return value

"""`genie-env record`: plays a real game and keeps every frame, action, reward and end."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from genie_env.cli.options import (
    FamilyOption,
    OptionalAgentOption,
    OptionalWorldOption,
    SeedOption,
    WorkersOption,
    family_options,
)
from genie_env.data.episode import Episode
from genie_env.data.frame_size import networks_that_take, parse_frame_size
from genie_env.data.players import BlindPlayer
from genie_env.data.progress import Progress, say
from genie_env.data.recording import RecordedPlayer, record_episodes
from genie_env.games.base import Game
from genie_env.games.blind import GENERAL_POLICIES
from genie_env.games.frames import Frames, FrameSize, Sides, Source
from genie_env.games.registry import find_game, registered_games


def _policy_help() -> str:
    def listed(policies: dict[str, str]) -> str:
        return "; ".join(f"{name}: {meaning}" for name, meaning in policies.items())

    own = [f". Of {game.name} also {listed({**game.own_policies})}" for game in registered_games()]
    defaults = "".join(f"{game.recording_policy} in {game.name}, " for game in registered_games())
    return (
        "blind policy, whose actions do not depend on what the game shows; several share the "
        f"episodes evenly, in a new order every round. {listed(GENERAL_POLICIES)}{''.join(own)}. "
        f"[default: {defaults}held elsewhere]"
    )


def record(
    game: Annotated[
        str,
        typer.Argument(
            help="doom-take-cover, or the id of a Gymnasium environment with pictures "
            "(module:Name where a module of yours registers it), or module:function, a function of "
            "yours that makes an environment"
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="directory to record into; a recording there is resumed",
            file_okay=False,
            writable=True,
        ),
    ],
    episodes: Annotated[
        int,
        typer.Option(help="number of episodes in the directory at the end", min=1, max=10_000_000),
    ] = 1500,
    workers: WorkersOption = 2,
    frame_skip: Annotated[
        int,
        typer.Option(
            help="steps of the game that an action is held for; one frame is kept of them",
            min=1,
            max=1000,
        ),
    ] = 1,
    frame_size: Annotated[
        str | None,
        typer.Option(
            help="height and width of the frames in pixels, as in 48x80, or native: as the "
            "environment shows them [default: 64x64, or the game's own]"
        ),
    ] = None,
    frames: Annotated[
        str,
        typer.Option(
            help="where a Gymnasium environment's pictures come from: auto (the observation where "
            "it is a colour image, else what is rendered), observation or render"
        ),
    ] = "auto",
    crop: Annotated[
        str | None,
        typer.Option(help="pixels to cut at the top, bottom, left and right, as in 0,20,0,0"),
    ] = None,
    pad: Annotated[
        str | None,
        typer.Option(help="pixels of black to add there after cutting, as in 0,0,16,16"),
    ] = None,
    seed: SeedOption = 0,
    policy: Annotated[list[str] | None, typer.Option(help=_policy_help())] = None,
    agent: OptionalAgentOption = None,
    world: OptionalWorldOption = None,
    option: FamilyOption = None,
    explore: Annotated[
        float,
        typer.Option(
            help="fraction of the time in which random actions overrule the agent", min=0, max=1
        ),
    ] = 0.0,
    env_args: Annotated[
        str, typer.Option(help="further arguments of gymnasium.make, as JSON: '{\"level\": 3}'")
    ] = "{}",
) -> None:
    """Play a real game and record every frame, action, reward and end.

    Before it starts, it says which networks take the game's frames: `train vision` takes frames of
    64x64, `train tokenizer` any size that its patches divide. A blind policy plays, or, with --agent
    and --world, a learned controller.
    """
    size: FrameSize | Literal["native"] | None = None
    if frame_size is not None:
        size = "native" if frame_size == "native" else parse_frame_size(frame_size)
    chosen = find_game(
        game,
        frame_skip=frame_skip,
        env_args=_json_object(env_args),
        frame_size=size,
        frames=_frames(frames, crop, pad),
    )
    player: RecordedPlayer
    if agent is None:
        if world is not None or option or explore:
            raise ValueError(
                "--option, --world and --explore belong to an agent; give --agent as well"
            )
        policies = tuple(policy or [chosen.recording_policy])
        for name in policies:
            chosen.check_policy(name)
        player = BlindPlayer(chosen, seed, policies)
    else:
        if policy or world is None:
            raise ValueError("an agent plays itself, in its world: give --world, and no --policy")
        player = _agent_player(chosen, world, agent, seed, explore, option)

    for notice in chosen.notices:
        say(notice)
    progress = RecordingProgress(out, episodes, chosen.frame_size)
    try:
        record_episodes(player, out, episodes, workers, progress.episode, progress.start)
    finally:
        progress.close()


def _agent_player(
    game: Game, world: str, agent: Path, seed: int, explore: float, option: list[str] | None
) -> RecordedPlayer:
    from genie_env.agents.real_game import agent_player  # imports torch

    player = agent_player(world, agent, seed, family_options(option))
    player = replace(player, explore=explore, keep_frames=True)
    if player.game != game:
        raise ValueError(f"the agent's world is of {player.game}, but {game} is to be recorded")
    return player


class RecordingProgress:
    """Shows how a recording goes."""

    def __init__(self, directory: Path, episodes: int, frame_size: FrameSize) -> None:
        self._frame_size = frame_size
        self._directory = directory
        self._progress = Progress(
            TextColumn("recording"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("episodes, {task.fields[frames]:,} new frames, {task.fields[rate]:,.0f}/s"),
            TimeRemainingColumn(),
        )
        self._task = self._progress.add_task("recording", total=episodes, frames=0, rate=0.0)
        self._frames = self._timed = 0
        self._since = time.perf_counter()

    def start(self, recorded: int) -> None:
        """Starts the bar at `recorded` episodes, those that are there already."""
        self._progress.update(self._task, completed=recorded)
        self._progress.start()
        self._progress.say(f"{self._directory} holds {recorded:,} episodes")
        height, width = self._frame_size
        takers = networks_that_take(self._frame_size)
        self._progress.say(f"frames of {height} x {width}, for {takers}")

    def episode(self, episode: Episode) -> None:
        """Counts an episode that is on the disk."""
        now = time.perf_counter()
        # The rate begins after the first episode: starting the workers is not playing.
        if self._frames == 0:
            self._since = now
        else:
            self._timed += len(episode)
        self._frames += len(episode)
        rate = self._timed / max(now - self._since, 1e-9)
        self._progress.update(self._task, advance=1, frames=self._frames, rate=rate)

    def close(self) -> None:
        self._progress.stop()


def _frames(source: str, crop: str | None, pad: str | None) -> Frames | None:
    """None where all is as usual."""
    if source not in get_args(Source):
        raise ValueError(f"--frames is {source!r}; expected {' or '.join(get_args(Source))}")
    frames = Frames(
        cast(Source, source), crop=_sides("--crop", crop), pad=_sides("--pad", pad)
    )
    return None if frames == Frames() else frames


def _sides(name: str, text: str | None) -> Sides:
    if text is None:
        return (0, 0, 0, 0)
    parts = text.split(",")
    if len(parts) != 4 or not all(part.strip().isdecimal() for part in parts):
        raise ValueError(
            f"{name} is {text!r}; expected pixels at the top, bottom, left and right, as in 0,20,0,0"
        )
    top, bottom, left, right = map(int, parts)
    return top, bottom, left, right


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError(f"--env-args {text!r} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f'--env-args {text!r} is not a JSON object; expected {{"name": value}}')
    return value

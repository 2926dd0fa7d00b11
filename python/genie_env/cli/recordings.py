"""What the commands that write recordings have in common."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Protocol

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from genie_env.data.episode import Episode
from genie_env.data.frame_size import networks_that_take, parse_frame_size
from genie_env.data.progress import Progress
from genie_env.envs.actions import Actions
from genie_env.games.frames import NO_MARGINS, FrameSize, Margins

FrameSizeOption = Annotated[
    str | None,
    typer.Option(
        help="height and width of the frames in pixels, as in 48x80, or native: as the "
        "environment shows them [default: 64x64, or the game's own]"
    ),
]
CropOption = Annotated[
    str | None,
    typer.Option(
        metavar="TOP,BOTTOM,LEFT,RIGHT",
        help="pixels to cut off the environment's pictures, before they are resized",
    ),
]
PadOption = Annotated[
    str | None,
    typer.Option(
        metavar="TOP,BOTTOM,LEFT,RIGHT",
        help="black pixels to add to the pictures, after they are cropped",
    ),
]


def parse_size(text: str | None) -> FrameSize | Literal["native"] | None:
    """Raises ValueError for what is no size."""
    if text is None:
        return None
    return "native" if text == "native" else parse_frame_size(text)


def parse_margins(option: str, text: str | None) -> Margins:
    if text is None:
        return NO_MARGINS
    numbers = text.split(",")
    if len(numbers) != 4 or not all(number.strip().isdecimal() for number in numbers):
        raise ValueError(
            f"{option} is {text!r}; expected four numbers of pixels: top,bottom,left,right"
        )
    top, bottom, left, right = map(int, numbers)
    return top, bottom, left, right


class Recorded(Protocol):
    """What is told before a recording begins: of a game, or of a dataset."""

    @property
    def frame_size(self) -> FrameSize: ...

    @property
    def actions(self) -> Actions: ...

    @property
    def notices(self) -> Sequence[str]: ...


class RecordingProgress:
    """Shows how a recording goes."""

    def __init__(
        self, directory: Path, episodes: int, game: Recorded, doing: str = "recording"
    ) -> None:
        self._game = game
        self._directory = directory
        self._progress = Progress(
            TextColumn(doing),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("episodes, {task.fields[frames]:,} new frames, {task.fields[rate]:,.0f}/s"),
            TimeRemainingColumn(),
        )
        self._task = self._progress.add_task(doing, total=episodes, frames=0, rate=0.0)
        self._frames = self._timed = 0
        self._since = time.perf_counter()

    def start(self, recorded: int) -> None:
        """Starts the bar at `recorded` episodes, those that are there already."""
        self._progress.update(self._task, completed=recorded)
        self._progress.start()
        self._progress.say(f"{self._directory} holds {recorded:,} episodes")
        height, width = self._game.frame_size
        takers = networks_that_take(self._game.frame_size)
        self._progress.say(f"frames of {height} x {width}, for {takers}")
        self._progress.say(str(self._game.actions))
        for notice in self._game.notices:
            self._progress.say(notice)

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

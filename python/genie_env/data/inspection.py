"""`genie-env inspect`: what a directory of recorded episodes holds, as numbers and as a picture."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from numpy.typing import NDArray

if TYPE_CHECKING:
    from genie_env._core import EpisodeStore

_SHEET_EPISODES = 10
_SHEET_FRAMES = 12
_BAR = 40  # characters of the longest bar


@dataclass(frozen=True)
class Contents:
    """What episodes look like, without their frames."""

    lengths: NDArray[np.int64]
    """Steps of every episode: int64 [E]."""
    scores: NDArray[np.float64]
    """The sum of rewards of every episode: float64 [E]."""
    terminated: int
    """Episodes that the game ended; the others were cut."""
    actions: dict[int, int]
    """How often each action that occurs was chosen."""
    holds: NDArray[np.int64]
    """Steps of every run of one action within an episode: int64 [R]."""

    @classmethod
    def of(cls, store: EpisodeStore) -> Contents:
        """Of a store with at least one episode."""
        starts = store.episode_starts
        # An action may be any number, so that none is taken for the size of an array.
        actions, counts = np.unique(store.actions, return_counts=True)
        return cls(
            lengths=np.diff(starts),
            scores=np.add.reduceat(store.rewards.astype(np.float64), starts[:-1]),
            terminated=int(store.terminations.sum()),
            actions=dict(zip(actions.tolist(), counts.tolist(), strict=True)),
            holds=_holds(store.actions, starts),
        )


def contact_sheet(store: EpisodeStore) -> NDArray[np.uint8]:
    """A row an episode, frames from its first to its last: uint8 [H, W, 3].

    Episodes are spread over the whole store. A caption above each row says which episode,
    how long it was and how it ended.
    """
    from PIL import Image, ImageDraw

    episodes = np.unique(np.linspace(0, store.num_episodes - 1, _SHEET_EPISODES).astype(int))
    caption = 14
    row_height = store.height + caption
    sheet = Image.new("RGB", (_SHEET_FRAMES * (store.width + 2), len(episodes) * row_height))
    draw = ImageDraw.Draw(sheet)
    for row, episode in enumerate(episodes):
        first, end = store.episode_starts[episode : episode + 2]
        steps = np.linspace(0, end - first - 1, _SHEET_FRAMES).astype(int)
        how = "terminated" if store.terminations[end - 1] else "truncated"
        text = f"episode {episode}: {end - first} steps, {how}"
        draw.text((2, row * row_height), text, fill="white")
        for column, step in enumerate(steps):
            position = (column * (store.width + 2), row * row_height + caption)
            sheet.paste(Image.fromarray(store.frames[first + step]), position)
    return np.asarray(sheet)


def inspect(
    directory: Annotated[Path, typer.Argument(help="recorded episodes", show_default=False)],
    picture: Annotated[
        Path | None,
        typer.Option(help="the contact sheet to write [default: DIRECTORY/contact_sheet.png]"),
    ] = None,
) -> None:
    """Print what recorded episodes hold, and write a contact sheet of their frames."""
    from PIL import Image
    from rich.console import Console

    from genie_env import _core
    from genie_env.data.recording_metadata import has_actions

    store = _core.EpisodeStore(directory)
    meta = json.loads(store.meta)
    console = Console(highlight=False, markup=False)

    def say(line: str) -> None:
        console.print(line, soft_wrap=True)

    origin = ", ".join(
        f"{key} {meta[key]}"
        for key in (
            *("game", "policies", "agent", "explore", "seed", "frame_skip"),
            "frames_per_second",
        )
        if key in meta
    )
    say(f"{directory}: {store.num_episodes:,} episodes, {store.num_frames:,} frames")
    say(f"frames {store.height} x {store.width}; {origin}")
    if store.num_episodes == 0:
        return
    contents = Contents.of(store)
    lengths = contents.lengths
    # Decoded from video files: nobody knows what was done there, or how it ended.
    frames_only = not has_actions(store)
    if frames_only:
        say("frames only: no actions, no scores, no reasons to end")
        say(f"frames an episode: {_statistics(lengths)}")
    else:
        cut = store.num_episodes - contents.terminated
        say(f"ended by the game {contents.terminated:,}, cut by a time limit {cut:,}")
        say(f"steps an episode: {_statistics(lengths)}")
        say(f"score:            {_statistics(contents.scores)}")

    edges = np.histogram_bin_edges(lengths, bins=min(12, len(np.unique(lengths))))
    counts, _ = np.histogram(lengths, edges)
    names = [f"{low:,.0f} to {high:,.0f}" for low, high in zip(edges[:-1], edges[1:], strict=True)]
    _print_histogram(console, "episodes by their steps", names, counts)
    if not frames_only:
        _print_actions(console, contents, meta.get("actions", []))

    file = picture or directory / "contact_sheet.png"
    Image.fromarray(contact_sheet(store)).save(file)
    say(f"contact sheet: {file}")


def _print_actions(console: object, contents: Contents, meanings: list[str]) -> None:
    known = dict(enumerate(meanings))
    chosen = sorted(known.keys() | contents.actions.keys())
    nameless = "(not in meta.json)" if known else ""
    names = [f"{action} {known.get(action, nameless)}" for action in chosen]
    counts = np.array([contents.actions.get(action, 0) for action in chosen], np.int64)
    _print_histogram(console, "steps by action", names, counts)
    # Doubling classes: 1, 2, 3 to 4, 5 to 8, ...
    classes = np.ceil(np.log2(contents.holds)).astype(int)
    counts = np.bincount(classes, weights=contents.holds).astype(np.int64)
    names = ["1", "2"] + [f"{2 ** (i - 1) + 1} to {2**i}" for i in range(2, len(counts))]
    _print_histogram(console, "steps by how long their action was held", names, counts)


def _holds(actions: NDArray[np.int64], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    changes = np.ones(len(actions) + 1, bool)
    changes[1:-1] = actions[1:] != actions[:-1]
    changes[starts] = True
    return np.diff(np.flatnonzero(changes))


def _statistics(values: NDArray[np.generic]) -> str:
    numbers = np.asarray(values, np.float64)
    return (
        f"mean {numbers.mean():,.1f}, std {numbers.std():,.1f}, "
        f"min {numbers.min():,.0f}, median {np.median(numbers):,.0f}, max {numbers.max():,.0f}"
    )


def _print_histogram(
    console: object, title: str, names: list[str], counts: NDArray[np.int64]
) -> None:
    from rich.table import Table

    table = Table("", "", "", title=title, title_justify="left", box=None, show_header=False)
    for name, count in zip(names, counts, strict=False):
        bar = "█" * round(_BAR * int(count) / max(int(counts.max()), 1))
        table.add_row(name, f"{count:,}", f"{count / counts.sum():.1%}", bar)
    console.print(table)  # type: ignore[attr-defined]

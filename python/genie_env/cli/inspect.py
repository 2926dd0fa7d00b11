"""`genie-env inspect`: prints what a directory of recorded episodes holds, and pictures it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table

from genie_env._core import EpisodeStore
from genie_env.data.frame_rate import pace
from genie_env.data.inspection import Contents, contact_sheet
from genie_env.data.recording_metadata import (
    declared_actions,
    has_actions,
    read_meta,
    recorded_score,
)
from genie_env.envs.actions import Actions, BoxActions, DiscreteActions
from genie_env.games.base import rounded
from genie_env.games.frames import Preprocessing
from genie_env.media.pictures import save_picture

_BAR = 40  # characters of the longest bar


def inspect(
    directory: Annotated[
        Path, typer.Argument(help="directory of recorded episodes", show_default=False)
    ],
    picture: Annotated[
        Path | None,
        typer.Option(
            help="the contact sheet to write [default: DIRECTORY/contact_sheet.png]",
            dir_okay=False,
            writable=True,
        ),
    ] = None,
) -> None:
    """Print what recorded episodes hold, and write a contact sheet of their frames."""
    store = EpisodeStore(directory)
    meta = read_meta(directory, store)
    console = Console(highlight=False, markup=False)

    def show(line: str) -> None:
        console.print(line, soft_wrap=True)

    paced = pace(directory, store)
    known = {**meta, **paced}  # an older one has the rate of its game
    origin = ", ".join(
        f"{key} {known[key]:g}" if key in paced else f"{key} {known[key]}"
        for key in (
            *("game", "policies", "agent", "explore", "seed", "frame_skip"),
            "frames_per_second",
        )
        if key in known
    )
    show(f"{directory}: {store.num_episodes:,} episodes, {store.num_frames:,} frames")
    show(f"frames {store.height} x {store.width}; {origin}")
    if "preprocessing" in meta:
        show(f"pictures from {_pictures_words(meta['preprocessing'])}")
    if store.final_frames is not None:
        show("the frame after each episode's last action is kept as well")
    if store.num_episodes == 0:
        return
    contents = Contents.of(store)
    lengths = contents.lengths
    # Of decoded video files neither actions nor ends are known.
    frames_only = not has_actions(store)
    if frames_only:
        show("frames only: no actions, no scores, no reasons to end")
        show(f"frames per episode: {_statistics(lengths)}")
    else:
        cut = store.num_episodes - contents.terminated
        show(f"ended by the game {contents.terminated:,}, cut by a time limit {cut:,}")
        show(f"steps per episode: {_statistics(lengths)}")
        score = recorded_score(directory, store)
        show(f"{score} per episode: {_statistics(contents.scores)}")

    edges = np.histogram_bin_edges(lengths, bins=min(12, len(np.unique(lengths))))
    counts, _ = np.histogram(lengths, edges)
    names = [f"{low:,.0f} to {high:,.0f}" for low, high in zip(edges[:-1], edges[1:], strict=True)]
    _print_histogram(console, "episodes by their steps", names, counts)
    if not frames_only:
        _print_actions(console, contents, declared_actions(directory, store))

    file = picture or directory / "contact_sheet.png"
    save_picture(file, Image.fromarray(contact_sheet(store)))
    show(f"contact sheet: {file}")


def _pictures_words(value: dict[str, Any]) -> str:
    """What was done to a game's pictures, in words."""
    pictures = Preprocessing.of_json(value)
    done = [
        f"{name} by {', '.join(map(str, margins))} (top, bottom, left, right)"
        for name, margins in (("cropped", pictures.crop), ("padded", pictures.pad))
        if any(margins)
    ]
    if pictures.resize is not None:
        done.append("resized to {} x {}".format(*pictures.resize))
    return ", ".join([f"the {value.get('from', 'game')}", *done])


def _print_actions(console: Console, contents: Contents, actions: Actions | None) -> None:
    if len(contents.numbers):
        _print_numbers(console, contents.numbers, actions)
    else:
        _print_counts(console, contents, actions)
    # Doubling classes: 1, 2, 3 to 4, 5 to 8, ...
    classes = np.ceil(np.log2(contents.holds)).astype(int)
    counts = np.bincount(classes, weights=contents.holds).astype(np.int64)
    names = ["1", "2"] + [f"{2 ** (i - 1) + 1} to {2**i}" for i in range(2, len(counts))]
    _print_histogram(console, "steps by how long their action was held", names, counts)


def _print_numbers(console: Console, numbers: NDArray[np.float64], actions: Actions | None) -> None:
    table = Table(title="numbers of an action", title_justify="left", box=None)
    for column in ("", "mean", "std", "least", "largest", "bounds"):
        table.add_column(column, justify="right")
    for index, row in enumerate(numbers):
        box = actions if isinstance(actions, BoxActions) else None
        bounds = "" if box is None else f"{box.low[index]:g} to {box.high[index]:g}"
        table.add_row(str(index), *(f"{number:.3g}" for number in row), bounds)
    console.print(table)


def _print_counts(console: Console, contents: Contents, actions: Actions | None) -> None:
    known: dict[int, str] = {}
    if isinstance(actions, DiscreteActions):
        known = dict(enumerate(actions.meanings, actions.start))
    chosen = sorted(known.keys() | contents.actions.keys())
    nameless = "(not in meta.json)" if known else ""
    names = [f"{action} {known.get(action, nameless)}" for action in chosen]
    counts = np.array([contents.actions.get(action, 0) for action in chosen], np.int64)
    _print_histogram(console, "steps by action", names, counts)


def _statistics(values: NDArray[np.generic]) -> str:
    numbers = np.asarray(values, np.float64)
    return (
        f"mean {numbers.mean():,.1f}, std {numbers.std():,.1f}, "
        f"min {rounded(numbers.min())}, median {rounded(float(np.median(numbers)))}, "
        f"max {rounded(numbers.max())}"
    )


def _print_histogram(
    console: Console, title: str, names: list[str], counts: NDArray[np.int64]
) -> None:
    table = Table("", "", "", title=title, title_justify="left", box=None, show_header=False)
    for name, count in zip(names, counts, strict=False):
        bar = "█" * round(_BAR * int(count) / max(int(counts.max()), 1))
        table.add_row(name, f"{count:,}", f"{count / counts.sum():.1%}", bar)
    console.print(table)

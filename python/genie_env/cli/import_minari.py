"""`genie-env import minari`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genie_env.cli.recordings import (
    CropOption,
    FrameSizeOption,
    PadOption,
    RecordingProgress,
    parse_margins,
    parse_size,
)
from genie_env.data.minari_datasets import ImportedDataset
from genie_env.data.recording import append_episodes
from genie_env.games.frames import Preprocessing


def import_minari(
    dataset: Annotated[
        str, typer.Argument(help="id of an installed Minari dataset, or its directory")
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="directory to record into; a recording there is resumed",
            file_okay=False,
            writable=True,
        ),
    ],
    picture: Annotated[
        str | None,
        typer.Option(
            metavar="KEY", help="the entry that is the picture, where observations are dictionaries"
        ),
    ] = None,
    frame_size: FrameSizeOption = None,
    crop: CropOption = None,
    pad: PadOption = None,
    episodes: Annotated[
        int | None,
        typer.Option(
            help="number of episodes in the directory at the end; all unless given",
            min=1,
            max=10_000_000,
        ),
    ] = None,
) -> None:
    """Write a Minari dataset with pictures as a recording.

    Numbered and continuous actions, rewards, ends and final frames are kept, and the game is named
    after the dataset's environment. Before it starts, it says which networks take the frames.
    """
    size = parse_size(frame_size) or (64, 64)
    preprocessing = Preprocessing(
        parse_margins("--crop", crop),
        parse_margins("--pad", pad),
        None if size == "native" else size,
    )
    found = ImportedDataset(dataset, picture, preprocessing)
    if episodes is not None and episodes > found.num_episodes:
        raise ValueError(
            f"--episodes is {episodes:,}, but {found.name} holds {found.num_episodes:,}: give fewer, "
            "or leave it out"
        )
    end = found.num_episodes if episodes is None else episodes
    progress = RecordingProgress(out, end, found, "importing")
    try:
        append_episodes(
            out,
            found.frame_size,
            found.meta(),
            lambda recorded: found.episodes(recorded, end),
            progress.episode,
            progress.start,
        )
    finally:
        progress.close()

"""Plays a real game and keeps what was seen and done: episodes on disk."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any, Protocol

from genie_env.data.episode import Episode
from genie_env.data.frame_size import check_frame_size
from genie_env.data.labels import append_labels, declared_labels
from genie_env.data.run_directory import changed_settings, only_writer
from genie_env.data.workers import Player, play_episodes
from genie_env.envs.actions import Actions, DiscreteActions
from genie_env.envs.json_files import read_json
from genie_env.games.base import FrameSize, Game
from genie_env.games.frames import NO_MARGINS

_SEEDING = (
    "numpy.random.SeedSequence(seed, spawn_key=(episode,)).generate_state(3): game, policy, world"
)


_FOLLOWS = {"versions": None, "columns": None, "episode_columns": None}
"""Of meta.json, what may change in a recording that goes on, or follows from the rest."""

_NO_MARGINS = {"crop": list(NO_MARGINS), "pad": list(NO_MARGINS)}
_FIRST_FRAME = {"height": 64, "width": 64}
"""The size of every frame that was recorded before meta.json said it."""


class RecordedPlayer(Player, Protocol):
    """Plays a real game, and says all that decides what its episodes look like."""

    @property
    def game(self) -> Game: ...

    @property
    def seed(self) -> int: ...

    @property
    def labelled(self) -> bool: ...

    def describe(self) -> dict[str, Any]:
        """The player's part of meta.json."""


def record_episodes(
    player: RecordedPlayer,
    directory: Path,
    episodes: int,
    workers: int,
    on_episode: Callable[[Episode], None] = lambda episode: None,
    on_start: Callable[[int], None] = lambda recorded: None,
) -> None:
    """Records until `directory` holds `episodes` episodes, going on after those already there.

    The same player gives the same files, whatever the number of workers and wherever an earlier
    recording was broken off. Raises ValueError where the episodes there were recorded otherwise, or
    where no network takes the game's frames, and RuntimeError where another process writes there. A
    game that cannot be played leaves no directory. `on_start` is called with the number
    of episodes that were there, `on_episode` with each new one once it is on the disk.
    """
    check_frame_size(player.game.frame_size)
    append_episodes(
        directory,
        player.game.frame_size,
        describe(player),
        lambda recorded: play_episodes(player, range(recorded, episodes), workers),
        on_episode,
        on_start,
    )


def append_episodes(
    directory: Path,
    frame_size: FrameSize,
    meta: Mapping[str, Any],
    after: Callable[[int], Generator[Episode, None, None]],
    on_episode: Callable[[Episode], None] = lambda episode: None,
    on_start: Callable[[int], None] = lambda recorded: None,
) -> None:
    """Appends the episodes of `after`, which is called with the number of those that are there.

    `meta` is that of format 2. Errors and callbacks as in `record_episodes`; an error before the first
    episode leaves no directory.
    """
    from genie_env import _core

    recorded = _recorded(directory, meta)
    text = json.dumps(meta, indent=2) + "\n"

    def open_writer() -> _core.EpisodeWriter:
        claimed.close()  # the writer takes the same lock
        writer = _core.EpisodeWriter(directory, *frame_size, text)
        opened.enter_context(writer)
        if writer.num_episodes != recorded:
            raise RuntimeError(
                f"another process has recorded into {directory} meanwhile: run the command again "
                "to go on after its episodes, or give another --out"
            )
        return writer

    with contextlib.ExitStack() as claimed, contextlib.ExitStack() as opened:
        if not directory.exists() or not any(directory.iterdir()):
            claimed.enter_context(only_writer(directory))
            writer = None
        else:
            writer = open_writer()
        on_start(recorded)
        with contextlib.closing(after(recorded)) as episodes:
            for episode in episodes:
                assert episode.frames is not None  # who records them keeps them
                writer = writer or open_writer()
                if episode.labels is not None:
                    before = writer.num_frames, writer.num_episodes
                    append_labels(directory, *before, episode.frames, episode.labels)
                writer.append(
                    episode.frames,
                    episode.actions,
                    episode.rewards,
                    episode.terminations,
                    episode.truncations,
                    episode.final_frame,
                )
                on_episode(episode)


def describe(player: RecordedPlayer) -> dict[str, Any]:
    """meta.json: all that decides what this player's episodes look like, and whose software."""
    game = player.game
    return {
        "format_version": 2,
        **columns(game.actions, game.frame_size, final_frames=game.has_final_frame),
        **game.describe(),
        **player.describe(),
        "seed": player.seed,
        "seeding": _SEEDING,
        **(declared_labels(game.label_classes) if player.labelled else {}),
        "versions": versions("opencv-python-headless"),
    }


def columns(actions: Actions, frame_size: FrameSize, *, final_frames: bool) -> dict[str, Any]:
    """The arrays of a recording, for meta.json."""
    space = actions.space
    frame = {"dtype": "uint8", "shape": [*frame_size, 3]}
    return {
        "columns": {
            "frames": frame,
            "actions": {"dtype": str(space.dtype), "shape": list(space.shape or ())},
            "rewards": {"dtype": "float32", "shape": []},
            "terminations": {"dtype": "bool", "shape": []},
            "truncations": {"dtype": "bool", "shape": []},
        },
        "episode_columns": {"final_frames": frame} if final_frames else {},
    }


def _recorded(directory: Path, meta: Mapping[str, Any]) -> int:
    """The number of episodes in a directory. Raises ValueError where they were recorded otherwise."""
    from genie_env import _core

    file = directory / "meta.json"
    if not file.exists() or not (directory / "episode_starts.npy").exists():
        return 0
    episodes = _core.EpisodeStore(directory).num_episodes
    if episodes == 0:
        return 0
    old = read_json(file)
    if old.get("format_version") == 1:
        raise ValueError(
            f"{directory} holds episodes of format 1, as an older genie_env recorded them: they are "
            "read as before, but go on only in a directory of their own; give another --out, and "
            "train on both"
        )
    # Other versions of the software may go on with a recording; its meta.json then names the last.
    changes = changed_settings(*({**each, **_FOLLOWS} for each in (old, meta)))
    if changes:
        raise ValueError(
            f"{directory} holds episodes that were recorded otherwise ({changes}); "
            "give the same arguments to go on, or another --out"
        )
    return episodes


def with_todays_keys(known: Mapping[str, Any], today: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a file of scores, with the keys that an older version did not write: frames
    were 64 x 64 then, pictures were neither cropped nor padded, and the rest was as today."""
    later = ("score", "frames_per_second", "env_args", "max_steps")
    names = known.get("actions")
    pictures = today.get("preprocessing")
    return {
        **({"frame": _FIRST_FRAME} if "frame" in today else {}),
        **{key: today[key] for key in later if key in today},
        **({"preprocessing": {**pictures, **_NO_MARGINS}} if pictures else {}),
        **known,
        **({"actions": DiscreteActions(tuple(names)).as_json()} if isinstance(names, list) else {}),
    }


def versions(*more: str) -> dict[str, str | None]:
    """Of this package and of those that recordings are made with, `more` among them."""
    return {package: _version(package) for package in ("genie_env", "gymnasium", "numpy", *more)}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None

"""The game of recorded episodes, as their meta.json describes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genie_env._core import EpisodeStore
from genie_env.envs.actions import MOST_ACTIONS, Actions, DiscreteActions, actions_of_json
from genie_env.envs.json_files import parse_json
from genie_env.games.base import Score
from genie_env.games.frames import NO_MARGINS, Margins, Preprocessing
from genie_env.games.registry import registered_game

_META = {
    "game?": (str, None),
    "actions?": ([str], None),
    "frame_skip?": object,  # `pace` reads what is a number
}
"""Of meta.json, what is used without a further check."""

_META_2 = {**_META, "actions?": (dict, None), "make?": (str, None)}
"""The same of format 2."""


def read_meta(directory: Path | None, store: EpisodeStore) -> dict[str, Any]:
    """The meta.json of recorded episodes. Raises ValueError, naming it, where it is damaged."""
    file = Path("meta.json") if directory is None else directory / "meta.json"
    is_first = parse_json(store.meta, str(file))["format_version"] == 1
    return parse_json(store.meta, str(file), _META if is_first else _META_2)


def recorded_score(directory: Path, store: EpisodeStore) -> Score:
    """The name and unit of an episode's score. Older recordings did not write it: then it is as the
    game says today, if that is a registered one."""
    meta = read_meta(directory, store)
    if "score" in meta:
        try:
            return Score.of_json(meta["score"])
        except ValueError as error:
            raise ValueError(f"{directory / 'meta.json'}: {error}") from None
    game = registered_game(meta.get("game"))
    return Score() if game is None else game.score


@dataclass(frozen=True)
class RecordedGame:
    """Properties that all recordings of one world share."""

    game: str
    frame_skip: int
    actions: Actions
    """What each action is, and means."""
    make: str | None = None
    """The "module:function" that made the game's environment, where one did."""
    crop: Margins = NO_MARGINS
    """What was cut off the game's pictures before they were resized, in pixels."""
    pad: Margins = NO_MARGINS
    """What was then added to them."""


def has_actions(store: EpisodeStore, directory: Path | None = None) -> bool:
    """Whether actions were recorded; of decoded video files, meta.json says "actions": null."""
    return read_meta(directory, store).get("actions", []) is not None


def check_has_actions(directory: Path, store: EpisodeStore) -> None:
    """Raises ValueError where there are no actions, rewards and terminations to learn from."""
    if not has_actions(store, directory):
        raise ValueError(
            f"{directory} has no actions, as it was decoded from video files: `train tokenizer`, "
            "`train latent-actions` and `train dynamics --actions latent` learn from frames alone; "
            "give a recording of `genie-env record` here"
        )


def recorded_game(directories: Sequence[Path], stores: Sequence[EpisodeStore]) -> RecordedGame:
    """The one game of all stores.

    Raises ValueError where the recordings name no game, are of different games, hold no actions, or
    hold an action without a meaning.
    """
    games = [_read(d, store) for d, store in zip(directories, stores, strict=True)]
    for directory, game in zip(directories, games, strict=True):
        for name in (field.name for field in fields(RecordedGame)):
            one, other = getattr(games[0], name), getattr(game, name)
            if one != other:
                one, other = (
                    str(each) if name == "actions" else repr(each) for each in (one, other)
                )
                raise ValueError(
                    f"the recordings are not of one game: {name} is {one} in "
                    f"{directories[0]} but {other} in {directory}; a world is learned from "
                    "recordings of one game, at one frame skip"
                )
    return games[0]


def _read(directory: Path, store: EpisodeStore) -> RecordedGame:
    file = directory / "meta.json"
    check_has_actions(directory, store)
    meta = read_meta(directory, store)

    def field(name: str, kind: type, meant: str) -> Any:
        if type(meta.get(name)) is not kind:
            raise ValueError(
                f'{file}: "{name}" is {meta.get(name)!r}, expected {meant}; `genie-env record` '
                "writes it"
            )
        return meta[name]

    kind = list if meta["format_version"] == 1 else dict
    field("actions", kind, "a list of what each action means" if kind is list else "an object")
    actions = declared_actions(directory, store)
    assert actions is not None
    if kind is list and isinstance(actions, DiscreteActions):
        _check_named(directory, store, actions.count)
    pictures = _pictures(file, meta)
    return RecordedGame(
        game=field("game", str, "the game's name"),
        frame_skip=field("frame_skip", int, "the number of steps that an action is held for"),
        actions=actions,
        make=meta.get("make"),
        crop=pictures.crop,
        pad=pictures.pad,
    )


def declared_actions(directory: Path, store: EpisodeStore) -> Actions | None:
    """What meta.json says of the recorded actions; None where it says nothing, as of video files.

    Raises ValueError, naming the file, where it is malformed.
    """
    meta = read_meta(directory, store)
    value = meta.get("actions")
    if value is None:
        return None
    try:
        if meta["format_version"] == 1:
            actions: Actions = DiscreteActions(tuple(value))
        else:
            actions = actions_of_json(value)
    except ValueError as error:
        raise ValueError(f"{directory / 'meta.json'}: {error}") from None
    return actions


def _pictures(file: Path, meta: dict[str, Any]) -> Preprocessing:
    try:
        value = meta.get("preprocessing")
        return Preprocessing() if value is None else Preprocessing.of_json(value)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def _check_named(directory: Path, store: EpisodeStore, count: int) -> None:
    # Of format 2 the store itself has checked this, and in either it has refused negative ones.
    unknown = np.flatnonzero(store.actions >= count)
    if len(unknown):
        raise ValueError(
            f"{directory / 'actions.npy'}: action {unknown[0]} is {store.actions[unknown[0]]}, "
            f"expected 0 to {count - 1}: {directory / 'meta.json'} names {count} actions"
        )


def action_meanings(
    directories: Sequence[Path], stores: Sequence[EpisodeStore]
) -> tuple[str | None, ...]:
    """The meaning of each recorded action, in order; None where the recordings only number them.
    `numbered_actions` gives places in it.

    Raises ValueError where a recording holds no actions that could be told apart, or where the
    recordings do not agree on what an action means.
    """
    named = [_names(d, store) for d, store in zip(directories, stores, strict=True)]
    for directory, names in zip(directories, named, strict=True):
        if names != named[0]:
            raise ValueError(
                f"the recordings do not have the same actions: {_listed(named[0])} in "
                f"{directories[0]} but {_listed(names)} in {directory}; give recordings of one game"
            )
    if named[0] is not None:
        return named[0]
    return (None,) * (1 + max(int(store.actions.max(initial=0)) for store in stores))


def _names(directory: Path, store: EpisodeStore) -> tuple[str, ...] | None:
    check_has_actions(directory, store)
    meta = read_meta(directory, store)
    names = meta.get("actions")
    if meta["format_version"] != 1 and names is not None:
        declared = declared_actions(directory, store)
        if not isinstance(declared, DiscreteActions):
            raise ValueError(
                f"{directory} holds {declared}: what latent actions mean is found for numbered "
                "actions; give a recording of a game that has those"
            )
        names = list(declared.meanings)
    least, most = int(store.actions.min(initial=0)), int(store.actions.max(initial=0))
    if store.num_frames and (names == [] or least == most):
        why = "its meta.json names none" if names == [] else f"every one is {most}"
        raise ValueError(
            f"{directory} holds no actions to learn from: {why}, as in recordings of a video; give "
            "recordings of a game that was played (`genie-env record`)"
        )
    if names is None:
        if most >= MOST_ACTIONS:
            raise ValueError(
                f"{directory / 'actions.npy'} holds action {most}, expected 0 to "
                f"{MOST_ACTIONS - 1}: record discrete actions, numbered from 0"
            )
        return None
    if meta["format_version"] == 1:
        _check_named(directory, store, len(names))
    return tuple(names)


def first_action(store: EpisodeStore) -> int:
    """The number of a recording's first action."""
    value = read_meta(None, store).get("actions")
    return int(value["start"]) if isinstance(value, dict) and "start" in value else 0


def numbered_actions(store: EpisodeStore) -> NDArray[np.int64]:
    """The recorded actions as places among their meanings, from 0: int64 [N]."""
    return store.actions - first_action(store)


def _listed(names: tuple[str, ...] | None) -> str:
    return "numbers only" if names is None else ", ".join(names)

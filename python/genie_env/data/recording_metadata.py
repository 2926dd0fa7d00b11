"""The game of recorded episodes, as their meta.json describes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from genie_env._core import EpisodeStore
from genie_env.envs.actions import MOST_ACTIONS, Actions, DiscreteActions, actions_of_json
from genie_env.envs.json_files import parse_json
from genie_env.games.base import Score
from genie_env.games.registry import registered_game

_META = {
    "game?": (str, None),
    "actions?": ([str], dict, None),
    "frame_skip?": object,  # `pace` reads what is a number
}
"""Of meta.json, what is used without a further check."""


def read_meta(directory: Path | None, store: EpisodeStore) -> dict[str, Any]:
    """The meta.json of recorded episodes. Raises ValueError, naming it, where it is damaged."""
    file = Path("meta.json") if directory is None else directory / "meta.json"
    return parse_json(store.meta, str(file), _META)


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
    description: Mapping[str, Any]
    """What makes the game again: its "env_args" and "frames", where the recording has them."""


def has_actions(store: EpisodeStore, directory: Path | None = None) -> bool:
    """Whether actions were recorded; of decoded video files, meta.json says "actions": null."""
    return read_meta(directory, store).get("actions", []) is not None


def check_has_actions(directory: Path, store: EpisodeStore) -> None:
    """Raises ValueError where there are no actions, rewards and terminations to learn from."""
    if not has_actions(store, directory):
        raise ValueError(
            f"{directory} has no actions, as it was decoded from video files: `train tokenizer`, "
            "`train latent-actions` and `train dynamics` learn from frames alone; give a recording "
            "of `genie-env record` here"
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
                both = (str(v) if name == "actions" else repr(v) for v in (one, other))
                first, second = both
                raise ValueError(
                    f"the recordings are not of one game: {name} is {first} in "
                    f"{directories[0]} but {second} in {directory}; a world is learned from "
                    "recordings of one game, at one frame skip"
                )
    return games[0]


def _read(directory: Path, store: EpisodeStore) -> RecordedGame:
    file = directory / "meta.json"
    check_has_actions(directory, store)
    meta = read_meta(directory, store)
    actions = recorded_actions(directory, store)

    def field(name: str, kind: type, meant: str) -> Any:
        if type(meta.get(name)) is not kind:
            raise ValueError(
                f'{file}: "{name}" is {meta.get(name)!r}, expected {meant}; `genie-env record` '
                "writes it"
            )
        return meta[name]

    game = RecordedGame(
        game=field("game", str, "the game's name"),
        frame_skip=field("frame_skip", int, "the number of steps that an action is held for"),
        actions=actions,
        description={name: meta[name] for name in ("env_args", "frames") if name in meta},
    )
    check_taken(directory, store, actions)
    return game


def recorded_actions(directory: Path, store: EpisodeStore) -> Actions:
    """What the actions of a recording are. Raises ValueError where it does not say it."""
    file, given = directory / "meta.json", read_meta(directory, store).get("actions")
    if isinstance(given, list) and given:  # of format 1
        return DiscreteActions(tuple(given))
    if isinstance(given, dict):
        try:
            actions = actions_of_json(given)
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from None
        shape = actions.examples().shape[1:]
        if store.actions.shape[1:] != shape or store.actions.dtype != actions.examples().dtype:
            raise ValueError(
                f"{file}: \"actions\" is {given}, but actions.npy holds {store.actions.dtype} "
                f"{list(store.actions.shape)}: bring the file back from a copy"
            )
        return actions
    raise ValueError(
        f'{file}: "actions" is {given!r}, expected what each action means; `genie-env record` '
        "writes it"
    )


def check_taken(directory: Path, store: EpisodeStore, actions: Actions) -> None:
    """Raises ValueError, naming the first, where an action was taken that there is not."""
    file = directory / "actions.npy"
    if isinstance(actions, DiscreteActions):
        wrong = (store.actions < actions.start) | (store.actions >= actions.start + actions.count)
        expected = f"{actions.start} to {actions.start + actions.count - 1}"
        names = f": {directory / 'meta.json'} names {actions.count} actions"
    else:
        space = actions.space
        rounding = 4 * np.finfo(np.float32).eps * np.maximum(abs(space.low), abs(space.high))
        outside = (store.actions < space.low - rounding) | (store.actions > space.high + rounding)
        wrong = outside.reshape(len(outside), -1).any(1)
        expected, names = f"a point of {actions}", ""
    if len(places := np.flatnonzero(wrong)):
        raise ValueError(
            f"{file}: action {places[0]} is {store.actions[places[0]]}, expected {expected}{names}"
        )


def action_meanings(
    directories: Sequence[Path], stores: Sequence[EpisodeStore]
) -> tuple[str | None, ...]:
    """The meaning of each recorded action, in order; None where the recordings only number them.

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
    if store.actions.ndim > 1:
        raise ValueError(
            f"{directory} holds continuous actions, expected numbered ones: a dictionary names what "
            "each latent action means"
        )
    names = read_meta(directory, store).get("actions")
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
    actions = recorded_actions(directory, store)
    assert isinstance(actions, DiscreteActions)
    if actions.start != 0:
        raise ValueError(
            f"{directory} numbers its actions from {actions.start}, expected from 0: wrap the "
            "environment, and record it again"
        )
    check_taken(directory, store, actions)
    return actions.meanings


def _listed(names: tuple[str, ...] | None) -> str:
    return "numbers only" if names is None else ", ".join(names)

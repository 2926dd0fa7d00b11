"""A world's actions as actions of a real game: the same ones, or those of a dictionary.

Latent actions are numbered by the network that inferred them; `genie-env map-actions` learns which
real action each of them stands for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium

from genie_env._core import World
from genie_env.envs.actions import BoxActions, actions_of_world
from genie_env.envs.json_files import Schema, read_json
from genie_env.envs.world_card import read_config
from genie_env.games.base import Game
from genie_env.games.env_actions import checked_action

ActionMap = str | Path | Mapping[int, Any]
"""The game's action for every one of the world's; or the file of one, mapping.json of `genie-env
map-actions`."""

FILE = "mapping.json"
"""In a world's directory: its own dictionary."""

_MAPPING: Schema = {
    "dictionary": {
        "*": {"action": int, "meaning?": (str, None), "count?": int, "share?": (float, None)}
    },
    "codes?": {"*": {"code": int, "share?": float, "count?": int}},
    "weights?": str,
}


def real_actions(world: World, game: Game, given: ActionMap | None) -> dict[int, Any] | None:
    """The game's action for every action of the world; None where the two have the same actions.

    `given`: what to use in place of the world's own dictionary. Raises ValueError where neither is
    there and the actions differ, and where a dictionary is of another world or another game.
    """
    actions = actions_of_world(world.spec.actions)
    own = Path(world.directory) / FILE if world.directory else None
    if given is None:
        if actions == game.actions:
            return None
        if own is None or not own.is_file():
            raise ValueError(
                f"the world {world.spec.name} has {actions}, but {game.name} has {game.actions}: "
                "give action_map=, the game's action for every one of the world's (`genie-env "
                "map-actions` finds those of latent actions)"
            )
        _check_unchanged(own)
        given = own
    if isinstance(actions, BoxActions):
        raise ValueError(
            f"an action map was given, but the world {world.spec.name} has {actions}; expected a "
            "world with numbered actions: leave action_map out"
        )
    chosen, where = _read(given, world, game)
    expected = actions.examples().tolist()
    if sorted(chosen) != expected:
        raise ValueError(
            f"{where} has actions for {_listed(sorted(chosen))}, but those of the world "
            f"{world.spec.name} are {_listed(expected)}: give the map of this world"
        )
    return {code: _of_game(action, code, game, where) for code, action in chosen.items()}


def codes_of_actions(
    world: World, game: Game, given: str | Path | None, means: Mapping[int, Any]
) -> dict[int, int]:
    """The world's action that stands for each of the game's, so that what plays the game can play its
    dream.

    `given`: the mapping.json to use in place of the world's own; `means`: what `real_actions` read of
    it. Raises ValueError where the file does not name an action for each of the game's.
    """
    file = Path(world.directory) / FILE if given is None else Path(given)
    entries = _read_file(file).get("codes", {})
    needed = game.actions.examples().tolist()
    if missing := [action for action in needed if str(action) not in entries]:
        raise ValueError(
            f"{file} does not say which latent action stands for {game.actions.name(missing[0])!r}: "
            "let `genie-env map-actions` write it again, from labels that have every action"
        )
    codes = {action: entries[str(action)]["code"] for action in needed}
    if unknown := sorted(set(codes.values()) - means.keys()):
        raise ValueError(
            f"{file} has the latent action {unknown[0]}, but those of the world {world.spec.name} are "
            f"{_listed(sorted(means))}: give the map of this world"
        )
    return codes


@dataclass(frozen=True)
class Meaning:
    """What a latent action stands for in the game."""

    name: str = ""
    """Of the game's action; empty: the dictionary does not say."""
    labels: int = 0
    """Labelled transitions that had the latent action."""
    share: float = 1.0
    """Of these, those of the game's action."""


def meanings_of(file: Path) -> dict[int, Meaning]:
    """By latent action, what a mapping.json says. Raises ValueError."""
    return {
        int(code): Meaning(
            entry.get("meaning") or "",
            entry.get("count", 0),
            1.0 if entry.get("share") is None else entry["share"],
        )
        for code, entry in _read_file(file)["dictionary"].items()
    }


def _read_file(file: Path) -> dict[str, Any]:
    try:
        found = read_json(file, _MAPPING)
    except OSError as error:
        raise ValueError(
            f"{error}; give mapping.json, which `genie-env map-actions` wrote"
        ) from error
    if wrong := [code for code in found["dictionary"] if not code.isdecimal()]:
        raise ValueError(f'{file}: "dictionary" has the key {wrong[0]!r}; expected numbers')
    return found


def _check_unchanged(own: Path) -> None:
    """Raises ValueError where a world's own dictionary is not the one that its config tells of."""
    told = read_config(own.parent).get("actions_map")
    if told is not None and hashlib.sha256(own.read_bytes()).hexdigest() != told:
        raise ValueError(
            f'{own} has changed: config.json has another "actions_map", its SHA-256; copy the world '
            "here again, or give action_map="
        )


def _read(given: ActionMap, world: World, game: Game) -> tuple[dict[int, Any], str]:
    """The dictionary, and what errors call it."""
    if isinstance(given, Mapping):
        if wrong := [code for code in given if type(code) is not int]:
            raise TypeError(f"action_map has the key {wrong[0]!r}; expected the world's actions")
        return dict(given), "action_map"
    if not isinstance(given, str | Path):
        raise TypeError(f"action_map is {given!r}; expected a file, or a dict of actions")
    file = Path(given)
    found = _read_file(file)
    known = _latent_actions_of(world)
    if found.get("weights") and known and found["weights"] not in known:
        raise ValueError(
            f"{file} is of the latent actions {found['weights']}, but those of the world "
            f"{world.spec.name} are {' or '.join(sorted(known))}: give the map of this world"
        )
    entries = found["dictionary"]
    for code, entry in entries.items():
        _check_meaning(entry, code, game, file)
    return {int(code): entry["action"] for code, entry in entries.items()}, str(file)


def _check_meaning(entry: Mapping[str, Any], code: str, game: Game, file: Path) -> None:
    meaning = entry.get("meaning")
    if meaning is None:
        return
    action = _of_game(entry["action"], int(code), game, str(file))
    if game.actions.name(action) != meaning:
        raise ValueError(
            f"{file} calls action {entry['action']} {meaning!r}, but {game.name} calls it "
            f"{game.actions.name(action)!r}: give the map of this game"
        )


def _of_game(action: Any, code: int, game: Game, where: str) -> Any:
    try:
        return checked_action(game.actions, action)
    except gymnasium.error.InvalidAction as error:
        raise ValueError(f"{where}, of {code}: {error}, as {game.name} has them") from None


def _latent_actions_of(world: World) -> set[str]:
    """The fingerprints of the networks that a world's latent actions may be of; empty where its
    directory does not say."""
    if not world.directory:
        return set()
    directory = Path(world.directory)
    known: set[str] = set()
    training = read_config(directory).get("training")
    for network in training.values() if isinstance(training, dict) else ():
        settings = network.get("settings") if isinstance(network, dict) else None
        weights = settings.get("weights") if isinstance(settings, dict) else None
        if isinstance(weights, list):
            known |= {each for each in weights if isinstance(each, str)}
    frozen = directory / "latent-actions" / "checkpoint.safetensors"
    if frozen.is_file():
        with frozen.open("rb") as opened:
            known.add(hashlib.file_digest(opened, "sha256").hexdigest()[:16])
    return known


def _listed(codes: list[int]) -> str:
    whole = codes == list(range(codes[0], codes[-1] + 1)) if codes else False
    if whole and len(codes) > 2:
        return f"{codes[0]} to {codes[-1]}"
    return " and ".join(map(str, codes)) or "none"

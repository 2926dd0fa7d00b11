"""A world's actions as actions of a real game: the same ones, or those of a dictionary.

Latent actions are numbered by the network that inferred them; `genie-env map-actions` learns which
real action each of them stands for.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium

from genie_env._core import World
from genie_env.envs.actions import BoxActions, DiscreteActions, actions_of_world
from genie_env.envs.json_files import Schema, read_json
from genie_env.envs.world_card import read_config
from genie_env.games.base import Game
from genie_env.games.env_actions import checked_action


@dataclass(frozen=True)
class ActionDictionary:
    """What a world's actions are in a game. Immutable."""

    means: Mapping[int, Any]
    """The game's action for every one of the world's."""
    after: Mapping[int, Mapping[int, Any]] = field(default_factory=dict)
    """The same by the game's action that was played before. A latent action may stand for a change, a turn
    for instance, and is then another action of the game after each. Empty: it makes no difference."""

    def action(self, taken: int, before: Any | None) -> Any:
        """The game's action for the world's `taken`, where the game's `before` was played last; None: at
        the beginning of an episode."""
        if before is None or not self.after:
            return self.means[taken]
        return self.after[int(before)][taken]

    def as_json(self) -> dict[str, Any]:
        """By the world's action, the game's; under "after" the same by the game's action before."""
        after = {str(before): _by_text(means) for before, means in self.after.items()}
        return {**_by_text(self.means), **({"after": after} if after else {})}


class Translation:
    """A dictionary at work in N rows, each of which remembers what it played last."""

    def __init__(self, dictionary: ActionDictionary, rows: int) -> None:
        self._dictionary = dictionary
        self._before: list[Any] = [None] * rows

    def begin(self, row: int) -> None:
        """An episode begins."""
        self._before[row] = None

    def action(self, row: int, taken: int) -> Any:
        """The game's action for the world's `taken`: it is played now."""
        self._before[row] = self._dictionary.action(taken, self._before[row])
        return self._before[row]


ActionMap = str | Path | Mapping[int, Any] | ActionDictionary
"""The game's action for every one of the world's; or the file of one, mapping.json of `genie-env
map-actions`."""

_NUMBER = re.compile(r"0|-?[1-9]\d{0,8}")

FILE = "mapping.json"
"""In a world's directory: its own dictionary."""

_MAPPING: Schema = {
    "dictionary": {
        "*": {"action": int, "meaning?": (str, None), "count?": int, "share?": (float, None)}
    },
    "after?": {"*": {"*": int}},
    "codes?": {"*": {"code": int, "share?": float, "count?": int}},
    "weights?": str,
}


def real_actions(world: World, game: Game, given: ActionMap | None) -> ActionDictionary | None:
    """What the actions of the world are in the game; None where the two have the same actions.

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
    parts = {where: chosen.means}
    parts |= {f'{where}, "after" {before}': means for before, means in chosen.after.items()}
    for place, means in parts.items():
        if wrong := [code for code in means if type(code) is not int]:
            raise TypeError(f"{place} has the key {wrong[0]!r}; expected the world's actions")
        if sorted(means) != expected:
            raise ValueError(
                f"{place} has actions for {_listed(sorted(means))}, but those of the world "
                f"{world.spec.name} are {_listed(expected)}: give the map of this world"
            )
    if wrong := [before for before in chosen.after if type(before) is not int]:
        raise TypeError(f'{where} has "after" the action {wrong[0]!r}; expected numbers of the game')
    if chosen.after and sorted(chosen.after) != (played := _numbers_of(game)):
        raise ValueError(
            f'{where} has "after" the actions {_listed(sorted(chosen.after))}, but those of {game.name} '
            f"are {_listed(played)}: give the map of this game"
        )

    means, *after = (
        {code: _of_game(action, code, game, place) for code, action in part.items()}
        for place, part in parts.items()
    )
    return ActionDictionary(means, dict(zip(chosen.after, after, strict=True)))


def _numbers_of(game: Game) -> list[int]:
    """The numbers of a game's actions; empty where they have none."""
    numbered = isinstance(game.actions, DiscreteActions)
    return game.actions.examples().tolist() if numbered else []


def codes_of_actions(
    world: World, game: Game, given: str | Path | None, dictionary: ActionDictionary
) -> dict[int, int]:
    """The world's action that stands for each of the game's, so that what plays the game can play its
    dream.

    `given`: the mapping.json to use in place of the world's own; `dictionary`: what `real_actions` read
    of it. Raises ValueError where the file does not name an action for each of the game's.
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
    if unknown := sorted(set(codes.values()) - dictionary.means.keys()):
        raise ValueError(
            f"{file} has the latent action {unknown[0]}, but those of the world {world.spec.name} are "
            f"{_listed(sorted(dictionary.means))}: give the map of this world"
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
    after = found.get("after", {})
    numbers = {"dictionary": [*found["dictionary"]], "after": [*after, *itertools.chain(*after.values())]}
    for name, keys in numbers.items():
        if wrong := [key for key in keys if not _NUMBER.fullmatch(key)]:
            raise ValueError(f'{file}: "{name}" has the key {wrong[0]!r}; expected whole numbers of 9 digits')
    return found


def _check_unchanged(own: Path) -> None:
    """Raises ValueError where a world's own dictionary is not the one that its config tells of."""
    told = read_config(own.parent).get("actions_map")
    if told is not None and hashlib.sha256(own.read_bytes()).hexdigest() != told:
        raise ValueError(
            f'{own} has changed: config.json has another "actions_map", its SHA-256; copy the world '
            "here again, or give action_map="
        )


def _read(given: ActionMap, world: World, game: Game) -> tuple[ActionDictionary, str]:
    """The dictionary, and what errors call it."""
    if isinstance(given, ActionDictionary):
        return given, "action_map"
    if isinstance(given, Mapping):
        return ActionDictionary(dict(given)), "action_map"
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
    means = {int(code): entry["action"] for code, entry in entries.items()}
    after = {
        int(before): {int(code): action for code, action in by_code.items()}
        for before, by_code in found.get("after", {}).items()
    }
    return ActionDictionary(means, after), str(file)


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


def _by_text(means: Mapping[int, Any]) -> dict[str, Any]:
    return {str(code): action for code, action in means.items()}


def _listed(codes: list[int]) -> str:
    whole = codes == list(range(codes[0], codes[-1] + 1)) if codes else False
    if whole and len(codes) > 2:
        return f"{codes[0]} to {codes[-1]}"
    return " and ".join(map(str, codes)) or "none"

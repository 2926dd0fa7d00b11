"""Held keys and gamepad axes as actions of a world."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genie_env.envs.actions import Actions, BoxActions, DiscreteActions
from genie_env.games.action_map import Meaning

_KEYS = {
    "left": "ArrowLeft",
    "right": "ArrowRight",
    "up": "ArrowUp",
    "forward": "ArrowUp",
    "gas": "ArrowUp",
    "down": "ArrowDown",
    "backward": "ArrowDown",
    "brake": "ArrowDown",
    "fire": "Space",
    "attack": "Space",
    "jump": "Space",
    "pickup": "KeyZ",
    "drop": "KeyC",
    "toggle": "KeyT",
    "done": "KeyQ",
}
"""The key of a word in an action's name, as KeyboardEvent.code."""

_REST = {"stay", "noop", "none", "nothing", "idle", "wait"}
_WORDS = re.compile("|".join(sorted({*_KEYS, *_REST}, key=len, reverse=True)))
_MORE = [*(f"Digit{n}" for n in range(1, 10)), *(f"Key{letter}" for letter in "ASDFHJLQEYI")]
"""Keys of actions whose names say nothing, in order; a digit is its own."""
_DIGITS = frozenset("0123456789")
_PAIRS = (("ArrowLeft", "ArrowRight"), ("ArrowDown", "ArrowUp"), ("KeyA", "KeyD"), ("KeyS", "KeyW"))
"""Keys for less and more of the numbers of continuous actions, in order."""
_STICKS = (("ArrowLeft", "ArrowRight"), ("ArrowUp", "ArrowDown"), ("KeyA", "KeyD"), ("KeyW", "KeyS"))
"""Keys that a gamepad's axes are: below 0 (left, up) and above."""


class DiscreteControls:
    """Numbered actions: of those whose keys are all held, the one with most keys is taken."""

    def __init__(
        self, actions: DiscreteActions, meanings: Sequence[Meaning] | None = None
    ) -> None:
        """`meanings`: of latent actions. Of several that mean the same, the most frequent has its key;
        where none means to rest, the least certain one does."""
        self._actions = actions
        self._meanings = meanings
        self._chords: dict[frozenset[str], int] = {}
        self._told = told = meanings or [Meaning(name) for name in actions.meanings]
        rest, unnamed = None, []
        for index in sorted(range(len(told)), key=lambda index: -told[index].labels):
            words = _words(told[index].name)
            chord = frozenset(_KEYS[word] for word in words if word in _KEYS)
            if not chord and words and rest is None:
                rest = index
            elif not chord or chord in self._chords:
                unnamed.append(index)
            else:
                self._chords[chord] = index
        numbers = {index: actions.meanings[index] for index in sorted(unnamed)}
        digits = {i: f"Digit{name}" for i, name in numbers.items() if name in _DIGITS}
        more = (key for key in _MORE if key not in digits.values())
        for index in numbers:
            if (key := digits.get(index) or next(more, None)) is not None:
                self._chords[frozenset({key})] = index
        least_certain = min(range(len(told)), key=lambda index: told[index].share)
        self.rest = least_certain if rest is None else rest
        """The action when no key is held, counted from 0."""

    @property
    def keys(self) -> dict[str, int]:
        """Actions, counted from 0, by the one key that gives them."""
        single = {next(iter(chord)): i for chord, i in self._chords.items() if len(chord) == 1}
        held = {key for chord in self._chords for key in chord}
        return single | {key: self.rest for key in sorted(held - single.keys())}

    def action(self, down: Sequence[str], axes: Sequence[float]) -> np.int64:
        """The world's action. `down`: held keys, the newest last; `axes`: -1 to 1."""
        down = [*down, *(key for key, way in _pushed(axes[:2]) if way > 0.5)]
        fitting = [chord for chord in self._chords if chord <= set(down)]
        if not fitting:
            index = self.rest
        else:
            best = max(fitting, key=lambda chord: (len(chord), max(map(down.index, chord))))
            index = self._chords[best]
        return np.int64(self._actions.start + index)

    def named(self, name: str) -> np.int64:
        """An action by its name, or meaning, or number. Raises ValueError."""
        told = [meaning.name.lower() for meaning in self._told]
        known = [each.lower() for each in self._actions.meanings]
        if name.lower() in known:
            return np.int64(self._actions.start + known.index(name.lower()))
        if name and name.lower() in told:
            alike = [index for index, each in enumerate(told) if each == name.lower()]
            best = max(alike, key=lambda index: self._told[index].labels)
            return np.int64(self._actions.start + best)
        if name.isdecimal() and len(name) < 10 and int(name) in self._actions.examples():
            return np.int64(name)
        meant = ", ".join(sorted({meaning.name for meaning in self._told if meaning.name}))
        also = f", which mean {meant}" if self._meanings else ""
        raise ValueError(
            f"{name[:100]!r} is no action of this world: it has {self._actions}{also}"
        )

    def shown(self, action: Any) -> int:
        """As a frame's header has it: counted from 0."""
        return int(action) - self._actions.start

    def as_json(self) -> dict[str, Any]:
        meanings = self._meanings
        return {
            "kind": "discrete",
            "names": list(self._actions.meanings),
            "meanings": meanings and [meaning.name for meaning in meanings],
            "keys": self.keys,
            "chords": [
                [sorted(chord), index] for chord, index in self._chords.items() if len(chord) > 1
            ],
            "rest": self.rest,
        }


class BoxControls:
    """Continuous actions: a held key takes a number from rest to one end of its range, a stick part of
    the way. A number that rests at an end, such as a car's gas, has one key."""

    def __init__(self, actions: BoxActions, axes: Sequence[str] = ()) -> None:
        """`axes`: what the numbers are, where that is known."""
        self._actions, self._axes = actions, axes
        self._low, self._high = (bound.reshape(-1) for bound in actions.bounds)
        self._rest = np.clip(0, self._low, self._high)
        self.keys: dict[str, tuple[int, float]] = {}
        pairs = iter(_PAIRS)
        halves = itertools.chain.from_iterable(map(reversed, pairs))  # of pairs that are free
        for number, rest in enumerate(self._rest):
            bounds = (float(self._low[number]), float(self._high[number]))
            ends = [bound for bound in bounds if bound != rest]
            keys = next(pairs, ()) if len(ends) == 2 else itertools.islice(halves, len(ends))
            self.keys |= {key: (number, end) for key, end in zip(keys, ends, strict=False)}

    def action(self, down: Sequence[str], axes: Sequence[float]) -> NDArray[np.float32]:
        """float32 [*shape]."""
        numbers: NDArray[np.float32] = self._rest.astype(np.float32)
        for key, way in (*_pushed(axes), *((key, 1.0) for key in down)):
            if key in self.keys:
                number, end = self.keys[key]
                rest = self._rest[number]
                numbers[number] = end if way == 1 else rest + way * (end - rest)
        return numbers.reshape(self._actions.shape)

    def named(self, name: str) -> NDArray[np.float32]:
        """An action by its numbers. Raises ValueError."""
        try:
            numbers = np.array([float(n) for n in name.replace(",", " ").split()], np.float32)
        except ValueError:
            numbers = np.zeros(0, np.float32)
        inside = len(numbers) == len(self._low) and (
            (self._low <= numbers) & (numbers <= self._high)
        ).all()
        if not inside:
            raise ValueError(f"{name[:100]!r} is no action of this world: it has {self._actions}")
        return numbers.reshape(self._actions.shape)

    def shown(self, action: Any) -> list[float]:
        return [round(float(number), 3) for number in np.ravel(action)]

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": "box",
            "axes": [*self._axes],
            "rest": self._rest.tolist(),
            "keys": self.keys,
        }


Controls = DiscreteControls | BoxControls


def controls_of(
    actions: Actions, meanings: Mapping[int, Meaning] | None = None, axes: Sequence[str] = ()
) -> Controls:
    """`meanings`: by latent action, what its world's dictionary says. `axes`: what the numbers of a
    continuous action are."""
    if isinstance(actions, BoxActions):
        return BoxControls(actions, axes)
    if meanings is None:
        return DiscreteControls(actions)
    return DiscreteControls(actions, [meanings.get(int(a), Meaning()) for a in actions.examples()])


def _words(name: str) -> list[str]:
    """Known words in an action's name, such as those of "UPRIGHTFIRE" or "turn left"."""
    return _WORDS.findall(name.lower())


def _pushed(axes: Sequence[float]) -> list[tuple[str, float]]:
    """The keys that a gamepad's sticks are, and how far each is pushed: above 0, at most 1."""
    return [
        (less if axis < 0 else more, min(1.0, abs(axis)))
        for axis, (less, more) in zip(axes, _STICKS, strict=False)
        if axis
    ]

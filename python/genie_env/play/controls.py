"""Held keys and gamepad axes as actions of a world."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genie_env.envs.actions import Actions, BoxActions, DiscreteActions

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
"""Keys of actions whose names say nothing, in order."""
_PAIRS = (("ArrowLeft", "ArrowRight"), ("ArrowDown", "ArrowUp"), ("KeyA", "KeyD"), ("KeyS", "KeyW"))
"""Keys for less and more of the numbers of continuous actions, in order."""
_STICKS = (("ArrowLeft", "ArrowRight"), ("ArrowUp", "ArrowDown"), ("KeyA", "KeyD"), ("KeyW", "KeyS"))
"""Keys that a gamepad's axes are: below 0 (left, up) and above."""


class DiscreteControls:
    """Numbered actions: of those whose keys are all held, the one with most keys is taken."""

    def __init__(self, actions: DiscreteActions, meanings: Sequence[str] | None) -> None:
        self._actions = actions
        self._meanings = meanings
        self._chords: dict[frozenset[str], int] = {}
        more = iter(_MORE)
        rest = None
        for index, name in enumerate(meanings or actions.meanings):
            words = _words(name)
            chord = frozenset(_KEYS[word] for word in words if word in _KEYS)
            if not chord and words and rest is None:
                rest = index
            elif not chord or chord in self._chords:
                if (key := next(more, None)) is not None:
                    self._chords[frozenset({key})] = index
            else:
                self._chords[chord] = index
        self.rest = 0 if rest is None else rest
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

    def shown(self, action: Any) -> int:
        """As a frame's header has it: counted from 0."""
        return int(action) - self._actions.start

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": "discrete",
            "names": list(self._actions.meanings),
            "meanings": None if self._meanings is None else list(self._meanings),
            "keys": self.keys,
            "chords": [
                [sorted(chord), index] for chord, index in self._chords.items() if len(chord) > 1
            ],
            "rest": self.rest,
        }


class BoxControls:
    """Continuous actions: a held key takes a number from rest to one end of its range, a stick part of
    the way. A number that rests at an end, such as a car's gas, has one key."""

    def __init__(self, actions: BoxActions) -> None:
        self._actions = actions
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

    def shown(self, action: Any) -> list[float]:
        return [round(float(number), 3) for number in np.ravel(action)]

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": "box",
            "shape": list(self._actions.shape),
            "low": self._low.tolist(),
            "high": self._high.tolist(),
            "rest": self._rest.tolist(),
            "keys": self.keys,
        }


Controls = DiscreteControls | BoxControls


def controls_of(actions: Actions, meanings: Mapping[int, str] | None = None) -> Controls:
    """`meanings`: by latent action, what its world's dictionary says."""
    if isinstance(actions, BoxActions):
        return BoxControls(actions)
    told = None
    if meanings is not None:
        told = [meanings.get(int(action), "") for action in actions.examples()]
    return DiscreteControls(actions, told)


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

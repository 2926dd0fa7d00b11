"""Held keys and gamepad axes as actions of a world."""

from __future__ import annotations

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
        down = [*down, *_keys_of_axes(axes)]
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
    """Continuous actions: a held key is one end of a number's range, an axis any point of it."""

    def __init__(self, actions: BoxActions) -> None:
        self._actions = actions
        self._low, self._high = (bound.reshape(-1) for bound in actions.bounds)
        self._rest = np.clip(0, self._low, self._high)
        pairs = _PAIRS[: actions.width]
        self.keys = {
            key: (number, float(bound[number]))
            for number, pair in enumerate(pairs)
            for key, bound in zip(pair, (self._low, self._high), strict=True)
        }

    def action(self, down: Sequence[str], axes: Sequence[float]) -> NDArray[np.float32]:
        """float32 [*shape]."""
        numbers: NDArray[np.float32] = self._rest.astype(np.float32)
        for number, axis in enumerate(axes[: len(numbers)]):
            if axis:
                share = (min(1.0, max(-1.0, axis)) + 1) / 2
                numbers[number] = self._low[number] + share * (self._high - self._low)[number]
        for key in down:
            if key in self.keys:
                number, value = self.keys[key]
                numbers[number] = value
        return numbers.reshape(self._actions.shape)

    def shown(self, action: Any) -> list[float]:
        return [round(float(number), 3) for number in np.ravel(action)]

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": "box",
            "shape": list(self._actions.shape),
            "low": self._low.tolist(),
            "high": self._high.tolist(),
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


def _keys_of_axes(axes: Sequence[float]) -> list[str]:
    """Half a stick's way counts as a key."""
    keys = []
    for axis, (less, more) in zip(axes[:2], (_PAIRS[0], ("ArrowUp", "ArrowDown")), strict=False):
        if abs(axis) > 0.5:
            keys.append(more if axis > 0 else less)
    return keys

"""A driver of CarRacing that reads the track, and blind play of its pedals.

The driver follows a point of the track some way ahead (pure pursuit), as fast as the sharpest bend
before it allows. Lengths are those of the game's physics: a tile is 3.5 long, the road 13.3 wide.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genie_env.envs.actions import Taken
from genie_env.games.blind import Draws, hold

# Found by random search over 20 tracks at frame skip 4.
_TILE = 3.5
_LOOK_AHEAD = 9.4  # and so much farther a unit of speed:
_LOOK_AHEAD_BY_SPEED = 0.24
_STEERING = 1.31
_DAMPING = 0.096
_TILES_SEEN = 25
_BEND = 6  # tiles over which a curvature is measured
_GRIP = 160.0  # the square of speed times curvature that tyres hold
_BRAKING = 26.5
_FASTEST = 97.0
_GAS = 0.15
_GAS_IN_BENDS = 1.36  # less by so much of full steering: the rear wheels drive
_BRAKE = 0.053
_SLOW = 20.0
_NEARLY_STILL = 10.0

_HALF_ROAD = 6.67
_SHORTEST, _LONGEST = 1, 60  # steps that pedals are held for


class Driver:
    """Drives one episode of a game of Gymnasium, which has been reset."""

    def __init__(self, game: Any, pace: float = 1.0, side: float = 0.0) -> None:
        """`pace`: a factor of every speed. `side`: of the road, -1 its left edge, 1 its right."""
        self._car = game.car
        track = np.array(game.track)
        self._heading = np.unwrap(track[:, 1])
        right = np.stack([np.cos(self._heading), np.sin(self._heading)], axis=1)
        self._line = track[:, 2:4] + side * _HALF_ROAD * right
        self._pace = pace
        self._tile = 0

    def action(self) -> NDArray[np.float32]:
        """float32 [3], in the state that the game is in."""
        hull = self._car.hull
        position, speed = np.array(hull.position), float(np.hypot(*hull.linearVelocity))
        self._find_tile(position)
        ahead = (_LOOK_AHEAD + _LOOK_AHEAD_BY_SPEED * speed) / _TILE
        goal = self._line[(self._tile + round(ahead)) % len(self._line)] - position
        # An angle of 0 is upwards, and positive ones are to the left.
        turn = float(np.arctan2(-goal[0], goal[1])) - hull.angle
        turn = (turn + np.pi) % (2 * np.pi) - np.pi
        steering = np.clip(_DAMPING * hull.angularVelocity - _STEERING * turn, -1, 1)
        wanted = self._pace * self._speed_allowed()
        if abs(turn) > 1:
            wanted = min(wanted, _SLOW)
        gas = brake = 0.0
        if speed < wanted:
            gas = min(1.0, _GAS * (wanted - speed)) * (1 - _GAS_IN_BENDS * abs(steering))
            gas = max(gas, 0.1 if speed < _NEARLY_STILL else 0.0)
        elif speed > wanted + 3:
            brake = min(0.8, _BRAKE * (speed - wanted))
        return np.array([steering, gas, brake], np.float32)

    def _find_tile(self, position: NDArray[np.float64]) -> None:
        """The nearest tile: one near the last, unless the car is far from these."""
        near = (self._tile + np.arange(-5, 30)) % len(self._line)
        distances = np.linalg.norm(self._line[near] - position, axis=1)
        if distances.min() > 30:
            near = np.arange(len(self._line))
            distances = np.linalg.norm(self._line - position, axis=1)
        self._tile = int(near[distances.argmin()])

    def _speed_allowed(self) -> float:
        seen = (self._tile + np.arange(_TILES_SEEN + _BEND)) % len(self._line)
        turns = np.abs(np.diff(np.unwrap(self._heading[seen])))
        curvature = np.convolve(turns, np.ones(_BEND) / _BEND, "valid") / _TILE
        distance = np.arange(len(curvature)) * _TILE
        squares = _GRIP / np.maximum(curvature, 1e-3) + 2 * _BRAKING * distance
        return min(_FASTEST, float(np.sqrt(squares.min())))


def drive(game: Any, frame_skip: int, noise: Draws | None) -> Iterator[NDArray[np.float32]]:
    """The driver's actions in an episode of a game of Gymnasium, each chosen when it is asked for and
    held for `frame_skip` steps.

    With `noise` the episode has a pace, a side and a share of the time in which the pedals of a blind
    policy, held for 1 to 60 steps, overrule the driver: data that covers what surrounds it.
    """
    if noise is None:
        driver = Driver(game)
        while True:
            yield driver.action()
    pace, side = noise.choice.uniform(0.5, 1.4), noise.choice.uniform(-0.8, 0.8)
    share = noise.choice.uniform(0.0, 0.5)
    driver = Driver(game, pace, side)
    while True:
        overruled = noise.choice.random() < share
        held = int(_lengths(noise, 1)[0])
        blind = _pedals(noise, 1)[0]
        for _ in range(-(-held // frame_skip)):
            own = driver.action()
            yield blind if overruled else own


def pedals(draws: Draws, length: int) -> Taken:
    """Uniform steering, and half the time gas, a quarter the brake, a quarter neither, each held for 1
    to 60 steps: float32 [length, 3]."""
    return hold(_pedals(draws, length), _lengths(draws, length)).astype(np.float32)


def _pedals(draws: Draws, count: int) -> NDArray[np.float32]:
    steering, pedal, depth = draws.actions.random((count, 3)).T
    gas = np.where(pedal < 0.5, depth, 0)
    brake = np.where(pedal >= 0.75, depth, 0)
    return np.stack([2 * steering - 1, gas, brake], axis=1).astype(np.float32)


def _lengths(draws: Draws, count: int) -> NDArray[np.int64]:
    """Whole numbers from 1 to 60, as many between 1 and 2 as between 30 and 60."""
    drawn = np.exp(draws.lengths.uniform(np.log(_SHORTEST), np.log(_LONGEST + 1), count))
    return drawn.astype(np.int64).clip(_SHORTEST, _LONGEST)

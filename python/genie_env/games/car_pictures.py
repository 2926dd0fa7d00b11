"""Draws CarRacing's field and road: the game's own pixels in a part of its time.

The game turns every polygon of its field and track in Python, also those that are far off the screen,
which takes most of a step.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MARGIN = 2.0  # pixels by which a polygon may be drawn outside of its corners


class Ground:
    """Field and road of one episode. `draw` stands in for the `_render_road` of Gymnasium's game."""

    def __init__(self, game: Any) -> None:
        """`game`: Gymnasium's, which has been reset."""
        self._game = game
        self._theirs = importlib.import_module(type(game).__module__)
        self._gfxdraw = importlib.import_module("pygame.gfxdraw")
        edge, side = self._theirs.PLAYFIELD, self._theirs.GRASS_DIM
        self._field = [(edge, edge), (edge, -edge), (-edge, -edge), (-edge, edge)]
        corners = np.array([(1, 0), (0, 0), (0, 1), (1, 1)])
        places = np.array([(x, y) for x in range(-20, 20, 2) for y in range(-20, 20, 2)])
        grass = (places[:, None] + corners) * side
        road = np.array([corners for corners, _ in game.road_poly])
        self._polygons = np.concatenate([grass, road])  # [N, 4, 2]
        self._grass = len(grass)

    def draw(self, zoom: float, translation: Sequence[float], angle: float) -> None:
        """Draws onto the game's surface; arguments as the game's."""
        game, theirs = self._game, self._theirs
        shown = (zoom, translation, angle)
        game._draw_colored_polygon(game.surf, self._field, game.bg_color, *shown, clip=False)
        points = _on_screen(self._polygons, zoom, translation, angle)
        low, high = points.min(1), points.max(1)
        size = theirs.WINDOW_W, theirs.WINDOW_H
        visible = np.flatnonzero(((high >= -_MARGIN) & (low <= np.array(size) + _MARGIN)).all(1))
        for index, corners in zip(visible.tolist(), points[visible].tolist(), strict=True):
            # A tile takes another colour once it is reached.
            tile = index - self._grass
            color = game.grass_color if tile < 0 else [int(c) for c in game.road_poly[tile][1]]
            self._gfxdraw.aapolygon(game.surf, corners, color)
            self._gfxdraw.filled_polygon(game.surf, corners, color)


def _on_screen(
    polygons: NDArray[np.float64], zoom: float, translation: Sequence[float], angle: float
) -> NDArray[np.float64]:
    cos, sin = math.cos(angle), math.sin(angle)
    x, y = polygons[..., 0], polygons[..., 1]
    right, down = (cos * x - sin * y) * zoom, (sin * x + cos * y) * zoom
    return np.stack([right + translation[0], down + translation[1]], axis=-1)

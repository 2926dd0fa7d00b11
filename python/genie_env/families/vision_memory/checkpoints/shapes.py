"""Holds the tensors of checkpoints to the names and shapes of their layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

Dimension = int | str
"""A number, a size by its name ("hidden"), or a multiple of one ("4*hidden")."""
Shapes = Mapping[str, tuple[Dimension, ...]]


class ShapeChecks:
    """Finds the sizes of a layout in its tensors, and all that is wrong with these.

    A size is what the first tensor that has it says. Then `refuse` raises one error that lists what is
    missing, of another shape, or not of the layout, file by file.
    """

    def __init__(self, layout: str) -> None:
        self.sizes: dict[str, int] = {}
        self._layout = layout
        self._wrong: list[str] = []

    def check(self, file: Path, tensors: Mapping[str, torch.Tensor], shapes: Shapes) -> None:
        """Holds the tensors of a file to `shapes`."""
        missing = [name for name in shapes if name not in tensors]
        extra = [name for name in tensors if name not in shapes]
        misshapen = []
        for name, shape in shapes.items():
            if name in tensors and not self._fits(tensors[name].shape, shape):
                expected = ", ".join(map(self._said, shape))
                misshapen.append(f"{name} is {list(tensors[name].shape)}, expected [{expected}]")
        for words, names in (("lacks", missing), ("has, but the layout has not,", extra)):
            if names:
                self._wrong.append(f"{file} {words} {', '.join(names)}")
        if misshapen:
            self._wrong.append(f"in {file} {', '.join(misshapen)}")

    def refuse(self) -> None:
        """Raises ValueError where something is wrong."""
        if self._wrong:
            raise ValueError(
                f"this is no checkpoint of the layout {self._layout}: {'; '.join(self._wrong)}"
            )

    def _fits(self, found: Sequence[int], shape: Sequence[Dimension]) -> bool:
        if len(found) != len(shape):
            return False
        for size, dimension in zip(found, shape, strict=True):
            factor, name = _parsed(dimension)
            if size % factor or size == 0:
                return False
            if name and name not in self.sizes:
                self.sizes[name] = size // factor
        return all(
            size == self._value(dimension) for size, dimension in zip(found, shape, strict=True)
        )

    def _value(self, dimension: Dimension) -> int:
        factor, name = _parsed(dimension)
        return factor * self.sizes[name] if name else factor

    def _said(self, dimension: Dimension) -> str:
        name = _parsed(dimension)[1]
        return str(self._value(dimension)) if name in self.sizes or not name else str(dimension)


def _parsed(dimension: Dimension) -> tuple[int, str]:
    """The factor and the name of a size; no name of a number."""
    if isinstance(dimension, int):
        return dimension, ""
    factor, times, name = dimension.rpartition("*")
    return (int(factor) if times else 1), name

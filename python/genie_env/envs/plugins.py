"""Modules of users, which register world families, games or Gymnasium environments when they are
imported. Needs no torch."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import os
import sys
from collections.abc import Iterable

GROUP = "genie_env.plugins"
"""The entry points by which an installed package names its modules."""

_imported: list[str] = []


@functools.cache
def _entry_points() -> tuple[importlib.metadata.EntryPoint, ...]:
    return tuple(importlib.metadata.entry_points(group=GROUP))


def import_plugins() -> None:
    """Imports the module of every entry point, once in a process.

    Raises ImportError that names the entry point whose module cannot be imported.
    """
    for entry in _entry_points():
        if entry.module in sys.modules:  # also while that module is being imported
            continue
        try:
            importlib.import_module(entry.module)
        except ImportError as error:
            package = "an installed package" if entry.dist is None else entry.dist.name
            raise ImportError(
                f"the plugin {entry.module!r} of {package} cannot be imported ({error}): repair "
                "or uninstall it"
            ) from error


def import_module(name: str) -> None:
    """Imports a module of the current folder, or an installed one.

    The folder stays first on `sys.path`, where worker processes look too. Raises ValueError where
    there is no such module.
    """
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name != missing and not name.startswith(f"{missing}."):
            raise  # the module is there, and one that it imports is not
        raise ValueError(
            f"no module {missing!r} is in this folder or installed: change to its folder, install "
            "it, or correct the name"
        ) from error
    if name not in _imported:
        _imported.append(name)


def import_modules(names: Iterable[str]) -> None:
    for name in names:
        import_module(name)


def imported() -> tuple[str, ...]:
    """The modules that `import_module` imported in this process, for its worker processes."""
    return tuple(_imported)

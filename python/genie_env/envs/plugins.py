"""Modules of users, which register world families, games or Gymnasium environments when they are
imported. Needs no torch."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

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
    there is no such module, or it ends the program.
    """
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        importlib.import_module(name)
    except SystemExit as error:
        raise ValueError(
            f"the module {name!r} ends the program when it is imported: put what it does under "
            'if __name__ == "__main__"'
        ) from error
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


def import_function(name: str, what: str, expected: str) -> Callable[..., Any]:
    """The function that a command line names as "module:function", of a module of the current folder
    or an installed one.

    `what` it is, and what is `expected` of it, are for errors. Raises ValueError where there is no such
    function, ImportError where its module cannot be imported.
    """
    module, _, function = name.rpartition(":")
    expected = (
        f"expected module:function, a function of this folder or of an installed module that {expected}"
    )
    if not module or not function:
        raise ValueError(f"{what} is {name!r}; {expected}")
    try:
        import_module(module)
    except ValueError as error:
        raise ValueError(f"{what} is {name!r}: {error}") from error
    except ImportError as error:  # of what the user's own code imports
        raise ImportError(
            f"{what} is {name!r}, but its module cannot be imported ({error}): install what is missing, "
            "or correct it",
            name=error.name,
        ) from error
    except Exception as error:  # of the user's own code
        kind = type(error).__name__
        raise ImportError(
            f"{what} is {name!r}, but its module cannot be imported ({kind}: {error}): correct it"
        ) from error
    found: Callable[..., Any] | None = getattr(sys.modules[module], function, None)
    if not callable(found):
        raise ValueError(
            f"{what} is {name!r}, but the module {module!r} has no function {function!r}; {expected}"
        )
    return found


def import_modules(names: Iterable[str]) -> None:
    for name in names:
        import_module(name)


def imported() -> tuple[str, ...]:
    """The modules that `import_module` imported in this process, for its worker processes."""
    return tuple(_imported)

"""Frozen world models, served as batched, Gym-like simulators.

    import genie_env

    env = genie_env.make_vec("doom-take-cover", num_envs=1024)
    observations, infos = env.reset(seed=0)
    observations, rewards, terminations, truncations, infos = env.step(actions)

Importing this package also registers its environments with Gymnasium.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import operator
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import genie_env.games.registry  # noqa: F401  (registers the package's own games)
from genie_env.envs.plugins import import_plugins
from genie_env.envs.registry import find_world, installed_worlds, register_worlds

if TYPE_CHECKING:
    from genie_env._core import Busy, FormatError, Snapshot, StartBank, World, build_info
    from genie_env.envs.options import EnvOptions
    from genie_env.envs.single_env import DreamEnv
    from genie_env.envs.vector_env import DreamVectorEnv, make_vec
    from genie_env.envs.world_checks import check_world
    from genie_env.families.exported.export import export_world
    from genie_env.games.real_env import RealEnv
    from genie_env.games.real_vector_env import RealVectorEnv

    __version__: str

__all__ = [
    "Busy",
    "DreamEnv",
    "DreamVectorEnv",
    "EnvOptions",
    "FormatError",
    "RealEnv",
    "RealVectorEnv",
    "Snapshot",
    "StartBank",
    "World",
    "__version__",
    "build_info",
    "check_world",
    "cmake_prefix",
    "export_world",
    "find_world",
    "installed_worlds",
    "make_vec",
]

TORCH = "2.11"
"""The minor version of torch that the compiled part is built against."""

_NEWEST_IN_CORE = ("AtomicFile", "Busy", "StartBank", "ExportedGraph")
"""The latest additions to the compiled part: one that was built before has not all of them."""

_STALE = (
    "the compiled part of genie_env was built from other sources than this Python code: run "
    "`pip install .` again, in the folder of the sources"
)

_HOMES = {
    "Busy": "_core",
    "DreamEnv": "envs.single_env",
    "DreamVectorEnv": "envs.vector_env",
    "EnvOptions": "envs.options",
    "FormatError": "_core",
    "RealEnv": "games.real_env",
    "RealVectorEnv": "games.real_vector_env",
    "Snapshot": "_core",
    "StartBank": "_core",
    "World": "envs.load_world",  # which says how it is pickled
    "build_info": "_core",
    "check_world": "envs.world_checks",
    "export_world": "families.exported.export",
    "make_vec": "envs.vector_env",
    "make_without_limit": "envs.single_env",  # the entry point of gymnasium.make
}


def __dir__() -> list[str]:
    """The public names, also those that are not loaded yet."""
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    """Loads a name when it is first asked for.

    Torch takes seconds to import, and help texts and the workers that play real games do without.
    """
    if name == "__version__":
        return importlib.metadata.version("genie-env")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    check_torch()
    import torch  # noqa: F401  (comes first: it loads the libraries that _core is linked to)

    import genie_env.families  # noqa: F401  (registers the package's own families)

    home = import_checked(f"{__name__}.{_HOMES[name]}")
    import_plugins()  # they may register families of worlds
    return getattr(home, name)


def import_checked(module: str) -> ModuleType:
    """Imports a module; raises ImportError in plain words where it uses a stale compiled part."""
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        if error.name == f"{__name__}._core" and str(error).startswith("cannot import name"):
            raise ImportError(_STALE) from error
        raise
    core = sys.modules.get(f"{__name__}._core")
    try:
        operator.attrgetter(*_NEWEST_IN_CORE)(core)
    except AttributeError as error:
        if core is not None:
            raise ImportError(_STALE) from error
    return found


def cmake_prefix() -> str:
    """The folder for CMAKE_PREFIX_PATH, in which find_package(genie_env) finds the C++ library.

    Raises FileNotFoundError where there is none: in a source tree.
    """
    for folder in map(Path, __path__):
        if next(folder.glob("lib*/cmake/genie_env/genie_env-config.cmake"), None):
            return str(folder)
    raise FileNotFoundError(
        f"{__path__[0]} has no C++ library, which comes with the wheel: pip install genie-env"
    )


def check_torch() -> None:
    """Raises ImportError unless the installed torch is the right one; does not import it.

    The compiled part would not load with another, or would crash later.
    """
    try:
        found = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        found = "missing"
    if found.split(".")[:2] != TORCH.split("."):
        raise ImportError(
            f"genie_env was built against torch {TORCH}, but the torch here is {found}. Torch's "
            f"C++ interface changes with every minor version: pip install 'torch=={TORCH}.*'"
        )


def _compute_on_one_thread() -> None:
    if "genie_env._core" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


# A forked child, such as those of Gymnasium's AsyncVectorEnv, does not have its parent's OpenMP
# threads, and would wait for them for ever.
os.register_at_fork(after_in_child=_compute_on_one_thread)

register_worlds()

"""Frozen world models, served as batched, Gym-like simulators.

    import genie_env

    env = genie_env.make_vec("doom-take-cover", num_envs=1024)
    observations, infos = env.reset(seed=0)
    observations, rewards, terminations, truncations, infos = env.step(actions)

Importing this package also registers its environments with Gymnasium.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import gymnasium

if TYPE_CHECKING:
    from genie_env._core import FormatError, build_info
    from genie_env.single_env import DreamEnv
    from genie_env.vector_env import DreamVectorEnv, make_vec

__all__ = ["DreamEnv", "DreamVectorEnv", "FormatError", "build_info", "make_vec"]

_HOMES = {
    "DreamEnv": "single_env",
    "DreamVectorEnv": "vector_env",
    "FormatError": "_core",
    "build_info": "_core",
    "make_vec": "vector_env",
}


def __getattr__(name: str) -> Any:
    """Loads a name when it is first asked for.

    Torch takes seconds to import, and help texts and the workers that play real games do without.
    """
    if name not in _HOMES and name != "_core":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    check_torch()
    module = importlib.import_module(f"{__name__}.{_HOMES.get(name, name)}")
    return getattr(module, name) if name in _HOMES else module


def check_torch() -> None:
    """Raises ImportError unless the compiled part was built against this torch."""
    import torch  # comes first: it loads the libraries that the compiled part is linked to

    try:
        from genie_env._core import TORCH_VERSION
    except ImportError as error:
        raise ImportError(
            f"the compiled part of genie_env does not load with torch {torch.__version__}: {error}. "
            "It needs the minor version of torch that it was built against: install genie_env "
            "again (pip install --force-reinstall genie-env), which brings that torch"
        ) from error
    built = TORCH_VERSION.split(".")[:2]
    if torch.__version__.split(".")[:2] != built:
        wanted = f"{'.'.join(built)}.*"
        raise ImportError(
            f"genie_env was built against torch {wanted}, but this is torch {torch.__version__}; "
            "torch's C++ interface changes with every minor version: install the right one "
            f"(pip install 'torch=={wanted}')"
        )


# The world truncates episodes by itself: a registered max_episode_steps would add a second limit.
gymnasium.register(
    id="genie_env/DoomTakeCover-v0",
    entry_point="genie_env.single_env:DreamEnv",
    vector_entry_point="genie_env.vector_env:make_vec",
    kwargs={"world": "doom-take-cover"},
)

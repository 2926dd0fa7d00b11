"""The world of an environment: loaded as its options say, or given."""

from __future__ import annotations

import copyreg
from collections.abc import Callable
from pathlib import Path
from typing import Any

from genie_env._core import FormatError, World, world_families
from genie_env.envs import validation
from genie_env.envs.options import EnvOptions, FamilyValue, environment_has
from genie_env.envs.plugins import import_plugins
from genie_env.envs.preparations import prepare_world
from genie_env.envs.registry import find_world


def load_world(world: str | Path | World, options: EnvOptions) -> World:
    """Loads a world with the options of loading: device, dtype and those of its family.

    A world that is already loaded is returned, and refuses such options. Raises TypeError or
    ValueError that names the option, FormatError for a damaged directory.
    """
    validation.check_type("world", world, str | Path | World, "a name, a Path or a loaded world")
    given = dict(options.family_options)
    if isinstance(world, World):
        _refuse_options_of_loading(world, options)
        return world
    import_plugins()
    directory = find_world(world)
    prepare_world(directory, given)
    try:
        return World.load(directory, device=options.device, dtype=options.dtype, options=given)
    except FormatError:
        raise
    except ValueError as error:
        families = world_families().values()
        known = {option.name for family in families for option in family.options}
        if not (unknown := sorted(given.keys() - known)):
            raise
        # No family has such an option: one of the environment's own may be misspelt.
        raise ValueError(f"{error}. {environment_has(*unknown).capitalize()}") from None


def _load_again(
    directory: Path, device: str, dtype: str, options: dict[str, FamilyValue], fingerprint: str
) -> World:
    """A pickled world. Raises ValueError where its directory holds another one now."""
    import_plugins()
    prepare_world(directory, options)
    world = World.load(directory, device=device, dtype=dtype, options=options)
    if world.spec.fingerprint != fingerprint:
        raise ValueError(
            f"{directory} no longer holds the world that was pickled (fingerprint "
            f"{fingerprint[:12]}, now {world.spec.fingerprint[:12]}): put it there again, or load "
            "the new one"
        )
    return world


def _reduce_world(world: World) -> tuple[Callable[..., World], tuple[Any, ...]]:
    spec = world.spec
    options = {name: option.value for name, option in spec.options.items()}
    arguments = (world.directory, str(world.device), spec.dtype, options, spec.fingerprint)
    return _load_again, arguments


# A world is pickled as how it was loaded, not as its weights.
copyreg.pickle(World, _reduce_world)


def _refuse_options_of_loading(world: World, options: EnvOptions) -> None:
    spec, given = world.spec, options.family_options
    if unknown := sorted(given.keys() - spec.options.keys()):
        raise ValueError(
            f"{spec.name} ({spec.family}) has no option {unknown[0]!r}; it has: "
            f"{', '.join(spec.options) or 'none'}. {environment_has(*unknown).capitalize()}"
        )
    if chosen := [name for name in options.chosen() if name in {"device", "dtype", *given}]:
        raise ValueError(
            f"{' and '.join(chosen)}: options that are chosen when a world is loaded; give them to "
            f"World.load, or give the world's name or directory here"
        )

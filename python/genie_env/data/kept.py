"""Figures that take long to find, kept in files that are named after what decides them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from genie_env.data.files import remove_left_behind, write_json
from genie_env.data.midway import Midway, checksum
from genie_env.data.progress import say
from genie_env.envs.json_files import Schema, read_json


def kept(
    directory: Path,
    identity: Mapping[str, Any],
    schema: Schema,
    find: Callable[[Midway], Mapping[str, Any]],
) -> dict[str, Any]:
    """`identity` and, beside it, what `find` returns, or what the file in `directory` holds that is
    named after `identity`. All values are JSON's; those found are as `schema` says. A file that is
    damaged is made again, after a line that says so. `find` may keep what it has midway."""
    remove_left_behind(directory)
    file = directory / f"{checksum(identity)[:16]}.json"
    if file.exists():
        try:
            known = read_json(file, {**schema, "checksum": str})
            if known.pop("checksum") == checksum(known):
                return known
            raise ValueError(f"{file} is damaged: its checksum is of another content")
        except ValueError as error:
            say(f"{error}; it is made again")
    with Midway(file, {**identity, "found": repr(schema)}) as midway:
        found = {**identity, **find(midway)}
        write_json(file, {**found, "checksum": checksum(found)})
    return found

"""The exported family: a user's own PyTorch model, exported by `genie_env.export_world`."""

from __future__ import annotations

from pathlib import Path

from genie_env.families.base import Family, Options


def _prepare(directory: Path, options: Options) -> None:
    if options.get("compile") is True:
        from genie_env.families.exported.compile import prepare

        prepare(directory)


EXPORTED = Family(name="exported", prepare=_prepare)

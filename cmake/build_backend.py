"""The build backend that pyproject.toml names: scikit-build-core, with torch required when needed.

The library links the LibTorch inside the torch wheel. pip builds in an isolated environment, into
which it would download and unpack torch a second time; but the environment that asks for the build
is one look away, and where its torch is the right one cmake/FindLibTorch.cmake uses that.
"""

from __future__ import annotations

import importlib.metadata
import sysconfig
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from scikit_build_core import build as scikit_build
from scikit_build_core.build import (  # noqa: F401  (the other hooks of the backend)
    build_editable,
    build_sdist,
    build_wheel,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

Settings = dict[str, str | list[str]] | None


def missing_torch(site_packages: str) -> list[str]:
    """The requirement on torch, as pyproject.toml states it; empty if site_packages meets it."""
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    requirements = [Requirement(text) for text in project["dependencies"]]
    torch = next(r for r in requirements if canonicalize_name(r.name) == "torch")
    for found in importlib.metadata.distributions(name="torch", path=[site_packages]):
        if torch.specifier.contains(found.version, prereleases=True):
            return []
    return [str(torch)]


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    return [
        *scikit_build.get_requires_for_build_wheel(config_settings),
        *missing_torch(sysconfig.get_path("purelib")),
    ]


def get_requires_for_build_editable(config_settings: Settings = None) -> list[str]:
    return [
        *scikit_build.get_requires_for_build_editable(config_settings),
        *missing_torch(sysconfig.get_path("purelib")),
    ]

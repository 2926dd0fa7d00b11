"""The exported family: a user's own PyTorch model, exported by `genie_env.export_world`."""

from __future__ import annotations

from genie_env.families.base import Family

EXPORTED = Family(name="exported")

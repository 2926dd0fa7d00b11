"""The commands that families add to the command line. Needs no torch."""

from __future__ import annotations

from genie_env.families.base import Command
from genie_env.families.registry import families


def family_commands(group: str) -> list[Command]:
    """Those of `genie-env train`, `import` or `freeze`, family by family."""
    return [
        command for family in families() for command in family.commands if command.group == group
    ]

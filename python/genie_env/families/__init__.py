"""World families, a folder each: what Python knows of a family beside its C++ code.

A family of your own, once its C++ part is registered, loads, steps and benchmarks without anything
here; `register_family` adds what it lacks: see `Family`.
"""

from genie_env.families.base import RESUMES, Command, Costs, Family, Product
from genie_env.families.registry import (
    families,
    family_of_world,
    find_family,
    knows_outcomes,
    register_family,
)

__all__ = [
    "RESUMES",
    "Command",
    "Costs",
    "Family",
    "Product",
    "families",
    "family_of_world",
    "find_family",
    "knows_outcomes",
    "register_family",
]

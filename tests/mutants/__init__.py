"""Broken methods, each with the law that catches it; all files here and in `of/` (one for each method) are found by looking."""

from __future__ import annotations

import importlib
import pkgutil

from mutants.breaking import MUTANTS, Mutant

for _found in pkgutil.walk_packages(__path__, f"{__name__}."):
    importlib.import_module(_found.name)

__all__ = ["MUTANTS", "Mutant"]

"""Names for the examples in docstrings, and examples that need an optional library skipped without it."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("MPLBACKEND", "agg")

#: parts of the package that are not even imported without their library
NEEDS = {"networks": "torch", "torch_distributions": "torch", "applications": "torch", "cli": "torch", "plots": "matplotlib"}


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    if "fisherkit" not in collection_path.parts:
        return None
    lacking = [name for name, library in NEEDS.items() if find_spec(library) is None]
    return True if any(name in collection_path.parts or name == collection_path.stem for name in lacking) else None


@pytest.fixture(autouse=True)
def names(doctest_namespace: dict[str, Any]) -> None:
    """What a reader of the documentation has imported."""
    import numpy as np
    import scipy.stats
    import sympy

    import fisherkit as fk

    doctest_namespace.update(fk=fk, np=np, scipy=scipy, sympy=sympy)
    if find_spec("torch"):
        import torch

        doctest_namespace["torch"] = torch

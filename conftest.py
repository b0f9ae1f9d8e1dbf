"""Names for the examples in docstrings, and examples that need an optional library skipped without it."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # small problems: threads only get in each other's way

#: parts of the package, and of the helpers of its tests, that are not even imported without their library
NEEDS = {"networks": "torch", "torch_distributions": "torch", "applications": "torch", "cli": "torch", "plots": "matplotlib"}

collect_ignore = ["tests/benchmarks"]  # programs, some of which need a library as soon as they are imported


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Look for examples only where the library is; tests are collected, and say themselves that they skip."""
    if collection_path.is_dir() or collection_path.name.startswith("test_"):
        return None
    lacking = {name for name, library in NEEDS.items() if find_spec(library) is None}
    return True if lacking & {*collection_path.relative_to(Path(__file__).parent).with_suffix("").parts} else None


@pytest.fixture(autouse=True)
def names(request: pytest.FixtureRequest, doctest_namespace: dict[str, Any]) -> None:
    """What a reader of the documentation has imported."""
    if not isinstance(request.node, pytest.DoctestItem):
        return
    import numpy as np
    import scipy.stats
    import sympy

    import fisherkit as fk

    if "matplotlib.pyplot" in sys.modules:  # each example starts with an empty figure
        sys.modules["matplotlib.pyplot"].close("all")
    doctest_namespace.update(fk=fk, np=np, scipy=scipy, sympy=sympy)
    if find_spec("torch"):
        import torch

        doctest_namespace["torch"] = torch

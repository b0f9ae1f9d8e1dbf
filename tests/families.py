"""The three families of entries, so that one table of tests serves them all."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import sympy as sp

T = sp.Symbol("t", positive=True)
HALF = sp.Rational(1, 2)


def to_numpy(values: Any) -> np.ndarray:
    """As float64."""
    return np.asarray(values, dtype=float)


def to_torch(values: Any) -> Any:
    import torch

    return torch.tensor(np.asarray(values, dtype=float))


def to_sympy(values: Any) -> np.ndarray:
    """Expressions that take these values at t = 1/2: half of each entry waits in t."""
    array = np.asarray(values, dtype=float)
    exact = [sp.nsimplify(value, rational=True) * (HALF + T) for value in array.flat]
    return np.array([*exact, None], dtype=object)[:-1].reshape(array.shape)


def plain(value: Any) -> Any:
    """Any family's answer as float64: expressions at t = 1/2."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if hasattr(value, "subs"):
        value = value.subs(T, HALF).evalf()
    return np.asarray(value.tolist() if hasattr(value, "tolist") else value, dtype=float)


def no_torch() -> list[pytest.MarkDecorator]:
    return [pytest.mark.skipif(not find_spec("torch"), reason="needs torch")]


FAMILIES: list[Any] = [
    pytest.param(to_numpy, id="numpy"),
    pytest.param(to_torch, id="torch", marks=no_torch()),
    pytest.param(to_sympy, id="sympy"),
]

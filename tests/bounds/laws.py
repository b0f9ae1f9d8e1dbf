"""The models that the tests of bounds share."""

from __future__ import annotations

import sympy as sp
from sympy.stats import Normal

import fisherkit as fk

MU, X = sp.symbols("mu x", real=True)
SIGMA, THETA, LAMBDA, K, N, TAU = sp.symbols("sigma theta lamda k n tau", positive=True)

NORMAL = fk.symbolic.as_model(Normal("X", MU, SIGMA))
LOCATION = fk.symbolic.as_model(Normal("X", MU, SIGMA), parameters=MU)  # sigma known
SPREAD = fk.symbolic.as_model(Normal("X", MU, SIGMA), parameters=SIGMA)  # mu known
UNIFORM = fk.symbolic.Model(1 / THETA, data=X, parameters=THETA, support=(0, THETA))
SHIFTED = fk.symbolic.Model(sp.exp(-(X - MU)), data=X, parameters=MU, support=(MU, sp.oo))


def same(found: object, expected: object) -> bool:
    """Whether two expressions are equal."""
    return bool(sp.simplify(sp.sympify(found) - expected) == 0)

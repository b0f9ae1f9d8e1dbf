"""Families away from their documented shapes: is the error within its bound, and at most 1e-10? Against mpmath.

``python -m tests.benchmarks.families_sweep [names]``: every further row of scipy's table of shapes, and the first row times 0.8
and 1.25. One line per case; the counts come last. A parameter that a refusal names is held fixed, as in `sampled_families`.
"""

from __future__ import annotations

import sys
import warnings

import numpy as np
from mpmath import mp
from scipy import stats
from scipy.stats import _distr_params

import fisherkit as fk
from tests.benchmarks.families_reference import LOC, SCALE, apart, reference
from tests.benchmarks.family_densities import CONTINUOUS

#: minutes each in mpmath
SLOW = frozenset(["norminvgauss", "genhyperbolic", "landau", "irwinhall", "rice", "ncx2", "ncf", "nct"])


def cases():
    """(name, values) of each."""
    seen = set()
    for name, shapes in _distr_params.distcont:
        if name not in CONTINUOUS or name in SLOW:
            continue
        infos = getattr(stats, name)._shape_info()
        for factor in (None,) if name in seen else (0.8, 1.25):
            values = {info.name: float(v) * (factor or 1.0) for info, v in zip(infos, shapes, strict=True)}
            if values or factor is None:
                yield name, values | {"loc": LOC, "scale": SCALE}
        seen.add(name)


def answer(name, values):
    """The information of as many parameters as have one, or the name of the refusal."""
    integers = {info.name for info in getattr(stats, name)._shape_info() if info.integrality}
    theta = {key: value for key, value in values.items() if key not in integers}
    while theta:
        fixed = {key: value for key, value in values.items() if key not in theta}
        try:
            return theta, fk.expected_information(fk.sampled.Family(getattr(stats, name), fixed=fixed), theta)
        except fk.errors.RegularityError as error:
            if error.parameter not in theta:
                return theta, str(error.condition)
            del theta[error.parameter]
        except fk.errors.FisherkitError as error:
            return theta, f"{type(error).__name__}: {error}"
    return theta, "no parameter has an information"


def main(names):
    warnings.simplefilter("ignore")
    mp.dps = 70
    errors = []
    for name, values in cases():
        if names and name not in names:
            continue
        theta, F = answer(name, values)
        shown = " ".join(f"{key}={value:.4g}" for key, value in values.items() if key not in ("loc", "scale"))
        if isinstance(F, str):
            print(f"{name:20s} {shown:40s} {F[:70]}", flush=True)
            continue
        try:
            matrix, change, mass, mean = reference(name, values, list(theta))
        except Exception as error:  # the reference is no part of the library: it says so and goes on
            print(f"{name:20s} {shown:40s} no reference: {error!r}", flush=True)
            continue
        exact = matrix.astype(float)
        root = np.sqrt(np.diagonal(exact))
        error = float((np.abs(np.asarray(F) - exact) / np.outer(root, root)).max())
        known = max(change, abs(mass), mean) < 1e-13
        if known:
            errors.append((error, F.error_bound))
        verdict = "" if error <= F.error_bound else "OUTSIDE ITS BOUND" if known else "reference not settled"
        difference = apart(name, values) if error > 1e-10 else 0.0
        print(
            f"{name:20s} {shown:40s} error {error:.1e}  bound {F.error_bound:.1e}  scipy {difference:.0e}  {verdict}", flush=True
        )
    found = np.array(errors)
    within, small = (found[:, 0] <= found[:, 1]).sum(), (found[:, 0] <= 1e-10).sum()
    print(f"{len(found)} cases; {within} within their bound; {small} with an error of at most 1e-10")


if __name__ == "__main__":
    main(sys.argv[1:])

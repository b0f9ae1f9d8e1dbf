"""Designs that are linear programs: c-optimality by Elfving's theorem, E-optimality by cutting planes."""

from __future__ import annotations

import numpy as np

from ..errors import SingularInformationError
from .candidates import Candidates

TIGHT = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}


def elfving(own: Candidates, c: np.ndarray) -> tuple[np.ndarray, float, float] | None:
    r"""Weights, variance and gap of the best design for c'theta; None unless every candidate tells one direction f.

    The smallest variance is the square of :math:`\min \sum_i |u_i|` subject to :math:`\sum_i u_i f_i = c`, at weights
    proportional to :math:`|u_i|`; the dual y of the program certifies it: no design does better than
    :math:`(c^\top y)^2 / \max_i (f_i^\top y)^2` (Elfving 1952, Ann. Math. Statist. 23, 255-262).
    """
    from scipy.optimize import linprog

    if len(own.prior) > 1:
        return None
    values, vectors = np.linalg.eigh(own.parts[0])
    if own.p > 1 and (values[:, -2] > 1e-10 * np.maximum(values[:, -1], 1e-300)).any():
        return None
    f = vectors[:, :, -1] * np.sqrt(np.maximum(values[:, -1:], 0.0))
    scale = np.sqrt((f**2).mean(axis=0))
    scale = np.where(scale > 0, scale, 1.0)
    f, c = f / scale, c / scale
    found = linprog(np.ones(2 * own.size), A_eq=np.hstack([f.T, -f.T]), b_eq=c / np.abs(c).max(), method="highs")
    if found.status != 0:
        named = dict(zip(own.parameters.labels, (c * scale).tolist(), strict=True))
        raise SingularInformationError(
            f"no design over these candidates tells c'theta with c = {named}: its direction carries no information.",
            null_directions=[named],
        )
    u = np.abs(found.x[: own.size] - found.x[own.size :])
    total, y = u.sum() * np.abs(c).max(), found.eqlin.marginals
    bound = (c @ y) ** 2 / np.max(f @ y) ** 2 if np.max(f @ y) >= -np.min(f @ y) else (c @ y) ** 2 / np.min(f @ y) ** 2
    weights = np.where(u > 1e-12 * u.max(), u, 0.0)
    return weights / weights.sum(), float(total**2), max(float(total**2 - bound), 0.0)


def maximin(own: Candidates, tolerance: float) -> tuple[np.ndarray, float, float]:
    r"""Weights with the largest (mean) smallest eigenvalue, that eigenvalue, and a bound on that of every design.

    Cutting planes: v'M(w)v bounds the smallest eigenvalue for every v. Each round asks at a point between the best design and
    that of the linear program; the multipliers Z of the program give the bound :math:`\max_i \mathrm{tr}(Z M_i)`, whatever its
    tolerance.
    """
    from scipy.optimize import linprog

    K, N = len(own.prior), own.size
    scale = float(
        own.prior @ np.linalg.eigvalsh(own.mixed(np.full(N, 1 / N)))[:, 0]
    )  # so that the program's tolerances are relative
    parts = own.parts / scale
    asked, best, low, high = np.full(N, 1 / N), np.full(N, 1 / N), -np.inf, np.inf
    cuts, owners = np.zeros((0, N)), np.zeros(0, dtype=int)
    sums, cost = np.append(np.ones(N), np.zeros(K))[None, :], np.append(np.zeros(N), -own.prior)
    for _ in range(200):
        values, vectors = np.linalg.eigh(np.einsum("n,knab->kab", asked, parts))
        if (value := float(own.prior @ values[:, 0])) > low:
            best, low = asked, value
        seen = np.einsum("kae,knab,kbe->ken", vectors, parts, vectors).reshape(-1, N)
        cuts, owners = np.vstack([cuts, seen]), np.append(owners, np.repeat(np.arange(K), own.p))
        rows = np.hstack([-cuts, np.eye(K)[owners]])
        found = linprog(
            cost, A_ub=rows, b_ub=np.zeros(len(rows)), A_eq=sums, b_eq=[1.0], bounds=(0, None), method="highs", options=TIGHT
        )
        if found.status != 0:
            break
        shares = np.maximum(-found.ineqlin.marginals, 0.0)
        totals = np.bincount(owners, weights=shares, minlength=K)
        if (totals > 0).all():
            high = min(high, float(((shares * (own.prior / totals)[owners]) @ cuts).max()))
        if high - low <= tolerance * abs(low):
            break
        outer = np.maximum(found.x[:N], 0.0)
        asked = 0.5 * best + 0.5 * outer / outer.sum()
        keep = (shares > 1e-10) | (np.arange(len(cuts)) >= len(cuts) - 40 * own.p * K)
        cuts, owners = cuts[keep], owners[keep]
    return best, scale * low, scale * high

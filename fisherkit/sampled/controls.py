r"""Control variates from the two Bartlett identities, :math:`E s = 0` and :math:`E[s s^\top + H] = 0`.

Both :math:`s s^\top` and :math:`-H` have the information as their mean, and so has either of them less any combination of s and
:math:`s s^\top + H`. The combination is found by least squares in the draws of four folds and used in the fifth, so that it does
not lean on the draws that it corrects (cross-fitting). With all controls, draws far out among them are given the weight
:math:`\mathrm{leverage}^4`: an ordinary fit explains the bulk and leaves a few distant draws to carry the error, so that the
spread of the others tells too small a one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

FOLDS = 5
PER_CONTROL = 50  # draws that a control of -H needs before it is trusted
PER_SCORE = 450  # draws that a score needs as a control of s s', which has the heavier tail
POWER = 4  # of the leverage
EXACT = 1e-14  # variance relative to the squared entries: what an estimator that is exact by algebra leaves as rounding
SHARE = 0.12  # of the variance: what one group of a hundred may carry

Sums = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Choice:
    """Group sums of an estimator's contributions, (G, p, p) or (G, p), the groups' sizes, and its variance per draw.

    ``every`` tells whether all controls are used; ``outer_variance`` is that of the best estimator without Hessians.
    """

    estimator: str
    sums: np.ndarray
    sizes: np.ndarray
    variance: float
    every: bool
    outer_variance: float


@dataclass(frozen=True)
class Candidate:
    """One estimator: its name among `methods.SAMPLER`, its group sums, and whether there are draws enough to trust it."""

    estimator: str
    sums: np.ndarray
    trusted: bool
    every: bool = False


def choose(sums: Sums, p: int, estimator: str | None, diagonal: bool, *, strict: bool) -> Choice:
    """The candidate with the least variance among those that were asked for and can be trusted."""
    found = large(sums, diagonal) if sums["y"].ndim == 3 or diagonal else joint(sums, p, strict=strict)
    scale = np.sqrt(_diagonal(found[0].sums.sum(axis=0), diagonal, p) / sums["n"].sum())
    spread = [_spread(c, sums["n"], scale, diagonal) for c in found]
    wanted = {None: ("outer_product", "score_control", "hessian", "bartlett"), "bartlett": ("hessian", "bartlett")}
    names = wanted.get(estimator, (estimator,))
    able: list[tuple[float, Candidate]] = []
    for candidate, (variance, share) in zip(found, spread, strict=True):
        trusted = candidate.trusted and not (strict and candidate.every and share > SHARE)
        if candidate.estimator in names and (variance <= EXACT or trusted):
            able.append((variance, candidate))
    if not able:  # asked for controls with too few draws: what they would correct
        fallback = next((c for c in found if c.estimator == "hessian" and estimator == "bartlett"), found[0])
        able = [(spread[found.index(fallback)][0], fallback)]
    variance, best = min(able, key=lambda pair: pair[0])
    plain = [
        v for c, (v, _) in zip(found, spread, strict=True) if c.trusted and c.estimator in ("outer_product", "score_control")
    ]
    matrices = best.sums if diagonal or best.sums.ndim == 3 else _matrices(best.sums, p)
    return Choice(best.estimator, matrices, sums["n"], variance, best.every, min(plain))


def joint(sums: Sums, p: int, *, strict: bool) -> list[Candidate]:
    """Up to 32 parameters: every score is a control of every entry; up to 8, every entry of s s' + H is one too."""
    n, m = sums["n"].sum(), p * (p + 1) // 2
    y, s = sums["y"], sums["s"]
    per, per_score = (PER_CONTROL, PER_SCORE) if strict else (3, 3)
    found = [Candidate("outer_product", y[:, :m], True)]
    if n >= 2 * FOLDS:
        by_score = cross_fitted(sums["zz"], sums["zy"], y, s)
        found.append(Candidate("score_control", by_score[:, :m], bool(n >= per_score * p)))
    if y.shape[1] == 2 * m:
        found.append(Candidate("hessian", y[:, m:], True))
        if n >= 2 * FOLDS and 0.8 * n > p + 1:
            found.append(Candidate("bartlett", by_score[:, m:], bool(n >= per * p)))
        if "wzz" in sums and 0.8 * n > p + m + 1:
            z = np.concatenate([s, y[:, :m] - y[:, m:]], axis=1)
            every = cross_fitted(sums["wzz"], sums["wzy"], y[:, m:], z)
            found.append(Candidate("bartlett", every, bool(n >= per * (p + m)), every=True))
    return found


def exact_by_algebra(s: np.ndarray, h: np.ndarray) -> bool:
    """Whether -H is a combination of 1, s and s s' + H in these draws, to what differences of a score can tell."""
    p = s.shape[1]
    i, j = np.triu_indices(p)
    z, y = np.concatenate([np.ones((len(s), 1)), s], axis=1), -h[:, i, j]
    if len(s) >= 3 + p + len(i):
        z = np.concatenate([z, s[:, i] * s[:, j] - y], axis=1)
    if len(s) < z.shape[1] + 2:
        return False
    scale = np.sqrt((z**2).mean(axis=0))
    fit = np.linalg.lstsq(z / np.where(scale > 0, scale, 1.0), y, rcond=1e-7)[0]
    left = np.abs(y - z / np.where(scale > 0, scale, 1.0) @ fit).max(axis=0)
    d = np.sqrt((s**2).mean(axis=0))
    return bool((left <= 1e-6 * d[i] * d[j]).all())


def cross_fitted(zz: np.ndarray, zy: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Group sums y - z B, with B of a group's fold from the products (with an intercept) of the other folds."""
    out, fold = y.copy(), np.arange(len(y)) % FOLDS
    for k in range(FOLDS):
        a, b = zz.sum(axis=0) - zz[k], zy.sum(axis=0) - zy[k]
        scale = np.sqrt(np.diagonal(a))
        scale = np.where(scale > 0, scale, 1.0)
        values, vectors = np.linalg.eigh(a / np.outer(scale, scale))
        kept = values > 1e-11 * values[-1]
        v = vectors[:, kept] / scale[:, None]
        out[fold == k] -= z[fold == k] @ ((v / values[kept]) @ (v.T @ b))[1:]
    return out


def with_known(found: Choice, entries: Mapping[tuple[int, int], float]) -> Choice:
    """Known entries in place of estimated ones, whose distance from them corrects the others: a regression over groups."""
    rows = np.array([i for pair in entries for i in (pair, pair[::-1])])
    values = np.repeat(list(entries.values()), 2)
    sums, fold, n = found.sums.copy(), np.arange(len(found.sizes)) % FOLDS, found.sizes
    size = np.where(n > 0, n, 1.0)
    apart = (found.sums[:, rows[::2, 0], rows[::2, 1]] - n[:, None] * values[::2]) / size[:, None]
    each = (found.sums - n[:, None, None] * found.sums.sum(axis=0) / n.sum()).reshape(len(n), -1) / size[:, None]
    if (n > 0).sum() >= 10 * len(entries):
        for k in range(FOLDS):
            others = (fold != k) & (n > 0)
            slope = np.linalg.lstsq(apart[others], each[others], rcond=1e-8)[0]
            sums[fold == k] -= (n[fold == k, None] * (apart[fold == k] @ slope)).reshape(-1, *sums.shape[1:])
    sums[:, rows[:, 0], rows[:, 1]] = n[:, None] * values
    return replace(found, sums=sums)


def large(sums: Sums, diagonal: bool) -> list[Candidate]:
    """Any number of parameters: an entry has its own scores as controls, from E[s_i^2 s_j]."""
    y = sums["y"] if diagonal else np.stack([np.tril(m) + np.tril(m, -1).T for m in sums["y"]])
    found = [Candidate("outer_product", y, True)]
    if "third" in sums:
        corrected, fold = y.copy(), np.arange(len(y)) % FOLDS
        for k in range(FOLDS):
            second, third = y[fold != k].sum(axis=0), sums["third"].sum(axis=0) - sums["third"][k]
            for g in np.flatnonzero(fold == k):
                corrected[g] -= _own(second, third, sums["s"][g], diagonal)
        found.append(Candidate("score_control", corrected, bool(sums["n"].sum() >= 2 * PER_SCORE)))
    if "h" in sums:
        found.append(Candidate("hessian", sums["h"], True))
    return found


def _own(second: np.ndarray, third: np.ndarray, s: np.ndarray, diagonal: bool) -> np.ndarray:
    """The part of s_i s_j that s_i and s_j explain."""
    if diagonal:
        return np.asarray(third / np.where(second > 0, second, 1.0) * s)
    d = np.diagonal(second)
    determinant = np.outer(d, d) - second**2
    alone = determinant <= 1e-8 * np.outer(d, d)
    with np.errstate(all="ignore"):
        slope = np.where(alone, 0.0, (third * d[None, :] - third.T * second) / np.where(alone, 1.0, determinant))
        np.fill_diagonal(slope, np.where(d > 0, np.diagonal(third) / np.where(d > 0, d, 1.0), 0.0) / 2)
    part = slope * s[:, None]
    return np.asarray(part + part.T)


def _matrices(columns: np.ndarray, p: int) -> np.ndarray:
    i, j = np.triu_indices(p)
    out = np.empty((len(columns), p, p))
    out[:, i, j] = out[:, j, i] = columns
    return out


def _diagonal(total: np.ndarray, diagonal: bool, p: int) -> np.ndarray:
    if diagonal:
        return total
    if total.ndim == 2:
        return np.asarray(np.diagonal(total))
    i, j = np.triu_indices(p)
    return np.asarray(total[i == j])


def _spread(candidate: Candidate, sizes: np.ndarray, scale: np.ndarray, diagonal: bool) -> tuple[float, float]:
    """Variance of one draw's contribution, summed over entries in units of the roots of their diagonals; the largest share."""
    filled = sizes > 0
    n, values = sizes[filled], candidate.sums[filled]
    if len(n) < 2:
        return float("inf"), 1.0
    scale = np.where(scale > 0, scale, 1.0)
    i, j = np.triu_indices(len(scale))
    units = scale**2 if diagonal else np.outer(scale, scale) if values.ndim == 3 else scale[i] * scale[j]
    wide = n.reshape(-1, *([1] * (values.ndim - 1)))
    each = ((values / wide - values.sum(axis=0) / n.sum()) / units) ** 2 * wide
    if values.ndim == 2 and not diagonal:
        each = each * np.where(i == j, 1.0, 2.0)
    parts = each.reshape(len(n), -1).sum(axis=1)
    total = float(parts.sum())
    return total / (len(n) - 1), float(parts.max()) / total if total > 0 else 0.0

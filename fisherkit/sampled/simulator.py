"""Only a simulator: the information that features of its draws carry, with the noise of their derivatives taken off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import model
from ..errors import DataError, LayoutError, MethodError
from ..information import FisherInformation
from ..methods import Method, MonteCarlo, refuse_options, require
from ..model import Theta
from ..parameters import Parameters
from ..progress import shown
from ..provenance import Provenance
from ..structures.base import Structure
from ..structures.dense import Dense
from ..structures.diagonal import Diagonal
from ..uncertainty import LeaveOneOut
from . import pairs
from .chunks import Chunk, in_order

GROUPS = 20
PILOT = 2000  # draws from which steps and ranks are taken, at most
TRIAL = 1e-4  # relative, the step by which draws are tried to move
SHIFT = 0.03  # of a chosen step, in parts of the draws' spread

Features = Callable[[np.ndarray], np.ndarray]


class Simulator(model.Model):
    r"""A model of which only draws can be had.

    Parameters
    ----------
    simulate : callable, (theta, size, rng) -> (size,) or (size, d)
        Independent observations. With the same seed it should use its random numbers alike at near parameters, so that draws
        differ as parameters do (common random numbers).
    parameters : names, or mapping from name to shape
    features : int or callable
        An integer K: Legendre polynomials of degree 1 to K in the rank of each coordinate, and products of two coordinates' first
        ones. Or a function from draws to (n, k) features of your own; the identity, for summaries.
    steps : mapping from name to number, or array (p,), optional
        Half the distance at which derivatives are taken. By default a step moves a typical draw by 3 % of the spread; needed
        where random numbers cannot be common.
    correction : {"subtracted", "shrunk", "none"}
        What is done about the noise of the derivatives: as for `GaussianModel`.

    Notes
    -----
    With D the derivatives of the features' means and C their covariance, :math:`F = D^\top C^{-1} D` is the information that
    the features carry through their means: a lower bound of the information of the draws that tightens with the features,
    exact where the score is a combination of them. Noise in D biases it up and bounds down (Coulton & Wandelt 2023), by
    :math:`\mathrm{tr}(C^{-1} \Sigma)/m` for m pairs of draws; that is measured from the pairs and subtracted, so that F is
    unbiased for any m, and may be indefinite where there is more noise than information. The inverse of C, estimated too, is
    corrected as Hartlap et al. (2007). The `mcse` holds the noise of both. The derivatives' own error falls with the square of
    the step.

    Cost: 1 + 2p simulations for each of the n of `MonteCarlo`, in 20 groups that `MonteCarlo(workers=)` shares out, with the same
    result for any number; processes need functions from the top of a module.

    References
    ----------
    Coulton & Wandelt (2023), JCAP 02:026; Hartlap, Simon & Schneider (2007), A&A 464:399.

    Examples
    --------
    >>> def simulate(theta, size, rng):
    ...     return theta[0] + theta[1] * rng.standard_normal(size)
    >>> model = fk.sampled.Simulator(simulate, parameters=("mu", "sigma"))
    >>> F = fk.expected_information(model, {"mu": 0.0, "sigma": 2.0}, method=fk.MonteCarlo(4000, rng=0))
    >>> bool(np.all(abs(F.dense() - np.diag([0.25, 0.5])) < 4 * F.mcse + 0.02))
    True
    """

    def __init__(
        self,
        simulate: Callable[[np.ndarray, int, np.random.Generator], Any],
        *,
        parameters: Any,
        features: int | Features = 8,
        steps: Any = None,
        correction: str = "subtracted",
    ) -> None:
        if not callable(features) and (isinstance(features, bool) or not isinstance(features, int) or not 1 <= features <= 64):
            raise LayoutError(
                f"features must be a number of polynomials from 1 to 64, or a function of the draws; got {features!r}."
            )
        if correction not in pairs.CORRECTIONS:
            raise LayoutError(f"correction must be one of {', '.join(pairs.CORRECTIONS)}; got {correction!r}.")
        self.parameters = Parameters.of(parameters)
        self._simulate, self._features, self._correction = simulate, features, correction
        self._steps = None if steps is None else self._flat(steps, "steps")
        if self._steps is not None and not (np.isfinite(self._steps) & (self._steps > 0)).all():
            raise DataError(f"steps must be positive and finite; got {self._steps.tolist()}.")

    def expected_information(
        self, theta: Theta = None, *, inputs: Any = None, method: Method | None = None, structure: str = "dense"
    ) -> FisherInformation:
        if method is None:
            raise MethodError("the expected information of a simulator needs method=MonteCarlo(n, rng=...).")
        require(method, (MonteCarlo,), what="a simulator")
        assert isinstance(method, MonteCarlo)
        refuse_options(method, what="a simulator")
        if theta is None:
            raise LayoutError(f"theta is needed: give values for {self.parameters}.")
        at = self._flat(theta, "theta")
        pilot_seed, *seeds = method.seeds(1 + 2 * GROUPS)
        pilot = self._draws(at, min(PILOT, max(method.n, 2)), pilot_seed, "theta")
        steps = self._chosen_steps(at, pilot, pilot_seed)
        features = self._features if callable(self._features) else Ranks.among(pilot, self._features)
        sizes = [method.n // GROUPS + (g < method.n % GROUPS) for g in range(GROUPS)]
        if sizes[-1] < 2:
            raise MethodError(f"{method!r}: give {2 * GROUPS} draws at least, for there to be an error.")
        work = Draws(self, at, steps, features, tuple(seeds))
        jobs = [Chunk(index=g, size=size, first=sum(sizes[:g]), group=g) for g, size in enumerate(sizes)]
        groups = list(shown(in_order(work, jobs, method.workers), total=len(jobs), unit="groups", progress=method.progress))
        return self._estimated(groups, sizes, at, method, structure)

    # -- draws

    def group(
        self, at: np.ndarray, steps: np.ndarray, size: int, features: Features, seed: Any, other: Any
    ) -> tuple[np.ndarray, ...]:
        """Sums over a group: features and their products at theta; differences, and their products over pairs."""
        x = self._featured(features, self._draws(at, size, seed, "theta"))
        d = np.stack([self._difference(at, j, steps, size, features, other) for j in range(len(at))], axis=1)
        flat = d.reshape(size, -1)
        return x.sum(axis=0), x.T @ x, flat.sum(axis=0), flat.T @ flat

    def _difference(self, at: np.ndarray, j: int, steps: np.ndarray, size: int, features: Features, seed: Any) -> np.ndarray:
        """(size, k) central differences of the features, by common random numbers."""
        step = steps * np.eye(len(at))[j]
        label = self.parameters.label(j)
        above, below = (
            self._featured(
                features, self._draws(at + sign * step, size, seed, f"{label} {'+' if sign > 0 else '-'} {steps[j]:.3g}")
            )
            for sign in (1, -1)
        )
        return np.asarray((above - below) / (2 * steps[j]))

    def _draws(self, at: np.ndarray, size: int, seed: Any, where: str) -> np.ndarray:
        x = np.asarray(self._simulate(at.copy(), size, np.random.default_rng(seed)))
        if x.ndim not in (1, 2) or len(x) != size:
            raise LayoutError(
                f"simulate(theta, {size}, rng) must return shape ({size},) or ({size}, d); got {x.shape} at {where}."
            )
        if x.dtype.kind not in "fiub":
            raise DataError(f"simulate must return real numbers; got {x.dtype} at {where}.")
        if len(bad := np.argwhere(~np.isfinite(x))):
            raise DataError(
                f"simulate returned {x[tuple(bad[0])]} in draw {bad[0][0]} at {where}, theta={at.tolist()}. If the step leaves "
                "the domain, give smaller steps=."
            )
        return x.reshape(size, -1).astype(float)

    def _featured(self, features: Features, x: np.ndarray) -> np.ndarray:
        values = np.asarray(features(x), dtype=float)
        if values.ndim != 2 or len(values) != len(x):
            raise LayoutError(f"features(draws) must have shape ({len(x)}, k); got {values.shape}.")
        if not np.isfinite(values).all():
            raise DataError("features(draws) must be finite.")
        return values

    def _chosen_steps(self, at: np.ndarray, pilot: np.ndarray, seed: Any) -> np.ndarray:
        """What moves a typical draw by a small part of the spread, each way."""
        if self._steps is not None:
            return self._steps
        low, middle, high = np.quantile(pilot, [0.25, 0.5, 0.75], axis=0)
        spread = np.where(high > low, (high - low) / 1.35, np.abs(pilot - middle).mean(axis=0))
        steps = TRIAL * np.where(at == 0, 1.0, np.abs(at))
        for j, label in enumerate(self.parameters.labels):
            moved = self._draws(at + steps * np.eye(len(at))[j], len(pilot), seed, f"{label} + {steps[j]:.3g}") - pilot
            shifts = np.abs(moved[:, spread > 0] / spread[spread > 0])
            shift = float(np.median(shifts, axis=0).max(initial=0)) or float(shifts.mean(axis=0).max(initial=0))
            if not 0 < shift < 0.3:
                how = "not" if shift == 0 else "by another sample"
                raise DataError(
                    f"the draws change {how} when {label} does by {steps[j]:.3g}: it has no effect, acts by jumps, or simulate "
                    "does not use its random numbers alike. Give steps=, small beside the parameters, large enough to move draws."
                )
            steps[j] *= min(SHIFT / shift, SHIFT / TRIAL)
        return steps

    # -- the estimate

    def _estimated(
        self, groups: list[tuple[np.ndarray, ...]], sizes: list[int], at: np.ndarray, method: MonteCarlo, structure: str
    ) -> FisherInformation:
        total = tuple(np.sum(parts, axis=0) for parts in zip(*groups, strict=True))
        n, (k, p) = sum(sizes), (len(total[0]), len(at))
        smallest = n - max(sizes)
        if smallest < 2 * (k + 2):
            raise MethodError(
                f"{k} features need {int(np.ceil(2 * (k + 2) * GROUPS / (GROUPS - 1)))} draws at least; got {method!r}."
            )
        whole = self._of(total, n, p)
        errors = None if method.groups == 0 else self._errors(groups, sizes, total, structure)
        point = dict(zip(self.parameters.labels, at.tolist(), strict=True))
        return FisherInformation.of(
            self._stored(whole, structure), Provenance(kind="expected", method=method, point=point), errors
        )

    def _errors(
        self, groups: list[tuple[np.ndarray, ...]], sizes: list[int], total: tuple[np.ndarray, ...], structure: str
    ) -> LeaveOneOut:
        n, replicates, weights = sum(sizes), [], []
        for group, size in zip(groups, sizes, strict=True):
            rest = tuple(a - b for a, b in zip(total, group, strict=True))
            replicates.append(self._stored(self._of(rest, n - size, self.parameters.size), structure))
            weights.append((n / size - 1) / GROUPS)
        return LeaveOneOut(tuple(replicates), tuple(weights))

    def _of(self, sums: tuple[np.ndarray, ...], n: int, p: int) -> np.ndarray:
        """D' C^-1 D with both corrections, by the Cholesky factor of C in units of its features."""
        x, xx, d, dd = sums
        k = len(x)
        covariance = (xx - np.outer(x, x) / n) / (n - 1)
        root = np.sqrt(np.diagonal(covariance))
        live = root > 1e-12 * max(float(root.max(initial=0)), 1e-300)
        try:
            factor = np.linalg.cholesky(covariance[np.ix_(live, live)] / np.outer(root[live], root[live]))
        except np.linalg.LinAlgError:
            raise DataError("the covariance of the features is singular: some are combinations of others; give fewer.") from None
        rank = int(live.sum())
        whiten = np.zeros((rank, k))
        whiten[:, live] = np.linalg.solve(factor, np.diag(1 / root[live]))
        means = whiten @ (d / n).reshape(p, k).T
        noise = ((dd - np.outer(d, d) / n) / (n - 1) / n).reshape(p, k, p, k)
        noise = np.einsum("xa,jalb,yb->jxly", whiten, noise, whiten, optimize=True)
        of_sum = np.einsum("jxlx->jl", noise)
        rows = pairs.rows_from_covariance(noise, n - 1) if self._correction == "shrunk" else 0.0
        found = pairs.corrected(means.T @ means, (of_sum + of_sum.T) / 2, self._correction, rows)
        return np.asarray((n - rank - 2) / (n - 1) * (found + found.T) / 2)

    def _stored(self, matrix: np.ndarray, structure: str) -> Structure:
        if structure == "diagonal":
            return Diagonal(self.parameters.split(np.diagonal(matrix).copy()), self.parameters)
        return Dense(matrix, self.parameters)

    def _flat(self, value: Any, name: str) -> np.ndarray:
        flat = np.concatenate([np.asarray(leaf, dtype=float) for leaf in self.parameters.split(value, name=name)])
        if flat.shape != (self.parameters.size,):
            raise LayoutError(f"{name} must be one point, shape ({self.parameters.size},); got {flat.shape}.")
        return flat


@dataclass(frozen=True)
class Draws:
    """What a group of draws needs, wherever it is made."""

    model: Simulator
    at: np.ndarray
    steps: np.ndarray
    features: Features
    seeds: tuple[Any, ...]

    def __call__(self, chunk: Chunk) -> tuple[np.ndarray, ...]:
        seed, other = self.seeds[chunk.index], self.seeds[GROUPS + chunk.index]
        return self.model.group(self.at, self.steps, chunk.size, self.features, seed, other)


@dataclass(frozen=True)
class Ranks:
    """Legendre polynomials in the rank among a pilot's draws, which is continuous between and beyond them."""

    columns: tuple[np.ndarray, ...]  # of each coordinate, quantiles at equal levels
    count: int

    @classmethod
    def among(cls, pilot: np.ndarray, count: int) -> Ranks:
        levels = np.linspace(0, 1, min(len(pilot), 512))
        return cls(tuple(np.unique(np.quantile(column, levels)) for column in pilot.T), count)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        from numpy.polynomial import legendre

        each = []
        for column, values in zip(self.columns, x.T, strict=True):
            rank = np.interp(values, column, np.linspace(-1, 1, len(column)))
            each.append(legendre.legvander(rank, self.count)[:, 1:])
        crossed = [each[i][:, :1] * each[j][:, :1] for i in range(len(each)) for j in range(i)]
        return np.hstack([*each, *crossed])

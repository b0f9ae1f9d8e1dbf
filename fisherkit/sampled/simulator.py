r"""Information from a simulator without a density: means of summaries and their covariance.

With m the mean of the summaries, J its derivative and C their covariance, :math:`J^\top C^{-1} J` is the information that they
hold when they are Gaussian with a covariance that does not depend on theta, and no more than they hold otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import model
from ..errors import DataError, LayoutError, MethodError
from ..information import FisherInformation
from ..methods import Method, MonteCarlo, require
from ..model import Theta
from ..parameters import Parameters, concatenate
from ..provenance import Provenance
from ..uncertainty import LeaveOneOut
from .accumulator import stored

GROUPS = 50
NOISE = ("subtract", "geometric", "keep")


class Simulator(model.Model):
    r"""A simulator whose output has no density that one could write down.

    Parameters
    ----------
    simulate : callable, (theta, size, rng) -> (size, d)
        Summaries of ``size`` simulations. It is called with generators of equal state at theta and around it, so that equal
        random numbers make equal noise.
    parameters : names, or mapping from name to shape
    step : mapping from name to number, or array (p,)
        Half the distance between the points of the central differences.
    noise : {"subtract", "geometric", "keep"}
        What is done about the noise of the derivatives, which adds :math:`\mathrm{tr}(C^{-1} \Sigma_{ij}) / n` to an entry on
        average and makes bounds too small: it is subtracted, so that the information is unbiased; or the geometric mean of both
        is taken, whose bounds have the smaller error where simulations are few; or it is kept.

    Notes
    -----
    ``MonteCarlo(n)`` makes n // (2p + 1) simulations at each of 2p + 1 points. No random splits: the part of the products that
    one simulation makes with itself is left out. The inverse of C is corrected for its own noise (Hartlap). The mcse and the
    intervals come from leave-one-out groups of simulations. Differences have an error of the order of the step squared, which
    nothing here tells.

    References
    ----------
    Coulton & Wandelt (2023), How to estimate Fisher information matrices from simulations, arXiv:2305.08994.
    Hartlap, Simon & Schneider (2007), Why your model parameter confidences might be too optimistic, A&A 464, 399-404.

    Examples
    --------
    >>> simulator = fk.sampled.Simulator(
    ...     lambda theta, size, rng: theta[0] + theta[1] * rng.normal(size=(size, 3)),
    ...     parameters=("mu", "sigma"), step={"mu": 0.01, "sigma": 0.01},
    ... )
    >>> F = fk.expected_information(simulator, {"mu": 0.0, "sigma": 2.0}, method=fk.MonteCarlo(20_000, rng=0))
    >>> bool(abs(F.dense()[0, 0] - 3 / 4) < 4 * F.mcse[0, 0])
    True
    """

    def __init__(
        self,
        simulate: Callable[[np.ndarray, int, np.random.Generator], Any],
        *,
        parameters: Any,
        step: Any,
        noise: str = "subtract",
    ) -> None:
        if noise not in NOISE:
            raise MethodError(f"noise must be one of {', '.join(NOISE)}; got {noise!r}.")
        self.parameters = Parameters.of(parameters)
        self._simulate, self._noise = simulate, noise
        self._step = self._flat(step, "step")
        if not (np.isfinite(self._step).all() and (self._step > 0).all()):
            raise DataError(f"step must be positive and finite for each of {self.parameters}; got {self._step.tolist()}.")

    def expected_information(
        self, theta: Theta = None, *, inputs: Any = None, method: Method | None = None, structure: str = "dense"
    ) -> FisherInformation:
        if method is None:
            raise MethodError("the expected information of a simulator needs method=MonteCarlo(n, rng=...).")
        require(method, (MonteCarlo,), what="a simulator")
        assert isinstance(method, MonteCarlo)
        if theta is None:
            raise LayoutError(f"theta is needed: give values for {self.parameters}.")
        at = self._flat(theta, "theta")
        x, d = self._draws(at, method)
        groups = method.groups or min(GROUPS, len(x) // 2)
        fold = np.arange(len(x)) * groups // len(x)
        sizes = np.bincount(fold, minlength=groups)
        replicates = [self._formula(x[fold != g], d[fold != g]) for g in range(groups)] if method.groups != 0 else []
        loo = LeaveOneOut(
            tuple(stored(self.parameters, _kept(r, structure)) for r in replicates), tuple((len(x) / sizes - 1) / groups)
        )
        point = dict(zip(self.parameters.labels, at.tolist(), strict=True))
        provenance = Provenance(kind="expected", method=method, point=point)
        value = stored(self.parameters, _kept(self._formula(x, d), structure))
        return FisherInformation.of(value, provenance, loo if replicates else None)

    def _draws(self, at: np.ndarray, method: MonteCarlo) -> tuple[np.ndarray, np.ndarray]:
        """Summaries (m, k) at theta, and their differences (m, p, k), from equal random numbers."""
        p, m = len(at), method.n // (2 * len(at) + 1)
        seed = method.seeds(1)[0]
        x = self._run(at, max(m, 1), seed)
        needed = max(x.shape[1] + 3, p) + 1 + 2 * (x.shape[1] + 3) // GROUPS
        if m < 2 * needed:
            raise MethodError(
                f"{method!r} pays for {m} simulations at each of {2 * p + 1} points; {x.shape[1]} summaries need {2 * needed}: "
                f"give MonteCarlo(n={2 * needed * (2 * p + 1)}) or fewer summaries."
            )
        steps = np.diag(self._step)
        d = np.stack([(self._run(at + h, m, seed) - self._run(at - h, m, seed)) / (2 * h.max()) for h in steps], axis=1)
        return x, d

    def _run(self, theta: np.ndarray, size: int, seed: np.random.SeedSequence) -> np.ndarray:
        x = np.asarray(self._simulate(theta, size, np.random.default_rng(seed)), dtype=float)
        if x.ndim != 2 or len(x) != size:
            raise LayoutError(f"simulate(theta, {size}, rng) must return summaries of shape ({size}, d); got {x.shape}.")
        if len(bad := np.argwhere(~np.isfinite(x))):
            raise DataError(f"summary {bad[0][1]} of simulation {bad[0][0]} is not finite at theta={theta.tolist()}.")
        return x

    def _formula(self, x: np.ndarray, d: np.ndarray) -> np.ndarray:
        m, k = x.shape
        factor = np.linalg.cholesky(np.atleast_2d(np.cov(x.T)))
        white = np.linalg.solve(factor, d.reshape(-1, k).T).T.reshape(d.shape)
        hartlap, mean = (m - k - 2) / (m - 1), white.mean(axis=0)
        plain = mean @ mean.T
        if self._noise == "keep":
            return np.asarray(hartlap * plain)
        own = np.einsum("aik,ajk->ij", white - mean, white - mean) / (m * (m - 1))
        clean = plain - own
        return np.asarray(hartlap * (clean if self._noise == "subtract" else _geometric_mean(plain, clean)))

    def _flat(self, values: Any, name: str) -> np.ndarray:
        leaves = self.parameters.split(values, name=name)
        return np.asarray(concatenate([np.asarray(leaf, dtype=float) for leaf in leaves]))


def _kept(matrix: np.ndarray, structure: str) -> np.ndarray:
    return np.diagonal(matrix).copy() if structure == "diagonal" else matrix


def _geometric_mean(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a^(1/2) (a^(-1/2) b a^(-1/2))^(1/2) a^(1/2), of a positive a; where b is negative, nothing is left."""
    values, vectors = np.linalg.eigh(a)
    root, inverse = vectors * np.sqrt(values) @ vectors.T, vectors / np.sqrt(values) @ vectors.T
    inner, directions = np.linalg.eigh(inverse @ b @ inverse)
    return np.asarray(root @ (directions * np.sqrt(np.maximum(inner, 0.0))) @ directions.T @ root)

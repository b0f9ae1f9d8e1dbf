r"""Models with latent variables: information from draws of their posterior.

With :math:`s_c` and :math:`H_c` the derivatives of the log-density of observation and latent variable together, the score of an
observation is :math:`E[s_c | y]` (Fisher), and its observed information :math:`E[-H_c | y] - \mathrm{Cov}[s_c | y]` (Louis).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import model
from ..errors import DataError, LayoutError, MethodError
from ..information import FisherInformation
from ..methods import MonteCarlo
from ..model import Theta
from ..parameters import Parameters, concatenate
from ..provenance import Provenance
from ..uncertainty import LeaveOneOut
from .accumulator import stored
from .derivatives import is_complex_safe, score_jacobians

GROUPS = 20

CompleteScore = Callable[[Any, Any, np.ndarray], Any]


class Latent(model.Model):
    r"""A model whose observations y come with latent variables z that nobody sees.

    Parameters
    ----------
    score : callable, (y, z, theta) -> (n, p)
        Gradient of the log-density of each observation together with its latent variable.
    posterior : callable, (y, theta, rng) -> (n, ...)
        Draws a latent variable for each observation, given that observation; consecutive draws may depend on each other.
    parameters : names, or mapping from name to shape
    hessian : callable, (y, z, theta) -> (n, p, p), optional
        Second derivatives of the same; otherwise a complex step or differences of ``score``.
    draws : int
        How many latent variables are drawn for each observation.
    rng : None, int, SeedSequence or Generator

    Notes
    -----
    `observed_information` is Louis's identity: a difference of large terms, which may be indefinite from few draws.
    `empirical_information` is the outer product of the estimated scores (Delattre & Kuhn), less what the draws' noise adds to
    it on average: first derivatives only. Both carry the error of the draws, from groups of consecutive ones.

    References
    ----------
    Louis (1982), Finding the observed information matrix when using the EM algorithm, JRSS B 44, 226-233.
    Delattre & Kuhn (2019), Estimating Fisher information matrix in latent variable models based on the score function,
    arXiv:1909.06094.

    Examples
    --------
    A normal observation of a normal latent variable has variance 2, so each observation has information 1 / 2:

    >>> model = fk.sampled.Latent(
    ...     score=lambda y, z, theta: (z - theta)[:, None],
    ...     posterior=lambda y, theta, rng: rng.normal((y + theta) / 2, np.sqrt(0.5)),
    ...     parameters=("mu",), draws=2000, rng=0,
    ... )
    >>> F = fk.observed_information(model, {"mu": 0.0}, data=np.linspace(-2, 2, 50))
    >>> bool(abs(float(F) - 25) < 4 * F.mcse)
    True
    """

    def __init__(
        self,
        *,
        score: CompleteScore,
        posterior: Callable[[Any, np.ndarray, np.random.Generator], Any],
        parameters: Any,
        hessian: CompleteScore | None = None,
        draws: int = 1000,
        rng: Any = None,
    ) -> None:
        if type(draws) is not int or draws < 4:
            raise MethodError(f"draws must be an integer, 4 at least; got {draws!r}.")
        self.parameters = Parameters.of(parameters)
        self._score, self._posterior, self._hessian = score, posterior, hessian
        self._method = MonteCarlo(draws, rng=rng)

    def score(self, theta: Theta = None, *, data: Any = None) -> np.ndarray:
        sums = self._sums(theta, data, second=False)
        return np.asarray(sums["s"].sum(axis=0) / self._method.n)

    def observed_information(self, theta: Theta = None, *, data: Any = None, structure: str = "dense") -> FisherInformation:
        sums = self._sums(theta, data, second=True)
        return self._information("observed", theta, structure, sums, _louis)

    def empirical_information(self, theta: Theta = None, *, data: Any = None, structure: str = "dense") -> FisherInformation:
        sums = self._sums(theta, data, second=False)
        return self._information("empirical", theta, structure, sums, _delattre_kuhn)

    # -- sums over draws

    def _sums(self, theta: Theta, data: Any, *, second: bool) -> dict[str, np.ndarray]:
        """Per group of consecutive draws: how many, scores by observation, products and Hessians summed over observations."""
        at, y, m = self._at(theta), _observations(data), self._method.n
        groups, rng = min(GROUPS, m // 2), np.random.default_rng(self._method.seeds(1)[0])
        n, p = len(y), len(at)
        sums = {"m": np.zeros(groups), "s": np.zeros((groups, n, p)), "ss": np.zeros((groups, p, p))}
        sums |= {"h": np.zeros((groups, p, p))} if second else {}
        for k in range(m):
            z, g = np.asarray(self._posterior(y, at, rng)), k * groups // m
            if z.ndim == 0 or len(z) != n:
                raise LayoutError(
                    f"posterior(y, theta, rng) must return a draw for each of {n} observations; got shape {z.shape}."
                )
            s = np.asarray(self._score(y, z, at), dtype=float)
            self._check(s, (n, p), "score")
            sums["m"][g] += 1
            sums["s"][g] += s
            sums["ss"][g] += s.T @ s
            if second:
                h = self._complete_hessian(y, z, at)
                self._check(h, (n, p, p), "hessian")
                sums["h"][g] += h.sum(axis=0)
        return sums

    def _complete_hessian(self, y: Any, z: np.ndarray, at: np.ndarray) -> np.ndarray:
        if self._hessian is not None:
            return np.asarray(self._hessian(y, z, at), dtype=float)
        given = lambda x, t: self._score(y, z, t)  # noqa: E731 y and z stay
        return score_jacobians(given, y, at, complex_safe=self._complex_safe(y, z, at))

    def _complex_safe(self, y: Any, z: np.ndarray, at: np.ndarray) -> bool:
        if not hasattr(self, "_safe"):
            self._safe = is_complex_safe(lambda x, t: self._score(y, z, t), y, at)
        return self._safe

    def _check(self, values: np.ndarray, shape: tuple[int, ...], name: str) -> None:
        if values.shape != shape:
            raise LayoutError(f"{name}(y, z, theta) must have shape {shape}; got {values.shape}.")
        if len(bad := np.argwhere(~np.isfinite(values))):
            raise DataError(f"the {name} of observation {bad[0][0]} in {self.parameters.label(int(bad[0][1]))} is not finite.")

    def _information(
        self, kind: str, theta: Theta, structure: str, sums: dict[str, np.ndarray], formula: Callable[..., np.ndarray]
    ) -> FisherInformation:
        total = {name: value.sum(axis=0) for name, value in sums.items()}
        groups, n = len(sums["m"]), sums["s"].shape[1]
        replicates = [formula({name: total[name] - sums[name][g] for name in sums}) for g in range(groups)]
        kept = (lambda f: np.diagonal(f).copy()) if structure == "diagonal" else (lambda f: (f + f.T) / 2)
        weights = tuple((total["m"] / sums["m"] - 1) / groups)
        loo = LeaveOneOut(tuple(stored(self.parameters, kept(r)) for r in replicates), weights)
        point = dict(zip(self.parameters.labels, self._at(theta).tolist(), strict=True))
        provenance = Provenance(kind=kind, method=self._method, n=n, point=point)
        return FisherInformation.of(stored(self.parameters, kept(formula(total))), provenance, loo)

    def _at(self, theta: Theta) -> np.ndarray:
        if theta is None:
            raise LayoutError(f"theta is needed: give values for {self.parameters}.")
        leaves = self.parameters.split(theta, name="theta")
        return np.asarray(concatenate([np.asarray(leaf, dtype=float) for leaf in leaves]))


def _louis(sums: dict[str, np.ndarray]) -> np.ndarray:
    m, s = sums["m"], sums["s"]
    return np.asarray(-sums["h"] / m - (sums["ss"] - s.T @ s / m) / (m - 1))


def _delattre_kuhn(sums: dict[str, np.ndarray]) -> np.ndarray:
    """The products of two different draws: those of one draw with itself hold its noise."""
    m, s = sums["m"], sums["s"]
    return np.asarray((s.T @ s - sums["ss"]) / (m * (m - 1)))


def _observations(data: Any) -> Any:
    if data is None:
        raise DataError("observations are needed: give data=.")
    array = np.asarray(data)
    if array.ndim == 0 or len(array) == 0 or array.dtype.kind not in "fiub" or not np.isfinite(array).all():
        raise DataError(f"data must be finite real numbers, an observation a row; got dtype {array.dtype}, shape {array.shape}.")
    return array

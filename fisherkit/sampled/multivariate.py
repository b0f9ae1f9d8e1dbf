"""The multivariate normal of ``scipy.stats`` as a model: exact, in its mean and the lower triangle of its covariance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import model
from ..errors import DataError, LayoutError
from ..information import FisherInformation
from ..methods import Exact, Method, require
from ..model import Theta
from ..parameters import Parameters
from ..provenance import Provenance
from .accumulator import stored

NAMES = ("mean", "cov")


class MultivariateNormal(model.Model):
    r"""A normal vector with mean :math:`\mu` and covariance C, of which one or both are parameters.

    Parameters
    ----------
    values : mapping with ``mean``, shape (d,), and ``cov``, shape (d, d)
        The point.
    names : the parameters among the two
        ``mean`` has shape (d,); ``cov`` has shape (d (d + 1) / 2,): the lower triangle by rows,
        :math:`C_{00}, C_{10}, C_{11}, C_{20}, \dots`, one below the diagonal for both equal entries.

    Notes
    -----
    With the derivatives :math:`E_a = \partial_a C` and :math:`P = C^{-1}` (never formed), :math:`I_{\mu\mu} = P`,
    :math:`I_{\mu C} = 0` and :math:`I_{ab} = \frac12 \mathrm{tr}(P E_a P E_b)`. Cost :math:`O(d^6)`.

    References
    ----------
    Magnus & Neudecker (2019), Matrix Differential Calculus, 3rd ed., chapter 15.
    """

    def __init__(self, values: Mapping[str, np.ndarray], names: tuple[str, ...]) -> None:
        self._mean, self._cov = values["mean"], values["cov"]
        d = len(self._mean)
        self._root = _root(self._cov, d)
        lower = np.tril_indices(d)
        self.parameters = Parameters.of({name: (d,) if name == "mean" else (len(lower[0]),) for name in names})
        whiten = np.linalg.inv(self._root)
        moves = np.zeros((len(lower[0]), d, d))
        moves[np.arange(len(lower[0])), lower[0], lower[1]] = moves[np.arange(len(lower[0])), lower[1], lower[0]] = 1.0
        self._whiten, self._moves = whiten, np.asarray(whiten @ moves @ whiten.T)
        self._point = {"mean": self._mean, "cov": self._cov[lower]}

    def point(self, theta: Theta = None) -> dict[str, Any]:
        return dict(
            zip(self.parameters.labels, np.concatenate([self._point[n] for n in self.parameters.names]).tolist(), strict=True)
        )

    def score(self, theta: Theta = None, *, data: Any) -> np.ndarray:
        z = self._whitened(data)
        columns = {"mean": z @ self._whiten, "cov": self._squares(z) / 2 - np.trace(self._moves, axis1=1, axis2=2) / 2}
        return np.concatenate([columns[name] for name in self.parameters.names], axis=1)

    def expected_information(
        self, theta: Theta = None, *, inputs: Any = None, method: Method | None = None, structure: str = "dense"
    ) -> FisherInformation:
        method = method or Exact()
        require(method, (Exact,), what="the multivariate normal")
        q = len(self._moves)
        flat = self._moves.reshape(q, -1)
        blocks = {"mean": self._whiten.T @ self._whiten, "cov": flat @ flat.T / 2}
        return self._information(self._joined(blocks, np.zeros((len(self._mean), q))), structure, "expected", 1, method)

    def observed_information(self, theta: Theta = None, *, data: Any, structure: str = "dense") -> FisherInformation:
        z = self._whitened(data)
        n, flat = len(z), self._moves.reshape(len(self._moves), -1)
        turned = (self._moves @ (z.T @ z)).reshape(len(flat), -1)
        blocks = {"mean": n * self._whiten.T @ self._whiten, "cov": turned @ flat.T - n * flat @ flat.T / 2}
        mixed = self._whiten.T @ (self._moves @ z.sum(axis=0)).T
        return self._information(self._joined(blocks, mixed), structure, "observed", n)

    def empirical_information(self, theta: Theta = None, *, data: Any, structure: str = "dense") -> FisherInformation:
        s = self.score(data=data)
        return self._information(s.T @ s, structure, "empirical", len(s))

    def log_likelihood(self, theta: Theta = None, *, data: Any) -> float:
        z = self._whitened(data)
        constant = len(self._mean) * np.log(2 * np.pi) / 2 + np.log(np.diagonal(self._root)).sum()
        return float(-(z**2).sum() / 2 - len(z) * constant)

    def _whitened(self, data: Any) -> np.ndarray:
        """Rows of the data, with mean 0 and unit covariance."""
        x = np.asarray(data, dtype=float)
        if x.ndim != 2 or x.shape[1] != len(self._mean) or not len(x):
            raise LayoutError(f"data must have shape (n, {len(self._mean)}), one row per observation; got {x.shape}.")
        if len(bad := np.argwhere(~np.isfinite(x))):
            raise DataError(f"data must be finite; entry {tuple(bad[0].tolist())} is {x[tuple(bad[0])]}.")
        return np.asarray((x - self._mean) @ self._whiten.T)

    def _squares(self, z: np.ndarray) -> np.ndarray:
        return np.asarray(np.einsum("ni,aij,nj->na", z, self._moves, z, optimize=True))

    def _joined(self, blocks: Mapping[str, np.ndarray], mixed: np.ndarray) -> np.ndarray:
        names = self.parameters.names
        if len(names) == 1:
            return blocks[names[0]]
        between = {("mean", "cov"): mixed, ("cov", "mean"): mixed.T}
        return np.block([[blocks[a] if a == b else between[a, b] for b in names] for a in names])

    def _information(
        self, matrix: np.ndarray, structure: str, kind: str, n: int, method: Method | None = None
    ) -> FisherInformation:
        provenance = Provenance(kind=kind, point=self.point(), n=n, method=method)
        kept = np.diagonal(matrix).copy() if structure == "diagonal" else (matrix + matrix.T) / 2
        return FisherInformation.of(stored(self.parameters, kept), provenance)


def normal_of(distribution: Any) -> dict[str, Any] | None:
    """Mean and covariance of a frozen multivariate normal, nothing for the family itself, None for anything else."""
    names = {cls.__name__ for cls in type(distribution).__mro__}
    if "multivariate_normal_frozen" in names:
        return {"mean": distribution.mean, "cov": distribution.cov}
    return {} if "multivariate_normal_gen" in names else None


def model_of(own: Mapping[str, Any], theta: Any, fixed: Mapping[str, Any]) -> MultivariateNormal:
    """The model with the parameters that theta names, or those of the frozen distribution; the others are known."""
    if theta is not None and not isinstance(theta, Mapping):
        raise LayoutError(f"the multivariate normal needs theta as a mapping with 'mean' and 'cov'; got {theta!r}.")
    free = {str(k): v for k, v in (own if theta is None else theta).items() if str(k) not in fixed}
    values = {**own, **free, **fixed}
    if unknown := sorted(set(values) - set(NAMES)):
        raise LayoutError(f"unknown parameter {', '.join(unknown)}; the multivariate normal has mean, cov.")
    if not free or len(values) < len(NAMES):
        missing = ", ".join(name for name in NAMES if name not in values) or "a parameter that is not fixed"
        raise LayoutError(
            f"the multivariate normal needs {missing}: theta={{'mean': ..., 'cov': ...}}, or one of them as fixed=."
        )
    cov = np.atleast_2d(np.asarray(values["cov"], dtype=float))
    return MultivariateNormal({"mean": _mean(values["mean"], len(cov)), "cov": cov}, tuple(free))


def _mean(value: Any, d: int) -> np.ndarray:
    mean = np.atleast_1d(np.asarray(value, dtype=float))
    if mean.shape != (d,) or not np.isfinite(mean).all():
        raise LayoutError(f"mean must be finite with shape ({d},), as cov is ({d}, {d}); got shape {mean.shape}.")
    return mean


def _root(cov: np.ndarray, d: int) -> np.ndarray:
    if cov.shape != (d, d) or not np.isfinite(cov).all() or abs(cov - cov.T).max() > 1e-10 * abs(cov).max():
        raise LayoutError(f"cov must be finite and symmetric with shape ({d}, {d}); got shape {cov.shape}.")
    try:
        return np.linalg.cholesky(cov)
    except np.linalg.LinAlgError:
        lowest = float(np.linalg.eigvalsh(cov)[0])
        raise LayoutError(
            f"cov must be positive definite; its lowest eigenvalue is {lowest:.3g}: the density lives on a plane."
        ) from None

"""Gaussian data whose mean and covariance are functions of the parameters: the forecaster's formula."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import model
from ..arrays import family
from ..errors import DataError, LayoutError, MethodError
from ..information import FisherInformation
from ..jacobians import differentiate
from ..methods import Exact, Method, require
from ..model import Theta
from ..parameters import Parameters, concatenate


class GaussianModel(model.Model):
    r"""One Gaussian data vector with mean :math:`\mu(\theta)` and covariance :math:`C(\theta)`.

    Parameters
    ----------
    mean : callable, theta -> (d,)
        Of a flat array ``theta`` (p,); of a tensor with ``derivatives="torch"``.
    covariance : array (d, d) or (d,), or callable theta -> one
        One axis holds variances of independent data.
    parameters : names, or mapping from name to shape
    simulations : int, optional
        How many simulations a constant covariance was estimated from: its inverse is then corrected for that noise.
    derivatives : {"numeric", "torch"}
        Order-8 differences with an error control, or ``torch.func``.

    Notes
    -----
    :math:`F_{ij} = \partial_i\mu^\top C^{-1} \partial_j\mu + \frac12 \mathrm{tr}(C^{-1}\partial_iC\,C^{-1}\partial_jC)`, of the
    whole data vector (``n = 1``); the second term is kept whenever the covariance is a function. Data are whitened by one
    Cholesky factor, and C is never inverted. Cost :math:`O(d^3 p)` at most.
    An inverse covariance from N simulations is too large by :math:`(N - 1) / (N - d - 2)`, which is divided out.

    References
    ----------
    Kay (1993), Fundamentals of Statistical Signal Processing: Estimation Theory, section 3.9; Hartlap, Simon & Schneider (2007),
    A&A 464:399.

    Examples
    --------
    >>> x = np.array([0.0, 1.0, 2.0])
    >>> line = fk.sampled.GaussianModel(lambda t: t[0] + t[1] * x, np.full(3, 0.25), parameters=("a", "b"))
    >>> np.round(fk.expected_information(line, {"a": 1.0, "b": 2.0}).dense(), 8)
    array([[12., 12.],
           [12., 20.]])
    """

    def __init__(
        self,
        mean: Callable[[Any], Any],
        covariance: Any,
        *,
        parameters: Any,
        simulations: int | None = None,
        derivatives: str = "numeric",
    ) -> None:
        if derivatives not in ("numeric", "torch"):
            raise MethodError(f"derivatives must be 'numeric' or 'torch'; got {derivatives!r}.")
        if simulations is not None and callable(covariance):
            raise MethodError("simulations= corrects a covariance that was estimated once; it cannot be a function of theta too.")
        self.parameters = Parameters.of(parameters)
        self._mean, self._covariance = mean, covariance
        self._simulations, self._torch = simulations, derivatives == "torch"

    def expected_information(
        self, theta: Theta = None, *, inputs: Any = None, method: Method | None = None, structure: str = "dense"
    ) -> FisherInformation:
        require(method or Exact(), (Exact,), what="a Gaussian model")
        if structure != "dense":
            raise MethodError(f"a Gaussian model keeps structure='dense'; got {structure!r}.")
        at = self._at(theta)
        mean = _array(self._mean(self._own(at)))
        if mean.ndim != 1:
            raise LayoutError(f"mean(theta) must be one data vector, shape (d,); got {mean.shape}.")
        root = self._root(at, len(mean))
        slope = differentiate(lambda t: self._mean(t), self._own(at), name="mean")
        whitened = np.linalg.solve(root, _array(slope))
        matrix = self._correction(len(mean)) * whitened.T @ whitened + self._of_covariance(at, root)
        point = dict(zip(self.parameters.labels, at.tolist(), strict=True))
        return FisherInformation(
            (matrix + matrix.T) / 2, parameters=self.parameters, kind="expected", method=method or Exact(), n=1, point=point
        )

    def _of_covariance(self, at: np.ndarray, root: np.ndarray) -> np.ndarray:
        """Half the trace term: products of the whitened derivatives of C."""
        if not callable(self._covariance):
            return np.zeros((len(at), len(at)))
        covariance, d = self._covariance, len(root)
        flat = differentiate(lambda t: covariance(t).reshape(-1), self._own(at), name="covariance")
        slopes = _array(flat).T
        if slopes.shape[1] == d and d > 1:
            slopes = np.stack([np.diag(row).ravel() for row in slopes])
        half = np.linalg.solve(root, slopes.reshape(-1, d, d))
        whitened = np.linalg.solve(root, half.transpose(0, 2, 1)).reshape(len(at), -1)
        return np.asarray(whitened @ whitened.T / 2)

    def _root(self, at: np.ndarray, d: int) -> np.ndarray:
        given = self._covariance(self._own(at)) if callable(self._covariance) else self._covariance
        found = _array(given)
        matrix = np.diag(found) if found.ndim == 1 else found
        if matrix.shape != (d, d):
            raise LayoutError(f"covariance must have shape ({d}, {d}) or ({d},), as the mean has {d} data; got {found.shape}.")
        if not np.isfinite(matrix).all() or abs(matrix - matrix.T).max() > 1e-10 * abs(matrix).max():
            raise DataError("covariance must be finite and symmetric.")
        try:
            return np.linalg.cholesky(matrix)
        except np.linalg.LinAlgError:
            lowest = float(np.linalg.eigvalsh(matrix)[0])
            raise DataError(f"covariance must be positive definite; its lowest eigenvalue is {lowest:.3g}.") from None

    def _correction(self, d: int) -> float:
        """What the inverse of an estimated covariance is multiplied by (Hartlap)."""
        if self._simulations is None:
            return 1.0
        if self._simulations <= d + 2:
            raise DataError(
                f"the covariance of {d} data needs more than {d + 2} simulations to be inverted; simulations={self._simulations}."
            )
        return (self._simulations - d - 2) / (self._simulations - 1)

    def _own(self, at: np.ndarray) -> Any:
        """theta as the user's functions take it."""
        if not self._torch:
            return at
        import torch

        return torch.as_tensor(at, dtype=torch.float64)

    def _at(self, theta: Theta) -> np.ndarray:
        if theta is None:
            raise LayoutError(f"theta is needed: give values for {self.parameters}.")
        leaves = self.parameters.split(theta, name="theta")
        flat = np.asarray(concatenate([np.asarray(leaf, dtype=float) for leaf in leaves]))
        if flat.shape != (self.parameters.size,) or not np.isfinite(flat).all():
            raise LayoutError(f"theta must be one finite point, shape ({self.parameters.size},); got {flat}.")
        return flat


def _array(values: Any) -> np.ndarray:
    """Machine numbers, whatever library they come from."""
    return np.asarray(values.detach() if family(values) == "torch" else values, dtype=float)

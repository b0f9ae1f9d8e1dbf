"""Covariances of estimates that hold when the model does not: the sandwich, and its clustered form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DataError
from ..parameters import Parameters
from .likelihood import likelihood


@dataclass(frozen=True)
class Covariance:
    """The covariance of an estimate, by parameter.

    Attributes
    ----------
    matrix : (p, p) array
    parameters : Parameters
    """

    matrix: np.ndarray
    parameters: Parameters

    def standard_errors(self) -> np.ndarray:
        """The root of the diagonal, (p,)."""
        return np.asarray(np.sqrt(np.diagonal(self.matrix)))

    def inverse(self) -> np.ndarray:
        """The covariance itself: what the inverse of an information would be."""
        return self.matrix


def sandwich(model: Any, theta: Any, data: Any, *, clusters: Any = None, small_sample: bool = False) -> Covariance:
    r"""Covariance of a maximum-likelihood estimate that does not rest on the model being true.

    :math:`A^{-1} B A^{-1}` with A the observed information and B the sum of outer products of scores; with ``clusters``, of the
    sums of scores over each cluster, so that observations may depend on each other within one.

    Parameters
    ----------
    model : Model, or an object that is one
    theta : mapping from name to value
        The estimate.
    data : array of n observations, or mapping from name to column
    clusters : sequence of n labels, optional
    small_sample : bool
        Multiply by :math:`\frac{n}{n-p}`, or with G clusters by :math:`\frac{G}{G-1}\frac{n-1}{n-p}`, as Stata does.

    Returns
    -------
    Covariance
        Takes the place of an information in `confidence_intervals` and `wald_test`.

    Raises
    ------
    SingularInformationError, IndefiniteInformationError
        When theta is not at a maximum with information in every direction.
    DataError
        When the labels do not fit the data, or there is one cluster only.

    References
    ----------
    Huber (1967), Proc. Fifth Berkeley Symp. 1, 221-233. White (1982), Econometrica 50, 1-25. doi:10.2307/1912526
    Liang & Zeger (1986), Biometrika 73, 13-22. doi:10.1093/biomet/73.1.13

    Examples
    --------
    >>> data = np.random.default_rng(0).standard_t(5, size=100)  # a normal model of heavier tails
    >>> at = {"loc": data.mean(), "scale": data.std()}
    >>> robust = fk.estimation.sandwich(scipy.stats.norm, at, data).standard_errors()
    >>> plain = fk.observed_information(scipy.stats.norm, at, data=data).standard_errors()
    >>> bool(robust[1] > 1.1 * plain[1])
    True
    """
    own, at = likelihood(model, theta, data, kind="observed")
    s = own.score(own.theta(at))
    n, p = s.shape
    factor = n / (n - p) if small_sample else 1.0
    if clusters is not None:
        s = _clustered(s, clusters)
        factor = len(s) / (len(s) - 1) * (n - 1) / (n - p) if small_sample else 1.0
    half = np.asarray(own.information(own.theta(at)).solve(s.T))
    return Covariance(factor * half @ half.T, own.parameters)


def _clustered(s: np.ndarray, clusters: Any) -> np.ndarray:
    """Sums of the scores over each cluster."""
    labels = np.asarray(clusters)
    if labels.shape != (len(s),):
        raise DataError(f"clusters must hold one label for each of the {len(s)} observations; got shape {labels.shape}.")
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise DataError(f"clusters must have no missing label; entry {int(np.argmax(~np.isfinite(labels)))} is missing.")
    groups, index = np.unique(labels, return_inverse=True)
    if len(groups) < 2:
        raise DataError("clusters holds one label only: a covariance needs two clusters at least.")
    out = np.zeros((len(groups), s.shape[1]))
    np.add.at(out, index, s)
    return out

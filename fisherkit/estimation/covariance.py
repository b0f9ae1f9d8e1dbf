"""Covariances of estimates that hold when the model does not: the sandwich, and its clustered form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..model import as_model, counted
from ..parameters import Parameters
from ..rows import Rows
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


def sandwich(
    model: Any,
    theta: Any,
    data: Any = None,
    *,
    weights: Any = None,
    clusters: Any = None,
    nan_policy: str = "raise",
    small_sample: bool = False,
) -> Covariance:
    r"""Covariance of a maximum-likelihood estimate that does not rest on the model being true.

    :math:`A^{-1} B A^{-1}` with A the observed information and B the sum of outer products of scores; with ``clusters``, of the
    sums of scores over each cluster, so that observations may depend on each other within one.

    Parameters
    ----------
    model : Model, or an object that is one
    theta : mapping from name to value
        The estimate.
    data : array of n observations, or mapping from name to column
    weights : array (n,), optional
        How often each observation counts, as for `observed_information`; for weights that are no counts, such as those of a
        survey, give each row a cluster of its own.
    clusters : sequence of n labels, optional
    nan_policy : {"raise", "omit"}
        What an observation with a missing or infinite value does.
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
    >>> from sympy.stats import Normal
    >>> normal = Normal("X", sympy.Symbol("mu", real=True), sympy.Symbol("sigma", positive=True))
    >>> data = np.random.default_rng(0).standard_t(5, size=400)  # heavier tails than the model's
    >>> at = {"mu": data.mean(), "sigma": data.std()}
    >>> robust = fk.estimation.sandwich(normal, at, data).standard_errors()
    >>> plain = fk.observed_information(normal, at, data=data).standard_errors()
    >>> bool(robust[1] > 1.2 * plain[1])
    True
    """
    source = as_model(model)
    rows = Rows.of(counted(source, data, weights=weights, clusters=clusters, nan_policy=nan_policy))
    own, at = likelihood(source, theta, rows if source.counts_rows else rows.data, kind="observed")
    A = own.information(own.theta(at))
    root = rows.root(own.score(own.theta(at)))
    half = np.asarray(A.solve(root.T))
    n, p, groups = A.n, len(half), len(root)
    factor = groups / (groups - 1) * (n - 1) / (n - p) if clusters is not None else n / (n - p)
    return Covariance((factor if small_sample else 1.0) * half @ half.T, own.parameters)

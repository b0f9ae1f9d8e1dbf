"""What every bound returns, and the one formula behind them: the inverse of an information between two gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..arrays import Array, alike, as_entries, family, is_expression, public, same_family, square_root
from ..errors import SingularInformationError
from ..information import FisherInformation


@dataclass(frozen=True)
class Bound:
    """A lower bound on a covariance.

    Attributes
    ----------
    covariance : (q, q) SymPy Matrix, array or tensor; (q,) variances, or a mapping by name, where only those were asked for
        In units of g squared.
    mcse : like covariance, or None
        Monte Carlo standard error, where the information was estimated.
    bias : like covariance, or None
        Monte Carlo bias of ``covariance``, where the information was estimated and the Cramer-Rao bound was asked for: it is too
        large on average, by about so much.
    at : mapping from name to value, or None
        The point that the bound chose: the best test point, or the pseudo-true parameters.
    """

    covariance: Any
    mcse: Any = None
    at: Mapping[str, Any] | None = None
    bias: Any = None

    @property
    def standard_errors(self) -> Any:
        """The root of the variances: no unbiased estimator has smaller standard errors. Shape (q,), or by name."""
        if isinstance(self.covariance, Mapping):
            return {name: square_root(as_entries(leaf)) for name, leaf in self.covariance.items()}
        matrix = as_entries(self.covariance)
        square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1]
        return public(square_root(matrix.diagonal() if square else matrix.reshape(-1)))


def between(information: FisherInformation, gradient: Array | None) -> Any:
    """G F^-1 G', where G does not vary along a direction without information; F^-1 where G is None."""
    if gradient is None:
        return information.inverse()
    try:
        solved = information.solve(gradient.T)
    except SingularInformationError as error:
        solved = without_null(information, gradient, error).solve(gradient.T)
    left, right = same_family(gradient, as_entries(solved), verb="a bound")
    product = left @ right
    return public(product if product.dtype == object else (product + product.T) / 2)


def without_null(information: FisherInformation, gradient: Array, error: SingularInformationError) -> FisherInformation:
    """The information with its null directions filled in: allowed where g does not vary along them."""
    matrix = filled = as_entries(information.dense())
    for direction in error.null_directions:
        null = as_entries([direction.get(label, 0.0) for label in information.parameters.labels])
        gradient, null = same_family(gradient, alike(null, matrix), verb="a bound")
        change, sizes = gradient @ null, abs(gradient) @ abs(null)  # compared in no parameter's units
        if any(_differs(v, size) for v, size in zip(change, sizes, strict=True)):
            raise error
        filled = filled + _in_units_of(matrix, null)
    return FisherInformation(public(filled), parameters=information.parameters)


def _differs(change: Any, size: Any) -> bool:
    if not is_expression(change):
        return bool(abs(change) > 1e-6 * size)
    from sympy import simplify

    return bool(simplify(change) != 0)


def _in_units_of(matrix: Array, null: Array) -> Array:
    """(D n)(D n)' / n' D n, with D the matrix's diagonal: as large as the matrix, whatever the units."""
    if family(matrix) != "sympy":
        d = matrix.diagonal()
        d = d + (d == 0)
        null = d * null / (null @ (d * null)) ** 0.5
    return null[:, None] @ null[None, :]

"""The Cramér-Rao bound for functions of the parameters, biased or not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from .. import jacobians
from ..arrays import Array, alike, as_entries, eye, family, is_expression, public, same_family, square_root
from ..errors import LayoutError, SingularInformationError
from ..information import FisherInformation


@dataclass(frozen=True)
class Bound:
    """A lower bound on a covariance.

    Attributes
    ----------
    covariance : (q, q) SymPy Matrix, array or tensor
        In units of g squared.
    mcse : like covariance, or None
        Monte Carlo standard error, where the information was estimated.
    """

    covariance: Any
    mcse: Any = None

    @property
    def standard_errors(self) -> Any:
        """The root of the diagonal: no unbiased estimator has smaller standard errors. Shape (q,)."""
        matrix = as_entries(self.covariance)
        return public(square_root(matrix.diagonal()))


def cramer_rao_bound(
    information: FisherInformation,
    *,
    of: Callable[[Any], Any] | Any = None,
    bias_gradient: Any = None,
) -> Bound:
    r"""Lower bound on the covariance of an estimator.

    For an estimator of :math:`g(\theta)` with bias :math:`b(\theta)`,
    :math:`\mathrm{cov} \succeq (G + B)\, I(\theta)^{-1} (G + B)^\top`,
    with :math:`G = \partial g/\partial\theta`, :math:`B = \partial b/\partial\theta`.

    Parameters
    ----------
    information : FisherInformation, p parameters
        Over all n observations; multiply a unit information by n first.
    of : callable, shape (p,) -> (q,) or number; or SymPy expression, or several; optional
        The function g; the parameters themselves by default (q = p). A callable is differentiated at
        ``information.point``, by ``torch.func`` for tensors and numerically otherwise.
    bias_gradient : array, shape (q, p), optional
        Zero by default: unbiased estimators.

    Returns
    -------
    Bound
        ``covariance`` of shape (q, q), in units of g squared; ``mcse`` of equal shape when the information was
        estimated, else None.

    Raises
    ------
    SingularInformationError
        When g + b varies along a direction without information; the direction is named.
    LayoutError
        When a shape does not fit, or a callable ``of`` meets an information without a point.

    Notes
    -----
    Needs a support that does not depend on theta. Solves with the scaled information; the inverse is formed only when
    the bound is on the parameters themselves. Cost O(p^3). For one of several parameters the others are nuisances:
    take the diagonal, or ``information.marginalize(...)`` first; ``information.fix(...)`` where they are known.

    References
    ----------
    Lehmann & Casella (1998), Theory of Point Estimation, 2nd ed., sections 2.5-2.6.

    Examples
    --------
    >>> F = 25 * fk.FisherInformation([[4.0]], parameters=("mu",))
    >>> fk.cramer_rao_bound(F).covariance
    array([[0.01]])
    """
    gradient = _gradient(information, of, bias_gradient)
    return Bound(_bound(information, gradient), information.mcse_of(lambda F: _bound(F, gradient)))


def _bound(information: FisherInformation, gradient: Array | None) -> Any:
    if gradient is None:
        return information.inverse()
    try:
        solved = information.solve(gradient.T)
    except SingularInformationError as error:
        solved = _without_null(information, gradient, error).solve(gradient.T)
    left, right = same_family(gradient, as_entries(solved), verb="cramer_rao_bound")
    product = left @ right
    return public(product if product.dtype == object else (product + product.T) / 2)


def _gradient(information: FisherInformation, of: Any, bias_gradient: Any) -> Array | None:
    """G + B, shape (q, p); None where it is the identity."""
    entries = as_entries(information.diagonal()) if information.parameters.is_flat else None
    if of is None and bias_gradient is None:
        return None
    if entries is None:
        raise LayoutError(f"bounds of functions need scalar parameters; found {information.parameters}.")
    gradient = eye(len(entries), entries) if of is None else _derivative(information, of, entries)
    if bias_gradient is None:
        return gradient
    bias = as_entries(bias_gradient, name="bias_gradient")
    if tuple(bias.shape) != tuple(gradient.shape):
        raise LayoutError(f"bias_gradient must have shape (q, p) = {tuple(gradient.shape)}; got {tuple(bias.shape)}.")
    left, right = same_family(gradient, bias, verb="cramer_rao_bound")
    return left + right


def _derivative(information: FisherInformation, of: Any, entries: Array) -> Array:
    if not callable(of):
        return _derivative_of_expressions(information, of, entries)
    if information.point is None:
        raise LayoutError("of= is a callable, so the information must know its point: FisherInformation(..., point={...}).")
    values = as_entries([information.point[label] for label in information.parameters.labels], name="F.point")
    return jacobians.differentiate(of, alike(values, entries), name="of")


def _derivative_of_expressions(information: FisherInformation, of: Any, entries: Array) -> Array:
    """Symbols are matched by name; numbers are put where the information holds numbers."""
    import sympy

    functions = list(of) if isinstance(of, Iterable) and not is_expression(of) else [of]
    if not all(is_expression(function) for function in functions):
        raise LayoutError(f"of= must be a callable, a SymPy expression or several; got {of!r}.")
    used = {str(s): s for function in functions for s in function.free_symbols}
    symbols = [used.get(label, sympy.Symbol(label)) for label in information.parameters.labels]
    jacobian = as_entries(sympy.Matrix(functions).jacobian(symbols))
    if family(entries) == "sympy":
        return jacobian
    if not any(value.free_symbols for value in jacobian.flat):
        return alike(jacobian.astype(float), entries)
    if information.point is None:
        raise LayoutError(f"of={of} depends on the parameters, so the information must know its point.")
    at = {s: information.point[str(s)] for s in symbols if str(s) in used}
    return alike(as_entries([[float(value.subs(at)) for value in row] for row in jacobian]), entries)


def _without_null(information: FisherInformation, gradient: Array, error: SingularInformationError) -> FisherInformation:
    """The information with its null directions filled in: allowed where g does not vary along them."""
    matrix = filled = as_entries(information.dense())
    for direction in error.null_directions:
        null = as_entries([direction.get(label, 0.0) for label in information.parameters.labels])
        gradient, null = same_family(gradient, alike(null, matrix), verb="cramer_rao_bound")
        change, sizes = gradient @ null, abs(gradient) @ abs(null)  # compared in no parameter's units
        if any(v != 0 if is_expression(v) else abs(v) > 1e-6 * size for v, size in zip(change, sizes, strict=True)):
            raise error
        filled = filled + _in_units_of(matrix, null)
    return FisherInformation(public(filled), parameters=information.parameters)


def _in_units_of(matrix: Array, null: Array) -> Array:
    """(D n)(D n)' / n' D n, with D the matrix's diagonal: as large as the matrix, whatever the units."""
    if family(matrix) != "sympy":
        d = matrix.diagonal()
        d = d + (d == 0)
        null = d * null / (null @ (d * null)) ** 0.5
    return null[:, None] @ null[None, :]

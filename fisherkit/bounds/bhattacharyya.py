"""The Bhattacharyya bounds: more derivatives of the density than the first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..arrays import Array, public
from ..errors import DataError
from ..information import FisherInformation
from ..methods import Method
from ..model import Theta, as_model, multi_indices
from .bound import Bound, between
from .functions import Target
from .repeated import repeated


def bhattacharyya_bound(
    model: Any, theta: Theta = None, *, of: Any = None, order: int = 2, n: Any = 1, method: Method | None = None
) -> Bound:
    r"""Lower bound on the covariance of an unbiased estimator, from derivatives of the density up to an order.

    With :math:`r_a = \partial^a f / f` for all multi-indices :math:`1 \le |a| \le m`,
    :math:`\mathrm{cov} \succeq G\, E[r r^\top]^{-1} G^\top`, where :math:`G_a = \partial^a g`.

    Parameters
    ----------
    model : Model, or an object that is one
        See `expected_information`.
    theta : mapping from name to number, or array (p,), optional
        The point. Symbolic models answer in symbols without it.
    of : SymPy expression, or several; or callable, shape (p,) -> (q,) or number; optional
        The function g; the parameters themselves by default. Above order 1 a callable must accept symbols.
    order : int
        m, at least 1. Order 1 is the Cramer-Rao bound.
    n : int or expression
        How many independent observations.
    method : Method, optional
        How expectations are taken.

    Returns
    -------
    Bound
        ``covariance`` of shape (q, q), in units of g squared; ``mcse`` where ratios were drawn.

    Raises
    ------
    RegularityError
        When the density has no derivatives of that order, or their variance is infinite.
    SingularInformationError
        When derivatives of the density are linearly dependent and those of g are not in the same way: no unbiased estimator
        of g exists. The normal law is such a case at n = 1: its derivative in sigma is sigma times the second in mu.

    Notes
    -----
    Never below the Cramer-Rao bound, and non-decreasing in ``order``: sharper where g is curved in the natural parameters, equal
    where an efficient estimator exists. In an exponential family with g(theta) estimated without bias by a polynomial of degree m
    in the sufficient statistic, order m is attained. For small steps it is the Barankin bound whose test points have run
    together; `chapman_robbins_bound` and `barankin_bound` need no derivative. Cost: C(p+m, m) - 1 derivatives, and the square of
    it
    expectations.

    References
    ----------
    Bhattacharyya (1946), On some analogues of the amount of information, Sankhya 8, 1-14; Lehmann & Casella (1998), Theory of
    Point Estimation, 2nd ed., section 2.6 and problem 2.5.

    Examples
    --------
    >>> mu, n = sympy.Symbol("mu", real=True), sympy.Symbol("n", positive=True)
    >>> from sympy.stats import Normal
    >>> normal = Normal("X", mu, 1)
    >>> sympy.factor(fk.bhattacharyya_bound(normal, of=mu**2, n=n).covariance[0, 0])
    2*(2*mu**2*n + 1)/n**2
    """
    if isinstance(order, bool) or not isinstance(order, int) or order < 1:
        raise DataError(f"order must be a positive integer; got {order!r}.")
    source = as_model(model)
    point = source.point(theta)
    indices = multi_indices(len(point), order)
    gradient = Target(of, point).derivatives(order)
    moments = source.ratios(theta, order=order, points=(), method=method)
    labels = [derivative_label(a, list(point)) for a in indices]

    def bound(gram: Array) -> Any:
        return between(FisherInformation(public(repeated(gram, indices, n)), parameters=labels), gradient)

    return Bound(bound(moments.value), moments.mcse_of(bound))


def derivative_label(a: tuple[int, ...], names: Sequence[str]) -> str:
    """``d mu^2 sigma``."""
    parts = [name if count == 1 else f"{name}^{count}" for name, count in zip(names, a, strict=True) if count]
    return "d " + " ".join(parts)

"""Bounds from finite steps of the parameters: no derivative of the density, and no regularity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..arrays import Array, is_expression, public, same_family
from ..errors import DataError, LayoutError
from ..information import FisherInformation
from ..methods import Method
from ..model import Model, Theta, as_model, multi_indices
from . import supremum
from .bhattacharyya import derivative_label
from .bound import Bound, between
from .functions import Target
from .repeated import check_n, grown, repeated


def chapman_robbins_bound(
    model: Any,
    theta: Theta = None,
    *,
    of: Any = None,
    test_point: Any = None,
    n: Any = 1,
    method: Method | None = None,
) -> Bound:
    r"""Lower bound on the variance of an unbiased estimator, from one finite step; it needs no derivative.

    :math:`\mathrm{var} \ge \sup_t\, (g(t) - g(\theta))^2 \,/\, (E[(f_t / f_\theta)^2]^n - 1)`, over points t whose support lies
    in that of theta.

    Parameters
    ----------
    model : Model, or an object that is one
        See `expected_information`. The support may move with the parameters.
    theta : mapping from name to number, or array (p,), optional
        The point. Symbolic models answer in symbols without it.
    of : SymPy expression, or callable, shape (p,) -> number; optional
        The function g; the parameter itself by default, where there is one only.
    test_point : mapping from name to value, optional; a plain value for one parameter
        t; parameters that it does not name stay. By default the best one is looked for, and returned as ``at``.
    n : int or expression
        How many independent observations.
    method : Method, optional
        How expectations are taken. With `MonteCarlo` the point is chosen from one half of the random numbers and the bound
        computed from others, so that the best of many noisy values is not taken for the bound.

    Returns
    -------
    Bound
        ``covariance`` (1, 1), or (q, q) at a test point that is given; ``at`` the test point, None where the supremum is the
        limit of small steps, the Cramer-Rao bound.

    Raises
    ------
    DataError
        When the test point is outside the domain, is theta itself, or has mass where the density at theta has none.
    MethodError
        When the supremum has no closed form; the test point or theta must then be given.

    Notes
    -----
    Never below `cramer_rao_bound` where that exists, and it exists for a support that moves and for a parameter that counts.
    Several
    steps at once, `barankin_bound`, are sharper still. `bhattacharyya_bound` may be above or below. In numbers the supremum over
    one parameter is scanned over steps of 1e-6 to 10 times the parameter in both directions and refined; over several it starts
    from
    the axes and from the best direction of small steps, and is a lower bound on the supremum, so that the result is a bound in
    any case. A
    closed form is a limit or a stationary point that agrees with the scan at two random points.

    References
    ----------
    Chapman & Robbins (1951), Minimum variance estimation without regularity assumptions, Ann. Math. Statist. 22, 581-586;
    Hammersley (1950), On estimating restricted parameters, J. R. Statist. Soc. B 12, 192-240.

    Examples
    --------
    >>> theta = sympy.Symbol("theta", positive=True)
    >>> uniform = fk.symbolic.Model(1 / theta, data=sympy.Symbol("x"), parameters=theta, support=(0, theta))
    >>> fk.chapman_robbins_bound(uniform).covariance
    Matrix([[theta**2/4]])
    >>> fk.chapman_robbins_bound(uniform, {"theta": 2.0}, test_point=1.0, n=2).covariance.round(9)
    array([[0.33333333]])
    """
    source = as_model(model)
    check_n(n)
    point = source.point(theta)
    target = Target(of, point)
    if test_point is not None:
        return _at(source, theta, target, _full(point, test_point), n, method)
    if len(target.values(point)) != 1:
        raise LayoutError(
            "the supremum over test points is that of one function: give of=, for example of=mu. For several at once give "
            "test_point=, or take fk.bounds.barankin_bound."
        )
    found = supremum.symbolic if target.symbolic else supremum.numeric
    return found(source, theta, target, n, method)


def _at(source: Model, theta: Theta, target: Target, t: Mapping[str, Any], n: Any, method: Method | None) -> Bound:
    step = _step(target, t)
    moments = source.ratios(theta, order=0, points=[t], method=method)

    def bound(gram: Array) -> Any:
        distance = grown(gram[0, 0], n)
        if not getattr(distance, "free_symbols", None) and not distance > 0:
            raise DataError(f"the density at the test point {_told(t)} is that at theta: choose another.")
        product = step[:, None] * step[None, :] / distance
        if product.dtype != object:
            return product
        from sympy import piecewise_fold, powsimp

        return public(np.vectorize(lambda v: powsimp(piecewise_fold(v)), otypes=[object])(product))

    return Bound(bound(moments.value), moments.mcse_of(bound), t)


def barankin_bound(
    model: Any,
    theta: Theta = None,
    *,
    test_points: Sequence[Any],
    of: Any = None,
    order: int = 0,
    n: Any = 1,
    method: Method | None = None,
) -> Bound:
    r"""Lower bound on the covariance of an unbiased estimator, from several finite steps at once, and derivatives too.

    With :math:`r_k = f_{t_k} / f_\theta - 1` over n observations and :math:`D_k = g(t_k) - g(\theta)`,
    :math:`\mathrm{cov} \succeq D\, E[r r^\top]^{-1} D^\top`.

    Parameters
    ----------
    model, theta, of, n, method
        As for `bhattacharyya_bound`.
    test_points : sequence of mappings from name to value; or of plain values for one parameter
        Parameters that a point does not name stay at theta.
    order : int
        Derivatives of the density that join the steps; 1 is the bound of McAulay & Hofstetter, never below the Cramer-Rao bound.

    Returns
    -------
    Bound
        ``covariance`` of shape (q, q), in units of g squared; ``mcse`` where ratios were drawn.

    Raises
    ------
    DataError
        When a test point is outside the domain, has mass where the density has none, or a ratio has no second moment.
    SingularInformationError
        When test points tell the same, and g does not.

    Notes
    -----
    Sharper than `chapman_robbins_bound` at any one of the points, and it grows with more of them; the supremum over all sets of
    points
    is attained by the best unbiased estimator at theta, where there is one. With ``order=m`` it is also never below
    `bhattacharyya_bound` of that order. Points far away, near side lobes of the likelihood, show the threshold below which a
    Cramer-Rao bound is too hopeful. Cost: a number of expectations quadratic in the number of points.

    References
    ----------
    Barankin (1949), Locally best unbiased estimates, Ann. Math. Statist. 20, 477-501; McAulay & Hofstetter (1971), Barankin
    bounds on parameter estimation, IEEE Trans. Inform. Theory 17, 669-676.

    Examples
    --------
    >>> bound = fk.bounds.barankin_bound(scipy.stats.uniform, {"scale": 2.0}, test_points=[0.5, 1.0, 1.5])
    >>> bool(bound.covariance[0, 0] > fk.chapman_robbins_bound(scipy.stats.uniform, {"scale": 2.0}).covariance[0, 0])
    True
    """
    if isinstance(order, bool) or not isinstance(order, int) or order < 0:
        raise DataError(f"order must be an integer, 0 or more; got {order!r}.")
    source = as_model(model)
    check_n(n)
    point = source.point(theta)
    target = Target(of, point)
    points = [_full(point, t) for t in test_points]
    if not points:
        raise LayoutError("barankin_bound needs at least one test point.")
    steps = [_step(target, t) for t in points]
    indices = multi_indices(len(point), order)
    gradient = np.stack(steps, axis=1)
    if order:
        gradient = np.concatenate(same_family(target.derivatives(order), gradient, verb="barankin_bound"), axis=1)
    labels = [*(derivative_label(a, list(point)) for a in indices), *map(_told, points)]
    moments = source.ratios(theta, order=order, points=points, method=method)
    _refuse_infinite(moments.value, labels)

    def bound(gram: Array) -> Any:
        return between(FisherInformation(public(repeated(gram, indices, n)), parameters=labels), gradient)

    return Bound(bound(moments.value), moments.mcse_of(bound))


def _full(point: Mapping[str, Any], given: Any) -> dict[str, Any]:
    """A test point that names every parameter."""
    if not isinstance(given, Mapping):
        if len(point) != 1 or isinstance(given, (str, list, tuple)):
            raise LayoutError(f"a test point is a mapping from name to value, of {', '.join(point)}; got {given!r}.")
        given = {next(iter(point)): given}
    named = {str(name): value for name, value in given.items()}
    if unknown := sorted(set(named) - set(point)):
        raise LayoutError(f"the test point names {', '.join(unknown)}; the parameters are {', '.join(point)}.")
    full = {**point, **named}
    if all(full[name] == value for name, value in point.items()):
        raise DataError(f"the test point {_told(full)} is theta itself: a step of no length tells nothing.")
    return full


def _step(target: Target, t: Mapping[str, Any]) -> Array:
    left, right = same_family(target.values(t), target.values(target.point), verb="g(t) - g(theta)")
    return left - right


def _told(t: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value if is_expression(value) else f'{value:.6g}'}" for name, value in t.items())


def _refuse_infinite(gram: Array, labels: Sequence[str]) -> None:
    for label, value in zip(labels, gram.diagonal(), strict=True):
        if value == float("inf"):
            raise DataError(
                f"the likelihood ratio of the test point {label} has no second moment, so it bounds nothing. Choose one "
                f"nearer to theta."
            )

"""The Cramér-Rao bound for functions of the parameters, biased or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from ..arrays import Array, as_entries, public
from ..errors import DataError, LayoutError
from ..information import FisherInformation
from .bound import Bound, between
from .functions import gradient

Form = Literal["full", "diagonal", "scalar"]


def cramer_rao_bound(
    information: FisherInformation,
    *,
    of: Callable[[Any], Any] | Any = None,
    bias_gradient: Any = None,
    form: Form = "full",
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
    form : {"full", "diagonal", "scalar"}
        The whole matrix; only its q variances (a mapping by name for tensors, and no p x p matrix); or :math:`1 / I_{ii}` for
        each parameter, as if the others were known: :math:`e_i^2 I_{ii} \ge 1`, the weakest of the three.

    Returns
    -------
    Bound
        ``covariance`` of shape (q, q), or (q,) variances, in units of g squared; ``mcse`` of equal shape when the
        information was estimated, else None, and so ``bias``: the bound of an estimated information is too large on average.

    Raises
    ------
    SingularInformationError
        When g + b varies along a direction without information; the direction is named.
    LayoutError
        When a shape does not fit, or a callable ``of`` meets an information without a point.

    Notes
    -----
    Needs a support that does not depend on theta; see `chapman_robbins_bound` otherwise. Sharper bounds from the same density:
    `bhattacharyya_bound`, `chapman_robbins_bound`, `barankin_bound`; lower ones from more knowledge: `constrained_bound`,
    `van_trees_bound`. Where the bound is attained, `efficient_estimator` gives the estimator. Solves with the scaled
    information; the inverse is formed only when
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
    _check_information(information, "cramer_rao_bound")
    if form == "full":
        G = gradient(information, of, bias_gradient)
        return _with_errors(information, lambda F: between(F, G))
    if form == "diagonal":
        G = gradient(information, of, bias_gradient)
        return _with_errors(information, lambda F: _variances(F, G))
    if form != "scalar":
        raise LayoutError(f"form must be 'full', 'diagonal' or 'scalar'; got {form!r}.")
    if of is not None or bias_gradient is not None:
        raise LayoutError("form='scalar' bounds each parameter with the others known; it takes no of= and no bias_gradient=.")
    return _with_errors(information, _scalar)


def _with_errors(information: FisherInformation, function: Callable[[FisherInformation], Any]) -> Bound:
    return Bound(function(information), information.mcse_of(function), bias=information.bias_of(function))


def _variances(information: FisherInformation, G: Array | None) -> Any:
    if G is not None:
        return public(as_entries(between(information, G)).diagonal())
    return _each(information.standard_errors(), lambda e: e**2)


def _scalar(information: FisherInformation) -> Any:
    leaves = information.diagonal() if not information.parameters.is_flat else {"all": information.diagonal()}
    for name, leaf in leaves.items():
        if any(v == 0 for v in as_entries(leaf).reshape(-1).tolist()):
            which = next(label for label in information.parameters.labels if label.startswith(name) or name == "all")
            raise LayoutError(f"a parameter carries no information ({which} or one beside it): its scalar bound is infinite.")
    return _each(information.diagonal(), lambda v: 1 / v)


def _each(values: Any, function: Any) -> Any:
    if isinstance(values, dict):
        return {name: function(leaf) for name, leaf in values.items()}
    return public(function(as_entries(values)))


def efficiency(covariance: Any, information: FisherInformation, *, of: Any = None, joint: bool = False) -> Any:
    r"""How close an unbiased estimator comes to the Cramer-Rao bound: the bound over its variance.

    Parameters
    ----------
    covariance : number, array (q,) of variances, or array (q, q)
        Of the estimator of g, in units of g squared.
    information : FisherInformation
        Over all n observations that the estimator used.
    of : callable, or SymPy expressions, optional
        The function g, as in `cramer_rao_bound`.
    joint : bool
        One number for all: the root of order q of the ratio of determinants. Needs the whole covariance.

    Returns
    -------
    number or array (q,)
        In [0, 1] for the exact covariance of an unbiased estimator; a number where ``covariance`` is one, or where ``joint``.

    Raises
    ------
    DataError
        When a variance is not positive.

    Notes
    -----
    A simulated covariance has an error, so that an efficient estimator may come out a little above 1. Where the information was
    estimated, ``information.mcse_of(lambda F: efficiency(covariance, F))`` is the error that comes from it.

    References
    ----------
    Cramer (1946), Mathematical Methods of Statistics, sections 32.3 and 32.6.

    Examples
    --------
    >>> F = 100 * fk.FisherInformation([[1.0]], parameters=("mu",))
    >>> round(fk.bounds.efficiency(np.pi / 200, F), 4)  # the median of a normal sample
    0.6366
    """
    _check_information(information, "efficiency")
    given = as_entries(covariance, name="covariance")
    bound = as_entries(cramer_rao_bound(information, of=of).covariance)
    q = len(bound)
    if tuple(given.shape) not in ((), (q,), (q, q)) or (given.ndim == 0 and q > 1) or (joint and given.ndim < 2 and q > 1):
        raise LayoutError(
            f"covariance must have shape ({q}, {q})" + ("" if joint else f" or ({q},)") + f"; got {tuple(given.shape)}."
        )
    if joint:
        return _determinant(bound, given.reshape(q, q))
    variances = given.diagonal() if given.ndim == 2 else given.reshape(-1)
    if any(not getattr(v, "free_symbols", None) and not v > 0 for v in variances.tolist()):
        raise DataError(f"the variances of an estimator must be positive; got {variances.tolist()}.")
    ratio = bound.diagonal() / variances
    return (ratio[0] if ratio.dtype == object else float(ratio[0])) if given.ndim == 0 else public(ratio)


def _determinant(bound: Array, covariance: Array) -> Any:
    logs = [FisherInformation(public(matrix)).logdet for matrix in (bound, covariance)]
    if bound.dtype == object:
        from sympy import exp, simplify

        return simplify(exp((logs[0] - logs[1]) / len(bound)))
    return float(2.718281828459045 ** float((logs[0] - logs[1]) / len(bound)))


def _check_information(information: Any, verb: str) -> None:
    if not isinstance(information, FisherInformation):
        raise LayoutError(
            f"{verb} takes a FisherInformation; got {type(information).__name__}. Of a model: "
            f"{verb}(fk.expected_information(model, theta).total(n))."
        )

"""What the metric says at one point: a prior density, a direction of steepest descent, a divergence of small steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import as_entries, family
from ..errors import LayoutError, MethodError
from ..information import FisherInformation
from .connection import tidy
from .metric import as_metric


def jeffreys_prior(information: FisherInformation) -> Any:
    r"""Jeffreys' prior density :math:`\sqrt{\det F(\theta)}`, not normalised.

    Parameters
    ----------
    information : FisherInformation, p parameters
        Per observation or not: n changes a constant factor only.

    Returns
    -------
    expression or float
        The density with respect to :math:`d\theta`; a volume, so that new parameters multiply it by the Jacobian.
        A float where the entries are numbers at one point.

    Raises
    ------
    SingularInformationError
        When some direction has no information: there is no such density. The direction is named.

    Notes
    -----
    Often improper: its integral over the domain may be infinite. For a parameter of interest beside nuisances the
    reference prior (Bernardo 1979) is usually preferred.

    References
    ----------
    Jeffreys (1946), Proc. R. Soc. A 186, 453-461.

    Examples
    --------
    >>> p = sympy.Symbol("p", positive=True)
    >>> fk.geometry.jeffreys_prior(fk.FisherInformation([[1 / (p * (1 - p))]], parameters=(p,)))
    1/(sqrt(p)*sqrt(1 - p))
    """
    logdet = information.logdet  # refuses a singular one
    if family(as_entries(information.diagonal())) != "sympy":
        return float(np.exp(float(logdet) / 2))
    from sympy import exp

    return _root(tidy(exp(logdet)))


def _root(det: Any) -> Any:
    """The square root of a product that is positive inside the domain, though single factors may look negative."""
    import sympy

    constant, factors = det.as_coeff_Mul()
    powers = sympy.Mul.make_args(factors)
    sums = [f for f in powers if f.as_base_exp()[0].is_Add]
    if constant < 0 and sums:  # -1/(p (p - 1)) is 1/(p (1 - p))
        base, exponent = sums[0].as_base_exp()
        constant, powers = -constant, tuple((-base) ** exponent if f is sums[0] else f for f in powers)
    rest = sympy.Mul(*(f for f in powers if not f.is_positive))
    root = 1 / sympy.sqrt(1 / rest) if rest.is_Pow and rest.exp.is_negative else sympy.sqrt(rest)
    return sympy.sqrt(constant) * sympy.Mul(*(sympy.sqrt(f) for f in powers if f.is_positive)) * root


def natural_gradient(information: FisherInformation, gradient: Any, *, damping: float = 0.0) -> Any:
    r"""The direction of steepest ascent in the Fisher metric, :math:`(F + \lambda I)^{-1} \nabla`.

    Parameters
    ----------
    information : FisherInformation, p parameters
        Of as many observations as the loss that ``gradient`` differentiates.
    gradient : array (p,), or mapping by name
        Of any function of the parameters, in its units per parameter.
    damping : float
        :math:`\lambda`, added to the diagonal as it stands.

    Returns
    -------
    array (p,) or mapping, in the form of ``gradient``
        In units of the parameters. New parameters give the same direction, to first order in the step.

    Raises
    ------
    SingularInformationError
        When some direction has no information and ``damping`` is 0; the direction is named.

    References
    ----------
    Amari (1998), Natural gradient works efficiently in learning, Neural Computation 10, 251-276.

    Examples
    --------
    >>> F = fk.FisherInformation([[4.0, 0.0], [0.0, 8.0]], parameters=("mu", "sigma"))
    >>> fk.geometry.natural_gradient(F, [1.0, 1.0])
    array([0.25 , 0.125])
    """
    return information.solve(gradient, damping=damping)


#: coordinates -> the factor of the third order: KL = F d d / 2 + factor dF d d d
THIRD = {"natural": (1, 6), "mean": (1, 3)}


def kullback_leibler(information: FisherInformation, delta: Any, *, coordinates: str | None = None) -> Any:
    r"""Kullback-Leibler divergence from :math:`\theta` to :math:`\theta + \delta`, for small :math:`\delta`.

    :math:`\tfrac12 F_{ij}\delta_i\delta_j`, and in coordinates of an exponential family the third order too:
    :math:`+ c\, \partial_k F_{ij}\, \delta_i\delta_j\delta_k` with c = 1/6 for natural and 1/3 for mean parameters.

    Parameters
    ----------
    information : FisherInformation, p parameters
        Over n observations: the divergence is that of n observations.
    delta : array (p,), or mapping by name
        The step: numbers or expressions.
    coordinates : {"natural", "mean"}, optional
        What the parameters are; with it, third order. Needs expressions: the slope of F enters.

    Returns
    -------
    expression or float
        In nats. The error is of third order in delta, or of fourth.

    Raises
    ------
    MethodError
        When ``coordinates`` is none of these. In general coordinates, F alone does not determine the third order.
    EntriesError
        When the third order is asked of entries that are numbers.

    Notes
    -----
    Natural and mean parameters are flat for the exponential and the mixture connection, whose third-order terms these are.

    References
    ----------
    Amari & Nagaoka (2000), Methods of Information Geometry, sections 3.2-3.5.

    Examples
    --------
    >>> rate, d = sympy.Symbol("rate", positive=True), sympy.Symbol("d", real=True)
    >>> F = fk.FisherInformation([[1 / rate]], parameters=(rate,))  # Poisson; its rate is a mean parameter
    >>> fk.geometry.kullback_leibler(F, [d], coordinates="mean")
    -d**3/(3*rate**2) + d**2/(2*rate)
    """
    second = information.quadratic(delta) / 2
    if coordinates is None:
        return second if hasattr(second, "free_symbols") else float(second)
    if coordinates not in THIRD:
        raise MethodError(
            f"coordinates must be 'natural' or 'mean', of an exponential family; got {coordinates!r}. In others F alone does "
            "not determine the third order: leave it out for the second."
        )
    from sympy import Rational

    metric = as_metric(information, "kullback_leibler to third order", delta)
    leaves = [leaf[0] for leaf in information.parameters.split(delta, name="delta")]
    if any(np.ndim(leaf) for leaf in leaves):
        raise LayoutError("delta must be one step: shape (p,), or a mapping by name.")
    d = np.array(leaves, dtype=object)
    return second + Rational(*THIRD[coordinates]) * np.einsum("kij,k,i,j->", metric.first, d, d, d)  # type: ignore[union-attr]

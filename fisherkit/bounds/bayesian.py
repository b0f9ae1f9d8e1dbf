"""Bounds when parameters are random: all of them, with a prior (van Trees), or some (hybrid)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ..arrays import is_expression
from ..errors import FisherkitError, LayoutError
from ..information import FisherInformation
from ..methods import Method
from ..model import Model, Theta, as_model
from . import priors
from .averages import over_prior
from .bound import Bound, between


def van_trees_bound(source: Any, *, prior: Any, of: Any = None, n: Any = 1, method: Method | None = None) -> Bound:
    r"""Lower bound on the mean squared error of any estimator, biased or not, averaged over a prior.

    :math:`E[(\hat g - g)(\hat g - g)^\top] \succeq \bar G\, (n\, E_\pi[I(\theta)] + J_\pi)^{-1} \bar G^\top`, with
    :math:`\bar G = E_\pi[\partial g / \partial\theta]` and the prior's own information
    :math:`J_\pi = E_\pi[\nabla\log\pi\, \nabla\log\pi^\top]`.

    Parameters
    ----------
    source : model, or FisherInformation
        A model, or an information in symbols, is averaged over the prior here. An information in numbers is taken for that
        average: right where it does not depend on the parameters, or where it was averaged before.
    prior : distribution, mapping from name to distribution, array (p, p), or FisherInformation
        A continuous ``sympy.stats`` variable, a frozen ``scipy.stats`` family or a model, for one parameter; a mapping for
        several independent ones; a symbolic model whose data symbols bear the parameters' names, for a joint prior; or the
        matrix :math:`J_\pi` itself, for example ``n=0`` information of a Gaussian prior.
    of : SymPy expression, or several; or callable, shape (p,) -> (q,) or number; optional
        The function g; the parameters themselves by default.
    n : int or expression
        How many independent observations of a model. A FisherInformation brings its own.
    method : Method, optional
        How the expectations of a model are taken.

    Returns
    -------
    Bound
        ``covariance`` of shape (q, q): of the mean squared error, in units of g squared; ``mcse`` where information was
        estimated.

    Raises
    ------
    RegularityError
        When the prior does not vanish at the ends of its support, so that it carries no finite information.
    DataError
        When the prior's information is not positive definite.
    LayoutError
        When a parameter has no prior: `hybrid_bound` is for those.

    Notes
    -----
    Holds for every estimator, where the Cramer-Rao bound asks for unbiased ones, but on average over the prior. By Jensen's
    inequality
    it is never above the mean of the Cramer-Rao bound over the prior; the two meet as n grows where I does not depend on theta.
    It is attained
    when the posterior is Gaussian with a constant covariance. In numbers the average is a Gauss rule of each prior, grown until
    two agree to 1e-4; a formula is averaged entry by entry, to 1e-6.

    References
    ----------
    van Trees (1968), Detection, Estimation, and Modulation Theory, part I, section 2.4; Gill & Levit (1995), Applications of the
    van Trees inequality, Bernoulli 1, 59-79.

    Examples
    --------
    >>> mu, tau, n = sympy.Symbol("mu", real=True), sympy.Symbol("tau", positive=True), sympy.Symbol("n", positive=True)
    >>> from sympy.stats import Normal
    >>> normal, prior = Normal("X", mu, 1), Normal("M", 0, tau)
    >>> fk.van_trees_bound(normal, prior={"mu": prior}, n=n).covariance  # attained by the posterior mean
    Matrix([[tau**2/(n*tau**2 + 1)]])
    """
    return _bayesian(source, None, prior, of, n, method, everywhere=True)


def hybrid_bound(
    source: Any, theta: Theta = None, *, prior: Any, of: Any = None, n: Any = 1, method: Method | None = None
) -> Bound:
    r"""Lower bound when some parameters are random, with a prior, and the others are not.

    For estimators unbiased in the fixed parameters, :math:`\bar G\, (n\, E_\pi[I] + J)^{-1} \bar G^\top`, with the average over
    the random parameters alone, and J the prior's information in their block and zero elsewhere.

    Parameters
    ----------
    source, of, n, method
        As for `van_trees_bound`.
    theta : mapping from name to number, optional
        The fixed parameters, where the model answers in numbers. In symbols they stay as they are.
    prior : mapping from name to distribution, or FisherInformation about the random parameters

    Returns
    -------
    Bound
        ``covariance`` of shape (q, q), in the order of the information's parameters.

    Notes
    -----
    Never above the Cramer-Rao bound of the averaged information: a prior helps. Between `cramer_rao_bound`, no prior, and
    `van_trees_bound`, a prior for all. Sharper than treating random nuisances as fixed and unknown; weaker than integrating them
    out of the density, which is `cramer_rao_bound` of the marginal model (Miller & Chang 1978).

    References
    ----------
    Rockah & Schultheiss (1987), Array shape calibration using sources in unknown locations, IEEE Trans. Acoust. Speech Signal
    Process. 35, 286-299; Miller & Chang (1978), A modified Cramer-Rao bound and its applications, IEEE Trans. Inform. Theory 24,
    398-400.

    Examples
    --------
    >>> F = 10 * fk.FisherInformation([[2.0, 1.0], [1.0, 1.0]], parameters=("a", "b"))
    >>> fk.bounds.hybrid_bound(F, prior={"b": scipy.stats.norm(0, 0.1)}).covariance.round(6)
    array([[ 0.052381, -0.004762],
           [-0.004762,  0.009524]])
    """
    return _bayesian(source, theta, prior, of, n, method, everywhere=False)


def _bayesian(source: Any, theta: Theta, prior: Any, of: Any, n: Any, method: Method | None, *, everywhere: bool) -> Bound:
    given = isinstance(source, FisherInformation)
    if given and not (not is_expression(n) and n == 1):
        raise LayoutError("n= belongs to a model; a FisherInformation brings its own: source.total(n).")
    model = None if given else as_model(source)
    names = _names(source, model, theta, prior)
    J, laws = priors.read(prior, names)
    if everywhere and (lacking := [name for name in names if name not in J.parameters.names]):
        raise LayoutError(f"van_trees_bound needs a prior for {', '.join(lacking)} too. Where it is not random: hybrid_bound.")
    mean, gradient = over_prior(source if model is None else model, theta, laws, of, names, n, method)
    total = mean + priors.embedded(J, mean)

    def bound(information: FisherInformation) -> Any:
        return between(information, gradient)

    return Bound(bound(total), total.mcse_of(bound))


def _names(source: Any, model: Model | None, theta: Theta, prior: Any) -> tuple[str, ...]:
    if model is None:
        if not source.parameters.is_flat:
            raise LayoutError(f"a prior needs scalar parameters; found {source.parameters}.")
        return tuple(source.parameters.names)
    with suppress(FisherkitError, AttributeError):
        return tuple(model.point(None))
    fixed = [str(name) for name in (theta or {})]
    random: list[str] = []
    if isinstance(prior, FisherInformation):
        random = list(prior.parameters.names)
    elif isinstance(prior, Mapping):
        random = list(map(str, prior))
    return (*random, *(name for name in fixed if name not in random))

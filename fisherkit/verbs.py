"""The four verbs: a model, a point and perhaps data in; a score or a Fisher information out."""

from __future__ import annotations

import warnings
from typing import Any

from .errors import MethodError, NotAtMaximumWarning
from .information import FisherInformation
from .methods import Method
from .model import Model, Theta, as_model, counted

UNLIKELY = 1e-3  # a sum of scores that chance makes so seldom is told


def score(model: Any, theta: Theta = None, *, data: Any = None) -> Any:
    r"""Gradient of the log-density with respect to the parameters, one row per observation.

    Parameters
    ----------
    model : Model, or an object that is one
        See `expected_information`.
    theta : mapping from name to number, or array (p,), optional
        The point. Networks use their present weights, symbolic models their symbols, when left out.
    data : array of n observations
        For a network, a pair ``(inputs, labels)``. A model that holds its own data needs none.

    Returns
    -------
    array of shape (n, p)
        For a network, a mapping from parameter name to a tensor ``(n, *shape)``. For a symbolic model without
        ``theta`` or with symbols as data, expressions.

    Raises
    ------
    DataError
        When a score is not finite; the observation and the parameter are named.
    """
    return as_model(model).score(theta, data=data)


def expected_information(
    model: Any,
    theta: Theta = None,
    *,
    inputs: Any = None,
    method: Method | None = None,
    structure: Any = "dense",
) -> FisherInformation:
    r"""Expected Fisher information, :math:`I(\theta) = E[s s^\top]`, of one observation.

    Parameters
    ----------
    model : Model, or an object that is one
        `symbolic.Model`, `sampled.Model`, `networks.Model`, a ``sympy.stats`` variable, a ``scipy.stats`` family
        (old or new infrastructure), or a ``torch.distributions`` object.
    theta : mapping from name to number, or array (p,), optional
        The point. Symbolic models answer in symbols, networks at their present weights, without it.
    inputs : tensor, tuple or mapping of tensors, or DataLoader; mapping from name to array (n,), or data frame
        The inputs of a network (a mapping by its arguments' names), or the covariates of a symbolic model, over which the
        information is averaged. Labels are not used.
    method : Exact, Quadrature or MonteCarlo, optional
        How the expectation is taken. By default the best that the model has: a closed form, else quadrature, else
        it must be given.
    structure : {"dense", "diagonal"}; for networks also "block-diagonal", "kfac", "ekfac", "low-rank" and "operator"
        What is kept: a name, or an object that says more, such as ``fk.networks.LowRank(30)``.

    Returns
    -------
    FisherInformation
        Per observation (for a network: the mean over the inputs); `FisherInformation.total` multiplies.

    Raises
    ------
    RegularityError
        When the model has no Fisher information; the condition and the parameter are named.
    MethodError
        When the model cannot take the method; those it takes are named.
    """
    source = as_model(model)
    if inputs is None and source.takes_inputs:
        raise MethodError("the expected information of a network is a mean over inputs: give inputs=X or a DataLoader.")
    if inputs is not None and not (source.takes_inputs or source.covariates):
        raise MethodError("inputs= belongs to networks; this model describes its data completely.")
    _check_structure(structure, source)
    return source.expected_information(theta, inputs=inputs, method=method, structure=structure)


def observed_information(
    model: Any,
    theta: Theta = None,
    *,
    data: Any = None,
    weights: Any = None,
    nan_policy: str = "raise",
    structure: Any = "dense",
) -> FisherInformation:
    r"""Observed information, :math:`-\sum_i w_i \nabla^2 \log p(x_i; \theta)`, over the data given.

    Parameters
    ----------
    model, theta, structure
        As for `expected_information`.
    data : array of n observations; for a symbolic model also a mapping or data frame with a column for each symbol
        The sum is over all of them: ``F.n`` is n.
    weights : array (n,), optional
        How often each observation counts, not negative: a weight of 2 is that observation twice, and ``F.n`` is their sum.
    nan_policy : {"raise", "omit"}
        What an observation with a missing or infinite value does. ``F.sample.omitted`` counts those left out.

    Returns
    -------
    FisherInformation
        Positive definite at a maximum of the likelihood, not necessarily elsewhere. ``F.sample`` holds the sum of the scores,
        which is 0 at a maximum, and its length in standard errors.

    Raises
    ------
    DataError
        When an observation is missing, infinite or impossible (the first is named), or weights do not fit the data.

    Warns
    -----
    NotAtMaximumWarning
        When theta is no maximum, and the sum of the scores longer than it would be at the parameters that drew the data: but once
        in a thousand times, more often in small, skewed samples.
        Silence it with ``warnings.simplefilter("ignore", fk.errors.NotAtMaximumWarning)``.

    Notes
    -----
    Networks and latent models take neither weights nor a ``nan_policy``. No score is summed over the data of a network.

    Examples
    --------
    >>> F = fk.observed_information(scipy.stats.norm, {"loc": 1.0, "scale": 2.0}, data=[-1.0, np.nan, 3.0], nan_policy="omit")
    >>> F
    FisherInformation(observed, n=2, dense 2x2, parameters=(loc, scale), omitted=1, condition=1)
    """
    source = as_model(model)
    _check_structure(structure, source)
    rows = counted(source, data, weights=weights, nan_policy=nan_policy)
    return _at_maximum(source.observed_information(theta, data=rows, structure=structure))


def empirical_information(
    model: Any,
    theta: Theta = None,
    *,
    data: Any = None,
    weights: Any = None,
    clusters: Any = None,
    nan_policy: str = "raise",
    structure: Any = "dense",
) -> FisherInformation:
    r"""Empirical information, :math:`\sum_i w_i s_i s_i^\top`, over the data given: the outer product of gradients.

    With ``clusters``, :math:`\sum_g u_g u_g^\top` with :math:`u_g = \sum_{i \in g} w_i s_i` the sum of the scores of one cluster,
    within which observations may depend on each other.

    Parameters
    ----------
    model, theta, structure
        As for `expected_information`.
    data : array of n observations; for a network a pair (inputs, labels), a mapping with ``labels``, or a DataLoader of either
        The sum is over all of them: ``F.n`` is n.
    weights : array (n,), optional
        How often each observation counts, not negative, as for `observed_information`. Weights that are no counts, such as those
        of a survey, belong into the scores: give each row a cluster of its own, ``clusters=range(n)``.
    clusters : sequence of n labels, optional
        Numbers or texts; two different ones at least.
    nan_policy : {"raise", "omit"}
        As for `observed_information`.

    Returns
    -------
    FisherInformation

    Raises
    ------
    DataError
        As for `observed_information`, and when labels are missing or do not fit the data.

    Warns
    -----
    NotAtMaximumWarning
        As for `observed_information`.

    Notes
    -----
    This is not the expected information: labels come from the data, not from the model. The two agree on average
    only where the model is the true one. Where it is not, `fisherkit.estimation.sandwich` puts it between two inverses of the
    observed information.

    Examples
    --------
    >>> y, at = [1.2, 0.9, 1.1, -0.8, -1.3, -1.1], {"loc": 0.0}  # two animals, measured three times each
    >>> fk.empirical_information(scipy.stats.norm, at, data=y).dense().round(2)
    array([[7.]])
    >>> fk.empirical_information(scipy.stats.norm, at, data=y, clusters=[1, 1, 1, 2, 2, 2]).dense().round(2)
    array([[20.48]])
    """
    source = as_model(model)
    _check_structure(structure, source)
    rows = counted(source, data, weights=weights, clusters=clusters, nan_policy=nan_policy)
    return _at_maximum(source.empirical_information(theta, data=rows, structure=structure))


def _at_maximum(information: FisherInformation) -> FisherInformation:
    """The information, with a warning where its point is far from a maximum."""
    sample = information.sample
    if sample is not None and sample.chance < UNLIKELY:
        few = ", ".join(f"{label}: {value:.3g}" for label, value in [*sample.score_sum.items()][:4])
        warnings.warn(
            f"the scores of {sample.rows} observations add up to {{{few}}}, {sample.gradient:.3g} standard errors long, not 0: "
            "theta is no maximum of their likelihood, and the inverse of this information no covariance of an estimate. Climb "
            "with fk.estimation.fisher_scoring, or silence this: warnings.simplefilter('ignore', fk.errors.NotAtMaximumWarning).",
            NotAtMaximumWarning,
            stacklevel=3,
        )
    return information


def _check_structure(structure: Any, source: Model) -> None:
    """A structure by its name, or an object that has one and says more."""
    if getattr(structure, "name", structure) not in source.structures:
        names = ", ".join(map(repr, source.structures))
        raise MethodError(f"structure must be one of {names} for a {type(source).__module__}.Model; got {structure!r}.")

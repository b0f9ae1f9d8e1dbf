"""The four verbs: a model, a point and perhaps data in; a score or a Fisher information out."""

from __future__ import annotations

from typing import Any

from .errors import MethodError
from .information import FisherInformation
from .methods import Method
from .model import Model, Theta, as_model


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


def observed_information(model: Any, theta: Theta = None, *, data: Any = None, structure: Any = "dense") -> FisherInformation:
    r"""Observed information, :math:`-\sum_i \nabla^2 \log p(x_i; \theta)`, over the data given.

    Parameters
    ----------
    model, theta, structure
        As for `expected_information`.
    data : array of n observations
        The sum is over all of them: ``F.n`` is n.

    Returns
    -------
    FisherInformation
        Positive definite at a maximum of the likelihood, not necessarily elsewhere.
    """
    source = as_model(model)
    _check_structure(structure, source)
    return source.observed_information(theta, data=data, structure=structure)


def empirical_information(model: Any, theta: Theta = None, *, data: Any = None, structure: Any = "dense") -> FisherInformation:
    r"""Empirical information, :math:`\sum_i s_i s_i^\top`, over the data given: the outer product of gradients.

    Parameters
    ----------
    model, theta, structure
        As for `expected_information`.
    data : array of n observations; for a network a pair (inputs, labels), a mapping with ``labels``, or a DataLoader of either
        The sum is over all of them: ``F.n`` is n.

    Returns
    -------
    FisherInformation

    Notes
    -----
    This is not the expected information: labels come from the data, not from the model. The two agree on average
    only where the model is the true one.
    """
    source = as_model(model)
    _check_structure(structure, source)
    return source.empirical_information(theta, data=data, structure=structure)


def _check_structure(structure: Any, source: Model) -> None:
    """A structure by its name, or an object that has one and says more."""
    if getattr(structure, "name", structure) not in source.structures:
        names = ", ".join(map(repr, source.structures))
        raise MethodError(f"structure must be one of {names} for a {type(source).__module__}.Model; got {structure!r}.")

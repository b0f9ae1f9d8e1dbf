"""Forecasts as physicists make them: priors as informations, figures of merit, and what a wrong fixed parameter does.

`FisherInformation.join`, `with_prior`, `fix` and `marginalize` return informations and are its methods; the conclusions
drawn from one are here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .arrays import as_entries, family, is_expression, is_numeric, same_family
from .errors import DataError, LayoutError
from .information import FisherInformation

__all__ = ["figure_of_merit", "fixed_parameter_bias", "gaussian_prior"]


def gaussian_prior(covariance: Any, *, parameters: Any) -> FisherInformation:
    r"""The information of a correlated Gaussian prior: the inverse of its covariance, of no observations.

    Parameters
    ----------
    covariance : array, tensor or SymPy matrix (p, p)
    parameters : names or symbols
        In the order of the rows.

    Returns
    -------
    FisherInformation
        With ``n = 0``; add it with ``F.join(prior)``. For independent priors see `FisherInformation.with_prior`.

    Raises
    ------
    DataError
        When the covariance is not symmetric, or not positive definite.

    Examples
    --------
    >>> prior = fk.forecast.gaussian_prior([[0.04, 0.0], [0.0, 1.0]], parameters=("H0", "w"))
    >>> prior.dense()
    array([[25.,  0.],
           [ 0.,  1.]])
    """
    asked = FisherInformation(covariance, parameters=parameters)
    if is_numeric(as_entries(asked.dense())):
        lowest = float(np.linalg.eigvalsh(np.asarray(asked))[0])
        if lowest <= 0:
            raise DataError(
                f"a prior on {asked.parameters} must have a positive definite covariance; its lowest eigenvalue is {lowest:.3g}."
            )
    return FisherInformation(asked.inverse(), parameters=asked.parameters, n=0)


def figure_of_merit(information: FisherInformation, *names: Any) -> Any:
    r"""Figure of merit of a few parameters, :math:`1 / \sqrt{\det C}`, the others marginalized.

    Parameters
    ----------
    information : FisherInformation
        Over all the data.
    *names : parameter names
        Usually two; all of them by default.

    Returns
    -------
    float or expression
        The inverse volume of the joint ellipsoid: the ellipse of two parameters that holds the share L has area
        :math:`-2\pi\log(1 - L) / \mathrm{FoM}`, 19.4 / FoM at 95.45 %.

    Raises
    ------
    SingularInformationError
        When some direction has no information; it is named.
    LayoutError
        When a name is unknown.

    Notes
    -----
    This is the convention of Wang (2008); the Dark Energy Task Force divides by the area at 95 % instead, a constant factor.
    ``information.mcse_of(lambda F: fk.forecast.figure_of_merit(F, ...))`` is its Monte Carlo error.

    References
    ----------
    Albrecht et al. (2006), arXiv:astro-ph/0609591; Wang (2008), Phys. Rev. D 77, 123525.

    Examples
    --------
    >>> F = fk.FisherInformation([[4.0, 0.0], [0.0, 9.0]], parameters=("w0", "wa"))
    >>> print(round(fk.forecast.figure_of_merit(F, "w0", "wa"), 9))
    6.0
    """
    kept = information.parameters.known(names or information.parameters.names)
    nuisance = [name for name in information.parameters.names if name not in kept]
    logdet = information.marginalize(*nuisance).logdet
    if is_expression(logdet):
        import sympy

        return sympy.sqrt(sympy.exp(logdet))
    return float(np.exp(float(logdet) / 2))


def fixed_parameter_bias(information: FisherInformation, errors: Mapping[Any, Any]) -> dict[str, Any]:
    r"""What fixing parameters at wrong values does to the estimates of the others.

    :math:`b = -F_{\theta\theta}^{-1} F_{\theta\psi}\, \delta\psi` to first order: the others make up for the mistake.

    Parameters
    ----------
    information : FisherInformation
        Of all parameters, the fixed ones too.
    errors : mapping from name to number or expression
        Per fixed parameter the value it is fixed at minus the true one.

    Returns
    -------
    dict from name to number or expression
        Per remaining parameter its bias, in its own units.

    Raises
    ------
    SingularInformationError
        When the remaining parameters are not determined; the direction is named.
    LayoutError
        When a name is unknown, or none remains.

    Notes
    -----
    Exact for a linear model with Gaussian errors: the omitted-variable bias of least squares.

    References
    ----------
    Heavens, Kitching & Verde (2007), MNRAS 380, 1029-1035, equation (13).

    Examples
    --------
    >>> F = fk.FisherInformation([[4.0, 2.0], [2.0, 9.0]], parameters=("w", "bias"))
    >>> fk.forecast.fixed_parameter_bias(F, {"bias": 0.1})
    {'w': -0.05}
    """
    if not information.parameters.is_flat:
        raise LayoutError(f"fixed_parameter_bias needs scalar parameters; found {information.parameters}.")
    if not errors:
        raise LayoutError(f"errors must name at least one fixed parameter of {information.parameters}.")
    fixed = information.parameters.known(errors)
    kept = information.parameters.without(fixed)
    rows, columns = information.parameters.positions(kept), information.parameters.positions(fixed)
    matrix = as_entries(information.dense())
    delta = as_entries(list(errors.values()), name="errors")
    if family(matrix) == "torch":
        delta = matrix.new_tensor(delta)
    matrix, delta = same_family(matrix, delta, verb="fixed_parameter_bias")
    pull = matrix[rows][:, columns] @ delta
    moved = as_entries(information[kept].solve(pull)).reshape(-1)
    return {name: -value if is_expression(value) else -float(value) for name, value in zip(kept, moved, strict=True)}

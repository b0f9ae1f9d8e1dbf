r"""Curvature of the Fisher metric, with the sign that makes spheres positive."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DataError, LayoutError
from .connection import first_kind, inverse, tidy
from .metric import Formula, Information, Metric, as_metric


def scalar_curvature(information: Information, point: Any = None) -> Any:
    r"""Scalar curvature :math:`R = g^{ik} g^{jl} R_{ijkl}`; twice the Gaussian curvature for two parameters.

    Parameters
    ----------
    information : FisherInformation with expressions in its p parameters, or callable theta -> FisherInformation
    point : array (p,) or mapping from name to number, optional
        Where to take it; an expression everywhere without it. A callable needs one.

    Returns
    -------
    expression or float
        That of ``n * F`` is 1/n times that of F. Zero for one parameter.

    Raises
    ------
    SingularInformationError
        When the metric has no inverse; the null directions are named.
    EntriesError
        When the entries are numbers already: curvature needs derivatives.

    Notes
    -----
    Some authors define R with the opposite sign, or halve it: the normal family has R = -1 here, Gaussian curvature -1/2.
    Cost O(p^4) components, each O(p^2). A callable is differenced: about 6 digits.

    References
    ----------
    Amari & Nagaoka (2000), Methods of Information Geometry, section 1.7.

    Examples
    --------
    >>> mu, sigma = sympy.Symbol("mu", real=True), sympy.Symbol("sigma", positive=True)
    >>> F = fk.FisherInformation([[1 / sigma**2, 0], [0, 2 / sigma**2]], parameters=(mu, sigma))
    >>> fk.geometry.scalar_curvature(F)
    -1
    """
    metric = as_metric(information, "scalar_curvature", point)
    g, upper, riemann = _riemann(metric, point)
    if len(g) == 2:  # one component says it all
        return _public(2 * riemann[0, 1, 0, 1] / (g[0, 0] * g[1, 1] - g[0, 1] * g[1, 0]))
    return _public(np.einsum("ik,jl,ijkl->", upper, upper, riemann))


def sectional_curvature(information: Information, u: Any, v: Any, *, point: Any = None) -> Any:
    r"""Curvature of the plane that two directions span, :math:`R(u, v, u, v) / (|u|^2 |v|^2 - \langle u, v\rangle^2)`.

    Parameters
    ----------
    information : FisherInformation with expressions in its p parameters, or callable theta -> FisherInformation
    u, v : parameter names, arrays (p,), or mappings by name
        A name means the direction in which that parameter alone changes.
    point : array (p,) or mapping from name to number, optional
        Where to take it; an expression everywhere without it. A callable needs one.

    Returns
    -------
    expression or float

    Raises
    ------
    DataError
        When u and v span no plane.
    SingularInformationError
        When the metric has no inverse; the null directions are named.

    Examples
    --------
    >>> mu, sigma = sympy.Symbol("mu", real=True), sympy.Symbol("sigma", positive=True)
    >>> F = fk.FisherInformation([[1 / sigma**2, 0], [0, 2 / sigma**2]], parameters=(mu, sigma))
    >>> fk.geometry.sectional_curvature(F, "mu", "sigma")
    -1/2
    """
    metric = as_metric(information, "sectional_curvature", point)
    a, b = _direction(metric, u, "u"), _direction(metric, v, "v")
    if np.linalg.matrix_rank(np.array([a, b], dtype=float)) < 2 if _plain(a) and _plain(b) else not any(_minors(a, b)):
        raise DataError("u and v span no plane: they point along one line.")
    g, _, riemann = _riemann(metric, point)
    numerator = np.einsum("ijkl,i,j,k,l->", riemann, a, b, a, b)
    return _public(numerator / ((a @ g @ a) * (b @ g @ b) - (a @ g @ b) ** 2))


def _riemann(metric: Metric, point: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""The metric, its inverse, and R_ijkl: of expressions everywhere, or of numbers at a point.

    :math:`R_{ijkl} = \tfrac12(\partial_{jk} g_{il} + \partial_{il} g_{jk} - \partial_{ik} g_{jl} - \partial_{jl} g_{ik})
    + g^{mn}(\Gamma_{mjk}\Gamma_{nil} - \Gamma_{mjl}\Gamma_{nik})`: the second derivatives enter linearly.
    """
    if point is None and isinstance(metric, Formula):
        g = np.array(metric.matrix.tolist(), dtype=object)
        upper, lower, bends = inverse(metric), first_kind(metric.first), metric.second
    else:
        x = metric.read(point, "point")
        g, lower, bends = metric.values(x), first_kind(metric.slopes(x)), metric.bends(x)
        upper = np.linalg.inv(g)
    second = sum(
        sign * np.einsum(f"{order}->ijkl", bends) for order, sign in (("jkil", 1), ("iljk", 1), ("ikjl", -1), ("jlik", -1))
    )
    raised = np.einsum("mn,nij->mij", upper, lower)
    products = np.einsum("mjk,mil->ijkl", lower, raised) - np.einsum("mjl,mik->ijkl", lower, raised)
    riemann = second / 2 + products
    return g, upper, riemann


def _direction(metric: Metric, value: Any, name: str) -> np.ndarray:
    labels = metric.parameters.names
    if isinstance(value, str) or str(value) in labels:
        (known,) = metric.parameters.known((value,))
        return np.array([int(label == known) for label in labels], dtype=object)
    entries = [leaf[0] for leaf in metric.parameters.split(value, name=name)]
    if any(np.ndim(entry) for entry in entries):
        raise LayoutError(f"{name} must be one direction: a name, shape ({len(labels)},), or a mapping by name.")
    return np.array([int(e) if isinstance(e, float) and e.is_integer() else e for e in entries], dtype=object)


def _plain(direction: np.ndarray) -> bool:
    return not any(getattr(entry, "free_symbols", None) for entry in direction)


def _minors(a: np.ndarray, b: np.ndarray) -> list[Any]:
    return [tidy(a[i] * b[j] - a[j] * b[i]) for i in range(len(a)) for j in range(i)]


def _public(value: Any) -> Any:
    return tidy(value) if hasattr(value, "free_symbols") else float(value)

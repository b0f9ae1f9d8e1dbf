r"""The Levi-Civita connection: :math:`\Gamma_{kij} = \tfrac12(\partial_i g_{kj} + \partial_j g_{ki} - \partial_k g_{ij})`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import MethodError
from ..information import FisherInformation
from .metric import Formula, Information, Metric, as_metric


def christoffel(information: Information, point: Any = None, *, kind: str = "second") -> Any:
    r"""Christoffel symbols of the Fisher metric.

    Parameters
    ----------
    information : FisherInformation with expressions in its p parameters, or callable theta -> FisherInformation
    point : array (p,) or mapping from name to number, optional
        Where to take them; expressions everywhere without it. A callable needs one.
    kind : {"second", "first"}
        :math:`\Gamma^k_{ij} = g^{kl} \Gamma_{lij}`, or :math:`\Gamma_{kij}`.

    Returns
    -------
    SymPy array or NumPy array of shape (p, p, p)
        ``[k, i, j]``, symmetric in i and j. The second kind does not change with n.

    Raises
    ------
    SingularInformationError
        When the metric has no inverse; the null directions are named.
    EntriesError
        When the entries are numbers already: a connection needs derivatives.

    Notes
    -----
    Derivatives by SymPy, or by differences of fourth order for a callable (about 8 digits). Cost O(p^4) at a point.

    References
    ----------
    Amari & Nagaoka (2000), Methods of Information Geometry, section 2.3.

    Examples
    --------
    >>> mu, sigma = sympy.Symbol("mu", real=True), sympy.Symbol("sigma", positive=True)
    >>> F = fk.FisherInformation([[1 / sigma**2, 0], [0, 2 / sigma**2]], parameters=(mu, sigma))
    >>> fk.geometry.christoffel(F)[1]
    [[1/(2*sigma), 0], [0, -1/sigma]]
    """
    if kind not in ("first", "second"):
        raise MethodError(f"kind must be 'first' or 'second'; got {kind!r}.")
    metric = as_metric(information, "christoffel", point)
    if point is None and isinstance(metric, Formula):
        import sympy

        lower = first_kind(metric.first)
        out = lower if kind == "first" else np.tensordot(inverse(metric), lower, axes=1)
        return sympy.ImmutableDenseNDimArray([tidy(e) for e in out.flat], out.shape)
    x = metric.read(point, "point")
    return first_kind(metric.slopes(x)) if kind == "first" else second_kind(metric, x)


def first_kind(slopes: np.ndarray) -> np.ndarray:
    """[k, i, j, ...] from derivatives [k, i, j, ...]: the same line for expressions and numbers."""
    out: np.ndarray = (np.swapaxes(slopes, 0, 1) + np.moveaxis(slopes, 0, 2) - slopes) / 2
    return out


def second_kind(metric: Metric, x: np.ndarray) -> np.ndarray:
    """Numbers at points (p, *S): shape (p, p, p, *S)."""
    g, lower = metric.values(x), first_kind(metric.slopes(x))
    p = len(g)
    flat = np.moveaxis(lower.reshape(p, p * p, *x.shape[1:]), (0, 1), (-2, -1))
    raised = np.linalg.solve(np.moveaxis(g, (0, 1), (-2, -1)), flat)
    return np.moveaxis(raised, (-2, -1), (0, 1)).reshape(lower.shape)


def inverse(metric: Formula) -> np.ndarray:
    """The inverse metric in expressions; a singular one is refused with its null directions."""
    found = FisherInformation(metric.matrix, parameters=metric.parameters).inverse()
    return np.array(found.tolist(), dtype=object)


def tidy(expression: Any) -> Any:
    """A short form by rational operations alone: `sympy.simplify` has no bound on its time."""
    import sympy

    return sympy.factor(sympy.cancel(sympy.together(sympy.sympify(expression))))

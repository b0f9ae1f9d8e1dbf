"""The Cramer-Rao bound when the parameters obey equations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import jacobians
from ..arrays import Array, alike, as_entries, family, is_expression, public, same_family
from ..errors import DataError, LayoutError, SingularInformationError
from ..information import FisherInformation
from .bound import Bound, between
from .functions import expressions, gradient, jacobian_of


def constrained_bound(information: FisherInformation, *, constraints: Any, of: Any = None) -> Bound:
    r"""Lower bound on the covariance of an unbiased estimator, where the parameters obey :math:`c(\theta) = 0`.

    :math:`\mathrm{cov} \succeq G\, U (U^\top I\, U)^{-1} U^\top G^\top`, with U spanning the steps that keep the
    constraints: :math:`(\partial c / \partial\theta)\, U = 0`.

    Parameters
    ----------
    information : FisherInformation, p scalar parameters
        Over all n observations, without the constraints. It may be singular.
    constraints : SymPy expression, or several; callable, shape (p,) -> (k,) or number; or array (k, p)
        The k expressions that vanish; or their Jacobian at the point. Fewer than p, or p where they fix every parameter.
    of : callable, or SymPy expressions, optional
        The function g, as in `cramer_rao_bound`; the parameters themselves by default.

    Returns
    -------
    Bound
        ``covariance`` of shape (q, q), of rank p - k for the parameters themselves; ``mcse`` where the information was estimated.
        In symbols it holds on the constraint: replace with it.

    Raises
    ------
    LayoutError
        When a shape does not fit, or values are needed and the information does not know its point.
    DataError
        When the constraints have not full rank, or do not hold at the information's point.
    SingularInformationError
        When a step that keeps the constraints carries no information; it is named.

    Notes
    -----
    Never above `cramer_rao_bound`: knowledge helps. The two agree for functions along which the constraint binds nothing.
    Nothing but
    :math:`U^\top I U` is inverted, so that constraints may identify what the data alone do not. Equal to eliminating k
    parameters by
    hand. Cost O(p^3).

    References
    ----------
    Gorman & Hero (1990), Lower bounds for parametric estimation with constraints, IEEE Trans. Inform. Theory 36, 1285-1301;
    Stoica & Ng (1998), On the Cramer-Rao bound under parametric constraints, IEEE Signal Process. Lett. 5, 177-179.

    Examples
    --------
    >>> F = fk.FisherInformation(np.diag([2.0, 4.0, 4.0]), parameters=("p0", "p1", "p2"))  # cells 1/2, 1/4, 1/4
    >>> fk.constrained_bound(F, constraints=[[1, 1, 1]]).covariance.round(9)  # diag(p) - p p', the multinomial
    array([[ 0.25  , -0.125 , -0.125 ],
           [-0.125 ,  0.1875, -0.0625],
           [-0.125 , -0.0625,  0.1875]])
    """
    if not information.parameters.is_flat:
        raise LayoutError(f"constraints need scalar parameters; found {information.parameters}.")
    U = _tangent(_jacobian(information, constraints), information)
    G = gradient(information, of)
    value = _constrained(information, U, G)
    return Bound(value, information.mcse_of(lambda F: _constrained(F, U, G)))


def _constrained(information: FisherInformation, U: Array, G: Array | None) -> Any:
    matrix = as_entries(information.dense())
    if U.shape[1] == 0:  # everything is known
        q = len(matrix) if G is None else len(G)
        zero = np.zeros((q, q), dtype=int)
        return public(as_entries(zero.astype(object)) if family(matrix) == "sympy" else alike(zero.astype(float), matrix))
    matrix, U = same_family(matrix, alike(U, matrix), verb="constrained_bound")
    product = U.T @ matrix @ U
    within = FisherInformation(public(product if product.dtype == object else (product + product.T) / 2))
    moved = U if G is None else _product(G, U)
    try:
        return between(within, moved)
    except SingularInformationError as error:
        raise _named(error, U, information) from None


def _product(G: Array, U: Array) -> Array:
    left, right = same_family(G, U, verb="constrained_bound")
    return left @ right


def _jacobian(information: FisherInformation, constraints: Any) -> Array:
    labels = information.parameters.labels
    if callable(constraints):
        return _of_a_callable(information, constraints)
    listed = constraints if isinstance(constraints, (list, tuple)) else [constraints]
    if len(listed) and all(is_expression(c) for c in listed):
        return _of_expressions(information, expressions(constraints))
    rows = as_entries(constraints, name="constraints")
    if rows.ndim != 2 or rows.shape[1] != len(labels):
        raise LayoutError(f"the Jacobian of the constraints must have shape (k, {len(labels)}); got {tuple(rows.shape)}.")
    return rows


def _of_a_callable(information: FisherInformation, constraints: Any) -> Array:
    if information.point is None:
        raise LayoutError(
            "constraints= is a callable, so the information must know its point: FisherInformation(..., point={...})."
        )
    values = as_entries([information.point[label] for label in information.parameters.labels], name="F.point")
    at = alike(values, as_entries(information.diagonal()))
    _check_hold(np.atleast_1d(np.asarray(as_entries(constraints(at)).tolist(), dtype=float)), information.point)
    return jacobians.differentiate(constraints, at, name="constraints")


def _of_expressions(information: FisherInformation, functions: list[Any]) -> Array:
    """Symbols stay where the information holds symbols, and its point takes their place where it holds numbers."""
    labels = information.parameters.labels
    jacobian = jacobian_of(functions, labels)
    at = (
        {s: information.point[str(s)] for c in functions for s in c.free_symbols if str(s) in (information.point or {})}
        if (information.point)
        else {}
    )
    free = {str(s) for value in jacobian.flat for s in value.free_symbols} & set(labels)
    if family(as_entries(information.dense())) == "sympy":
        return jacobian
    if free and not at:
        raise LayoutError(f"constraints= depend on {', '.join(sorted(free))}, so the information must know its point.")
    if at:
        _check_hold(np.array([float(c.subs(at)) for c in functions]), information.point or {})
    return as_entries([[float(value.subs(at)) for value in row] for row in jacobian])


def _check_hold(values: np.ndarray, point: Mapping[str, Any]) -> None:
    size = 1e-6 * max(1.0, *(abs(float(v)) for v in point.values()))
    if not np.all(np.abs(values) <= size):
        at = ", ".join(f"{name}={value}" for name, value in point.items())
        raise DataError(f"the constraints do not hold at {at}: they are {values.tolist()} there, not 0.")


def _tangent(jacobian: Array, information: FisherInformation) -> Array:
    """U, (p, p - k): an orthonormal basis in numbers, any in symbols."""
    k, p = jacobian.shape
    if family(jacobian) == "sympy":
        import sympy

        matrix = sympy.Matrix(jacobian.tolist())
        _check_rank(matrix.rank(simplify=True), k, p)
        columns = matrix.nullspace(simplify=True)
        return as_entries(sympy.Matrix.hstack(*columns)) if columns else np.zeros((p, 0), dtype=object)
    rows = np.asarray(jacobian.tolist(), dtype=float)
    size = (
        np.sqrt(np.maximum(np.asarray(as_entries(information.diagonal()).tolist(), dtype=float), 0.0))
        if not _symbolic(information)
        else 1.0
    )
    size = np.where(np.asarray(size) > 0, size, 1.0)
    scaled = rows / size
    norms = np.linalg.norm(scaled, axis=1, keepdims=True)
    _, values, vectors = np.linalg.svd(scaled / np.where(norms > 0, norms, 1.0))
    _check_rank(int((values > 1e-10).sum()) if norms.all() else 0, k, p)
    return np.asarray((vectors[k:] / size).T)


def _symbolic(information: FisherInformation) -> bool:
    return family(as_entries(information.dense())) == "sympy"


def _check_rank(rank: int, k: int, p: int) -> None:
    if rank < k:
        raise DataError(
            f"{k} constraints on {p} parameters have no full rank there: some follow from the others, contradict them, or do not "
            "vary. Drop them."
        )


def _named(error: SingularInformationError, U: Array, information: FisherInformation) -> SingularInformationError:
    """The step without information in the parameters' own names."""
    import sympy

    labels = information.parameters.labels
    directions = []
    for direction in error.null_directions:
        weights = np.array(list({f"theta_{i}": direction.get(f"theta_{i}", 0) for i in range(U.shape[1])}.values()), dtype=object)
        step = [sympy.nsimplify(v) if not isinstance(v, float) else v for v in np.asarray(U.tolist(), dtype=object) @ weights]
        largest = max((abs(float(v)) for v in step if not getattr(v, "free_symbols", None)), default=1.0) or 1.0
        directions.append(
            {
                label: v
                for label, v in zip(labels, step, strict=True)
                if getattr(v, "free_symbols", None) or abs(v) > 1e-9 * largest
            }
        )
    told = "; ".join(
        " ".join(
            f"{float(v):+.3g} {label}" if not getattr(v, "free_symbols", None) else f"+({v}) {label}" for label, v in d.items()
        )
        for d in directions[:3]
    )
    return SingularInformationError(
        f"the information of {information.parameters} is singular within the constraints: none along {told}. Another "
        f"constraint, or fixing "
        "a parameter, would identify it.",
        null_directions=directions,
    )

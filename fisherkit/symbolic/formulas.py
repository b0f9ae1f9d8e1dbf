"""What a formula is for: numbers over many points, and a matrix in a paper."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import sympy as sp

from ..arrays import as_entries, family
from ..errors import DataError, EntriesError, LayoutError
from ..information import FisherInformation
from . import evaluate


def lambdify(information: FisherInformation) -> Callable[..., np.ndarray]:
    """The matrix as a function of arrays of parameter points.

    Parameters
    ----------
    information : FisherInformation with expressions, p parameters
        Of n observations as it stands.

    Returns
    -------
    callable
        Takes one number or array per symbol of the entries, by name; arrays broadcast to a shape ``S``. Returns an array of
        shape ``(*S, p, p)`` in float64.

    Raises
    ------
    EntriesError
        When the entries are numbers already.
    DataError
        By the callable, when an entry is not finite; the first point is named.

    Notes
    -----
    Symbols become positional arguments, and names never become source. Assumptions are not checked at each point; an entry
    that holds under a condition only is nan where it fails, and refused.

    Examples
    --------
    >>> mu, sigma = sympy.Symbol("mu", real=True), sympy.Symbol("sigma", positive=True)
    >>> F = fk.FisherInformation([[1 / sigma**2, 0], [0, 2 / sigma**2]], parameters=(mu, sigma))
    >>> fk.symbolic.lambdify(F)(sigma=[1.0, 2.0])[:, 1, 1]
    array([2. , 0.5])
    """
    matrix = _expressions(information, "lambdify")
    symbols = sorted({symbol for entry in matrix.flat for symbol in entry.free_symbols}, key=str)
    names, known = [str(symbol) for symbol in symbols], {str(symbol) for symbol in symbols} | set(information.parameters.names)
    p = len(matrix)
    lower = [(i, j) for i in range(p) for j in range(i + 1)]
    function = evaluate.arrays([matrix[i, j] for i, j in lower], tuple(symbols))

    def values(**given: Any) -> np.ndarray:
        if (missing := [name for name in names if name not in given]) or (unknown := sorted(set(given) - known)):
            raise LayoutError(
                f"the entries hold {', '.join(names) or 'no symbol'}; missing: {', '.join(missing) or 'none'}; unknown: "
                f"{', '.join(unknown) if not missing else 'none'}."
            )
        columns = np.broadcast_arrays(*(np.asarray(given[name], dtype=float) for name in names)) if names else [np.zeros(())]
        shape = columns[0].shape
        flat = function(*(column.ravel() for column in columns)) if names else function(*[])
        out = np.empty((*shape, p, p))
        for (i, j), entry in zip(lower, flat, strict=True):
            out[..., i, j] = out[..., j, i] = np.reshape(entry, shape)
        if not np.isfinite(out).all():
            index = tuple(int(k) for k in np.argwhere(~np.isfinite(out))[0])
            at = ", ".join(f"{name}={column[index[:-2]]:.6g}" for name, column in zip(names, columns, strict=False))
            raise DataError(f"entry {index[-2:]} is not finite at point {index[:-2]} ({at}).")
        return out

    return values


def latex(information: FisherInformation) -> str:
    r"""The matrix in LaTeX, for a paper: ``\begin{pmatrix} ... \end{pmatrix}``.

    Raises
    ------
    EntriesError
        When the entries are tensors or arrays of numbers.
    """
    matrix = sp.Matrix(_expressions(information, "latex").tolist())
    text: str = sp.latex(matrix, mat_str="pmatrix", mat_delim="")
    return text


def _expressions(information: FisherInformation, verb: str) -> np.ndarray:
    matrix = as_entries(information.dense())
    if family(matrix) != "sympy":
        raise EntriesError(f"{verb} needs expressions; the entries of F are numbers already. Take F before F.at(...).")
    return np.asarray(matrix)

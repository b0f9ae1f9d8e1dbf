"""Joint confidence ellipses of two parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError, LayoutError
from ..information import FisherInformation
from .axes import LEVELS, axes_or_current, matrix_of, pyplot

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def ellipse(
    information: FisherInformation,
    first: str,
    second: str,
    *,
    center: Mapping[str, float] | None = None,
    levels: Sequence[float] = LEVELS,
    filled: bool = False,
    ax: Axes | None = None,
    **style: Any,
) -> Axes:
    """Draw the ellipses that hold two parameters jointly, the others marginalized.

    Parameters
    ----------
    information : FisherInformation
        Over all n observations, with numbers as entries. Fix first what is known.
    first, second : str
        The parameters on the horizontal and on the vertical axis.
    center : mapping from name to value, optional
        The estimate; ``information.point`` by default, else the origin.
    levels : sequence of probabilities
        What each ellipse holds. In two dimensions the ellipse of one standard error holds only 39 %; these are scaled
        to hold what they say.
    filled : bool
        Shade what the ellipses enclose.
    ax : matplotlib Axes, optional
        The current ones by default.
    **style
        Passed to `matplotlib.axes.Axes.plot`.

    Returns
    -------
    Axes

    Examples
    --------
    >>> F = 25 * fk.FisherInformation([[4.0, 1.0], [1.0, 8.0]], parameters=("mu", "sigma"))
    >>> fk.plots.ellipse(F, "mu", "sigma").get_xlabel()
    'mu'
    """
    pyplot()
    if first == second:
        raise LayoutError(f"an ellipse needs two different parameters; got {first!r} twice.")
    if not all(0 < level < 1 for level in levels):
        raise DataError(f"levels must be probabilities between 0 and 1; got {tuple(levels)}.")
    matrix_of(information)
    middle = center_of(information, (first, second), center)
    axes = axes_or_current(ax)
    for path, level in zip(outlines(information, first, second, levels), levels, strict=True):
        given: dict[str, Any] = {"color": "C0", "alpha": 1 - 0.5 * level, "label": f"{level:.1%}", **style}
        axes.plot(middle[0] + path[0], middle[1] + path[1], **given)
        if filled:
            axes.fill(middle[0] + path[0], middle[1] + path[1], color=given["color"], alpha=0.15, linewidth=0)
    axes.plot(*middle, marker="+", color=style.get("color", "C0"))
    axes.set(xlabel=first, ylabel=second)
    return axes


def outlines(information: FisherInformation, first: str, second: str, levels: Sequence[float]) -> list[np.ndarray]:
    """The (2, 201) outline of each ellipse about the origin."""
    pair = information[first, second] if information.structure == "diagonal" else _marginal(information, first, second)
    root = np.linalg.cholesky(np.linalg.inv(np.asarray(pair)))
    angle = np.linspace(0, 2 * np.pi, 201)
    circle = root @ np.stack([np.cos(angle), np.sin(angle)])
    return [np.sqrt(-2 * np.log1p(-level)) * circle for level in levels]  # the chi-square quantile of two dimensions


def _marginal(information: FisherInformation, first: str, second: str) -> FisherInformation:
    nuisance = [name for name in information.parameters.names if name not in (first, second)]
    pair = information.marginalize(*nuisance) if nuisance else information
    pair = pair[first, second]
    pair.inverse()  # names the null directions of a singular one
    return pair


def center_of(information: FisherInformation, names: tuple[str, ...], center: Mapping[str, float] | None) -> tuple[float, ...]:
    """Where the estimate stands: as given, else at the point of F, else at the origin."""
    point = center if center is not None else information.point or dict.fromkeys(names, 0.0)
    if missing := [name for name in names if name not in point]:
        raise LayoutError(f"center must name {', '.join(missing)}; it has {', '.join(map(str, point))}.")
    return tuple(float(point[name]) for name in names)

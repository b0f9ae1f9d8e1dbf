"""Curves: a bound and an estimator by sample size, a score and its slope."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError, LayoutError
from ..information import FisherInformation
from ..verbs import observed_information, score
from .axes import INK, SOFT, axes_or_current, matrix_of, quiet

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def bound_vs_n(
    information: FisherInformation,
    name: str,
    sizes: Sequence[int],
    *,
    estimates: Callable[[int], Any] | None = None,
    ax: Axes | None = None,
) -> Axes:
    r"""The Cramér-Rao bound on a standard error by sample size, and what an estimator reached in simulation.

    Parameters
    ----------
    information : FisherInformation
        Of any n; it is taken per observation. The other parameters are estimated too: fix first what is known.
    name : str
        The parameter.
    sizes : sequence of numbers of observations
    estimates : callable, n -> array (replicates,), optional
        Estimates of the parameter from many simulated samples of n observations. Their standard deviation is drawn with the
        error of two standard errors that so many replicates leave, from the fourth moment.
    ax : matplotlib Axes, optional
        The current ones by default.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        When a size is not positive, or estimates are fewer than two or not finite.

    Examples
    --------
    >>> F = fk.FisherInformation([[1.0]], parameters=("mu",))
    >>> rng = np.random.default_rng(0)
    >>> ax = fk.plots.bound_vs_n(F, "mu", [10, 40], estimates=lambda n: rng.normal(size=(500, n)).mean(axis=1))
    >>> ax.lines[0].get_ydata()[[0, -1]].round(3)
    array([0.316, 0.158])
    """
    matrix_of(information)
    n = np.asarray(sizes, dtype=float)
    if n.ndim != 1 or len(n) == 0 or not (np.isfinite(n).all() and (n > 0).all()):
        raise DataError(f"sizes must be positive numbers of observations; got {list(sizes)}.")
    one = information.per_observation()
    (known,) = one.parameters.known((name,))
    others = [other for other in one.parameters.names if other != known]
    unit = 1 / np.sqrt(float(one.marginalize(*others) if others else one))
    axes = quiet(axes_or_current(ax))
    grid = np.geomspace(n.min(), n.max(), 101)
    axes.plot(grid, unit / np.sqrt(grid), color=INK, label="Cramér-Rao bound")
    if estimates is not None:
        found = np.array([_spread(estimates(int(size)), int(size)) for size in n])
        axes.errorbar(n, found[:, 0], yerr=2 * found[:, 1], fmt="o", color="C1", capsize=3, label="simulated estimator")
    axes.set(xscale="log", yscale="log", xlabel="observations n", ylabel=f"standard error of {known}")
    axes.legend(frameon=False)
    return axes


def _spread(estimates: Any, n: int) -> tuple[float, float]:
    """Standard deviation, and its own standard error by the delta method."""
    values = np.asarray(estimates, dtype=float).reshape(-1)
    if len(values) < 2 or not np.isfinite(values).all():
        raise DataError(
            f"estimates({n}) must return two or more finite numbers; got {len(values)}, {np.isfinite(values).sum()} finite."
        )
    centered = values - values.mean()
    variance = float(centered.var(ddof=1))
    error = np.sqrt(max(float((centered**4).mean()) - variance**2, 0.0) / len(values))
    return float(np.sqrt(variance)), float(error / (2 * np.sqrt(variance))) if variance > 0 else 0.0


def score_and_curvature(
    model: Any,
    theta: Mapping[str, float],
    *,
    data: Any,
    name: str | None = None,
    width: float = 4.0,
    ax: Axes | None = None,
) -> Axes:
    r"""The score of the data along one parameter, and the tangent whose slope is minus the observed information.

    Parameters
    ----------
    model : Model, or an object that is one
    theta : mapping from name to number
        Usually the maximum-likelihood estimate, where the score is zero.
    data : array of n observations
    name : str, optional
        The parameter that moves, the others held; may be left out where there is one.
    width : float
        How far to each side, in standard errors.
    ax : matplotlib Axes, optional
        The current ones by default.

    Returns
    -------
    Axes
        The steeper the score, the larger the information and the narrower the band of one standard error.

    Raises
    ------
    LayoutError
        When ``name`` is unknown, or left out where there are several parameters.

    Examples
    --------
    >>> ax = fk.plots.score_and_curvature(scipy.stats.norm, {"loc": 1.0, "scale": 1.0}, data=[0.0, 2.0], name="loc")
    >>> ax.get_xlabel()
    'loc'
    """
    theta = {str(key): float(value) for key, value in theta.items()}
    observed = observed_information(model, theta, data=data)
    if name is None and observed.parameters.size > 1:
        raise LayoutError(f"name= says which of {observed.parameters} moves; the others are held.")
    (moving,) = observed.parameters.known((name or observed.parameters.names[0],))
    curvature = float(observed[moving])
    if curvature <= 0:
        raise DataError(f"the log-likelihood is not concave in {moving} at {theta}: its curvature is {-curvature:.3g}.")
    at, error = theta[moving], 1 / np.sqrt(curvature)
    x = at + error * np.linspace(-width, width, 41)
    k = observed.parameters.names.index(moving)
    y = np.array([np.asarray(score(model, {**theta, moving: value}, data=data))[:, k].sum() for value in x.tolist()])
    axes = quiet(axes_or_current(ax))
    axes.axvspan(at - error, at + error, color=INK, alpha=0.1, linewidth=0, label="one standard error")
    axes.axhline(0, color=SOFT, linewidth=1, zorder=0)
    axes.plot(x, y, color=INK, label="score of the data")
    axes.plot(x, y[20] - curvature * (x - at), "--", color="C1", label=f"slope: minus the information, {curvature:.3g}")
    axes.plot([at], [y[20]], "o", color=INK)
    axes.set(xlabel=moving, ylabel="score", xlim=(x[0], x[-1]))
    axes.legend(frameon=False)
    return axes

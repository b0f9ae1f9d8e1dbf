"""One mark per parameter or direction: spectrum, heat map, standard errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import MethodError
from ..information import FisherInformation
from .axes import INK, SOFT, axes_or_current, matrix_of, quiet

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def spectrum(information: FisherInformation, *, scaled: bool = True, ax: Axes | None = None) -> Axes:
    """Eigenvalues on a logarithmic axis: stiff directions above, sloppy ones below, null ones hollow at the bottom.

    Parameters
    ----------
    information : FisherInformation
        With numbers as entries.
    scaled : bool
        Of the matrix scaled to unit diagonal, so that no parameter's units matter; else of the entries as they stand.
    ax : matplotlib Axes, optional
        The current ones by default.

    Returns
    -------
    Axes

    Examples
    --------
    >>> F = fk.FisherInformation([[4.0, 1.0], [1.0, 8.0]], parameters=("mu", "sigma"))
    >>> fk.plots.spectrum(F).get_yscale()
    'log'
    """
    matrix, labels = matrix_of(information)
    axes = quiet(axes_or_current(ax))
    diagonal = np.where(np.diagonal(matrix) > 0, np.diagonal(matrix), 1.0)
    values = np.linalg.eigvalsh(matrix / np.sqrt(np.outer(diagonal, diagonal)) if scaled else matrix)[::-1]
    floor = 10 * len(values) * np.finfo(float).eps * abs(values).max()
    rank, null = np.arange(1, len(values) + 1), values <= floor
    axes.vlines(rank[~null], values[~null].min(initial=values[0]) / 3, values[~null], color=SOFT, linewidth=1)
    axes.plot(rank[~null], values[~null], "o", color=INK)
    if null.any():
        axes.plot(rank[null], np.full(null.sum(), floor), "o", color=INK, markerfacecolor="none", label="no information")
        axes.legend(frameon=False)
    axes.set(yscale="log", xlabel=f"direction, of {len(labels)}", ylabel="scaled eigenvalue" if scaled else "eigenvalue")
    if len(values) <= 20:
        axes.set_xticks(rank)
    axes.set_xlim(0.5, len(values) + 0.5)
    return axes


def heatmap(information: FisherInformation, *, show: str = "correlation", ax: Axes | None = None) -> Axes:
    """The matrix in colors from -1 to 1, with its entries where they can be read.

    Parameters
    ----------
    information : FisherInformation
        With numbers as entries.
    show : {"correlation", "information"}
        Correlations of the estimates, from the inverse; or the information scaled to unit diagonal.
    ax : matplotlib Axes, optional
        The current ones by default.

    Returns
    -------
    Axes

    Raises
    ------
    SingularInformationError
        When correlations are asked of an information that has no inverse; its null directions are named.

    Examples
    --------
    >>> F = fk.FisherInformation([[4.0, 2.0], [2.0, 4.0]], parameters=("mu", "sigma"))
    >>> [text.get_text() for text in fk.plots.heatmap(F).texts]
    ['1', '-0.5', '-0.5', '1']
    """
    if show not in ("correlation", "information"):
        raise MethodError(f"show must be 'correlation' or 'information'; got {show!r}.")
    matrix, labels = matrix_of(information)
    if show == "correlation":
        matrix = np.asarray(information.inverse(), dtype=float)
    root = np.sqrt(np.where(np.diagonal(matrix) > 0, np.diagonal(matrix), 1.0))
    shown, axes = matrix / np.outer(root, root), axes_or_current(ax)
    image = axes.imshow(shown, cmap="RdBu_r", vmin=-1, vmax=1)
    ticks = range(len(labels))
    axes.set_xticks(ticks, labels, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(ticks, labels)
    axes.spines[:].set_visible(False)
    if len(labels) <= 12:
        for (i, j), value in np.ndenumerate(shown):
            color = "white" if abs(value) > 0.6 else "black"
            axes.text(j, i, f"{round(value, 2) + 0.0:g}", ha="center", va="center", color=color, fontsize="small")
    told = "correlation of the estimates" if show == "correlation" else "information, scaled"
    axes.figure.colorbar(image, ax=axes, label=told, fraction=0.046, pad=0.04)
    return axes


def standard_errors(information: FisherInformation, *, ax: Axes | None = None) -> Axes:
    """Per parameter its standard error when all are estimated, and when the others are known.

    Parameters
    ----------
    information : FisherInformation
        Over all n observations, with numbers as entries.
    ax : matplotlib Axes, optional
        The current ones by default.

    Returns
    -------
    Axes
        A wide gap between the two marks: the parameter is confounded with others.

    Raises
    ------
    SingularInformationError
        When some direction has no information; it is named.

    Examples
    --------
    >>> F = fk.FisherInformation([[4.0, 0.0], [0.0, 16.0]], parameters=("mu", "sigma"))
    >>> fk.plots.standard_errors(F).lines[0].get_xdata()
    array([0.5 , 0.25])
    """
    matrix, labels = matrix_of(information)
    together = np.sqrt(np.diagonal(np.asarray(information.inverse(), dtype=float)))
    alone = 1 / np.sqrt(np.diagonal(matrix))
    axes, rows = quiet(axes_or_current(ax)), np.arange(len(labels))
    axes.hlines(rows, alone, together, color=SOFT, linewidth=3, zorder=0)
    axes.plot(together, rows, "o", color=INK, label="all estimated")
    axes.plot(alone, rows, "o", color=INK, markerfacecolor="white", label="others known")
    axes.set(yticks=rows, yticklabels=labels, xlabel="standard error", xscale="log", ylim=(len(labels) - 0.5, -0.5))
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return axes

"""All pairs of parameters at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import LayoutError
from ..information import FisherInformation
from .axes import LEVELS, matrix_of, pyplot
from .ellipse import center_of, ellipse

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def triangle(
    information: FisherInformation | Mapping[str, FisherInformation],
    names: Sequence[str] | None = None,
    *,
    center: Mapping[str, float] | None = None,
    levels: Sequence[float] = LEVELS,
    figure: Figure | np.ndarray | None = None,
) -> np.ndarray:
    """Marginal densities on the diagonal, joint ellipses of each pair below it.

    Parameters
    ----------
    information : FisherInformation, or mapping from label to FisherInformation
        Over all observations, with numbers as entries; several are drawn over each other, with a legend.
    names : sequence of parameter names, optional
        Which, and in which order; those of the first information by default. The others are marginalized.
    center : mapping from name to value, optional
        The estimate; ``information.point`` by default, else the origin.
    levels : sequence of probabilities
        What each ellipse holds jointly: with the default, delta chi-square is 2.30 and 6.18, one and two sigma in two dimensions.
    figure : matplotlib Figure, or array of Axes of shape (k, k), optional
        A new figure by default.

    Returns
    -------
    array of Axes, shape (k, k)
        Those above the diagonal are off.

    Raises
    ------
    SingularInformationError
        When a pair is not determined; the null direction is named.

    Examples
    --------
    >>> F = 25 * fk.FisherInformation([[4.0, 1.0], [1.0, 8.0]], parameters=("mu", "sigma"))
    >>> fk.plots.triangle(F)[1, 0].get_ylabel()
    'sigma'
    """
    given = information if isinstance(information, Mapping) else {"": information}
    if not given:
        raise LayoutError("triangle needs at least one information.")
    first = next(iter(given.values()))
    chosen = first.parameters.known(names) if names is not None else first.parameters.names
    axes = _grid(figure, len(chosen))
    for k, (label, one) in enumerate(given.items()):
        _draw(axes, one, chosen, center, levels, {"color": f"C{k}"}, label)
    _labels(axes, chosen)
    if len(given) > 1:
        axes[0, 0].figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="upper right", frameon=False)
    return axes


def _grid(figure: Any, k: int) -> np.ndarray:
    if isinstance(figure, np.ndarray):
        if figure.shape != (k, k):
            raise LayoutError(f"triangle of {k} parameters needs axes of shape ({k}, {k}); got {figure.shape}.")
        return figure
    size = 1.2 + 1.7 * k
    figure = figure or pyplot().figure(figsize=(size, size))
    axes = np.asarray(figure.subplots(k, k, squeeze=False))
    figure.subplots_adjust(hspace=0.08, wspace=0.08, left=0.7 / size + 0.03, bottom=0.6 / size + 0.03, top=0.97, right=0.97)
    return axes


def _draw(axes: np.ndarray, F: FisherInformation, names: Sequence[str], center: Any, levels: Any, style: Any, label: str) -> None:
    matrix_of(F)  # numbers, or a refusal
    F.parameters.known(names)
    errors = dict(zip(F.parameters.labels, np.asarray(F.standard_errors()).tolist(), strict=True))
    for i, name in enumerate(names):
        (middle,) = center_of(F, (name,), center)
        x = middle + errors[name] * np.linspace(-3.5, 3.5, 201)
        axes[i, i].plot(x, np.exp(-0.5 * ((x - middle) / errors[name]) ** 2), label=label, **style)
        for j in range(i):
            ellipse(F, names[j], name, center=center, levels=levels, ax=axes[i, j], filled=True, **style)


def _labels(axes: np.ndarray, names: Sequence[str]) -> None:
    """Ticks and names along the left side and the bottom only; one scale for each column and row."""
    k = len(names)
    for i in range(k):
        for j in range(k):
            ax = axes[i, j]
            if j > i:
                ax.set_axis_off()
                continue
            ax.set(xlim=axes[j, j].get_xlim(), xlabel=names[j] if i == k - 1 else "", ylabel=names[i] if 0 == j < i else "")
            ax.locator_params(nbins=4)
            ax.tick_params(axis="x", labelrotation=45, labelbottom=i == k - 1)
            if i == j:
                ax.set(yticks=[], ylim=(0, 1.1))
                ax.spines[["top", "right", "left"]].set_visible(False)
            else:
                ax.set_ylim(axes[i, i].get_xlim())
                ax.tick_params(axis="y", labelleft=j == 0)

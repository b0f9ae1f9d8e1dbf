"""What every figure starts from: an axes to draw on, and entries that are numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import LayoutError
from ..information import FisherInformation
from ..optional import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: What one and two standard errors hold in one dimension. In two dimensions their ellipses have radius 2.30**.5 and 6.18**.5.
LEVELS = (0.6827, 0.9545)
INK, SOFT = "C0", "0.75"


def pyplot() -> Any:
    return require("matplotlib.pyplot", extra="plot", what="fisherkit.plots")


def axes_or_current(ax: Axes | None) -> Axes:
    found: Axes = pyplot().gca() if ax is None else ax
    return found


def quiet(ax: Axes) -> Axes:
    """Without the frame's upper and right side."""
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def matrix_of(information: FisherInformation) -> tuple[np.ndarray, tuple[str, ...]]:
    """The numbers and their labels; expressions are refused with the call that puts numbers."""
    if information.parameters.size > 200:
        raise LayoutError(f"a figure shows up to 200 parameters; found {information.parameters.size}. Take some: F['a', 'b'].")
    return np.asarray(information), information.parameters.labels

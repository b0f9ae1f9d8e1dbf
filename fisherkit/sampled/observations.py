"""Observations for code: real, finite, one along each place of the first axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DataError


def read(data: Any) -> Any:
    """The data as they are, an array or a tensor; refused where they are no finite real numbers."""
    if data is None:
        raise DataError("observations are needed: give data=.")
    array = data if hasattr(data, "shape") else np.asarray(data)
    if array.ndim == 0 or len(array) == 0:
        raise DataError(f"data must hold at least one observation along its first axis; got shape {tuple(array.shape)}.")
    values = np.asarray(array)
    if values.dtype.kind not in "fiub":
        raise DataError(f"data must be real numbers; got dtype {values.dtype}.")
    if len(bad := np.argwhere(~np.isfinite(values))):
        raise DataError(f"data must be finite; entry {tuple(bad[0].tolist())} is {values[tuple(bad[0])]}.")
    return array

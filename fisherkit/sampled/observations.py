"""Observations for code: real, finite, one along each place of the first axis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import DataError
from ..rows import unmasked


def read(data: Any, *, name: str = "data") -> Any:
    """An array, or a tensor as it is; refused where it is no finite real numbers."""
    if data is None:
        raise DataError("observations are needed: give data=." if name == "data" else f"{name} are missing: got None.")
    if isinstance(data, Mapping):
        raise DataError(f"{name} must be an array with a row for each observation; columns by name are for a symbolic model.")
    array = data if hasattr(data, "detach") else np.asarray(unmasked(data))
    if array.ndim == 0 or len(array) == 0:
        raise DataError(f"{name} must hold at least one observation along the first axis; got shape {tuple(array.shape)}.")
    values = np.asarray(array)
    if values.dtype.kind not in "fiub":
        raise DataError(f"{name} must be real numbers; got dtype {values.dtype}.")
    if len(bad := np.argwhere(~np.isfinite(values))):
        raise DataError(f"{name} must be finite; entry {tuple(bad[0].tolist())} is {values[tuple(bad[0])]}.")
    return array

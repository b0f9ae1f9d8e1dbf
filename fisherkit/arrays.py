"""Entries of three families, NumPy, PyTorch and SymPy, behind the same few lines.

SymPy expressions live in NumPy arrays of dtype object: scaling, adding, multiplying and indexing are then the
same code for all three families, and only square roots and decompositions ask which one they have.
"""

from __future__ import annotations

import math
import os
import sys
from typing import Any, Literal

import numpy as np
from array_api_compat import array_namespace, is_torch_array

from .errors import DataError, EntriesError, MemoryBudgetError

Array = Any
Family = Literal["numpy", "torch", "sympy"]


def family(array: Array) -> Family:
    """The family of an array that `as_entries` returned."""
    if is_torch_array(array):
        return "torch"
    return "sympy" if array.dtype == object else "numpy"


def is_expression(value: object) -> bool:
    """Whether a value is a SymPy expression, without importing SymPy."""
    sympy = sys.modules.get("sympy")
    return sympy is not None and isinstance(value, sympy.Expr)


def as_entries(values: object, *, name: str = "values") -> Array:
    """Float64 array, float64 tensor, or object array of SymPy expressions.

    Raises
    ------
    DataError
        When a number is not finite (the first index is named), complex, or no number at all.
    """
    if is_torch_array(values):
        tensor: Any = values
        if tensor.is_complex():
            raise DataError(f"{name} must be real; got a {tensor.dtype} tensor.")
        tensor = tensor.detach().double()
        return _finite(tensor, name)
    if hasattr(values, "tolist") and not isinstance(values, np.ndarray):  # a SymPy matrix
        values = values.tolist()
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise DataError(f"{name} must be rectangular: {error}.") from None
    if array.dtype == object:
        return _expressions(array, name)
    if array.dtype.kind not in "fiub":
        raise DataError(f"{name} must be real numbers; got dtype {array.dtype}.")
    return _finite(array.astype(np.float64), name)


def _expressions(array: np.ndarray, name: str) -> np.ndarray:
    from numbers import Number

    import sympy

    out = np.empty(array.shape, dtype=object)
    for index, value in np.ndenumerate(array):
        if not isinstance(value, (sympy.Expr, Number)) or isinstance(value, complex):
            raise DataError(f"{name} must be numbers or SymPy expressions; entry {index} is {value!r}.")
        expression = sympy.sympify(value)
        if expression.has(sympy.nan, sympy.zoo, sympy.oo, -sympy.oo):
            raise DataError(f"{name} must be finite; entry {index} is {expression}.")
        if expression.is_number and expression.is_real is False:
            raise DataError(f"{name} must be real; entry {index} is {expression}.")
        out[index] = expression
    return out


def _finite(array: Array, name: str) -> Array:
    xp = array_namespace(array)
    finite = xp.isfinite(array)
    if not bool(xp.all(finite)):
        index = tuple(int(i[0]) for i in xp.nonzero(~finite)) if array.ndim else ()
        raise DataError(f"{name} must be finite; entry {index} is {float(array[index])}.")
    return array


def is_numeric(array: Array) -> bool:
    """Whether tolerances make sense: floats, or SymPy entries that are all numbers."""
    return family(array) != "sympy" or all(value.is_number for value in array.flat)


def as_float64(array: Array, *, verb: str) -> Array:
    """The same array in machine numbers, for verbs that need a tolerance."""
    if family(array) != "sympy":
        return array
    if not is_numeric(array):
        free = sorted({str(s) for value in array.flat for s in value.free_symbols})
        call = ", ".join(f"{name}=..." for name in free)
        raise EntriesError(f"{verb} needs numbers; the entries hold {', '.join(free)}. Call F.at({call}) first.")
    return array.astype(np.float64)


def public(array: Array) -> Any:
    """The form in which entries leave: SymPy matrices for expressions, arrays and tensors as they are."""
    if family(array) != "sympy":
        return array
    from sympy import ImmutableMatrix

    return ImmutableMatrix(array.tolist())


def square_root(array: Array) -> Array:
    """Elementwise square root of any family."""
    if family(array) != "sympy":
        return array_namespace(array).sqrt(array)
    from sympy import sqrt

    return np.array([sqrt(value) for value in array.flat], dtype=object).reshape(array.shape)


def same_family(a: Array, b: Array, *, verb: str) -> tuple[Array, Array]:
    """The two arrays in one family: NumPy joins SymPy; PyTorch stays by itself."""
    if "torch" in (family(a), family(b)) and family(a) != family(b):
        raise EntriesError(
            f"{verb} needs entries of one family; found {family(a)} and {family(b)}. "
            "Convert one first, for example FisherInformation(F.dense().numpy(), parameters=F.parameters)."
        )
    if family(a) == family(b):
        return a, b
    return _expressions(a.astype(object), verb), _expressions(b.astype(object), verb)


def alike(values: Array, like: Array) -> Array:
    """Our own numbers or expressions in the family, and on the device, of the caller's ``like``."""
    return like.new_tensor(values) if family(like) == "torch" else values


def eye(size: int, like: Array) -> Array:
    """Identity matrix in the family, and on the device, of ``like``."""
    if family(like) == "torch":
        return array_namespace(like).eye(size, dtype=like.dtype, device=like.device)
    return _expressions(np.eye(size, dtype=object), "eye") if family(like) == "sympy" else np.eye(size)


def machine_epsilon() -> float:
    """The epsilon of the tolerances: entries are kept in float64."""
    return float(np.finfo(np.float64).eps)


def check_budget(entries: int, *, what: str, cheaper: str = "") -> None:
    """Refuse a float64 result before it is allocated when it would not fit the memory.

    The budget is ``FISHERKIT_MEMORY`` (bytes) where set, else 80 % of the smaller of the free memory and the
    control group's limit.
    """
    needed, budget = 8 * entries, memory_budget()
    if needed > budget:
        raise MemoryBudgetError(
            f"{what} needs {_bytes(needed)}; the memory budget is {_bytes(budget)} (FISHERKIT_MEMORY sets it). {cheaper}".rstrip()
        )


def memory_budget() -> int:
    """Bytes that one result may take."""
    if limit := os.environ.get("FISHERKIT_MEMORY"):
        return int(float(limit))
    limits = [_read_limit("/sys/fs/cgroup/memory.max")]
    try:
        with open("/proc/meminfo") as file:
            limits.append(next(1024 * float(line.split()[1]) for line in file if line.startswith("MemAvailable")))
    except (OSError, StopIteration):  # not Linux: assume what a laptop has
        limits.append(8 * 2.0**30)
    return int(0.8 * min(limits))


def _read_limit(path: str) -> float:
    try:
        with open(path) as file:
            return float(file.read())
    except (OSError, ValueError):  # no control group, or "max"
        return math.inf


def _bytes(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.3g} TiB"

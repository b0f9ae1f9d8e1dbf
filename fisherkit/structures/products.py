"""Kronecker products with vectors, and block-diagonal matrices of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from array_api_compat import array_namespace

from ..arrays import Array
from ..parameters import concatenate

Sides = tuple[Array, Array]


def by_group(left: Array, right: Array) -> list[Sides]:
    """The products of one parameter: one, or one for each group of its rows, (groups, m, m) and (groups, n, n)."""
    return list(zip(left, right, strict=True)) if left.ndim == 3 else [(left, right)]


def cut(leaves: Sequence[Array], groups: Sequence[int]) -> list[Array]:
    """Each leaf in as many equal pieces."""
    return [leaf[i * len(leaf) // n : (i + 1) * len(leaf) // n] for leaf, n in zip(leaves, groups, strict=True) for i in range(n)]


def joined(pieces: Sequence[Array], groups: Sequence[int]) -> list[Array]:
    """Leaves from their pieces."""
    rest = iter(pieces)
    parts = [[next(rest) for _ in range(n)] for n in groups]
    return [part[0] if len(part) == 1 else concatenate(part) for part in parts]


def sandwich(L: Array | None, R: Array, v: Array, *, transposed: bool = False) -> Array:
    """(L (x) R) v, or its transpose's; L may be a diagonal, or None for the identity."""
    m = math.prod(v.shape[:1]) // len(R)
    wide = v.reshape(m, len(R), -1)
    if L is not None:
        left = L.T if transposed and L.ndim == 2 else L
        wide = wide * left[:, None, None] if left.ndim == 1 else (left @ wide.reshape(m, -1)).reshape(wide.shape)
    right = R.T if transposed else R
    if wide.shape[-1] == 1:  # one product of matrices, not m of a matrix and a vector
        return (wide[..., 0] @ right.T).reshape(v.shape)
    return (right @ wide).reshape(v.shape)


def assembled(blocks: Iterable[Array], p: int) -> Array:
    """The (p, p) matrix of blocks on the diagonal."""
    blocks = list(blocks)
    out = (
        blocks[0].new_zeros((p, p))
        if hasattr(blocks[0], "new_zeros")
        else array_namespace(blocks[0]).zeros((p, p), dtype=blocks[0].dtype)
    )
    start = 0
    for block in blocks:
        out[start : start + len(block), start : start + len(block)] = block
        start += len(block)
    return out


def kron(L: Array, R: Array) -> Array:
    """L (x) R; L may be a diagonal."""
    xp = array_namespace(R)
    if L.ndim == 1:
        L = xp.eye(len(L), dtype=L.dtype, **({"device": L.device} if hasattr(L, "is_cuda") else {})) * L[None, :]
    return (L[:, None, :, None] * R[None, :, None, :]).reshape(len(L) * len(R), -1)


def column(values: Array, like: Array) -> Array:
    """Values shaped to multiply a vector, or each column of a stack."""
    return values if like.ndim == 1 else values[:, None]

"""What rows of scores, and perhaps Hessians, add to the sums from which every estimator is made."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from .controls import FOLDS, POWER

JOINT = 32  # parameters up to which every score is a control of every entry
FULL = 8  # parameters up to which s s' + H are controls too
TAIL = 50  # largest squares that are kept of each score, to see whether their mean settles
GROUPED = ("n", "s", "seen", "y", "h")  # sums that are kept for each group

Part = dict[str, np.ndarray]


def joint(s: np.ndarray, h: np.ndarray | None, edges: np.ndarray, into: np.ndarray, metric: np.ndarray | None) -> Part:
    """Entries above the diagonal as columns, with all scores as controls, in folds of groups."""
    i, j = np.triu_indices(s.shape[1])
    products = s[:, i] * s[:, j]
    second = None if h is None else -h[:, i, j]
    y = products if second is None else np.concatenate([products, second], axis=1)
    fold = np.repeat(into % FOLDS, np.diff(edges))
    z = np.concatenate([np.ones((len(s), 1)), s], axis=1)
    sums = {"s": np.add.reduceat(s, edges[:-1]), "y": np.add.reduceat(y, edges[:-1]), "tail": largest(s**2)}
    sums["zz"], sums["zy"] = _folded(z, z, fold), _folded(z, y, fold)
    if second is not None and metric is not None:
        z = np.concatenate([z, products - second], axis=1)
        weight = ((z[:, 1:] @ metric) ** 2).sum(axis=1)[:, None] ** POWER
        sums["wzz"], sums["wzy"] = _folded(z * weight, z, fold), _folded(z * weight, second, fold)
    return sums


def measure(s: np.ndarray, h: np.ndarray) -> np.ndarray:
    """In which a draw's distance among all controls is its leverage, 1 on average."""
    i, j = np.triu_indices(s.shape[1])
    z = np.concatenate([s, s[:, i] * s[:, j] + h[:, i, j]], axis=1)
    scale = np.sqrt((z**2).mean(axis=0))
    scale[scale == 0] = 1.0
    _, size, directions = np.linalg.svd(z / scale, full_matrices=False)
    kept = size > 1e-6 * max(size[0], 1e-300)
    return np.asarray(directions[kept].T / size[kept] * np.sqrt(len(z) / max(kept.sum(), 1)) / scale[:, None])


def large(s: np.ndarray, h: np.ndarray | None, edges: np.ndarray, into: np.ndarray, *, diagonal: bool, own: bool) -> Part:
    """Matrices (the lower triangles), or diagonals; sums of scores from an eighth of them where they are no controls."""
    p = s.shape[1]
    shape = (p,) if diagonal else (p, p)
    sums = {"s": np.empty((len(into), p)), "seen": np.empty(len(into)), "y": np.zeros((len(into), *shape))}
    if own:
        sums["third"] = np.zeros((FOLDS, *shape))
    if h is not None:
        sums["h"] = -np.add.reduceat(np.diagonal(h, axis1=1, axis2=2) if diagonal else h, edges[:-1])
    for k, (a, b) in enumerate(pairwise(edges)):
        block, seen = s[a:b], s[a:b] if own or diagonal else s[a : a + max(1, (b - a) // 8)]
        sums["s"][k], sums["seen"][k] = np.ones(len(seen)) @ seen, len(seen)
        if diagonal:
            sums["y"][k] = np.einsum("ij,ij->j", block, block)
        else:
            _add_product(sums["y"][k], block)
        if own:
            square = block**2
            sums["third"][into[k] % FOLDS] += np.einsum("ij,ij->j", square, block) if diagonal else square.T @ block
    return sums


def default_groups(p: int) -> int:
    """More of them for few parameters, where they cost nothing and the tails of the draws are better seen."""
    return 100 if p <= FULL else 50 if p <= JOINT else 20


def default_blocks(rows: int, p: int, groups: int) -> int:
    """Into how many groups rows go: a block of a large matrix has so many that its product is quick."""
    return min(groups, rows if p <= JOINT else max(1, rows // (2 * p)))


def largest(values: np.ndarray, count: int = TAIL) -> np.ndarray:
    """The largest of each column, in ascending order."""
    return np.sort(np.partition(values, len(values) - count, axis=0)[-count:] if len(values) > count else values, axis=0)


def _add_product(total: np.ndarray, block: np.ndarray) -> None:
    """The lower triangle of block' block, in half the time of the whole."""
    from scipy.linalg.blas import dsyrk

    dsyrk(1.0, block.T, beta=1.0, c=total.T, overwrite_c=1)


def _folded(a: np.ndarray, b: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """a' b for the rows of each fold."""
    return np.stack([a[fold == k].T @ b[fold == k] for k in range(FOLDS)])

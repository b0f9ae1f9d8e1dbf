"""Sums over examples and positions of rows' outer products: what Kronecker factors are made of."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import torch
from torch import Tensor

from ..errors import DataError
from .factors import Side

STRIP = 128  # rows of a symmetric product formed at a time
CHUNK = 2**21  # entries of rows held at a time, where they are more than the layer's own
MOST = 2**16  # rows summed in the network's own dtype before float64 takes over

Source = tuple[Tensor, Side]
Names = tuple[str, ...]


class Grams:
    """The products of one side, by parameter; once for all parameters that share the rows.

    Parameters
    ----------
    mean : bool
        Whether rows that are added up before their product is taken are averaged.
    """

    def __init__(self, *, mean: bool = False) -> None:
        self._mean = mean
        self._partial: dict[Names, Tensor] = {}
        self._total: dict[Names, Tensor] = {}
        self._counts: dict[Names, int] = {}
        self._waiting: dict[Names, int] = {}

    def add(self, sources: Mapping[str, Sequence[Source]], *, reduced: bool) -> None:
        """Of each parameter the rows of all of its uses; added up over an example's positions first, where they are reduced."""
        sharing: dict[Hashable, list[str]] = {}
        for name, own in sources.items():
            key = tuple((v.data_ptr(), v.shape, v.stride(), side.how) for v, side in own)
            sharing.setdefault(key, []).append(name)
        for names in sharing.values():
            seen = self._add(tuple(names), sources[names[0]], reduced)
            for count in (self._counts, self._waiting):
                count[tuple(names)] = count.get(tuple(names), 0) + seen
        if max(self._waiting.values(), default=0) > MOST:
            self.flush()

    def _add(self, names: Names, own: Sequence[Source], reduced: bool) -> int:
        """Over how many rows."""
        seen = 0
        if reduced:
            sums = [torch.cat([side.rows(v[at]).sum(dim=1) for at in _slices(v, side)]) for v, side in own]
            rows = torch.stack(sums).sum(dim=0) if len(sums) > 1 else sums[0]
            positions = sum(side.rows(v[:1]).shape[1] for v, side in own)
            self._gram(names, rows / positions if self._mean else rows)
            return len(rows)
        for v, side in own:
            for at in _slices(v, side):
                rows = side.rows(v[at]).flatten(0, 1)
                self._gram(names, rows)
                seen += len(rows)
        return seen

    def add_tokens(self, name: str, tokens: Tensor, size: int) -> None:
        """Products of unit vectors, of which negative places are none."""
        there = tokens[tokens >= 0]
        found = torch.bincount(there, minlength=size).double()
        self._total[name,] = self._total[name,] + found if (name,) in self._total else found
        self._counts[name,] = self._counts.get((name,), 0) + len(there)

    def _gram(self, names: Names, rows: Tensor) -> None:
        """Add rows' rows, group by group; of a single group the lower triangle, strip by strip: what is above is not used."""
        groups, n = rows.shape[1:]
        if names not in self._partial:
            self._partial[names] = rows.new_zeros(groups, n, n)
        total = self._partial[names]
        if groups > 1:
            total.baddbmm_(rows.permute(1, 2, 0), rows.permute(1, 0, 2))
            return
        for i in range(0, n, STRIP):
            total[0, i : i + STRIP, : i + STRIP].addmm_(rows[:, 0, i : i + STRIP].T, rows[:, 0, : i + STRIP])

    def flush(self) -> None:
        """To totals, that are float64 from the second on."""
        for names, value in self._partial.items():
            if not bool(torch.isfinite(value.diagonal(dim1=1, dim2=2)).all()):
                raise DataError(f"the products of {', '.join(names)} are not finite: inputs or gradients have diverged.")
            whole = _mirrored(value[0]) if len(value) == 1 else value
            if names in self._total:
                self._total[names] = self._total[names].double().add_(whole)
            else:
                self._total[names] = whole
        self._partial, self._waiting = {}, {}

    def widen(self) -> None:
        """To float64, what has not been added to yet."""
        self._total = {names: value.double() for names, value in self._total.items()}

    def sums(self, name: str) -> tuple[Tensor, int]:
        """A parameter's sum, one tensor for all that share it throughout, and over how many rows it is."""
        keys = [key for key in self._total if name in key]
        found = [self._total[key] for key in keys]
        return found[0] if len(found) == 1 else torch.stack(found).sum(dim=0), sum(self._counts[key] for key in keys)


def _slices(v: Tensor, side: Side) -> list[slice]:
    """Examples whose rows are held at a time: all, where the rows are a view of what there is."""
    each = v[:1].numel() if side.how is None else side.rows(v[:1]).numel()
    step = max(1, CHUNK // max(1, each))
    return [slice(i, i + step) for i in range(0, len(v), step)]


def _mirrored(lower: Tensor) -> Tensor:
    for i in range(0, len(lower), STRIP):
        lower[:i, i : i + STRIP] = lower[i : i + STRIP, :i].T
    return lower

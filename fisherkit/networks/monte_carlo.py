"""The expectation over labels by Monte Carlo: sums over draws, and the leave-one-out groups that carry the error."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..errors import MethodError
from ..methods import MonteCarlo, seed_sequence
from ..structures.base import Structure
from ..uncertainty import LeaveOneOut
from . import batches, estimators
from .distributed import Alone
from .estimators import Cell, Plan
from .kept import Kept
from .passes import Passes, some

SUMMED = ("diagonal", "dense")  # what can be kept of sums of scores, which have lost the single examples


def drawn(passes: Passes, inputs: Any, method: MonteCarlo, kind: type[Kept]) -> tuple[Structure, LeaveOneOut | None]:
    """Sums per cell: strata of inputs, and within them groups of draws (or of inputs, where there is one draw)."""
    if method.estimator == "batches" and kind.name not in SUMMED:
        raise MethodError(f"MonteCarlo(estimator='batches') keeps structure={' or '.join(map(repr, SUMMED))}; got {kind.name!r}.")
    plan = Plan(method if kind.additive else replace(method, groups=0), kind.entries(passes.parameters))
    with passes.shared(kind) as share:
        sums, counts = _sums(passes, inputs, method, plan, kind, share)
    if not plan.keep:
        ((cell, kept),) = sums.items()
        return kept.mean(counts[cell]), None
    arrays = {cell: kept.arrays() for cell, kept in sums.items()}
    return estimators.averaged(arrays, counts, lambda found: kind.structure(found, passes.parameters))


def _sums(
    passes: Passes, inputs: Any, method: MonteCarlo, plan: Plan, kind: type[Kept], share: Alone
) -> tuple[dict[Cell, Kept], dict[Cell, int]]:
    kind.check(passes.parameters, plan.numbers)
    seed, rng = seed_sequence(method.rng), None
    sums = {cell: share.sum(lambda: kind(passes.parameters, passes.device)) for cell in plan.all_cells}
    counts = dict.fromkeys(sums, 0)
    pieces = batches.cut_first(passes.of_inputs(inputs, plan.batch_size(inputs)), plan.strata)
    for batch, item in passes.through(pieces, share, summed=method.estimator == "batches"):
        rng = share.rng(seed, rng)
        weights = passes.weights(batch, item)
        if not (number := passes.number(batch, weights)):
            continue
        vectors = estimators.vectors(passes.likelihood, batch.output, weights, method, rng)
        for cell, draws in plan.cells(share.index):
            sums[cell].add(batch, vectors[draws])
            counts[cell] += number * len(vectors[draws])
    counts = {cell: share.total(count) for cell, count in counts.items()}
    some(sum(counts.values()))
    return {cell: kept for cell, kept in sums.items() if counts[cell]}, {cell: n for cell, n in counts.items() if n}

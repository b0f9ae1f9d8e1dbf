"""Monte Carlo information within a budget of score evaluations: a pilot chooses the estimator, one pass estimates."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import MethodError, PrecisionError
from ..information import FisherInformation
from ..methods import MonteCarlo, seed_sequence
from . import diagnostics
from .accumulator import Accumulator, information, roots
from .chunks import Chunk
from .controls import FOLDS, exact_by_algebra, with_known
from .run import FIRST_STAGE, PILOT_KEY, Work, run
from .sums import FULL, JOINT, default_groups

if TYPE_CHECKING:
    from .model import Model

SCRAMBLES = 16  # independent randomisations of a Sobol sequence, which carry its error
PILOT = 0.05  # of the budget, and at most
LONGEST_PILOT = 1000  # draws
DEAREST_PILOT = 1 / 16  # of the budget: where not even the smallest one fits, there is none
TRIAL = 8  # draws on which a complex step is tried
GAIN = 2.5  # by which a Hessian must win in the pilot
FLATTERED = 300  # draws: with all controls, a pilot of so many makes it look twice as good as it is, and a smaller one better
BY_HESSIAN = ("hessian", "bartlett")


@dataclass(frozen=True)
class Plan:
    """How a run goes: which Hessians are taken, what a draw costs, how many draws, and the pilot's rows."""

    hessians: str
    cost: int
    draws: int
    pilot: tuple[np.ndarray | None, ...] = ()


def estimate(model: Model, at: np.ndarray, method: MonteCarlo, structure: str) -> FisherInformation:
    """The information of one observation within a budget of score evaluations, with leave-one-out replicates.

    Memory is O(groups p^2) (or p), whatever the number of draws. The result depends on the seed, the budget and the estimator,
    not on the workers.
    """
    if method.n < 2:
        raise MethodError(f"{method!r}: a Monte Carlo estimate from one draw has no error; give two draws at least.")
    work = _work(model, at, method, structure)
    plan = _plan(work, method)
    work = replace(work, hessians=plan.hessians)
    try:
        sums, asked = run(work, plan.draws, method, cost=plan.cost)
    except PrecisionError:
        if method.estimator in BY_HESSIAN or not plan.hessians:
            raise
        plan = Plan("", 1, plan.draws * plan.cost)  # second derivatives failed far out: scores alone have the same budget
        work = replace(work, hessians="")
        sums, asked = run(work, plan.draws, method, cost=1)
    if plan.pilot:
        s, h, error = plan.pilot
        assert s is not None
        sums.include(sums.part(s, h if plan.hessians else None, error, start=0))
        asked += len(s)
    diagnostics.tell_omitted(asked - sums.n)
    diagnostics.look(sums, model.parameters)
    found = sums.choice()
    if method.rtol:
        diagnostics.tell_tolerance(sums.relative_error(), method)
    rounding = sums.roughness()
    if found.estimator in BY_HESSIAN:
        mean = found.sums.sum(axis=0) / found.sizes.sum()
        rounding = rounding + model.hessian_rounding(plan.hessians, at, roots(mean)) / 2
    if method.known:
        found = with_known(found, _positions(model, method, structure))
    used = replace(method, estimator=found.estimator, checkpoint=None, progress=None)
    provenance = model.provenance("expected", at, method=used, draws=sums.n)
    return information(found, model.parameters, provenance, errors=method.groups != 0, rounding=rounding)


def _work(model: Model, at: np.ndarray, method: MonteCarlo, structure: str) -> Work:
    p, root = len(at), seed_sequence(method.rng)
    groups = method.groups or (SCRAMBLES if model.uniforms else default_groups(p))
    if method.groups == 0 and p > JOINT:
        groups = FOLDS if method.estimator == "score_control" else 1
    omit = method.nan_policy == "omit"
    return Work(model, at, root.entropy, root.spawn_key, "", structure, groups, method.estimator, omit)


def _positions(model: Model, method: MonteCarlo, structure: str) -> dict[tuple[int, int], float]:
    """Known entries by row and column."""
    labels, out = model.parameters.labels, {}
    if structure != "dense":
        raise MethodError("MonteCarlo(known=) needs structure='dense'.")
    for pair, value in (method.known or {}).items():
        if not isinstance(pair, tuple) or len(pair) != 2 or not set(pair) <= set(labels) or not np.isfinite(value):
            raise MethodError(f"MonteCarlo(known=) maps pairs of {', '.join(labels)} to finite numbers; got {pair!r}: {value!r}.")
        out[labels.index(pair[0]), labels.index(pair[1])] = float(value)
    return out


def _plan(work: Work, method: MonteCarlo) -> Plan:
    """Scores alone, or Hessians too: as asked, or as a pilot within the budget predicts."""
    p, costs, asked = len(work.at), work.model.hessian_costs, method.estimator in BY_HESSIAN
    if asked and costs is None:
        raise MethodError(
            f"estimator={method.estimator!r} needs second derivatives: give score= or hessian=, or fewer parameters."
        )
    if costs is None or (method.estimator and not asked) or (p > JOINT and not asked):
        return Plan("", 1, method.n)
    rough, fine = costs[0] + 1, costs[1] + 1
    if asked and method.n < 2 * rough:
        raise MethodError(
            f"{method!r} has a budget for {method.n // rough} Hessians of {rough} score evaluations; give n={2 * rough} at least."
        )
    smallest, every = p + 3, p + 3 + p * (p + 1) // 2
    if p <= FULL and rough * every <= DEAREST_PILOT * method.n:
        smallest = every
    budget = min(method.n, 10 * FIRST_STAGE) if method.rtol else method.n
    size = min(max(math.ceil(PILOT * budget / rough), smallest), max(LONGEST_PILOT, smallest))
    if size * rough > DEAREST_PILOT * method.n:
        return Plan("rough", rough, method.n // rough) if asked else Plan("", 1, method.n)
    return _pilot(work, method, size, rough, fine)


def _pilot(work: Work, method: MonteCarlo, size: int, rough: int, fine: int) -> Plan:
    """Variance per draw of each estimator, from a few draws; they are kept for the estimate.

    Where the Hessians make it exact, they are worth being fine; where draws differ, rough ones are as good, at half the cost.
    """
    model, left, asked = work.model, method.n - size * rough, method.estimator in BY_HESSIAN
    x = work.observations(Chunk(PILOT_KEY, size, 0, 0))
    try:
        rows = model.score_and_hessian(x, work.at, hessians="rough", first=0, omit=work.omit)
    except PrecisionError:
        if asked:
            raise
        return Plan("", 1, left)
    s, h, error = rows
    assert h is not None
    if len(s) > 2 and exact_by_algebra(s, h):
        left -= model.try_complex_step(x[:TRIAL], work.at)
        return Plan("fine", fine, max(left // fine, 2))
    hessians = asked
    if len(s) > 2 and not asked:
        sums = Accumulator(model.parameters, structure=work.structure, groups=len(s))
        sums.include(sums.part(s, h, error, start=0))
        found = sums.choice(strict=False)
        needed = rough * GAIN * (1 + FLATTERED / len(s) if found.every else 1)
        hessians = found.estimator in BY_HESSIAN and found.variance * needed < found.outer_variance
    kept = () if model.uniforms else rows
    return Plan("rough", rough, left // rough, kept) if hessians else Plan("", 1, left, kept)

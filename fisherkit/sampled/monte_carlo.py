"""Monte Carlo information: a pilot that chooses the estimator, seeded chunks added in order, what the draws themselves tell."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import MethodError, PrecisionError, StorageError
from ..information import FisherInformation
from ..methods import MonteCarlo, seed_sequence
from ..storage import read, write
from . import chunks
from .accumulator import FULL, JOINT, TAIL, Accumulator, Part, default_blocks, default_groups, information
from .chunks import Chunk
from .controls import FOLDS, Choice, exact_by_algebra, with_known

if TYPE_CHECKING:
    from .model import Model

CHUNK = 8192
GROUPS = 20
WIDTH = 2**22  # numbers that a chunk may hold in one array
SCRAMBLES = 16  # independent randomisations of a Sobol sequence, which carry its error
PILOT = 0.05  # of the budget, and at most
LONGEST_PILOT = 1000  # draws
DEAREST_PILOT = 1 / 16  # of the budget: where not even the smallest one fits, there is none
GAIN = 1.5  # by which a Hessian must win in the pilot
FIRST_STAGE = 2000  # score evaluations before the first look at a tolerance
MARGIN = 1.1  # of draws, so that the look that ends a run is hardly ever an early one
LONGEST_STEP = 8  # times the draws so far, because the first looks are rough
FAR = 400  # times as many draws as are taken for the tail, so that it is one
PILOT_KEY = 2**62  # no chunk has this number
SAVE_EVERY = 10.0  # seconds


class SamplerMismatchWarning(UserWarning):
    """The drawn scores do not have mean zero: the sampler and the log-density are not of one model."""


class UnsettledWarning(UserWarning):
    """The mean of the squared scores does not settle: the information may be infinite."""


class ToleranceWarning(UserWarning):
    """The ceiling on draws was reached before the tolerance."""


class OmittedWarning(UserWarning):
    """Draws whose score is not finite were left out."""


@dataclass(frozen=True)
class Plan:
    """How a run goes: whether Hessians are taken, what a draw costs, how many draws, and the pilot's rows."""

    hessians: bool
    cost: int
    draws: int
    pilot: tuple[np.ndarray, np.ndarray | None] | None = None


@dataclass(frozen=True)
class State:
    """Where a run stands: its sums, the chunks done in this stage, and the draws between which the stage runs."""

    sums: Accumulator
    done: int
    ended: int
    target: int


@dataclass(frozen=True)
class Work:
    """What a chunk needs, wherever it is done."""

    model: Model
    at: np.ndarray
    entropy: Any
    spawn_key: tuple[int, ...]
    hessians: bool
    structure: str
    groups: int
    estimator: str | None
    omit: bool
    metric: np.ndarray | None = None

    def __call__(self, chunk: Chunk) -> tuple[Part | None, np.ndarray | None]:
        """Sums over the chunk, and the measure of its controls."""
        sums = self.empty()
        x = self.observations(chunk)
        s, h = self.model.score_and_hessian(x, self.at, hessians=self.hessians, first=chunk.first, omit=self.omit)
        return (sums.part(s, h, start=chunk.group, blocks=chunk.blocks) if len(s) else None), sums.metric

    def empty(self) -> Accumulator:
        out = Accumulator(self.model.parameters, structure=self.structure, groups=self.groups, estimator=self.estimator)
        out.metric = self.metric
        return out

    def observations(self, chunk: Chunk) -> Any:
        if self.model.uniforms and chunk.index != PILOT_KEY:
            return self.model.transform(self.at, self._sobol(chunk))
        return self.model.draw(self.at, chunk.size, np.random.default_rng(self._seed(chunk.index)))

    def _seed(self, index: int) -> np.random.SeedSequence:
        return np.random.SeedSequence(self.entropy, spawn_key=(*self.spawn_key, index))

    def _sobol(self, chunk: Chunk) -> np.ndarray:
        """Points of the group's own scrambling, moved within their cells so that none lies on 0."""
        from scipy.stats import qmc

        rng = np.random.default_rng(self._seed(chunk.group))
        engine = qmc.Sobol(self.model.uniforms, scramble=True, rng=rng)
        if chunk.offset:
            engine.fast_forward(chunk.offset)
        points = (
            engine.random(2 ** math.ceil(math.log2(chunk.size)))[: chunk.size] if not chunk.offset else engine.random(chunk.size)
        )
        jitter = np.random.default_rng(self._seed(PILOT_KEY + 1 + chunk.index)).random(points.shape)
        return np.asarray(np.clip(points + jitter * 2.0**-30, 2.0**-40, 1 - 2.0**-53))


def estimate(model: Model, at: np.ndarray, method: MonteCarlo, structure: str) -> FisherInformation:
    """The information of one observation within a budget of score evaluations, with leave-one-out replicates.

    Memory is O(groups p^2) (or p), whatever the number of draws. The result depends on the seed, the budget and the estimator,
    not on the workers.
    """
    if method.n < 2:
        raise MethodError(f"{method!r}: a Monte Carlo estimate from one draw has no error; give two draws at least.")
    p, root = len(at), seed_sequence(method.rng)
    groups = method.groups or (SCRAMBLES if model.uniforms else default_groups(p))
    if method.groups == 0 and p > JOINT:
        groups = FOLDS if method.estimator == "score_control" else 1
    work = Work(
        model, at, root.entropy, root.spawn_key, False, structure, groups, method.estimator, omit=method.nan_policy == "omit"
    )
    plan = _plan(work, method)
    work = replace(work, hessians=plan.hessians)
    if plan.hessians:
        model.try_complex_step(work.observations(Chunk(PILOT_KEY, 16, 0, 0)), at)
    try:
        sums, omitted = _run(work, plan, method)
    except PrecisionError:
        if method.estimator in ("hessian", "bartlett") or not plan.hessians:
            raise
        plan = Plan(False, 1, plan.draws * plan.cost)  # second derivatives failed far out: scores alone have the same budget
        work = replace(work, hessians=False)
        sums, omitted = _run(work, plan, method)
    _tell_omitted(omitted)
    _look(sums, model)
    found = sums.choice()
    if method.known:
        found = with_known(found, _positions(model, method, structure))
    if method.rtol:
        _check_tolerance(sums, found, method)
    used = replace(method, estimator=found.estimator, checkpoint=None, progress=None)
    provenance = model.provenance("expected", at, method=used, draws=sums.n)
    errors = method.groups != 0
    return information(model.parameters, found, provenance, errors=errors, rounding=model.hessian_rounding)


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


# -- the plan


def _plan(work: Work, method: MonteCarlo) -> Plan:
    """Scores alone, or Hessians too: as asked, or as a pilot within the budget predicts."""
    p, each = len(work.at), work.model.hessian_cost
    cost = 1 + (each or 0)
    if method.estimator in ("hessian", "bartlett"):
        if each is None:
            raise MethodError(
                f"estimator={method.estimator!r} needs second derivatives: give score= or hessian=, or fewer parameters."
            )
        if (draws := method.n // cost) < 2:
            raise MethodError(
                f"{method!r} has a budget for {draws} Hessians of {cost} score evaluations; give n={2 * cost} at least."
            )
        return Plan(True, cost, draws)
    smallest, every = p + 3, p + 3 + p * (p + 1) // 2
    if p <= FULL and cost * every <= DEAREST_PILOT * method.n:
        smallest = every
    budget = min(method.n, 10 * FIRST_STAGE) if method.rtol else method.n
    size = min(max(math.ceil(PILOT * budget / cost), smallest), max(LONGEST_PILOT, smallest))
    if method.estimator is not None or each is None or p > JOINT or size * cost > DEAREST_PILOT * method.n:
        return Plan(False, 1, method.n)
    return _pilot(work, method, size, cost)


def _pilot(work: Work, method: MonteCarlo, size: int, cost: int) -> Plan:
    """Variance per draw of each estimator, from a few draws; they are kept for the estimate."""
    model, left = work.model, method.n - size * cost
    x = work.observations(Chunk(PILOT_KEY, size, 0, 0))
    try:
        s, h = model.score_and_hessian(x, work.at, hessians=True, first=0, omit=work.omit)
    except PrecisionError:
        return Plan(False, 1, left)
    assert h is not None
    hessians = len(s) > 2 and exact_by_algebra(s, h)
    if len(s) > 2 and not hessians:
        rows = Accumulator(model.parameters, structure=work.structure, groups=len(s))
        rows.add(s, h, start=0)
        found = rows.choice(strict=False)
        hessians = found.estimator in ("hessian", "bartlett") and found.variance * cost * GAIN < found.outer_variance
    kept = None if model.uniforms else (s, h)
    return Plan(hessians, cost if hessians else 1, left // cost if hessians else left, kept)


# -- the run


def _run(work: Work, plan: Plan, method: MonteCarlo) -> tuple[Accumulator, int]:
    """One pass, in stages where there is a tolerance; a checkpoint takes up where another run stopped."""
    state, mark = _start(work, plan, method), _fingerprint(work, plan, method)
    if method.checkpoint:
        state = _restore(method.checkpoint, mark, state)
    clock = chunks.Clock(SAVE_EVERY)
    with chunks.progress_bar(plan.draws, method.progress) as bar:
        while True:
            todo = _layout(work, state.ended, state.target)[state.done :]
            try:
                for chunk, (part, metric) in zip(todo, _results(work, todo, method, state.sums.metric), strict=True):
                    state = _with(state, part, metric, copy=method.checkpoint is not None)
                    if bar is not None:
                        bar.update(chunk.size)
                    if method.checkpoint and clock.due():
                        _save(method.checkpoint, mark, state)
            finally:
                if method.checkpoint:
                    _save(method.checkpoint, mark, state)
            if state.target >= plan.draws or not method.rtol or (error := _relative_error(state.sums)) <= method.rtol:
                break
            needed = min(MARGIN * (error / method.rtol) ** 2, LONGEST_STEP) * state.target
            target = min(plan.draws, math.ceil(needed))
            state = replace(state, done=0, ended=state.target, target=target)
    planned = state.target
    if plan.pilot is not None:
        s, h = plan.pilot
        planned += len(s)
        state.sums.add(s, h if plan.hessians else None, start=0)
    return state.sums, planned - state.sums.n


def _with(state: State, part: Part | None, metric: np.ndarray | None, *, copy: bool) -> State:
    """One chunk further; a copy, so that Ctrl-C at any moment finds a whole one to write."""
    sums = state.sums.copy() if copy else state.sums
    sums.metric = metric if sums.metric is None else sums.metric
    if part is not None:
        sums.include(part)
    return replace(state, sums=sums, done=state.done + 1)


def _start(work: Work, plan: Plan, method: MonteCarlo) -> State:
    sums = work.empty()
    target = min(plan.draws, max(FIRST_STAGE // plan.cost, 5 * work.groups)) if method.rtol else plan.draws
    return State(sums, 0, 0, target)


def _results(work: Work, todo: list[Chunk], method: MonteCarlo, metric: np.ndarray | None) -> Iterator[Any]:
    """The first chunk alone, because it measures the controls for all."""
    if todo and metric is None:
        first, todo = work(todo[0]), todo[1:]
        yield first
        metric = first[1]
    yield from chunks.in_order(replace(work, metric=metric), todo, method.workers)


def _layout(work: Work, start: int, end: int) -> list[Chunk]:
    """Chunks of the draws from ``start`` to ``end``; their seeds do not depend on where a stage ends."""
    p, groups = len(work.at), work.groups
    most = max(64, min(CHUNK, WIDTH // (p * p if work.hessians or p <= JOINT else p)))
    out, stage = [], start  # the number of a chunk is that of its first draw
    if work.model.uniforms:
        for g in range(groups):
            a, b = start * (g + 1) // groups, end * (g + 1) // groups
            a, b = a - start * g // groups, b - end * g // groups
            for offset in range(a, b, most):
                out.append(Chunk(g * 2**24 + offset // 64, min(most, b - offset), stage, g, 1, offset))
                stage += out[-1].size
        return out
    next_group, in_stage = 0, math.ceil((end - start) / most)
    for first in range(start, end, most):
        size = min(most, end - first)
        blocks = default_blocks(size, p, groups)
        if p > JOINT:
            blocks = min(blocks, math.ceil(groups / in_stage))
        out.append(Chunk(first, size, first, next_group % groups, blocks))
        next_group += blocks
    return out


def _relative_error(sums: Accumulator) -> float:
    """The largest mcse of an entry in units of the roots of its diagonal entries."""
    found = sums.choice()
    n = found.sizes.reshape(-1, *([1] * (found.sums.ndim - 1)))
    filled = found.sizes > 0
    mean = found.sums.sum(axis=0) / n.sum()
    each = (found.sums[filled] - n[filled] * mean) ** 2 / n[filled]
    error = np.sqrt(each.sum(axis=0) / (filled.sum() - 1) / n.sum())
    d = np.sqrt(np.abs(mean if mean.ndim == 1 else np.diagonal(mean)))
    return float((error / np.maximum(d**2 if mean.ndim == 1 else np.outer(d, d), 1e-300)).max())


def _check_tolerance(sums: Accumulator, found: Choice, method: MonteCarlo) -> None:
    error = _relative_error(sums)
    assert method.rtol is not None
    if error > method.rtol:
        warnings.warn(
            f"the ceiling n={method.n} was reached at a relative error of {error:.2g}, above rtol={method.rtol:g}; "
            f"n={math.ceil(1.2 * method.n * (error / method.rtol) ** 2)} should reach it.",
            ToleranceWarning,
            stacklevel=6,
        )


# -- files


def _save(path: str, mark: dict[str, Any], state: State) -> None:
    write(path, state.sums.arrays(), {"mark": mark, "state": [state.done, state.ended, state.target]})


def _fingerprint(work: Work, plan: Plan, method: MonteCarlo) -> dict[str, Any]:
    """What must be equal for a checkpoint to be of the same run."""
    told = {name: getattr(method, name) for name in ("n", "groups", "estimator", "rtol", "nan_policy")}
    told |= {"rng": str((work.entropy, work.spawn_key)), "at": work.at.tolist(), "parameters": str(work.model.parameters)}
    told |= {"structure": work.structure, "hessians": plan.hessians, "draws": plan.draws}
    return {name: value if value is None else str(value) for name, value in told.items()}


def _restore(path: str, mark: dict[str, Any], state: State) -> State:
    try:
        arrays, meta = read(path)
    except FileNotFoundError:
        return state
    if not {"mark", "state"} <= set(meta):
        raise StorageError(f"{path} is not a checkpoint of a Monte Carlo run; give checkpoint= another name.")
    if differing := [name for name in mark if meta["mark"].get(name) != mark[name]]:
        raise StorageError(
            f"{path} is the checkpoint of another run: other {', '.join(differing)}. Give checkpoint= another name, or remove it."
        )
    state.sums.restore(arrays)
    done, ended, target = meta["state"]
    return State(state.sums, done, ended, target)


# -- what the draws tell


def _tell_omitted(omitted: int) -> None:
    if omitted:
        warnings.warn(
            f"{omitted} draws with a score that is not finite were left out (nan_policy='omit'); the rest is another law.",
            OmittedWarning,
            stacklevel=5,
        )


def _look(sums: Accumulator, model: Model) -> None:
    """E[s] = 0, E[s s' + H] = 0 and a mean square that settles, or a warning that names the parameter."""
    n, s, squares, tail = sums.moments()
    z = np.abs(s) / np.sqrt(np.maximum(squares, 1e-300))
    if n >= 100 and (worst := float(z.max(initial=0))) > 6:
        warnings.warn(
            f"the scores of {n} draws do not have mean zero (z = {worst:.1f} in {model.parameters.label(int(z.argmax()))}): the "
            "sampler does not draw from the log-density, or a factor that depends on the parameter is missing.",
            SamplerMismatchWarning,
            stacklevel=5,
        )
    elif n >= 100 and (worst := sums.identity_z()) > 7:
        warnings.warn(
            f"E[s s' + H] is not zero (z = {worst:.1f} over {n} draws): the sampler does not draw from the log-density, or score "
            "and Hessian are not of one density.",
            SamplerMismatchWarning,
            stacklevel=5,
        )
    if n >= 500 and tail is not None and len(unsettled := _unsettled(n, squares, tail)):
        label = model.parameters.label(int(unsettled[0]))
        warnings.warn(
            f"the mean of the squared score in {label} does not settle: the largest of {n} draws carries "
            f"{tail[-1, unsettled[0]] / squares[unsettled[0]]:.0%} of it. The information may be infinite, its error too small.",
            UnsettledWarning,
            stacklevel=5,
        )


def _unsettled(n: int, squares: np.ndarray, tail: np.ndarray) -> np.ndarray:
    """Where one draw carries much, or the tail is as heavy as 1 / t (Hill's estimate from the largest squares)."""
    share = tail[-1] / np.maximum(squares, 1e-300) > 0.3
    if len(tail) < TAIL or n < FAR * TAIL:
        return np.flatnonzero(share)
    with np.errstate(all="ignore"):
        index = 1 / np.log(tail[1:] / tail[0]).mean(axis=0)
    return np.flatnonzero(share | ((index < 1.1) & (tail[-1] > 0)))


@contextmanager
def mapper(workers: int | Executor) -> Iterator[Callable[..., Any]]:
    """`map`, or that of an executor; a caller's executor is not shut down."""
    if workers == 1:
        yield map
        return
    with chunks.pool(workers) as executor:
        yield executor.map

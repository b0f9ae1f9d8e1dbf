"""One pass over chunks of draws: their seeds and layout, stages up to a tolerance, and the file that outlives a crash."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import StorageError
from ..methods import MonteCarlo
from ..progress import shown
from ..storage import read, write
from .accumulator import Accumulator
from .chunks import CHUNK, Chunk, in_order
from .sums import JOINT, Part, default_blocks

if TYPE_CHECKING:
    from .model import Model

WIDTH = 2**22  # numbers that a chunk may hold in one array
FIRST_STAGE = 2000  # score evaluations before the first look at a tolerance
MARGIN = 1.1  # of draws, so that the look that ends a run is hardly ever an early one
LONGEST_STEP = 8  # times the draws so far, because the first looks are rough
PILOT_KEY = 2**62  # no chunk has this number
SAVE_EVERY = 10.0  # seconds


@dataclass(frozen=True)
class Work:
    """What a chunk needs, wherever it is done."""

    model: Model
    at: np.ndarray
    entropy: Any
    spawn_key: tuple[int, ...]
    hessians: str
    structure: str
    groups: int
    estimator: str | None
    omit: bool
    metric: np.ndarray | None = None

    def __call__(self, chunk: Chunk) -> tuple[Part | None, np.ndarray | None]:
        """Sums over the chunk, and the measure of its controls."""
        sums, x = self.empty(), self.observations(chunk)
        rows = self.model.score_and_hessian(x, self.at, hessians=self.hessians, first=chunk.first, omit=self.omit)
        return (sums.part(*rows, start=chunk.group, blocks=chunk.blocks) if len(rows[0]) else None), sums.metric

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

        engine = qmc.Sobol(self.model.uniforms, scramble=True, rng=np.random.default_rng(self._seed(chunk.group)))
        if chunk.offset:
            engine.fast_forward(chunk.offset)
        size = chunk.size if chunk.offset else 2 ** math.ceil(math.log2(chunk.size))  # scipy warns of other beginnings
        points = engine.random(size)[: chunk.size]
        jitter = np.random.default_rng(self._seed(PILOT_KEY + 1 + chunk.index)).random(points.shape)
        return np.asarray(np.clip(points + jitter * 2.0**-30, 2.0**-40, 1 - 2.0**-53))

    def layout(self, start: int, end: int) -> list[Chunk]:
        """Chunks of the draws from ``start`` to ``end``; their seeds do not depend on where a stage ends."""
        p, groups = len(self.at), self.groups
        most = max(64, min(CHUNK, WIDTH // (p * p if self.hessians or p <= JOINT else p)))
        out, stage = [], start
        if self.model.uniforms:
            for g in range(groups):
                low, high = (t * (g + 1) // groups - t * g // groups for t in (start, end))
                for offset in range(low, high, most):
                    out.append(Chunk(g * 2**24 + offset // 64, min(most, high - offset), stage, g, 1, offset))
                    stage += out[-1].size
            return out
        next_group, in_stage = 0, math.ceil((end - start) / most)
        for first in range(start, end, most):  # which is the chunk's number
            size = min(most, end - first)
            blocks = default_blocks(size, p, groups)
            if p > JOINT:
                blocks = min(blocks, math.ceil(groups / in_stage))
            out.append(Chunk(first, size, first, next_group % groups, blocks))
            next_group += blocks
        return out


@dataclass(frozen=True)
class State:
    """Where a run stands: its sums, the chunks done in this stage, and the draws between which the stage runs."""

    sums: Accumulator
    done: int
    ended: int
    target: int

    def after(self, part: Part | None, metric: np.ndarray | None, *, copy: bool) -> State:
        """One chunk further; a copy, so that Ctrl-C at any moment finds a whole one to write."""
        sums = self.sums.copy() if copy else self.sums
        sums.metric = metric if sums.metric is None else sums.metric
        if part is not None:
            sums.include(part)
        return replace(self, sums=sums, done=self.done + 1)


def run(work: Work, draws: int, method: MonteCarlo, *, cost: int) -> tuple[Accumulator, int]:
    """The sums, and how many draws were asked for: in one stage, or in several where there is a tolerance."""
    target = min(draws, max(FIRST_STAGE // cost, 5 * work.groups)) if method.rtol else draws
    state, path, mark = State(work.empty(), 0, 0, target), method.checkpoint, _fingerprint(work, draws, method)
    if path:
        state = _restore(path, mark, state)
    while True:
        state = _stage(work, method, state, mark)
        if state.target >= draws or not method.rtol or (error := state.sums.relative_error()) <= method.rtol:
            return state.sums, state.target
        needed = min(MARGIN * (error / method.rtol) ** 2, LONGEST_STEP) * state.target
        state = replace(state, done=0, ended=state.target, target=min(draws, math.ceil(needed)))


def _stage(work: Work, method: MonteCarlo, state: State, mark: dict[str, Any]) -> State:
    """The chunks that are left of a stage; a checkpoint is written now and then, and at its end, whatever ends it."""
    todo, path, saved = work.layout(state.ended, state.target)[state.done :], method.checkpoint, time.monotonic()
    results = _results(work, todo, method, state.sums.metric)
    try:
        for part, metric in shown(results, total=len(todo), unit="chunks", progress=method.progress):
            state = state.after(part, metric, copy=path is not None)
            if path and time.monotonic() - saved > SAVE_EVERY:
                _save(path, mark, state)
                saved = time.monotonic()
    finally:
        if path:
            _save(path, mark, state)
    return state


def _results(work: Work, todo: list[Chunk], method: MonteCarlo, metric: np.ndarray | None) -> Iterator[Any]:
    """The first chunk alone, because it measures the controls for all."""
    if todo and metric is None:
        first, todo = work(todo[0]), todo[1:]
        yield first
        metric = first[1]
    yield from in_order(replace(work, metric=metric), todo, method.workers)


# -- files


def _save(path: str, mark: dict[str, Any], state: State) -> None:
    write(path, state.sums.arrays(), {"mark": mark, "state": [state.done, state.ended, state.target]})


def _fingerprint(work: Work, draws: int, method: MonteCarlo) -> dict[str, Any]:
    """What must be equal for a checkpoint to be of the same run."""
    told = {name: getattr(method, name) for name in ("n", "groups", "estimator", "rtol", "nan_policy")}
    told |= {"rng": str((work.entropy, work.spawn_key)), "at": work.at.tolist(), "parameters": str(work.model.parameters)}
    told |= {"structure": work.structure, "hessians": work.hessians, "draws": draws}
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
    return State(state.sums, *meta["state"])

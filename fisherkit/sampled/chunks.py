"""Chunks of draws on any executor: added in order, done again where a worker dies, kept in a file while they run."""

from __future__ import annotations

import pickle
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from ..errors import MethodError
from ..optional import require

IN_FLIGHT = 16  # chunks beyond the one awaited, where an executor does not tell how many workers it has
PATIENCE = 2.0  # seconds before a progress bar appears


class WorkerWarning(UserWarning):
    """A worker process died, and its chunk was done again."""


@dataclass(frozen=True)
class Chunk:
    """A stretch of draws: its number, which seeds it, how many draws, after how many others, and where they belong.

    ``group`` is the first group, ``blocks`` how many follow each other; ``offset`` counts points of a low-discrepancy sequence.
    """

    index: int
    size: int
    first: int
    group: int
    blocks: int | None = None
    offset: int = 0


def in_order(work: Callable[[Chunk], Any], chunks: Sequence[Chunk], workers: int | Executor) -> Iterator[Any]:
    """The result of each chunk, in their order; a bounded number of them are under way."""
    if workers == 1 or len(chunks) < 2:
        yield from map(work, chunks)
        return
    with pool(workers) as executor:
        _check_pickle(work, executor)
        waiting: deque[Future[Any]] = deque()
        ahead, submitted, broken = 2 * getattr(executor, "_max_workers", IN_FLIGHT), 0, False
        try:
            for chunk in chunks:
                while not broken and submitted < len(chunks) and len(waiting) <= ahead:
                    future = _attempt(lambda k=submitted: executor.submit(work, chunks[k]))  # type: ignore[misc]
                    if broken := future is None:
                        break
                    waiting.append(future)
                    submitted += 1
                future = waiting.popleft() if waiting else None
                result = _attempt(future.result) if future is not None else None
                if result is None:
                    if future is not None or not broken:
                        broken = True
                        waiting.clear()
                        _tell(chunk)
                    result = work(chunk)
                yield result
        finally:
            for future in waiting:
                future.cancel()


def _attempt(call: Callable[[], Any]) -> Any:
    """What it gives, or None where the executor is broken."""
    try:
        return call()
    except BrokenExecutor:
        return None


def _tell(chunk: Chunk) -> None:
    warnings.warn(
        f"a worker died at chunk {chunk.index}; it and those that follow are done again in this process, with the same result.",
        WorkerWarning,
        stacklevel=3,
    )


def _check_pickle(work: Callable[[Chunk], Any], executor: Executor) -> None:
    if not isinstance(executor, ProcessPoolExecutor):
        return
    try:
        pickle.dumps(work)
    except Exception as error:
        raise MethodError(
            f"the model cannot be sent to other processes ({error}): a function of it is a lambda or a closure. Define it at the "
            "top of a module, or give workers= a number or a ThreadPoolExecutor, which need no pickle."
        ) from error


@contextmanager
def pool(workers: int | Executor) -> Iterator[Executor]:
    """The caller's executor, which is not shut down, or threads of our own."""
    if isinstance(workers, Executor):
        yield workers
        return
    own = ThreadPoolExecutor(workers)
    try:
        yield own
    finally:
        own.shutdown(wait=True, cancel_futures=True)


def progress_bar(total: int, wanted: bool | None) -> Any:
    """A bar that counts draws: asked for, or on a terminal where it takes long."""
    if wanted is False or (wanted is None and not sys.stderr.isatty()):
        return nullcontext()
    if wanted is None and find_spec("tqdm") is None:
        return nullcontext()
    tqdm = require("tqdm", extra="progress", what="progress=True")
    return tqdm.tqdm(total=total, unit="draw", unit_scale=True, delay=PATIENCE if wanted is None else 0, file=sys.stderr)


class Clock:
    """True once every so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._last = seconds, time.monotonic()

    def due(self) -> bool:
        now = time.monotonic()
        if now - self._last < self._seconds:
            return False
        self._last = now
        return True

"""Chunks of draws on any executor: their results in order, and once more where a worker dies."""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..errors import MethodError
from .diagnostics import tell

CHUNK = 8192  # draws
IN_FLIGHT = 16  # chunks beyond the one awaited, where an executor does not tell how many workers it has


class WorkerWarning(UserWarning):
    """A worker died, and its chunk was done again."""


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
    """The result of each chunk, in their order; a bounded number of them are under way.

    What fails on a worker is done again here: an error of the user's own code is then raised as it is, and a worker that was
    killed, whatever its executor calls that, costs a warning.
    """
    if workers == 1 or len(chunks) < 2:
        yield from map(work, chunks)
        return
    with pool(workers) as executor:
        _check_pickle(work, executor)
        ahead, todo = 2 * getattr(executor, "_max_workers", IN_FLIGHT), deque(chunks)
        waiting: deque[Future[Any]] = deque()
        try:
            for chunk in chunks:
                while todo and len(waiting) <= ahead:
                    waiting.append(_submitted(executor, work, todo.popleft()))
                yield _result(waiting.popleft(), work, chunk)
        finally:
            for future in waiting:
                future.cancel()


def _submitted(executor: Executor, work: Callable[[Chunk], Any], chunk: Chunk) -> Future[Any]:
    """A future, which has failed already where the executor is broken."""
    try:
        return executor.submit(work, chunk)
    except BrokenExecutor as error:
        failed: Future[Any] = Future()
        failed.set_exception(error)
        return failed


def _result(future: Future[Any], work: Callable[[Chunk], Any], chunk: Chunk) -> Any:
    try:
        return future.result()
    except Exception as error:
        result = work(chunk)
        told = f"a worker died at chunk {chunk.index} ({type(error).__name__}), which was done again in this process"
        tell(f"{told}, with the same result.", WorkerWarning)
        return result


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


@contextmanager
def mapper(workers: int | Executor) -> Iterator[Callable[..., Any]]:
    """`map`, or that of an executor."""
    if workers == 1:
        yield map
        return
    with pool(workers) as executor:
        yield executor.map

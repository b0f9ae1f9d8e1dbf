"""Symbolic work that may not end, ended after some seconds.

A timer raises an exception in the working thread, main or other, between two steps of the interpreter; SymPy is pure Python,
so that a step is short. No process is started, and no signal handler is touched.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Expired(BaseException):  # so that no ``except Exception`` on the way takes it for its own
    """The time is over."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise `Expired` in this thread unless the block ends in time; nothing stays behind when it does."""
    thread, over, lock = threading.get_ident(), threading.Event(), threading.Lock()

    def expire() -> None:
        with lock:
            if not over.is_set():
                _raise_in(thread, Expired)

    timer = threading.Timer(seconds, expire)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        with lock:
            over.set()
            _raise_in(thread, None)  # what was set but not yet raised
        timer.cancel()


def _raise_in(thread: int, exception: type[BaseException] | None) -> None:
    value = None if exception is None else ctypes.py_object(exception)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), value)

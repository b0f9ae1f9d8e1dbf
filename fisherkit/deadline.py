"""Symbolic work that may not end, ended after some seconds.

A watcher raises an exception in the working thread, main or other, between two steps of the interpreter; SymPy is pure Python,
so that a step is short. No process is started, and no signal handler is touched. What counts is the processor time of the
working thread where the platform tells it (Linux), so that a busy machine loses no answer; elsewhere the time on the wall.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import mpmath
from sympy.core.cache import clear_cache
from sympy.core.parameters import global_parameters

T = TypeVar("T")
AGAIN = 0.5  # seconds after which an exception that was swallowed on its way is raised once more
_LOCK = threading.Lock()
_innermost = threading.local()


class Expired(BaseException):  # so that no ``except Exception`` on the way takes it for its own
    """The time is over."""


def within(seconds: float, work: Callable[[], T]) -> T | None:
    """What ``work`` returns, or None where it takes this thread longer.

    Calls nest; each ends its own work only. After an expiry SymPy's caches are emptied, and its switches and mpmath's
    precision are set as they were, so that no step that was cut off leaves something half done to later work.
    """
    precision, switches = mpmath.mp.prec, dict(vars(global_parameters))
    watch = _Watch(seconds)
    try:
        try:
            watch.start()
            return work()
        finally:
            watch.stop()
    except Expired:
        watch.stop()  # the first may have been cut off itself
        if not watch.expired:
            raise
        mpmath.mp.prec = precision
        vars(global_parameters).update(switches)
        clear_cache()
        return None


class _Watch:
    def __init__(self, seconds: float) -> None:
        self.seconds, self.expired, self.over = seconds, False, threading.Event()
        self.outer: _Watch | None = getattr(_innermost, "watch", None)

    def start(self) -> None:
        _innermost.watch = self
        arguments = (threading.get_ident(), clock := _clock(threading.get_ident()), clock() + self.seconds)
        with _LOCK:  # CPython knows a starting thread by its parent's number for a moment: no outer watch may aim at it
            threading.Thread(target=self._run, args=arguments, daemon=True).start()

    def stop(self) -> None:
        with _LOCK:
            self.over.set()
        _innermost.watch = self.outer
        for _ in range(10 * self.expired):  # an exception that is set and not yet raised is raised by the next call
            time.sleep(0)

    def _run(self, thread: int, clock: Callable[[], float], end: float) -> None:
        while not self.over.wait(max(end - clock(), 0.01)):
            with _LOCK:
                if clock() >= end and not self._ended():
                    self.expired, end = True, clock() + AGAIN
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(Expired))

    def _ended(self) -> bool:
        return self.over.is_set() or (self.outer is not None and self.outer._ended())


def _clock(thread: int) -> Callable[[], float]:
    """The processor time of a thread, read from any other; the wall's where there is no such clock."""
    try:
        number: Any = time.pthread_getcpuclockid(thread)
    except (AttributeError, OSError):
        return time.monotonic
    return lambda: time.clock_gettime(number)

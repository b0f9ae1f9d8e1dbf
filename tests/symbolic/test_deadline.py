"""Work that would not end is ended, from any thread, and leaves nothing behind."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import Any

import mpmath
import pytest
import sympy as sp
from sympy import stats

import fisherkit as fk
from fisherkit.symbolic import closed_forms
from fisherkit.symbolic.deadline import within

k, t = sp.symbols("k t", positive=True)


def endless(*_: Any) -> None:
    while True:
        sp.expand((k + t) ** 20)


def in_thread(function: Any) -> list[Any]:
    out: list[Any] = []
    thread = threading.Thread(target=lambda: out.append(function()))
    thread.start()
    thread.join(30)
    return out


def settled(threads: int) -> bool:
    """Whether no more threads are left than there were, a moment later."""
    end = time.monotonic() + 5
    while threading.active_count() > threads and time.monotonic() < end:
        time.sleep(0.01)
    return threading.active_count() <= threads


def stopped() -> float:
    start = time.thread_time()
    assert within(0.2, endless) is None
    return time.thread_time() - start


@pytest.mark.parametrize("run", [lambda f: [f()], in_thread], ids=["main thread", "another"])
def test_ended_in_time(run: Any) -> None:
    handlers, threads = [signal.getsignal(number) for number in (signal.SIGALRM, signal.SIGINT)], threading.active_count()
    (seconds,) = run(stopped)
    assert 0.1 < seconds < 5
    assert [signal.getsignal(number) for number in (signal.SIGALRM, signal.SIGINT)] == handlers
    assert settled(threads)
    assert not multiprocessing.active_children()


def test_work_that_ends_is_left_alone() -> None:
    threads = threading.active_count()
    for n in range(200):
        assert within(5, lambda n=n: sp.expand((k + t) ** 2 + n)) == k**2 + 2 * k * t + t**2 + n
    assert settled(threads)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_errors_of_the_work_are_its_own(error: type[BaseException]) -> None:
    def fails() -> None:
        raise error("mine")

    with pytest.raises(error, match="mine"):
        within(5, fails)


def test_the_inner_of_two_ends_alone() -> None:
    assert within(20, lambda: (within(0.1, endless), "outer")) == (None, "outer")


def test_the_outer_of_two_ends_both() -> None:
    reached: list[str] = []
    assert within(0.2, lambda: (within(20, endless), reached.append("after the inner"))) is None
    assert not reached
    assert within(5, lambda: "free again") == "free again"


def test_what_swallows_the_exception_is_told_again() -> None:
    def stubborn() -> None:
        while True:
            with suppress(BaseException):
                endless()
            told.append(1)
            if len(told) > 1:
                endless()

    told: list[int] = []
    assert within(0.1, stubborn) is None
    assert len(told) > 1


@pytest.mark.skipif(sys.platform != "linux", reason="other platforms have no clock of a thread's processor time")
def test_waiting_for_the_machine_is_no_work() -> None:
    assert within(0.1, lambda: time.sleep(0.4) or "awake") == "awake"


def test_a_function_that_traces_every_line_is_not_disturbed() -> None:
    """An exception cleared where none was pending once kept a profiled thread for ever."""
    sys.setprofile(lambda *_: None)
    try:
        assert within(5, lambda: sum(range(1000))) == 499500
    finally:
        sys.setprofile(None)


def test_being_cut_off_anywhere_spoils_no_later_result() -> None:
    """Sixty cuts at all depths of SymPy and mpmath: caches, switches and precision serve the next caller as before."""
    x, m, s = sp.Symbol("x", real=True), sp.Symbol("m", real=True), sp.Symbol("s", positive=True)
    density = sp.exp(-(x - m) / s) / (s * (1 + sp.exp(-(x - m) / s)) ** 2)

    def work() -> Any:
        model = fk.symbolic.Model(density, data=x, parameters=(m, s), support=(-sp.oo, sp.oo))
        return fk.expected_information(model).dense()

    precision, expected = mpmath.mp.prec, work()
    for n in range(60):
        within(0.002 + 0.004 * n, work)
        assert mpmath.mp.prec == precision
        assert sp.core.parameters.global_parameters.evaluate
    assert work() == expected


def test_a_tier_that_does_not_end_gives_way_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closed_forms, "DEADLINE", 0.3)
    monkeypatch.setitem(closed_forms.TIERS, "linear system", endless)
    gamma = fk.symbolic.as_model(stats.Exponential("X", t))
    assert fk.expected_information(gamma).dense()[0, 0] == 1 / t**2
    assert gamma.tier == "kernels"


def test_tiers_that_all_do_not_end_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closed_forms, "DEADLINE", 0.2)
    monkeypatch.setattr(closed_forms, "TIERS", dict.fromkeys(closed_forms.TIERS, endless))
    start = time.thread_time()
    with pytest.raises(fk.errors.MethodError, match="no closed form"):
        fk.expected_information(stats.Exponential("X", t))
    assert time.thread_time() - start < 0.2 * len(closed_forms.TIERS) + 2


def test_a_point_that_takes_for_ever_gives_no_closed_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closed_forms, "DEADLINE", 0.2)
    monkeypatch.setattr(closed_forms, "taken", endless)
    with pytest.raises(fk.errors.MethodError, match="no closed form"):
        fk.expected_information(stats.Exponential("X", t))

"""Work that would not end is ended, from any thread, and leaves nothing behind."""

from __future__ import annotations

import signal
import threading
import time
from typing import Any

import pytest
import sympy as sp
from sympy import stats

import fisherkit as fk
from fisherkit.symbolic import closed_forms
from fisherkit.symbolic.deadline import Expired, deadline

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


def stopped() -> float:
    start = time.monotonic()
    with pytest.raises(Expired), deadline(0.2):
        endless()
    return time.monotonic() - start


@pytest.mark.parametrize("run", [lambda f: [f()], in_thread], ids=["main thread", "another"])
def test_ended_in_time(run: Any) -> None:
    handlers, threads = signal.getsignal(signal.SIGALRM), threading.active_count()
    (seconds,) = run(stopped)
    assert 0.1 < seconds < 5
    assert signal.getsignal(signal.SIGALRM) is handlers
    assert threading.active_count() <= threads


def test_work_that_ends_is_left_alone() -> None:
    for _ in range(200):
        with deadline(5):
            sp.expand((k + t) ** 2)
    time.sleep(0.05)


def test_a_tier_that_does_not_end_gives_way_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closed_forms, "DEADLINE", 0.3)
    monkeypatch.setitem(closed_forms.TIERS, "linear system", endless)
    gamma = fk.symbolic.as_model(stats.Exponential("X", t))
    assert fk.expected_information(gamma).dense()[0, 0] == 1 / t**2
    assert gamma.tier == "kernels"

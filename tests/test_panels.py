"""Chebyshev panels: as accurate as promised, sparing, and silent where there is no function."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special

from fisherkit.panels import ACCURACY, DEGREE, Panels


class Counted:
    """A function that counts its calls."""

    def __init__(self, function: object) -> None:
        self.function, self.calls = function, 0

    def __call__(self, x: float) -> float:
        self.calls += 1
        return float(self.function(x))  # type: ignore[operator]


@pytest.mark.parametrize(
    "function",
    [scipy.special.digamma, lambda x: scipy.special.zeta(1 + x), lambda x: np.exp(-x) / (1 + x**2), scipy.special.i0e],
    ids=["digamma", "zeta", "exponential", "Bessel"],
)
def test_as_accurate_as_promised_with_few_calls(function: object) -> None:
    counted = Counted(function)
    x = np.exp(np.random.default_rng(0).uniform(np.log(2), np.log(60), 20_000))
    found = Panels(counted)(x)
    wanted = np.array([float(function(value)) for value in x])  # type: ignore[operator]
    assert np.max(np.abs(found / wanted - 1)) < 2 * ACCURACY
    assert counted.calls < 1200


def test_few_points_are_worked_out_one_by_one_and_equal_ones_once() -> None:
    counted = Counted(np.sin)
    x = np.repeat(np.array([1.0, 1.5, -3.0]), 8)
    np.testing.assert_array_equal(Panels(counted)(x), np.sin(x))
    assert counted.calls == 3


def test_panels_are_kept() -> None:
    counted = Counted(np.cos)
    panels, x = Panels(counted), np.linspace(1.01, 1.99, 500)
    panels(x)
    before = counted.calls
    panels(x + 0.001)
    assert counted.calls == before < 3 * DEGREE


def test_what_is_no_function_stays_nan() -> None:
    panels = Panels(lambda x: float("nan") if x > 1.5 else x**2)
    x = np.r_[np.linspace(1.01, 1.99, 300), 0.0, np.nan, np.inf, -1.2]
    found = panels(x)
    np.testing.assert_allclose(found[x <= 1.5], np.where(x == 0, np.nan, x**2)[x <= 1.5])
    assert np.isnan(found[~(x <= 1.5)]).all()


def test_a_jump_is_not_smoothed_over() -> None:
    x = np.linspace(1.01, 1.99, 2000)
    np.testing.assert_allclose(Panels(lambda v: float(v > 1.37))(x), x > 1.37, atol=1e-12)

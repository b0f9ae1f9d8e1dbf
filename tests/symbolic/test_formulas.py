"""A formula as a function of arrays, and in a paper."""

from __future__ import annotations

import re

import numpy as np
import pytest
import scipy.special
import sympy as sp
from sympy import stats

import fisherkit as fk

k, t = sp.symbols("k theta", positive=True)


def test_a_hundred_thousand_points_at_once() -> None:
    values = fk.symbolic.lambdify(fk.expected_information(stats.Gamma("X", k, t)))
    rng = np.random.default_rng(0)
    shape, scale = rng.uniform(0.5, 9, (2, 100_000))
    out = values(k=shape, theta=scale)
    assert out.shape == (100_000, 2, 2)
    np.testing.assert_allclose(out[:, 0, 0], scipy.special.polygamma(1, shape), rtol=1e-12)
    np.testing.assert_allclose(out[:, 0, 1], 1 / scale, rtol=1e-14)
    np.testing.assert_allclose(out[:, 1, 0], 1 / scale, rtol=1e-14)
    np.testing.assert_allclose(out[:, 1, 1], shape / scale**2, rtol=1e-14)


def test_arrays_broadcast_and_numbers_give_one_matrix() -> None:
    F = 10 * fk.expected_information(stats.Gamma("X", k, t))
    values = fk.symbolic.lambdify(F)
    assert values(k=np.ones((3, 1)), theta=np.ones(2)).shape == (3, 2, 2, 2)
    np.testing.assert_allclose(values(k=2.5, theta=0.5), F.at(k=2.5, theta=0.5).dense(), rtol=1e-14)


def test_a_function_that_numpy_lacks_goes_through_mpmath() -> None:
    F = fk.expected_information(stats.Zeta("X", k))
    at = np.array([2.5, 4.0])
    expected = [float(F.at(k=value).dense()[0, 0]) for value in at]
    np.testing.assert_allclose(fk.symbolic.lambdify(F)(k=at)[:, 0, 0], expected, rtol=1e-12)


def test_refused_by_name() -> None:
    F = fk.expected_information(stats.Gamma("X", k, t))
    values = fk.symbolic.lambdify(F)
    with pytest.raises(fk.errors.LayoutError, match="missing: theta"):
        values(k=1.0)
    with pytest.raises(fk.errors.LayoutError, match="unknown: q"):
        values(k=1.0, theta=1.0, q=2.0)
    with pytest.raises(fk.errors.DataError, match=r"not finite at point \(1,\) .k=1, theta=0"):
        values(k=1.0, theta=[1.0, 0.0])
    with pytest.raises(fk.errors.EntriesError, match="numbers already"):
        fk.symbolic.lambdify(F.at(k=1.0, theta=1.0))


def test_in_a_paper() -> None:
    text = fk.symbolic.latex(fk.expected_information(stats.Gamma("X", k, t)))
    assert re.match(r"\\begin\{pmatrix\}.*\\end\{pmatrix\}$", text)
    assert r"\frac{k}{\theta^{2}}" in text

"""What does not depend on a parameter tells nothing about it; what depends on it slowly tells little."""

import numpy as np
import pytest
import sympy as sp

import fisherkit as fk

X, Y, A, B = sp.symbols("x y a b", real=True)
LINE = (-sp.oo, sp.oo)


def log_normal_law(x: object, mean: object) -> object:
    return -((x - mean) ** 2) / 2 - sp.log(2 * sp.pi) / 2


def test_a_factor_without_the_parameter_adds_nothing() -> None:
    alone = fk.symbolic.Model(log_density=log_normal_law(X, A), data=X, parameters=A, support=LINE)
    joint = log_normal_law(X, A) + log_normal_law(Y, 0)
    both = fk.symbolic.Model(log_density=joint, data=(X, Y), parameters=A, support=(LINE, LINE))
    assert fk.expected_information(both).dense() == fk.expected_information(alone).dense() == sp.Matrix([[1]])


def test_data_that_do_not_depend_on_it_carry_none() -> None:
    slow = fk.symbolic.Model(log_density=log_normal_law(X, B * A), data=X, parameters=A, support=LINE)
    assert fk.expected_information(slow).at(a=1, b=0).dense()[0, 0] == 0
    code = fk.sampled.Model(
        lambda x, t: -(x**2) / 2 - 0.9189385332046727 + 0.0 * t[0],
        sampler=lambda t, size, rng: rng.normal(size=size),
        parameters=("a",),
        derivatives="complex",
    )
    F = fk.expected_information(code, {"a": 1.0}, method=fk.MonteCarlo(100, rng=0))
    assert float(F) == 0
    with pytest.raises(fk.errors.SingularInformationError, match=r"no information along \+1 a"):
        fk.cramer_rao_bound(F)


def test_a_formula_that_lacks_the_parameter_is_refused_in_words() -> None:
    with pytest.raises(fk.errors.LayoutError, match="does not mention a"):
        fk.symbolic.Model(log_density=log_normal_law(X, 0), data=X, parameters=A, support=LINE)


def test_the_slower_the_density_changes_the_larger_the_error() -> None:
    model = fk.symbolic.Model(log_density=log_normal_law(X, B * A), data=X, parameters=A, support=LINE)
    F = fk.expected_information(model)
    rates, rng, n = [2.0, 1.0, 0.5, 0.1], np.random.default_rng(0), 4000
    informations = [float(F.at(a=1, b=rate)) for rate in rates]
    best = [(rng.normal(rate, 1.0, n) / rate).std() for rate in rates]  # x / b is the best estimator of a
    assert informations == sorted(informations, reverse=True)
    assert best == sorted(best)
    np.testing.assert_allclose(np.array(best) ** 2 * informations, 1, rtol=0.15)

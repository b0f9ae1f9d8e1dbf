"""n independent observations carry n times the information of one; so do two independent halves together."""

import numpy as np
import pytest
import sympy
import sympy.stats

import fisherkit as fk
from tests.cases import IDS, ROWS, Case


@pytest.mark.parametrize(("case", "track"), ROWS, ids=IDS)
def test_two_halves_add_to_the_whole(case: Case, track: str) -> None:
    model, draws = case.models[track](), case.draw(60, np.random.default_rng(5))
    for verb in (fk.observed_information, fk.empirical_information):
        whole = verb(model, case.theta, data=draws)
        halves = verb(model, case.theta, data=draws[:25]) + verb(model, case.theta, data=draws[25:])
        assert halves.n == whole.n == 60
        np.testing.assert_allclose(np.asarray(halves), np.asarray(whole), rtol=1e-6, atol=1e-8 * np.abs(np.asarray(whole)).max())
        fk.checks.check_additivity(lambda data, verb=verb: verb(model, case.theta, data=data), draws)


@pytest.mark.parametrize(("case", "track"), ROWS, ids=IDS)
def test_ten_times_one_is_the_total_of_ten(case: Case, track: str) -> None:
    one = fk.expected_information(case.models[track](), case.theta)
    for ten in (10 * one, one.total(10), sum([one] * 10)):
        fk.checks.check_total(ten, one)
        assert ten.n == 10


def test_n_independent_observations_carry_n_times_one_symbol_for_symbol() -> None:
    n, lam = sympy.Symbol("n", positive=True, integer=True), sympy.Symbol("lam", positive=True)
    one = fk.symbolic.as_model(sympy.stats.Poisson("X", lam))
    assert fk.expected_information(one.iid(n)).dense() == n * fk.expected_information(one).dense()
    assert fk.expected_information(one * one).dense() == 2 * fk.expected_information(one).dense()


def test_a_product_written_out_and_a_product_of_models_agree() -> None:
    x, y, m = sympy.symbols("x y m", real=True)
    f = 1 / (sympy.pi * (1 + (x - m) ** 2))
    one = fk.symbolic.Model(f, data=x, parameters=(m,), support=(-sympy.oo, sympy.oo))
    both = fk.symbolic.Model(f * f.subs(x, y), data=(x, y), parameters=(m,), support=((-sympy.oo, sympy.oo),) * 2)
    assert fk.expected_information(one * one).dense() == fk.expected_information(both).dense()

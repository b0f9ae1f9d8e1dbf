"""n independent observations carry n times the information of one; so do two independent halves together."""

import numpy as np
import pytest

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

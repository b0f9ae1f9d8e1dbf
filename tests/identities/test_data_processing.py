"""A statistic never carries more information than the data; a sufficient one carries as much."""

from itertools import pairwise

import numpy as np
import pytest
import sympy as sp
import sympy.stats
from scipy import stats

import fisherkit as fk


def test_counting_the_signs_of_a_normal_keeps_two_over_pi_of_its_location() -> None:
    """The sign is a Bernoulli with p = Phi(mu): the information at mu = 0 is 2 / pi."""
    signs = fk.sampled.Model(
        lambda x, t: np.where(x > 0, stats.norm.logcdf(t[0]), stats.norm.logcdf(-t[0])),
        parameters=("mu",),
        outcomes=lambda t: np.array([-1.0, 1.0]),
    )
    kept = float(fk.expected_information(signs, {"mu": 0.0}))
    whole = float(fk.expected_information(stats.norm, {"loc": 0.0}))
    assert kept < whole
    assert abs(kept / whole - 2 / np.pi) < 1e-9


def test_the_sum_of_a_poisson_sample_is_sufficient() -> None:
    n, mu = 7, 1.3
    total = fk.sampled.Model(
        lambda k, t: stats.poisson.logpmf(k, n * t[0]), parameters=("mu",), support=(0, np.inf), discrete=True
    )
    assert abs(float(fk.expected_information(total, {"mu": mu})) - n / mu) < 1e-8


def test_data_that_do_not_depend_on_the_parameter_carry_none() -> None:
    flat = fk.sampled.Model(
        lambda x, t: np.where(np.abs(x) < 1, np.log(0.5), -np.inf) + 0 * t[0],
        score=lambda x, t: np.zeros((len(x), 1)),
        parameters=("a",),
        support=(-1, 1),
    )
    F = fk.expected_information(flat, {"a": 1.0})
    assert float(F) == 0


m = sp.Symbol("m", real=True)
s = sp.Symbol("s", positive=True)
AT = {"m": 0.4, "s": 1.3}


@pytest.mark.parametrize("family", [sympy.stats.Normal, sympy.stats.Logistic])
def test_coarser_data_tell_less_at_every_step(family) -> None:
    """The whole, censored on one side, on both, in four bins, in three: each difference is positive semidefinite."""
    model = fk.symbolic.as_model(family("X", m, s))
    chain = [model, model.censored(high=2), model.censored(-1, 2), model.binned([-1, 0.5, 2]), model.binned([-1, 2])]
    matrices = [fk.expected_information(one, AT, method=fk.Quadrature(digits=8)).dense() for one in chain]
    for more, less in pairwise(matrices):
        assert np.linalg.eigvalsh(more - less).min() > -1e-9
        assert np.trace(more - less) > 1e-3


def test_a_sufficient_fold_loses_nothing_and_another_does() -> None:
    model = fk.symbolic.as_model(sympy.stats.Normal("X", 0, s))
    square = model.pushforward(model.data[0] ** 2, sp.Symbol("y", positive=True))
    assert fk.expected_information(square).dense() == fk.expected_information(model).dense()
    sign = model.binned([0.5])
    assert float(fk.expected_information(sign, {"s": 1.3})) < float(fk.expected_information(model, {"s": 1.3})) / 5

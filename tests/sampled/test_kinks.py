"""Kinks, poles, ends and periods of a density, from its values alone."""

import numpy as np
import pytest
from scipy import stats

from fisherkit.sampled.kinks import find_ends, find_kinks
from fisherkit.sampled.standard_form import find_period

LINE = (-np.inf, np.inf)
KINKED = {
    "the first derivative jumps": (lambda x: -np.abs(x - 0.3), LINE, [0.3]),
    "the second derivative jumps": (lambda x: -(x**2) - np.where(x > 0.3, (x - 0.3) ** 2, 0), LINE, [0.3]),
    "the third derivative jumps": (lambda x: -(x**2) - np.where(x > 0.3, (x - 0.3) ** 3, 0), LINE, [0.3]),
    "the density jumps": (lambda x: -(x**2) - np.where(x > 0.3, 1.0, 0), LINE, [0.3]),
    "two corners between ends": (lambda x: np.log(np.minimum(np.minimum(x / 0.2, 1), (1 - x) / 0.3)), (0, 1), [0.2, 0.7]),
    "a pole": (lambda x: -np.abs(x) - 0.3 * np.log(np.abs(x)), LINE, [0.0]),
    "a cusp": (lambda x: -(np.abs(x) ** 1.3), LINE, [0.0]),
}


@pytest.mark.parametrize("name", KINKED)
def test_kinks_are_where_they_are(name: str) -> None:
    log, support, wanted = KINKED[name]
    with np.errstate(all="ignore"):
        found = find_kinks(log, support, 0.4, 0.5)
    np.testing.assert_allclose(found, wanted, atol=1e-9)


@pytest.mark.parametrize(
    "name", ["norm", "cauchy", "gumbel_r", "gamma", "lognorm", "beta", "pearson3", "cosine", "rdist", "skewnorm"]
)
def test_smooth_densities_have_none(name: str) -> None:
    shapes = {"gamma": (2.5,), "lognorm": (1.0,), "beta": (0.6, 2.3), "pearson3": (0.1,), "rdist": (1.6,), "skewnorm": (4.0,)}
    frozen = getattr(stats, name)(*shapes.get(name, ()))
    assert find_kinks(frozen.logpdf, frozen.support(), frozen.median(), frozen.ppf(0.75) - frozen.ppf(0.25)) == ()


def test_an_end_is_found_to_the_last_digit_and_no_other() -> None:
    cut = lambda x: np.where(x > -1 / 3, -x, -np.inf)
    low, high = find_ends(cut, LINE, 0.5, 1.0)
    assert low == pytest.approx(-1 / 3, rel=1e-15)
    assert high == np.inf
    underflows = lambda x: np.log(np.exp(-(x**2)))
    with np.errstate(all="ignore"):
        assert find_ends(underflows, LINE, 0.0, 1.0) == LINE


def test_a_period_is_found_where_there_is_one() -> None:
    low, high = find_period(lambda x: 2 * np.cos(3 * (x - 0.2)), 0.2, 0.3)
    assert high - low == pytest.approx(2 * np.pi / 3, rel=1e-12)
    assert find_period(stats.cauchy.logpdf, 0.0, 1.0) is None

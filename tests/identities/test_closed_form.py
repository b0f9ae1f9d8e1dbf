"""Every track gives the published matrix."""

import numpy as np
import pytest

import fisherkit as fk
from tests.cases import IDS, ROWS, Case


@pytest.mark.parametrize(("case", "track"), ROWS, ids=IDS)
def test_expected_information_is_the_published_one(case: Case, track: str) -> None:
    F = fk.expected_information(case.models[track](), case.theta)
    assert F.parameters.names == tuple(case.theta)
    assert (F.kind, F.n) == ("expected", 1)
    np.testing.assert_allclose(np.asarray(F), case.exact, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(("case", "track"), [row for row in ROWS if row[1] != "symbolic"])
def test_monte_carlo_agrees_within_its_own_error(case: Case, track: str) -> None:
    F = fk.expected_information(case.models[track](), case.theta, method=fk.MonteCarlo(20_000, rng=1))
    z = (np.asarray(F) - case.exact) / F.mcse
    assert np.abs(z).max() < 4
    assert F.mcse.max() < 0.05 * case.exact.max()

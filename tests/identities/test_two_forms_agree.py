"""E[s s'] = -E[Hessian]: empirical and observed information of the model's own draws agree with n F."""

import numpy as np
import pytest

import fisherkit as fk
from tests.cases import IDS, ROWS, Case

N = 4000


@pytest.mark.parametrize(("case", "track"), ROWS, ids=IDS)
def test_observed_and_empirical_information_of_own_draws_approach_n_times_expected(case: Case, track: str) -> None:
    draws = case.draw(N, np.random.default_rng(4))
    model = case.models[track]()
    scale = np.sqrt(np.outer(np.diagonal(case.exact), np.diagonal(case.exact)))
    for verb, kind in ((fk.observed_information, "observed"), (fk.empirical_information, "empirical")):
        F = verb(model, case.theta, data=draws)
        assert (F.kind, F.n) == (kind, N)
        assert np.abs(np.asarray(F) / N - case.exact).max() < 0.12 * scale.max()
        np.testing.assert_allclose(np.asarray(F.per_observation()), np.asarray(F) / N, rtol=1e-14)

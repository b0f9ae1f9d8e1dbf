"""E[s] = 0 and cov(s) = F at the parameters that made the data."""

import numpy as np
import pytest

import fisherkit as fk
from tests.cases import IDS, ROWS, Case


@pytest.mark.parametrize(("case", "track"), ROWS, ids=IDS)
def test_scores_have_mean_zero_and_the_information_as_covariance(case: Case, track: str) -> None:
    draws = case.draw(4000, np.random.default_rng(3))
    scores = fk.score(case.models[track](), case.theta, data=draws)
    reference = fk.FisherInformation(case.exact, parameters=tuple(case.theta))
    fk.checks.check_scores(scores, reference)
    with pytest.raises(fk.errors.IdentityError, match="outer_product_of_scores"):
        fk.checks.check_scores(scores, _doubled(reference))


def _doubled(F: fk.FisherInformation) -> fk.FisherInformation:
    """The factor-2 mistake: twice the values for the same number of observations."""
    return fk.FisherInformation(2 * np.asarray(F), parameters=F.parameters)

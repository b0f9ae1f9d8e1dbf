"""KL(theta, theta + delta) = delta' F delta / 2 to second order: where the half comes from."""

import numpy as np
import pytest

import fisherkit as fk
from tests.cases import IDS, ROWS, Case


@pytest.mark.parametrize(("case", "track"), ROWS, ids=IDS)
def test_half_the_quadratic_form_is_the_divergence_of_a_small_step(case: Case, track: str) -> None:
    F = fk.expected_information(case.models[track](), case.theta)
    for direction in np.eye(len(case.at)):
        step = 0.02 * direction * case.at
        fk.checks.check_divergence(F, lambda delta: case.divergence(case.at, case.at + delta), step)


@pytest.mark.parametrize(("case", "track"), ROWS, ids=IDS)
def test_a_missing_half_is_seen(case: Case, track: str) -> None:
    F = fk.FisherInformation(0.5 * case.exact, parameters=tuple(case.theta))
    with pytest.raises(fk.errors.IdentityError, match="divergence_is_half_the_quadratic_form"):
        fk.checks.check_divergence(F, lambda delta: case.divergence(case.at, case.at + delta), 0.02 * case.at)

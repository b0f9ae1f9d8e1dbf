"""Not knowing costs: the marginal information is the inverse's block inverted, and never above the conditional one."""

import numpy as np
import pytest

import fisherkit as fk
from tests.cases import IDS, ROWS, Case

TWO = [(row, name) for row, name in zip(ROWS, IDS, strict=True) if len(row[0].theta) == 2]


@pytest.mark.parametrize(("case", "track"), [row for row, _ in TWO], ids=[name for _, name in TWO])
def test_marginal_is_the_inverse_of_the_inverses_block(case: Case, track: str) -> None:
    F = fk.expected_information(case.models[track](), case.theta)
    first, second = case.theta
    inverse = np.linalg.inv(case.exact)
    assert float(F.marginalize(second)) == pytest.approx(1 / inverse[0, 0], rel=1e-9)
    assert float(F.fix(second)) == pytest.approx(case.exact[0, 0], rel=1e-9)
    assert float(F.marginalize(first)) <= float(F.fix(first)) * (1 + 1e-12)

"""All 58 regular univariate families of ``sympy.stats``: a closed form equals the published one, or there is none."""

from __future__ import annotations

from typing import Any

import mpmath
import pytest
import sympy as sp

import fisherkit as fk
from fisherkit.symbolic import as_model, evaluate

from .families import ROWS, family

WITHOUT = {
    "BetaNoncentral", "ChiNoncentral", "ExGaussian", "ShiftedGompertz", "NegativeBinomial", "Hermite", "Skellam", "YuleSimon",
    "Benini", "BetaBinomial",
}  # fmt: skip


def numbers(matrix: Any, at: dict[Any, Any]) -> list[Any]:
    """The entries with 30 digits."""
    with mpmath.workdps(30):
        return evaluate.digits([sp.sympify(entry).subs(at) for entry in matrix], ())()


#: the same densities by a map of the data or of the parameters
TWINS = {"FisherZ", "LogCauchy", "BetaPrime", "LogitNormal", "ChiSquared", "LogLogistic", "Frechet"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in TWINS)) for name in sorted(set(ROWS) - WITHOUT)]
)
def test_the_closed_form_is_the_published_one_at_two_points(name: str) -> None:
    row = family(name)
    model = as_model(row.variable)
    assert [symbol.name for symbol in model.symbols] == [symbol.name for symbol in row.parameters]
    F = fk.expected_information(model)
    for values in row.points:
        found = numbers(F.dense(), dict(zip(model.symbols, values, strict=True)))
        expected = numbers(row.matrix(), dict(zip(row.parameters, values, strict=True)))
        scale = max(abs(value) for value in expected)
        assert all(abs(a - b) < mpmath.mpf(10) ** -20 * scale for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("name", ["ExGaussian", "ShiftedGompertz", "NegativeBinomial", "YuleSimon"])
def test_where_none_is_known_none_is_given(name: str) -> None:
    with pytest.raises(fk.errors.MethodError, match="no closed form was found"):
        fk.expected_information(family(name).variable)

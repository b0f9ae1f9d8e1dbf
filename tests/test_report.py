"""The diagonal by layer."""

import pytest
import sympy

import fisherkit as fk

LEAVES = {"a.weight": [[1.0, 0.0], [2.0, 0.0]], "a.bias": [3.0, 0.0], "b.norm.weight": [4.0], "scale": [10.0]}


def test_layers_share_their_names_up_to_the_last_dot() -> None:
    F = fk.FisherInformation(LEAVES, n=5)
    report = F.report()
    assert [(row.name, row.entries, row.trace, row.share, row.largest, row.zeros) for row in report.layers] == [
        ("a", 6, 6.0, 0.3, 3.0, 3),
        ("b.norm", 1, 4.0, 0.2, 4.0, 0),
        ("scale", 1, 10.0, 0.5, 10.0, 0),
    ]
    assert (report.whole.trace, report.whole.share, report.whole.zeros) == (F.trace, 1.0, 3)
    assert repr(report).splitlines()[0] == "expected information, n=5, 8 parameters"
    assert repr(report).splitlines()[-1].split() == ["all", "8", "20", "1", "10", "3"]


def test_a_dense_information_and_an_empty_one_have_reports_too() -> None:
    dense = fk.FisherInformation([[4.0, 1.0], [1.0, 12.0]], parameters=("mu", "sigma"))
    assert [row.share for row in dense.report().layers] == [0.25, 0.75]
    nothing = fk.FisherInformation({"w": [0.0, 0.0]})
    assert (nothing.report().whole.share, nothing.report().whole.zeros) == (0.0, 2)


def test_formulas_have_none() -> None:
    sigma = sympy.Symbol("sigma", positive=True)
    with pytest.raises(fk.errors.EntriesError, match=r"F.report\(\) needs numbers.*F.at\(sigma=...\)"):
        fk.FisherInformation([[1 / sigma**2]], parameters=(sigma,)).report()

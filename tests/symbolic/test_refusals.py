"""What has no answer is refused with the condition's name, and nothing unchecked gets out."""

import numpy as np
import pytest
import sympy as sp
from sympy import stats

import fisherkit as fk
from fisherkit.symbolic import closed_forms, linear_system

x, m = sp.symbols("x m", real=True)
a, b, s, theta = sp.symbols("a b s theta", positive=True)
n = sp.Symbol("n", integer=True, positive=True)
NORMAL = sp.exp(-((x - m) ** 2) / (2 * s**2)) / (s * sp.sqrt(2 * sp.pi))
LINE = (-sp.oo, sp.oo)


@pytest.mark.parametrize(
    ("make", "condition", "parameter"),
    [
        (lambda: fk.symbolic.Model(1 / theta, data=x, support=(0, theta)), "support_depends_on_parameter", "theta"),
        (lambda: stats.Uniform("X", a, b), "support_depends_on_parameter", "a"),
        (lambda: stats.Pareto("X", a, b), "support_depends_on_parameter", "a"),
        (
            lambda: fk.symbolic.Model(sp.Piecewise((1 / theta, x < theta), (0, True)), data=x, support=(0, sp.oo)),
            "support_depends_on_parameter",
            "theta",
        ),
        (lambda: stats.Binomial("X", n, s), "integer_parameter", "n"),
        (lambda: fk.symbolic.Model(n * sp.exp(-n * x), data=x, support=(0, sp.oo)), "integer_parameter", "n"),
        (lambda: fk.symbolic.Model(NORMAL * s, data=x, support=LINE), "not_normalised", None),
        (lambda: fk.symbolic.Model(2 * NORMAL, data=x, support=LINE), "not_normalised", None),
        (lambda: fk.symbolic.Model(NORMAL, data=x, support=(0, sp.oo)), "not_normalised", None),
    ],
)
def test_refused_by_condition(make, condition: str, parameter: str | None) -> None:
    with pytest.raises(fk.errors.RegularityError) as refusal:
        fk.expected_information(make())
    assert refusal.value.condition == condition
    assert refusal.value.parameter == parameter


def test_a_fixed_interval_that_moves_is_seen_although_its_mean_score_is_zero() -> None:
    """Mass 1, E[score] = 0 and E[s s'] = 0 all hold: only the zeros of the density tell."""
    box = sp.Piecewise((1, (x > m) & (x < m + 1)), (0, True))
    with pytest.raises(fk.errors.RegularityError, match="jumps at a point that moves with m") as refusal:
        fk.expected_information(fk.symbolic.Model(box, data=x, parameters=(m,), support=LINE), {"m": 0.3})
    assert refusal.value.condition == "support_depends_on_parameter"


def test_branches_that_do_not_move_the_zeros_are_fine() -> None:
    """The mode of a triangular density: a kink that moves, regular by the score form (1 / (c (1 - c)))."""
    F = fk.expected_information(stats.Triangular("X", 0, 1, a), {"a": sp.Rational(1, 3)})
    assert float(F) == pytest.approx(4.5, rel=1e-9)


def test_points_outside_a_domain_that_the_assumptions_do_not_tell() -> None:
    """A probability is declared positive; 1.5 is positive and no probability."""
    geometric = stats.Geometric("X", s)
    with pytest.raises(fk.errors.RegularityError, match=r"negative, or not real, at 2"):
        fk.expected_information(geometric, {"s": 1.5})
    with pytest.raises(fk.errors.DataError, match=r"s=1\.5 is outside the domain"):
        fk.expected_information(geometric).at(s=1.5)


def test_a_missing_factor_is_told_with_the_mass() -> None:
    model = fk.symbolic.Model(NORMAL * s, data=x, support=LINE)
    with pytest.raises(
        fk.errors.RegularityError, match=r"has mass 1\.5454545 over its support at this point, not 1. .Tried at m="
    ):
        fk.expected_information(model)
    with pytest.raises(fk.errors.RegularityError, match="has mass 2 over its support"):
        fk.expected_information(model, {"m": 0, "s": 2}, method=fk.Quadrature())


def test_the_linear_system_alone_would_be_wrong_there() -> None:
    """E[score] = 0 does not hold for a density without its factor; the tier answers, the check does not let it out."""
    model = fk.symbolic.Model(NORMAL * s, data=x, support=LINE)
    answer = linear_system.information(model.scores, model.data, model.symbols)
    assert answer is not None
    assert answer != sp.diag(s**-2, 2 * s**-2)


def test_a_wrong_closed_form_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A factor 2 in one off-diagonal entry does not pass the check at a point."""
    right = linear_system.information

    def wrong(*given):
        matrix = right(*given).copy()
        matrix[0, 1] = matrix[1, 0] = 2 * matrix[0, 1]
        return matrix

    monkeypatch.setattr(linear_system, "information", wrong)
    gamma = fk.symbolic.as_model(stats.Gamma("X", a, b))
    F = fk.expected_information(gamma)
    assert gamma.tier == "kernels"
    assert F.dense() == sp.Matrix([[sp.polygamma(1, a), 1 / b], [1 / b, a / b**2]])
    monkeypatch.setattr(closed_forms, "TIERS", {"linear system": closed_forms.TIERS["linear system"]})
    with pytest.raises(fk.errors.MethodError, match="no closed form"):
        fk.expected_information(stats.Gamma("X", a, b))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"parameters": (m, s, theta)}, "does not mention theta; it has m, s"),
        ({"parameters": (sp.Symbol("m"),)}, "a symbol of that name with other assumptions"),
        ({"parameters": ("m",)}, "must be SymPy symbols"),
        ({"parameters": ()}, "at least one parameter"),
        ({"parameters": (m, m)}, "m more than once"),
        ({"support": (1, 0)}, "low < high"),
        ({"support": "line"}, "must be a pair of ends"),
        ({"log_density": sp.log(NORMAL)}, "either a density or log_density"),
    ],
)
def test_models_that_are_none(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(fk.errors.LayoutError, match=message):
        fk.symbolic.Model(NORMAL, **{"data": x, "support": LINE, **arguments})


def test_text_is_never_evaluated() -> None:
    with pytest.raises(fk.errors.LayoutError, match="Text is never evaluated"):
        fk.symbolic.Model("__import__('os').system('true')", data=x, support=LINE)


@pytest.mark.parametrize(
    ("at", "error", "message"),
    [
        ({"m": 0}, fk.errors.LayoutError, "missing: s"),
        ({"m": 0, "s": 1, "q": 2}, fk.errors.LayoutError, "unknown: q"),
        ({"m": 0, "s": -1}, fk.errors.DataError, "s = -1 is outside its domain"),
        ({"m": np.inf, "s": 1}, fk.errors.DataError, "m must be finite"),
        ({"m": "0", "s": 1}, fk.errors.DataError, "must be a real number"),
    ],
)
@pytest.mark.parametrize("method", [None, fk.Quadrature()])
def test_points_outside_the_domain(method: object, at: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fk.expected_information(stats.Normal("X", m, s), at, method=method)


def test_a_kink_has_no_hessian() -> None:
    with pytest.raises(fk.errors.RegularityError, match="kink") as refusal:
        fk.observed_information(stats.Laplace("X", m, b), {"m": 0, "b": 1}, data=[0.5, 1.0])
    assert refusal.value.condition == "not_differentiable"


def test_impossible_observations_and_shapes() -> None:
    gamma = stats.Gamma("X", a, b)
    with pytest.raises(fk.errors.DataError, match="observation 1 in a"):
        fk.score(gamma, {"a": 2, "b": 1}, data=[1.0, 0.0])
    with pytest.raises(fk.errors.DataError, match="at least one observation"):
        fk.score(gamma, {"a": 2, "b": 1}, data=[])
    with pytest.raises(fk.errors.DataError, match="one column for each"):
        fk.score(gamma, {"a": 2, "b": 1}, data=[[1.0, 2.0]])


def test_the_score_in_symbols() -> None:
    (score,) = fk.score(fk.symbolic.Model(NORMAL, data=x, parameters=(m,), support=LINE))
    assert sp.simplify(score - (x - m) / s**2) == 0

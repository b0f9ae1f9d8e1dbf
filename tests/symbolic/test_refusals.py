"""What has no answer is refused with the condition's name, and nothing unchecked gets out."""

import numpy as np
import pytest
import sympy as sp
from sympy import stats

import fisherkit as fk
from fisherkit.symbolic import closed_forms, kernels, linear_system

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


def test_a_formula_that_looks_well_outside_its_domain_carries_it() -> None:
    """The second derivative of log zeta is positive below 1 too, where there is no zeta distribution."""
    F = fk.expected_information(stats.Zeta("X", s))
    assert F.at(s=2).dense()[0, 0] == pytest.approx(0.884481833, rel=1e-8)
    assert F.dense()[0].args[0].cond == (s > 1)
    with pytest.raises(fk.errors.DataError, match="finite"):
        F.at(s=0.5)


def test_a_missing_factor_is_told_with_the_mass() -> None:
    model = fk.symbolic.Model(NORMAL * s, data=x, support=LINE)
    with pytest.raises(
        fk.errors.RegularityError, match=r"has mass 1\.5454545 over its support at this point, not 1. .Tried at m="
    ):
        fk.expected_information(model)
    with pytest.raises(fk.errors.RegularityError, match="has mass 2 over its support"):
        fk.expected_information(model, {"m": 0, "s": 2}, method=fk.Quadrature())


k = sp.Symbol("k", integer=True)
r = sp.Symbol("r", real=True)
WITHOUT_A_FACTOR = {
    "gamma without Gamma(a)": (x ** (a - 1) * sp.exp(-x / s) / s**a, x, (0, sp.oo)),
    "Poisson without exp(-a)": (a**k / sp.factorial(k), k, (0, sp.oo)),
    "beta without B(a, b)": (x ** (a - 1) * (1 - x) ** (b - 1), x, (0, 1)),
    "Weibull without its shape": ((x / s) ** (a - 1) * sp.exp(-((x / s) ** a)) / s, x, (0, sp.oo)),
    "Cauchy without its scale": (1 / (sp.pi * (1 + ((x - m) / s) ** 2)), x, LINE),
    "binomial without its coefficient": (a**k * (1 - a) ** (5 - k), k, range(6)),
}


@pytest.mark.parametrize("name", WITHOUT_A_FACTOR)
def test_a_factor_that_depends_on_a_parameter_is_missed(name: str) -> None:
    density, data, support = WITHOUT_A_FACTOR[name]
    with pytest.raises(fk.errors.RegularityError) as refusal:
        fk.expected_information(fk.symbolic.Model(density, data=data, support=support))
    assert refusal.value.condition == "not_normalised"


NO_SIGN = {
    "a normal scale": (sp.exp(-((x - m) ** 2) / (2 * r**2)) / (r * sp.sqrt(2 * sp.pi)), x, LINE),
    "a normal variance": (sp.exp(-((x - m) ** 2) / (2 * r)) / sp.sqrt(2 * sp.pi * r), x, LINE),
    "a rate": (r * sp.exp(-r * x), x, (0, sp.oo)),
    "a shape": (x ** (r - 1) * sp.exp(-x) / sp.gamma(r), x, (0, sp.oo)),
    "a Poisson mean": (sp.exp(-r) * r**k / sp.factorial(k), k, (0, sp.oo)),
}


@pytest.mark.parametrize("name", NO_SIGN)
def test_a_symbol_without_the_sign_that_its_place_needs(name: str) -> None:
    density, data, support = NO_SIGN[name]
    with pytest.raises(fk.errors.RegularityError, match=r"r may be negative by its assumptions.*positive=True") as refusal:
        fk.expected_information(fk.symbolic.Model(density, data=data, support=support))
    assert (refusal.value.condition, refusal.value.parameter) == ("not_normalised", "r")


def test_a_density_that_is_one_for_both_signs_needs_none() -> None:
    laplace = sp.exp(-sp.Abs(x - m) / sp.Abs(r)) / (2 * sp.Abs(r))
    F = fk.expected_information(fk.symbolic.Model(laplace, data=x, support=LINE))
    assert F.dense() == sp.diag(r**-2, r**-2)


@pytest.mark.parametrize(
    "density",
    [
        (1 + 2 * sp.cos(x - m)) / (2 * sp.pi),
        sp.exp(-((x - m) ** 2) / 2) / sp.sqrt(2 * sp.pi) * (1 + (x - m) ** 3 / 3),
        1 / (2 * sp.pi) + s * x,
    ],
)
def test_negative_somewhere_though_its_mass_is_one(density: sp.Expr) -> None:
    support = LINE if density.has(sp.exp) else (-sp.pi, sp.pi)
    with pytest.raises(fk.errors.RegularityError, match="the density is negative at x = ") as refusal:
        fk.expected_information(fk.symbolic.Model(density, data=x, support=support))
    assert refusal.value.condition == "not_normalised"


@pytest.mark.parametrize(
    ("variable", "at", "interval"),
    [
        (stats.Geometric("X", s), {"s": 1.5}, r"\(0, 1\)"),
        (stats.Bernoulli("X", s), {"s": 1.5}, r"\(0, 1\)"),
        (stats.Zeta("X", s), {"s": 0.5}, r"\(1, oo\)"),
        (fk.symbolic.Model(sp.Rational(1, 2) + s * x, data=x, support=(-1, 1)), {"s": 2}, r"\(0, 1/2\)"),
    ],
)
def test_the_values_that_are_allowed_are_told(variable: object, at: dict[str, float], interval: str) -> None:
    with pytest.raises(fk.errors.RegularityError, match=f"is outside its domain: the others let it be in {interval}") as refusal:
        fk.expected_information(variable, at)
    assert (refusal.value.condition, refusal.value.parameter) == ("not_normalised", "s")


@pytest.mark.parametrize("entry", [(0, 0), (1, 0), (1, 1)])
@pytest.mark.parametrize(
    "spoil", [lambda e: -e, lambda e: e * (1 + sp.Rational(1, 10**5)), lambda e: e + sp.Rational(1, 10**4) / s]
)
def test_one_entry_that_is_slightly_wrong_drops_the_matrix(
    entry: tuple[int, int], spoil, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = kernels.information

    def wrong(*given):
        matrix, conditions = right(*given)
        matrix[entry] = matrix[entry[::-1]] = spoil(matrix[entry])
        return matrix, conditions

    monkeypatch.setattr(kernels, "information", wrong)
    weibull = fk.symbolic.as_model(stats.Weibull("X", a, b))
    assert weibull.tier is None


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


@pytest.mark.parametrize(
    ("density", "parameters", "told"),
    [
        (sp.exp(-((x - m - a) ** 2) / 2) / sp.sqrt(2 * sp.pi), (m, a), {"m": -1, "a": 1}),
        (a * b * sp.exp(-a * b * x), (a, b), {"a": -a / b, "b": 1}),
        (NORMAL.subs(m, m * theta), (m, theta, s), {"m": -m / theta, "theta": 1}),
    ],
)
def test_a_density_with_too_many_parameters(density, parameters, told) -> None:
    model = fk.symbolic.Model(density, data=x, parameters=parameters, support=(0, sp.oo) if density.has(a * b) else LINE)
    with pytest.raises(fk.errors.SingularInformationError, match="over-parametrised: it does not change along") as refusal:
        fk.expected_information(model)
    (direction,) = refusal.value.null_directions
    (first, u), (second, v) = told.items()
    assert set(direction) == {first, second}
    assert sp.simplify(sp.nsimplify(direction[first] * v - direction[second] * u)) == 0
    assert refusal.value.condition == "singular_information"


def test_too_many_parameters_where_there_is_no_formula() -> None:
    """A mixture of two equal logistic laws whose weights do not matter."""
    logistic = sp.exp(-(x - m)) / (1 + sp.exp(-(x - m))) ** 2
    shape = sp.exp(-((x - m) ** 4) * a * b) * 2 * (a * b) ** sp.Rational(1, 4) / sp.gamma(sp.Rational(1, 4))
    model = fk.symbolic.Model((logistic + shape) / 2, data=x, parameters=(m, a, b), support=LINE)
    with pytest.raises(fk.errors.SingularInformationError, match=r"does not change along") as refusal:
        fk.expected_information(model, {"m": 0, "a": 2, "b": 0.5})
    (direction,) = refusal.value.null_directions
    assert direction["a"] / direction["b"] == pytest.approx(-4, rel=1e-4)


def test_a_part_may_leave_a_direction_open_that_another_part_closes() -> None:
    """x tells m + a, y tells m - a; one row of a regression tells one direction, many rows tell all."""
    y, t = sp.symbols("y t", real=True)
    plus = fk.symbolic.Model(NORMAL.subs({m: m + theta, s: 1}), data=x, parameters=(m, theta), support=LINE)
    minus = fk.symbolic.Model(
        NORMAL.subs({m: m - theta, s: 1, x: y}, simultaneous=True), data=y, parameters=(m, theta), support=LINE
    )
    assert fk.expected_information(plus * minus).dense() == 2 * sp.eye(2)
    with pytest.raises(fk.errors.SingularInformationError, match="over-parametrised"):
        fk.expected_information(plus.iid(2))
    row = fk.symbolic.Model(NORMAL.subs({m: m + theta * t, s: 1}), data=x, parameters=(m, theta), support=LINE)
    assert fk.expected_information(row).dense() == sp.Matrix([[1, t], [t, t**2]])


def test_a_point_at_which_two_parameters_meet_is_no_fault_of_the_density() -> None:
    """The square of a mean has no information at 0, and some elsewhere."""
    model = fk.symbolic.Model(NORMAL.subs({m: m**2}), data=x, parameters=(m, s), support=LINE)
    assert fk.expected_information(model, {"m": 0, "s": 1}, method=fk.Quadrature()).dense()[0, 0] == 0

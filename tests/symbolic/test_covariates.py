"""Regressions as formulas: covariates by row, the predictor as one parameter, and data that are impossible."""

import numpy as np
import pytest
import sympy as sp

import fisherkit as fk
from fisherkit.symbolic import predictor

a, b, c, u, v = sp.symbols("a b c u v", real=True)
shape = sp.Symbol("shape", positive=True)
ONE, COUNT, POSITIVE = sp.Symbol("y", integer=True), sp.Symbol("y", integer=True, nonnegative=True), sp.Symbol("y", positive=True)
ETA = a + b * u + c * v
ROWS = {"u": np.array([0.5, -1.0, 2.0, 0.1]), "v": np.array([1.0, 0.3, -0.7, 2.0])}
AT = {"a": 0.2, "b": -0.4, "c": 0.7}
X = np.column_stack([np.ones(4), ROWS["u"], ROWS["v"]])
LINEAR = X @ list(AT.values())


def logit() -> fk.symbolic.Model:
    return fk.symbolic.Model(log_density=ONE * ETA - sp.log(1 + sp.exp(ETA)), data=ONE, parameters=(a, b, c), support={0, 1})


def gamma(k: sp.Expr = shape) -> fk.symbolic.Model:
    log_density = k * sp.log(k) - k * ETA + (k - 1) * sp.log(POSITIVE) - k * POSITIVE * sp.exp(-ETA) - sp.loggamma(k)
    return fk.symbolic.Model(log_density=log_density, data=POSITIVE, parameters=(a, b, c), support=(0, sp.oo))


def test_the_information_over_rows_is_the_mean_of_the_weights() -> None:
    p = 1 / (1 + np.exp(-LINEAR))
    exact = (X * (p * (1 - p))[:, None]).T @ X / 4
    F = fk.expected_information(logit(), AT, inputs=ROWS)
    np.testing.assert_allclose(F.dense(), exact, rtol=1e-12)
    assert (F.n, F.kind, dict(F.point)) == (1, "expected", AT)
    assert logit().covariates == ("u", "v")
    pandas = pytest.importorskip("pandas")
    np.testing.assert_allclose(fk.expected_information(logit(), AT, inputs=pandas.DataFrame(ROWS)).dense(), exact, rtol=1e-12)


def test_it_is_the_sum_of_the_formula_at_each_row() -> None:
    formula = fk.expected_information(logit())
    each = sum(formula.at({**AT, "u": ROWS["u"][i], "v": ROWS["v"][i]}) for i in range(4))
    over = fk.expected_information(logit(), AT, inputs=ROWS).total(4)
    np.testing.assert_allclose(np.asarray(each), over.dense(), rtol=1e-12)


@pytest.mark.parametrize("k", [shape, sp.Float(0.3), sp.Rational(7, 2)], ids=str)
def test_the_gamma_on_the_log_scale_has_the_same_information_everywhere(k: sp.Expr) -> None:
    """k x x', also where SymPy has multiplied k into the predictor."""
    at = {**AT, "shape": 0.3} if k is shape else AT
    F = fk.expected_information(gamma(k), at, inputs=ROWS)
    np.testing.assert_allclose(F.dense(), float(at.get("shape", k)) * X.T @ X / 4, rtol=1e-12)


def test_parameters_beside_the_predictor() -> None:
    """A normal with a mean of exp(a + b u) and its own sigma: diag(J'J exp(2 eta)/sigma^2, 2/sigma^2)."""
    x, sigma = sp.Symbol("x", real=True), sp.Symbol("sigma", positive=True)
    eta = a + b * u
    log_density = -(((x - sp.exp(eta)) / sigma) ** 2) / 2 - sp.log(sigma) - sp.log(2 * sp.pi) / 2
    model = fk.symbolic.Model(log_density=log_density, data=x, parameters=(a, sigma, b), support=(-sp.oo, sp.oo))
    assert predictor.reduced(model) is not None
    F = fk.expected_information(model).at(a=0.2, b=-0.4, sigma=1.5, u=0.5)
    w = np.exp(2 * 0.0) / 1.5**2
    np.testing.assert_allclose(F.dense(), [[w, 0, 0.5 * w], [0, 2 / 1.5**2, 0], [0.5 * w, 0, 0.25 * w]], rtol=1e-12)


def test_two_predictors_are_not_one() -> None:
    """Mean and scale share a parameter: the reduction must not be taken."""
    x = sp.Symbol("x", real=True)
    log_density = -(((x - (a + b * u)) * sp.exp(-(a - b * u))) ** 2) / 2 - (a - b * u) - sp.log(2 * sp.pi) / 2
    model = fk.symbolic.Model(log_density=log_density, data=x, parameters=(a, b), support=(-sp.oo, sp.oo))
    assert predictor.reduced(model) is None
    F = fk.expected_information(model, {"a": 0.3, "b": 0.2, "u": 0.5})
    J, s = np.array([[1, 0.5], [1, -0.5]]), np.exp(0.3 - 0.1)
    np.testing.assert_allclose(F.dense(), J.T @ np.diag([1 / s**2, 2.0]) @ J, rtol=1e-5)


def test_scores_and_data_informations_over_rows() -> None:
    y = np.array([1.0, 0.0, 0.0, 1.0])
    data = {"y": y, **ROWS}
    p = 1 / (1 + np.exp(-LINEAR))
    np.testing.assert_allclose(fk.score(logit(), AT, data=data), (y - p)[:, None] * X, rtol=1e-12)
    weights = {"observed": p * (1 - p), "empirical": (y - p) ** 2}
    for verb, w in weights.items():
        F = getattr(fk, f"{verb}_information")(logit(), AT, data=data)
        np.testing.assert_allclose(F.dense(), (X * w[:, None]).T @ X, rtol=1e-12)
    scores, hessians = logit().curvature(AT, data=data)
    np.testing.assert_allclose(scores, (y - p)[:, None] * X, rtol=1e-12)
    np.testing.assert_allclose(hessians, -np.einsum("n,ni,nj->nij", p * (1 - p), X, X), rtol=1e-12)
    assert logit().log_likelihood(AT, data=data) == pytest.approx(np.sum(y * np.log(p) + (1 - y) * np.log(1 - p)), rel=1e-13)


def test_the_log_likelihood_does_not_overflow() -> None:
    far = {"a": 0.0, "b": 2000.0, "c": 0.0}
    value = logit().log_likelihood(far, data={"y": [0.0, 0, 0, 0], **ROWS})
    assert value == pytest.approx(-np.maximum(2000 * ROWS["u"], 0).sum(), rel=1e-12)


def test_a_covariate_may_stay_a_constant() -> None:
    data = {"y": [1.0, 0.0], "u": [0.5, -1.0]}
    both = fk.score(logit(), {**AT, "v": 0.3}, data=data)
    np.testing.assert_allclose(both, fk.score(logit(), AT, data={**data, "v": [0.3, 0.3]}), rtol=1e-14)


@pytest.mark.parametrize(
    ("ask", "error", "message"),
    [
        (
            lambda: fk.expected_information(logit(), AT, inputs={"u": [1.0]}),
            fk.errors.LayoutError,
            "give v in theta too, or as columns",
        ),
        (lambda: fk.expected_information(logit(), AT, inputs={"w": [1.0]}), fk.errors.DataError, "name none of u, v"),
        (
            lambda: fk.expected_information(logit(), AT, inputs=ROWS, method=fk.Quadrature()),
            fk.errors.MethodError,
            "the closed form is averaged",
        ),
        (lambda: fk.score(logit(), AT, data={"y": [1.0], "u": [[1.0]], "v": [1.0]}), fk.errors.DataError, "flat, of one length"),
        (lambda: fk.score(logit(), AT, data={"y": [], "u": [], "v": []}), fk.errors.DataError, "not empty"),
        (
            lambda: fk.score(logit(), AT, data={"y": [0.5], "u": [1.0], "v": [1.0]}),
            fk.errors.DataError,
            "y is 0.5: outside its support",
        ),
        (
            lambda: gamma(2).log_likelihood(AT, data={"y": [-1.0], "u": [1.0], "v": [1.0]}),
            fk.errors.DataError,
            "y is -1: outside",
        ),
    ],
)
def test_what_is_refused(ask, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ask()


def test_an_exponential_of_the_wrong_sign_is_refused() -> None:
    """The formula is finite there, and wrong."""
    x, rate = sp.symbols("x rate", positive=True)
    model = fk.symbolic.Model(rate * sp.exp(-rate * x), data=x, parameters=rate, support=(0, sp.oo))
    with pytest.raises(fk.errors.DataError, match="observation 1 of x is -3: outside its support"):
        fk.observed_information(model, {"rate": 1.0}, data=[1.0, -3.0])

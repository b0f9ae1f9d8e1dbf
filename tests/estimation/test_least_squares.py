"""Nonlinear least squares against the certified values of NIST, and what it refuses."""

import numpy as np
import pytest
import sympy as sp

import fisherkit as fk
from fisherkit.estimation import RoundingWarning, nonlinear_least_squares
from tests.estimation import nist

EXTENDED = np.finfo(np.longdouble).eps < 1e-18


def problem(name: str, dtype: type = np.float64) -> tuple[nist.Problem, np.ndarray]:
    given = nist.read(name, dtype)
    return given, np.log(given.y) if name == "Nelson" else given.y


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("name", [name for name in nist.NAMES if name != "Lanczos1"])
def test_nist_certified_values(name: str, start: int) -> None:
    """Ten digits of every parameter, standard error and sum of squares; NIST gives eleven."""
    given, y = problem(name)
    fit = nonlinear_least_squares(nist.MEANS[name], given.starts[start], (given.x, y))
    assert nist.digits(list(fit.estimate.values()), given.certified) > 10
    assert nist.digits(list(fit.standard_errors.values()), given.standard_errors) > 10
    assert nist.digits(fit.sum_of_squares, given.sum_of_squares) > 10
    assert nist.digits(fit.residual_variance**0.5, given.residual_deviation) > 10
    assert fit.degrees_of_freedom == len(y) - len(given.certified)


@pytest.mark.skipif(not EXTENDED, reason="needs a long double of more than 64 bits")
@pytest.mark.parametrize("start", [0, 1])
def test_residuals_below_the_rounding_of_double_precision(start: int) -> None:
    """Lanczos1: 14-digit data and a residual of 9e-14. Extended precision, on request, leaves six digits."""
    given, y = problem("Lanczos1", np.longdouble)
    fit = nonlinear_least_squares(nist.MEANS["Lanczos1"], given.starts[start], (given.x, y))
    assert nist.digits(list(fit.estimate.values()), given.certified) > 10
    assert nist.digits(list(fit.standard_errors.values()), given.standard_errors) > 6
    assert nist.digits(fit.sum_of_squares, given.sum_of_squares) > 6


def test_double_precision_says_how_many_digits_are_left() -> None:
    given, y = problem("Lanczos1")
    with pytest.warns(RoundingWarning, match=r"have about 2 digits: give x and y as numpy.longdouble"):
        fit = nonlinear_least_squares(nist.MEANS["Lanczos1"], given.starts[1], (given.x, y))
    assert nist.digits(list(fit.estimate.values()), given.certified) > 10
    assert 2 < nist.digits(list(fit.standard_errors.values()), given.standard_errors) < 5


def test_all_27_sets_are_here() -> None:
    assert sorted(nist.MEANS) == nist.NAMES
    assert len(nist.NAMES) == 27


@pytest.mark.parametrize("name", ["MGH09", "Misra1a", "Rat43"])
def test_expressions_give_the_same(name: str) -> None:
    given, y = problem(name)
    b, x = sp.symbols(list(given.starts[1])), sp.Symbol("x")
    means = {
        "MGH09": lambda: b[0] * (x**2 + x * b[1]) / (x**2 + x * b[2] + b[3]),
        "Misra1a": lambda: b[0] * (1 - sp.exp(-b[1] * x)),
        "Rat43": lambda: b[0] / (1 + sp.exp(b[1] - b[2] * x)) ** (1 / b[3]),
    }
    fit = nonlinear_least_squares(means[name](), given.starts[0], (given.x, y))
    assert nist.digits(list(fit.standard_errors.values()), given.standard_errors) > 10
    same = nonlinear_least_squares(nist.MEANS[name], given.starts[0], (given.x, y), derivatives="numeric")
    assert nist.digits(list(same.standard_errors.values()), given.standard_errors) > 9


def test_the_qr_keeps_what_the_normal_equations_lose() -> None:
    """A polynomial of degree 9 (NIST's Filip has 10): the inverse of J'J has half of the digits."""
    x = np.linspace(-8, -3, 60)
    y = np.polyval(np.ones(9), x / 8) + 1e-3 * np.cos(50 * x)
    fit = nonlinear_least_squares(lambda x, t: np.polyval(t, x), {f"b{k}": 0.0 for k in range(9)}, (x, y))
    import mpmath

    with mpmath.workdps(60):
        V = mpmath.matrix([[mpmath.mpf(v) ** (8 - k) for k in range(9)] for v in x])
        inverse = (V.T * V) ** -1
        beta = inverse * (V.T * mpmath.matrix(y.tolist()))
        residual = mpmath.matrix(y.tolist()) - V * beta
        variance = (residual.T * residual)[0] / (60 - 9)
        exact = np.array([float(mpmath.sqrt(variance * inverse[k, k])) for k in range(9)])
    assert nist.digits(list(fit.standard_errors.values()), exact) > 6
    plain = np.sqrt(float(variance) * np.abs(np.diagonal(np.linalg.inv(np.vander(x, 9).T @ np.vander(x, 9)))))
    assert nist.digits(plain, exact) < nist.digits(list(fit.standard_errors.values()), exact) - 2


def test_ordinary_least_squares_of_longley() -> None:
    """The classic of ill conditioning (Longley 1967), against statsmodels and NIST's certified values."""
    sm = pytest.importorskip("statsmodels.api")
    data = sm.datasets.longley.load_pandas()
    X, y = sm.add_constant(data.exog.to_numpy(float)), data.endog.to_numpy(float)
    fit = nonlinear_least_squares(lambda x, b: x @ b, {f"b{k}": 0.0 for k in range(7)}, (X, y))
    reference = sm.OLS(y, X).fit()
    np.testing.assert_allclose(list(fit.standard_errors.values()), reference.bse, rtol=1e-7)
    np.testing.assert_allclose(fit.log_likelihood, reference.llf, rtol=1e-9)
    certified = [890420.383607373, 84.9149257747669, 0.0334910077722432, 0.488399681651699, 0.214274163161675, 0.226073200069370]
    assert nist.digits(list(fit.standard_errors.values())[:6], np.array(certified)) > 8
    intervals = fk.estimation.confidence_intervals(fit.covariance, fit.estimate, degrees_of_freedom=fit.degrees_of_freedom)
    np.testing.assert_allclose(np.stack([intervals.low, intervals.high], axis=1), reference.conf_int(), rtol=1e-6)


def test_several_columns_by_name() -> None:
    given, y = problem("Nelson")
    b, (u, v) = sp.symbols("b1:4"), sp.symbols("u v")
    columns = {"u": given.x[:, 0], "v": given.x[:, 1]}
    fit = nonlinear_least_squares(b[0] - b[1] * u * sp.exp(-b[2] * v), given.starts[1], (columns, y))
    assert nist.digits(list(fit.standard_errors.values()), given.standard_errors) > 10
    assert fit.information.n == 128
    assert repr(fit).startswith("LeastSquares(n=128, residual standard deviation=0.174303, degrees_of_freedom=125")


X, Y = np.arange(1.0, 9.0), np.array([2.1, 3.9, 6.2, 7.8, 10.1, 12.2, 13.8, 16.1])


@pytest.mark.parametrize(
    ("mean", "start", "data", "error", "message"),
    [
        (lambda x, t: t[0] * x, {"a": 1.0}, X, fk.errors.DataError, r"pair \(x, y\)"),
        (lambda x, t: t[0] * x, {"a": 1.0}, (X[:3], Y), fk.errors.DataError, "one row for each of the 8 observations"),
        (
            lambda x, t: t[0] * x,
            {"a": 1.0},
            (X, [*Y[:-1], np.nan]),
            fk.errors.DataError,
            r"y must be finite; entry \(7,\) is nan",
        ),
        (lambda x, t: t[0] * x, {"a": 1.0}, ([*X[:-1], np.inf], Y), fk.errors.DataError, "x must be finite"),
        (lambda x, t: t[0], {"a": 1.0}, (X, Y), fk.errors.LayoutError, "one number per observation"),
        (lambda x, t: t[0] * x + t[1] * x, {"a": 1.0, "b": 1.0}, (X, Y), fk.errors.SingularInformationError, r"\+1 a -1 b"),
        (
            lambda x, t: t[0] * x + 0 * t[1],
            {"a": 1.0, "b": 1.0},
            (X, Y),
            fk.errors.SingularInformationError,
            r"along \+1 b there",
        ),
        (
            lambda x, t: x * np.abs(t[0]) + t[1],
            {"a": 1.0, "b": 0.0},
            (X, Y),
            fk.errors.PrecisionError,
            "complex step in a contradicts",
        ),
        (lambda x, t: np.log(t[0]) * x, {"a": -1.0}, (X, Y), fk.errors.DataError, "not finite at the start"),
        (lambda x, t: t[0] * x, {"a": np.nan}, (X, Y), fk.errors.DataError, "start of a must be finite"),
        (
            lambda x, t: t @ np.ones(8) * x,
            dict.fromkeys("abcdefgh", 1.0),
            (X, Y),
            fk.errors.DataError,
            "8 observations cannot tell 8",
        ),
        ("a * x", {"a": 1.0}, (X, Y), fk.errors.LayoutError, "a SymPy expression or a callable"),
        (sp.Symbol("x") * sp.Symbol("a"), {"b": 1.0}, (X, Y), fk.errors.LayoutError, "does not mention b"),
        (sp.Symbol("x") * sp.Symbol("a"), {"a": 1.0}, ({"z": X}, Y), fk.errors.DataError, "x must have a column for x; it has z"),
    ],
)
def test_what_is_refused(mean, start, data, error: type[Exception], message: str) -> None:
    with np.errstate(all="ignore"), pytest.raises(error, match=message):
        nonlinear_least_squares(mean, start, data)


def test_a_minimum_at_infinity_is_no_estimate() -> None:
    """A plateau that is reached before the first observation: any large rate will do."""
    y = 10 + 0.1 * np.cos(3 * X)
    with pytest.raises((fk.errors.ConvergenceError, fk.errors.SingularInformationError)):
        nonlinear_least_squares(lambda x, t: t[0] * (1 - np.exp(-t[1] * x)), {"a": 5.0, "b": 1.0}, (X, np.sort(y)[::-1]))

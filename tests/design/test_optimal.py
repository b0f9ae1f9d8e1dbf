"""Optimal designs against published ones, against brute force, and against their own certificate."""

from itertools import combinations_with_replacement

import numpy as np
import pytest
import sympy as sp

import fisherkit as fk

LINE = np.linspace(-1, 1, 201)


def parabola(x):
    return [1.0, x, x**2]


def support(design: fk.design.Design) -> dict[float, float]:
    """Weights by point, rounded, to compare with a book."""
    return {round(float(x), 6): round(float(w), 6) for x, w in zip(design.points, design.weights, strict=True)}


@pytest.mark.parametrize(
    ("criterion", "more", "value", "weights"),
    [
        ("D", {}, np.log(4 / 27), (1 / 3, 1 / 3, 1 / 3)),
        ("A", {}, 8.0, (1 / 4, 1 / 2, 1 / 4)),
        ("E", {}, 1 / 5, (1 / 5, 3 / 5, 1 / 5)),
        ("c", {"direction": [0, 0, 1]}, 4.0, (1 / 4, 1 / 2, 1 / 4)),
        ("c", {"direction": [1, 0, 0]}, 1.0, (0, 1, 0)),
        ("T", {}, 3.0, None),
    ],
)
def test_a_parabola(criterion: str, more: dict[str, object], value: float, weights: tuple[float, ...] | None) -> None:
    """Pukelsheim (2006), Optimal Design of Experiments, sections 9.5-9.6 and 9.12-9.13: all at -1, 0, 1."""
    design = fk.design.optimal(parabola, LINE, criterion=criterion, **more)
    assert design.value == pytest.approx(value, rel=1e-6 if criterion == "E" else 1e-8)
    assert design.gap < 1e-6
    assert design.efficiency > 1 - 2e-6
    if weights is not None:
        expected = {x: round(w, 6) for x, w in zip((-1.0, 0.0, 1.0), weights, strict=True) if w}
        assert support(design) == pytest.approx(expected, abs=2e-4 if criterion == "E" else 1e-6)


def test_a_cubic_is_observed_at_the_roots_of_a_legendre_polynomial() -> None:
    """Guest (1958), Ann. Math. Statist. 29, 294-299: -1, -1/sqrt 5, 1/sqrt 5, 1 with equal weights."""
    root = 1 / np.sqrt(5)
    design = fk.design.optimal(lambda x: [1, x, x**2, x**3], np.sort([*LINE, -root, root]))
    assert support(design) == pytest.approx({-1.0: 0.25, round(-root, 6): 0.25, round(root, 6): 0.25, 1.0: 0.25}, abs=1e-6)


def test_predictions_over_an_interval() -> None:
    """I-optimal parabola on [-1, 1] for the mean variance over it: weights (1/4, 1/2, 1/4)."""
    nodes, mass = np.polynomial.legendre.leggauss(6)
    rows = np.array([parabola(x) for x in nodes]) * np.sqrt(3 * mass)[:, None]  # their mean outer product: the integral
    design = fk.design.optimal(parabola, LINE, criterion="I", predictions=rows)
    W = np.array([[1, 0, 1 / 3], [0, 1 / 3, 0], [1 / 3, 0, 1 / 5]])

    def variance(w: float) -> float:
        M = sum(share * np.outer(parabola(x), parabola(x)) for x, share in ((-1, w), (0, 1 - 2 * w), (1, w)))
        return float(np.trace(np.linalg.solve(M, W)))

    assert design.value == pytest.approx(min(variance(w) for w in np.linspace(0.2, 0.3, 10_001)), rel=1e-8)
    assert support(design) == pytest.approx({-1.0: 0.25, 0.0: 0.5, 1.0: 0.25}, abs=1e-4)


def test_michaelis_menten() -> None:
    """Bates & Watts (1988), section 3.14: V x / (K + x) on [0, b] at b and K b / (2 K + b), equal weights."""
    V, K, b = 2.0, 0.5, 3.0
    other = K * b / (2 * K + b)
    grid = np.sort([*np.linspace(0.01, b, 300), other])
    design = fk.design.optimal(lambda x: [x / (K + x), -V * x / (K + x) ** 2], grid)
    assert support(design) == pytest.approx({round(other, 6): 0.5, b: 0.5}, abs=1e-6)


def test_logistic_regression_from_its_formula() -> None:
    """Abdelbasit & Plackett (1983), JASA 78, 90-98: where the linear predictor is -1.5434 and 1.5434, equal weights."""
    y, x = sp.Symbol("y", integer=True), sp.Symbol("x", real=True)
    a, b = sp.symbols("a b", real=True)
    eta = a + b * x
    row = fk.symbolic.Model(log_density=y * eta - sp.log(1 + sp.exp(eta)), data=y, parameters=(a, b), support={0, 1})
    grid = np.sort([*np.linspace(-4, 4, 161), -1.5434 - 1, 1.5434 - 1])  # a = 1: the predictor is x + 1
    informations = fk.expected_information(row).lambdify()(a=1.0, b=1.0, x=grid)
    design = fk.design.optimal(informations, grid)
    assert support(design) == pytest.approx({-2.5434: 0.5, 0.5434: 0.5}, abs=1e-4)


def test_exponential_decay() -> None:
    """Box & Lucas (1959), Biometrika 46, 77-90: exp(-k t) at 1/k; two consecutive reactions at 1.23 and 6.86."""
    times = np.linspace(0.01, 10, 1000)
    one = fk.design.optimal(lambda t: [-t * np.exp(-0.5 * t)], times)
    assert support(one) == {2.0: 1.0}

    def both(t: float) -> list[float]:
        k, m = 0.7, 0.2
        e, f = np.exp(-k * t), np.exp(-m * t)
        by_k = -m / (k - m) ** 2 * (f - e) + k / (k - m) * t * e
        by_m = k / (k - m) ** 2 * (f - e) - k / (k - m) * t * f
        return [by_k, by_m]

    design = fk.design.optimal(both, times)
    assert [float(t) for t in design.points] == pytest.approx([1.23, 6.86], abs=0.011)
    assert design.weights == pytest.approx([0.5, 0.5], abs=1e-2)  # 1.23 and 6.86 are rounded: neighbours share


def test_a_prior_spreads_the_design() -> None:
    """The mean of log det over three slopes, against a dense search over symmetric designs of four points."""

    def information(x: float, slope: float) -> np.ndarray:
        p = 1 / (1 + np.exp(-slope * x))
        return p * (1 - p) * np.array([[1, x], [x, x * x]])

    grid, prior = np.linspace(-4, 4, 81), [0.5, 1.0, 3.0]
    design = fk.design.optimal(information, grid, prior=prior)
    assert design.gap < 1e-8
    assert len(design.points) > 2
    assert design.information is None

    def value(weights: np.ndarray) -> float:
        return float(
            np.mean([np.linalg.slogdet(sum(w * information(x, s) for w, x in zip(weights, grid, strict=True)))[1] for s in prior])
        )

    whole = np.zeros(81)
    whole[design.indices] = design.weights
    assert value(whole) == pytest.approx(design.value, rel=1e-10)
    rng = np.random.default_rng(0)
    for _ in range(200):  # no perturbation is better
        other = np.maximum(whole + rng.normal(0, 0.05, 81) * (rng.random(81) < 0.1), 0)
        assert value(other / other.sum()) <= design.value + 1e-9
    weighted = fk.design.optimal(information, grid, prior=prior, prior_weights=[0, 1, 0])
    assert weighted.value == pytest.approx(fk.design.optimal(lambda x: information(x, 1.0), grid).value, rel=1e-10)


@pytest.mark.parametrize("criterion", ["D", "A", "E", "c", "I"])
def test_random_problems_close_the_gap_and_no_random_design_is_better(criterion: str) -> None:
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(60, 4)) * [1, 10, 0.1, 1]
    more = {"c": {"direction": [1.0, 2.0, 0.0, -1.0]}, "I": {"predictions": rows[:7]}}.get(criterion, {})
    design = fk.design.optimal(lambda i: rows[i], range(60), criterion=criterion, **more)
    assert design.gap <= (1e-6 if criterion == "E" else 1e-7) * abs(design.value)
    sign = 1 if criterion in ("D", "E") else -1
    for _ in range(4 if criterion == "E" else 100):
        weights = rng.dirichlet(np.full(60, 0.2))
        assert sign * fk.design.evaluate(lambda i: rows[i], range(60), weights, criterion=criterion, **more).value <= (
            sign * design.value + design.gap + 1e-12
        )


def test_several_responses_at_each_candidate() -> None:
    """Informations of rank two: c by Newton steps, and the gap closes."""
    rng = np.random.default_rng(0)
    parts = [J.T @ J for J in rng.normal(size=(30, 2, 3))]
    for criterion, more in (("D", {}), ("A", {}), ("E", {}), ("c", {"direction": [1, 1, 1]})):
        design = fk.design.optimal(np.array(parts), range(30), criterion=criterion, tolerance=1e-6, **more)
        assert design.gap <= 1e-6 * max(1, abs(design.value))


def test_the_certificate_tells_how_bad_a_design_is() -> None:
    uniform = fk.design.evaluate(parabola, [-1, -0.5, 0, 0.5, 1], [0.2] * 5)
    best = fk.design.optimal(parabola, [-1, -0.5, 0, 0.5, 1])
    assert best.value - uniform.value <= uniform.gap
    assert np.exp((uniform.value - best.value) / 3) >= uniform.efficiency
    assert "gap=" in repr(uniform)
    assert "gap<1e-12" in repr(best)


@pytest.mark.parametrize("criterion", ["D", "A", "E"])
def test_exact_designs_against_every_design(criterion: str) -> None:
    points = np.linspace(-1, 1, 7)
    design = fk.design.exact(parabola, points, 5, criterion=criterion, rng=0)
    sign = -1 if criterion == "A" else 1
    value = {
        "D": lambda M: np.linalg.slogdet(M)[1],
        "A": lambda M: np.trace(np.linalg.inv(M)),
        "E": lambda M: np.linalg.eigvalsh(M)[0],
    }
    best = max(
        sign * value[criterion](M)
        for chosen in combinations_with_replacement(points, 5)
        if np.linalg.matrix_rank(M := sum(np.outer(parabola(x), parabola(x)) for x in chosen) / 5) == 3
    )
    assert sign * design.value == pytest.approx(best, rel=1e-10)
    assert design.counts.sum() == 5
    assert design.gap >= 0
    assert 0.8 < design.efficiency <= 1


def test_sequential_designs_approach_the_optimal_one() -> None:
    F = 4 * fk.design.evaluate(parabola, LINE[::50], [0.2] * 5).information
    for _ in range(300):
        F = fk.design.next_observation(F, parabola, LINE[::10]).information
    best = fk.design.optimal(parabola, LINE[::10])
    assert F.n == 304
    assert np.exp((fk.design.d_criterion(F / 304) - best.value) / 3) > 0.998


def test_the_next_observation_is_the_best_of_all() -> None:
    F = fk.FisherInformation(np.diag([2.0, 1.0, 0.5]), parameters=("a", "b", "c"))
    found = fk.design.next_observation(F, parabola, LINE, criterion="A")
    brute = [np.trace(np.linalg.inv(np.asarray(F) + np.outer(parabola(x), parabola(x)))) for x in LINE]
    assert (found.index, found.value) == (int(np.argmin(brute)), pytest.approx(min(brute)))
    assert found.gain == pytest.approx(np.trace(np.linalg.inv(np.asarray(F))) - min(brute))
    assert found.information.parameters == F.parameters


def test_informations_bring_their_names() -> None:
    def information(x: float) -> fk.FisherInformation:
        return fk.FisherInformation(np.outer([1, x], [1, x]), parameters=("intercept", "slope"))

    design = fk.design.optimal(information, [0.0, 0.5, 1.0])
    assert design.information.parameters.names == ("intercept", "slope")
    assert fk.design.optimal([information(x) for x in (0.0, 1.0)], [0.0, 1.0]).weights == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize(
    ("ask", "error", "message"),
    [
        (
            lambda: fk.design.evaluate(parabola, [-1, 0, 1], [0.5, 0.5, 0.5]),
            fk.errors.DataError,
            "must sum to one; they sum to 1.5",
        ),
        (
            lambda: fk.design.evaluate(parabola, [-1, 0, 1], [0.5, 0.6, -0.1]),
            fk.errors.DataError,
            "must not be negative; number 2",
        ),
        (lambda: fk.design.evaluate(parabola, [-1, 0, 1], [0.5, 0.5]), fk.errors.LayoutError, "one number for each of 3"),
        (
            lambda: fk.design.evaluate(parabola, [-1, 0, 1], [0.5, 0.0, 0.5]),
            fk.errors.SingularInformationError,
            r"no information along \+1 theta_0 -1 theta_2",
        ),
        (lambda: fk.design.optimal(parabola, [-1, 1]), fk.errors.SingularInformationError, "no information along"),
        (lambda: fk.design.optimal(parabola, []), fk.errors.DataError, "at least one candidate"),
        (lambda: fk.design.optimal(parabola, LINE, criterion="G"), fk.errors.MethodError, "one of D, A, E, c, I, T"),
        (lambda: fk.design.optimal(parabola, LINE, criterion="c"), fk.errors.MethodError, "direction= belongs to criterion='c'"),
        (lambda: fk.design.optimal(parabola, LINE, criterion="c", direction=[1, 0]), fk.errors.LayoutError, "length 3"),
        (lambda: fk.design.optimal(parabola, LINE, predictions=[[1, 0, 0]]), fk.errors.MethodError, "belongs to criterion='I'"),
        (lambda: fk.design.optimal(lambda x: np.eye(2) * x, [1.0, -1.0]), fk.errors.DataError, "positive semidefinite"),
        (lambda: fk.design.optimal(lambda x: [1.0] * int(x), [1, 2]), fk.errors.LayoutError, "one shape at every candidate"),
        (lambda: fk.design.optimal(lambda x: [1.0, np.nan], [1, 2]), fk.errors.DataError, "must be finite"),
        (lambda: fk.design.exact(parabola, LINE, 0), fk.errors.DataError, "positive number of observations"),
        (lambda: fk.design.exact(parabola, LINE[::20], 2), fk.errors.SingularInformationError, "give at least 3"),
        (
            lambda: fk.design.optimal(lambda x, t: [1, x], LINE, prior=[1, 2], prior_weights=[0.5, 0.4]),
            fk.errors.DataError,
            "prior_weights must sum to one",
        ),
        (
            lambda: fk.design.optimal(lambda x: [1, 0 * x], LINE, criterion="c", direction=[0, 1]),
            fk.errors.SingularInformationError,
            "no design over these candidates tells",
        ),
    ],
)
def test_what_is_refused(ask, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ask()


def test_a_next_observation_that_cannot_help_is_refused() -> None:
    empty = fk.FisherInformation(np.zeros((3, 3)), parameters=("a", "b", "c"))
    with pytest.raises(fk.errors.SingularInformationError, match="does not exist after any one more observation"):
        fk.design.next_observation(empty, parabola, LINE)
    with pytest.raises(fk.errors.LayoutError, match="3 parameters"):
        fk.design.next_observation(fk.FisherInformation([[1.0]]), parabola, LINE)

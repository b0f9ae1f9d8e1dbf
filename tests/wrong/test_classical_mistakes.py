"""The field's classical mistakes, each rejected by a named identity of `fisherkit.checks`."""

from collections.abc import Callable

import numpy as np
import pytest

import fisherkit as fk

N, P = 240, 3
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, P))
THETA = np.array([0.8, -1.2, 0.5])
PROBABILITY = 1 / (1 + np.exp(-X @ THETA))
LABELS = (RNG.random(N) < 0.5).astype(float)  # not drawn from the model
NAMES = ("a", "b", "c")


def information(matrix: np.ndarray, n: float = 1) -> fk.FisherInformation:
    return fk.FisherInformation(matrix, parameters=NAMES, n=n)


def right(x: np.ndarray = X) -> np.ndarray:
    """Of logistic regression, per observation: mean of p (1 - p) x x'."""
    p = 1 / (1 + np.exp(-x @ THETA))
    return (x * (p * (1 - p))[:, None]).T @ x / len(x)


def own_scores(repeats: int = 40) -> np.ndarray:
    rng = np.random.default_rng(1)
    x, p = np.repeat(X, repeats, axis=0), np.repeat(PROBABILITY, repeats)
    return x * ((rng.random(len(p)) < p) - p)[:, None]


def divergence(delta: np.ndarray) -> float:
    q = 1 / (1 + np.exp(-X @ (THETA + delta)))
    p = PROBABILITY
    return float(np.mean(p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))))


def by_batches(square: Callable[[np.ndarray], np.ndarray]) -> Callable[[int], fk.FisherInformation]:
    scores = X * (LABELS - PROBABILITY)[:, None]

    def compute(size: int) -> fk.FisherInformation:
        batches = [scores[i : i + size] for i in range(0, N, size)]
        return information(sum(square(batch) for batch in batches) / N)

    return compute


def rejected_by(identity: str):
    return pytest.raises(fk.errors.IdentityError, match=f"^{identity} does not hold")


def test_the_right_one_passes_every_check() -> None:
    F = information(right())
    fk.checks.check_information(F)
    fk.checks.check_scores(own_scores(), F)
    fk.checks.check_divergence(F, divergence, [0.02, 0.01, -0.02])
    fk.checks.check_batch_size(by_batches(lambda s: s.T @ s), [1, 7, 240])
    fk.checks.check_labels(lambda labels: F, [LABELS, 1 - LABELS])
    fk.checks.check_additivity(lambda x: information(right(x)), X)
    fk.checks.check_total(F.total(N), F)


def test_the_square_of_the_mean_gradient() -> None:
    wrong = by_batches(lambda s: len(s) * np.outer(s.mean(axis=0), s.mean(axis=0)))
    with rejected_by("independent_of_batch_size"):
        fk.checks.check_batch_size(wrong, [1, 8, 240])


def test_data_labels_for_model_labels() -> None:
    def wrong(labels: np.ndarray) -> fk.FisherInformation:
        scores = X * (labels - PROBABILITY)[:, None]
        return information(scores.T @ scores / N)

    with rejected_by("independent_of_labels"):
        fk.checks.check_labels(wrong, [LABELS, 1 - LABELS])
    with rejected_by("mean_score_is_zero"):
        fk.checks.check_scores(np.tile(X * (LABELS - PROBABILITY)[:, None], (40, 1)), wrong(LABELS))


@pytest.mark.parametrize("factor", [2.0, 0.5], ids=["twice", "half"])
def test_a_missing_half(factor: float) -> None:
    wrong = information(factor * right())
    with rejected_by("divergence_is_half_the_quadratic_form"):
        fk.checks.check_divergence(wrong, divergence, [0.02, 0.01, -0.02])
    with rejected_by("outer_product_of_scores"):
        fk.checks.check_scores(own_scores(), wrong)


def test_a_sum_for_a_mean() -> None:
    """Sums over the data that call themselves per observation."""
    with rejected_by("additivity"):
        fk.checks.check_additivity(lambda x: information(len(x) * right(x), n=1), X)
    with rejected_by("outer_product_of_scores"):
        fk.checks.check_scores(own_scores(), information(N * right(), n=1))


def test_n_twice() -> None:
    total = N * right()
    with rejected_by("n_times_one"):
        fk.checks.check_total(information(N * total, n=N), information(right()))


def test_a_transposed_jacobian() -> None:
    J = np.array([[1.0, 0.5, 0.0], [0.0, 2.0, 0.0], [0.3, 0.0, 1.0]])
    phi = np.linalg.solve(J, THETA)
    F = fk.FisherInformation(right(), parameters=NAMES, point=dict(zip(NAMES, THETA, strict=True)))
    direct = fk.FisherInformation(
        (X @ J * (PROBABILITY * (1 - PROBABILITY))[:, None]).T @ (X @ J) / N, parameters=("u", "v", "w")
    )
    point = dict(zip(("u", "v", "w"), phi, strict=True))
    fk.checks.check_reparametrization(F, direct, lambda new: J @ new, point)
    transposed = fk.FisherInformation(J @ right() @ J.T, parameters=("u", "v", "w"))
    with rejected_by("reparametrization"):
        fk.checks.check_reparametrization(F, transposed, lambda new: J @ new, point)


def test_negative_information() -> None:
    with rejected_by("positive_semidefinite"):
        fk.checks.check_information(information(right() - 0.5 * np.eye(P)))

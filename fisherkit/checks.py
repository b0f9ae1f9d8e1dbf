"""Identities that every Fisher information obeys, as checks: of ours, and of yours.

Each raises `IdentityError` with the identity's name. They need nothing of how an information was computed, so they
judge any implementation.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .errors import IdentityError, NotAtMaximumWarning
from .information import FisherInformation
from .methods import Method, MonteCarlo
from .model import Theta, as_model
from .verbs import expected_information

Compute = Callable[..., FisherInformation]


def check_information(information: FisherInformation) -> None:
    """Positive semidefinite: no direction has negative information.

    Raises
    ------
    IdentityError
        ``positive_semidefinite``, with the smallest eigenvalue relative to the largest.
    """
    matrix = np.asarray(information) if information.structure == "dense" else None
    values = np.asarray(_flat(information.diagonal())) if matrix is None else np.linalg.eigvalsh(matrix)
    if values.min() < -1e-10 * max(abs(values).max(), 1e-300):
        _fail("positive_semidefinite", f"the smallest eigenvalue is {values.min():.3g}, the largest {values.max():.3g}")


def check_model(model: Any, theta: Theta = None, *, n: int = 4000, rng: Any = 0, method: Method | None = None) -> None:
    """A model's own score, density, sampler and information against each other.

    Parameters
    ----------
    model : Model, or an object that is one
        With a sampler: its Monte Carlo information is compared with its other one.
    n, rng
        Draws, and their source.
    method : Method, optional
        How the information to be checked is computed; the model's default.

    Raises
    ------
    IdentityError
        ``outer_product_of_scores``, ``positive_semidefinite``.
    """
    source = as_model(model)
    information = expected_information(source, theta, method=method)
    check_information(information)
    estimate = expected_information(source, theta, method=MonteCarlo(n, rng=rng, estimator="outer_product"))
    _compare_within("outer_product_of_scores", np.asarray(information), np.asarray(estimate), np.asarray(estimate.mcse))


def check_scores(scores: Any, information: FisherInformation) -> None:
    """Scores of observations that the model itself drew have mean zero, and the information as their covariance.

    Parameters
    ----------
    scores : array (n, p)
        One row per observation; labels drawn from the model, not taken from data.
    information : FisherInformation
        Of any n; it is compared per observation.

    Raises
    ------
    IdentityError
        ``mean_score_is_zero``, or ``outer_product_of_scores``.
    """
    s = np.asarray(scores, dtype=float)
    mean, error = s.mean(axis=0), s.std(axis=0, ddof=1) / np.sqrt(len(s))
    _compare_within("mean_score_is_zero", np.zeros_like(mean), mean, error)
    products = s[:, :, None] * s[:, None, :]
    spread = products.std(axis=0, ddof=1) / np.sqrt(len(s))
    _compare_within("outer_product_of_scores", np.asarray(information.per_observation()), products.mean(axis=0), spread)


def check_divergence(information: FisherInformation, divergence: Callable[[Any], float], step: Any) -> None:
    r"""A small step moves the distribution by :math:`\mathrm{KL} = \tfrac12 \delta^\top F \delta`, the half included.

    Parameters
    ----------
    divergence : callable, delta -> float
        Kullback-Leibler divergence from theta to theta + delta, of the information's n observations.
    step : array (p,)
        A small one; it is halved to see the second order.

    Raises
    ------
    IdentityError
        ``divergence_is_half_the_quadratic_form``.
    """
    step = np.asarray(step, dtype=float)
    ratios = [divergence(h * step) / (0.5 * float(information.quadratic(h * step))) for h in (1.0, 0.5, -1.0, -0.5)]
    even = [(ratios[0] + ratios[2]) / 2, (ratios[1] + ratios[3]) / 2]  # third-order terms cancel
    limit = (4 * even[1] - even[0]) / 3
    if abs(limit - 1) > 1e-2:
        _fail("divergence_is_half_the_quadratic_form", f"KL / (delta' F delta / 2) tends to {limit:.4g}, not 1")


def check_reparametrization(
    information: FisherInformation, direct: FisherInformation, inverse_map: Any, new_point: Mapping[str, float]
) -> None:
    """An information moved to new parameters equals the one computed in them.

    Raises
    ------
    IdentityError
        ``reparametrization``.
    """
    moved = information.reparametrize(new_point, inverse_map)
    _compare("reparametrization", np.asarray(moved[direct.parameters.names]), np.asarray(direct))


def check_batch_size(compute: Compute, batch_sizes: Sequence[int]) -> None:
    """An information does not depend on how the data were cut into batches.

    Parameters
    ----------
    compute : callable, batch_size -> FisherInformation

    Raises
    ------
    IdentityError
        ``independent_of_batch_size``: the square of a mean gradient is not the mean of squares.
    """
    first, *others = [_flat(compute(size)) for size in batch_sizes]
    for size, other in zip(batch_sizes[1:], others, strict=True):
        _compare("independent_of_batch_size", other, first, told=f"batch size {size} against {batch_sizes[0]}")


def check_labels(compute: Compute, labels: Sequence[Any]) -> None:
    """An expected information takes its labels from the model: those of the data do not matter.

    Parameters
    ----------
    compute : callable, labels -> FisherInformation

    Raises
    ------
    IdentityError
        ``independent_of_labels``.
    """
    first, *others = [_flat(compute(label)) for label in labels]
    for other in others:
        _compare("independent_of_labels", other, first)


def check_additivity(compute: Compute, data: Any) -> None:
    """Observing everything twice doubles the total, and leaves one observation's share as it was.

    Parameters
    ----------
    compute : callable, data -> FisherInformation
        Whose ``n`` says how many observations the values stand for.

    Raises
    ------
    IdentityError
        ``additivity``.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotAtMaximumWarning)  # what is no maximum is told louder by data given twice
        once, twice = compute(data), compute(np.concatenate([data, data]))
    _compare("additivity", _flat(twice.per_observation()), _flat(once.per_observation()), told="data given twice")


def check_total(information: FisherInformation, one: FisherInformation) -> None:
    """The information of n observations is n times that of one.

    Raises
    ------
    IdentityError
        ``n_times_one``.
    """
    _compare("n_times_one", np.asarray(information), information.n * np.asarray(one.per_observation()))


def _flat(value: Any) -> np.ndarray:
    """Kept entries as one array."""
    if isinstance(value, FisherInformation):
        value = value.dense() if value.structure == "dense" else value.diagonal()
    if isinstance(value, Mapping):
        return np.concatenate([np.ravel(np.asarray(v, dtype=float)) for v in value.values()])
    return np.ravel(np.asarray(value, dtype=float))


def _compare(identity: str, found: np.ndarray, expected: np.ndarray, told: str = "") -> None:
    difference = float(np.max(np.abs(found - expected), initial=0.0) / max(np.max(np.abs(expected), initial=0.0), 1e-300))
    if not difference < 1e-6:
        _fail(identity, f"the largest difference is {difference:.3g} of the largest entry {told}".rstrip())


def _compare_within(identity: str, expected: np.ndarray, found: np.ndarray, error: np.ndarray) -> None:
    """Within six standard errors, entry by entry."""
    z = np.abs(found - expected) / np.maximum(error, 1e-12 * (1 + np.abs(expected)))
    if not (worst := float(z.max())) < 6:
        index = tuple(int(i) for i in np.unravel_index(z.argmax(), z.shape))
        _fail(identity, f"entry {index} is {found[index]:.4g}, expected {expected[index]:.4g}, {worst:.1f} standard errors off")


def _fail(identity: str, found: str) -> None:
    raise IdentityError(f"{identity} does not hold: {found}.", identity=identity)

"""Expectations of a model in code other than its information: of functions of the data, and of likelihood ratios."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import ratios as quadratures
from ..errors import DataError, MethodError
from ..methods import Method, MonteCarlo, Quadrature
from ..model import multi_indices
from ..quadrature import find_center
from ..ratios import View
from ..uncertainty import Expectation
from . import ratios
from .exact import check_ends, log_at, outcomes, support_at

if TYPE_CHECKING:
    from .model import Model


def mean(model: Model, function: Any, at: np.ndarray, method: Method) -> Expectation:
    """E of a callable from n observations to (n, k)."""
    if not callable(function):
        raise MethodError("the expectation over a model in code needs a callable, from n observations to (n, k) numbers.")
    if isinstance(method, MonteCarlo):
        return ratios.average_of(lambda size, rng: np.asarray(function(_drawn(model, at, size, rng))), method)
    if isinstance(method, Quadrature):
        return Expectation(quadratures.moments(view(model), at, function).mean)
    x, mass = outcomes(model, at)
    return Expectation(mass @ np.asarray(function(x)))


def ratio_moments(model: Model, at: np.ndarray, order: int, points: Sequence[Mapping[str, Any]], method: Method) -> Expectation:
    """E[r r'], see `fisherkit.model.Model.ratios`."""
    there = [np.array([float(point[label]) for label in model.parameters.labels]) for point in points]
    log = model._log_density
    if log is None:
        raise MethodError("bounds from a density need log_density=; this model gives its score= alone.")

    def values(x: Any) -> tuple[np.ndarray, np.ndarray]:
        return _derivatives(model, x, at, order)

    if isinstance(method, Quadrature):
        if order:
            check_ends(model, at, find_center(log_at(model, at), support_at(model, at)))
        count = len(multi_indices(len(at), order))
        return Expectation(quadratures.gram(view(model), at, values if order else None, count, there))

    def rows(x: Any) -> np.ndarray:
        r = ratios.at_points(log, x, at, there)
        if order:
            d, error = values(x)
            ratios.refuse_rough(d, error, order)
            r = np.concatenate([d, r], axis=1)
        return r

    if isinstance(method, MonteCarlo):
        return _products(ratios.average_of(lambda size, rng: _with_one(rows(_drawn(model, at, size, rng))), method), method.n)
    x, mass = outcomes(model, at)
    r = np.where(mass[:, None] > 0, rows(x), 0.0)
    return Expectation((r * mass[:, None]).T @ r)


def _with_one(r: np.ndarray) -> np.ndarray:
    """Products of each observation's ratios, with 1 before them."""
    r = np.concatenate([np.ones((len(r), 1)), r], axis=1)
    return np.asarray(r[:, :, None] * r[:, None, :])


def _products(found: Expectation, n: int) -> Expectation:
    """Without the 1, after a look at the means that it gave: those of ratios are 0."""
    mean, squares = found.value[0, 1:], np.diagonal(found.value)[1:]
    spread = np.sqrt(np.maximum(squares - mean**2, 0.0) / n)
    if len(far := np.flatnonzero(np.abs(mean) > 6 * spread + 1e-9)):
        raise DataError(
            f"likelihood ratio {far[0]} has mean {mean[far[0]]:.3g} over the draws, not 0: the test point has mass where the "
            f"density has "
            "none, or the sampler does not draw from the log-density."
        )
    return Expectation(found.value[1:, 1:], tuple(r[1:, 1:] for r in found.replicates), found.weights)


def _derivatives(model: Model, x: Any, at: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray]:
    assert model._log_density is not None
    if order == 1:
        return model._raw_scores(x, at)
    return ratios.derivatives(model._log_density, x, at, order, model._derivatives)


def view(model: Model) -> View:
    log = model._log_density
    if log is None:
        raise MethodError("an expectation by quadrature needs log_density=; this model gives its score= alone.")
    support = lambda theta: support_at(model, theta)  # noqa: E731 a curried argument
    return View(lambda x, theta: np.asarray(log(x, theta), dtype=float), support, lambda theta: (), model._discrete)


def _drawn(model: Model, at: np.ndarray, size: int, rng: np.random.Generator) -> Any:
    return model.draw(at, size, rng)


def shifted(model: Model, kind: type[Model]) -> Model:
    """The location family of a model at its own point, as a plain model: one parameter, the shift, at 0."""
    log, sampler = model._log_density, model._sampler and model.draw
    at = model._at(None)
    if log is None or model._discrete:
        raise MethodError("a prior needs a density of a real variable: give log_density= and support=.")
    low, high = support_at(model, at)
    own = kind(
        lambda x, shift: log(x - shift[0], at),
        sampler=None if sampler is None else lambda shift, size, rng: sampler(at, size, rng) + shift[0],
        parameters=("shift",),
        support=lambda shift: (low + shift[0], high + shift[0]),
    )
    own._point = np.zeros(1)
    return own

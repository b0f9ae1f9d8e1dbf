"""A model given by code: a log-density, perhaps its score, a sampler, and a support."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .. import model
from ..arrays import Array, check_budget
from ..errors import DataError, LayoutError, MethodError
from ..information import FisherInformation
from ..methods import Exact, Method, MonteCarlo, Quadrature, require
from ..model import Theta
from ..parameters import concatenate
from ..provenance import Provenance
from ..quadrature import Moments
from ..ratios import gauss
from ..rows import Rows
from ..uncertainty import Expectation
from . import curvature, derivatives, monte_carlo
from .accumulator import stored
from .exact import moments_of, over_outcomes, over_support
from .expectations import mean, ratio_moments, view
from .observations import read
from .ratios import from_ratios
from .scores import Scores
from .sums import default_groups

Support = tuple[float, float] | Callable[[np.ndarray], tuple[float, float]]


class Model(Scores, model.Model):
    """A statistical model in code.

    Parameters
    ----------
    log_density : callable, (x, theta) -> (n,)
        Log-density of each of n observations, the rows of ``x``, at a flat array ``theta`` of shape (p,).
    sampler : callable, (theta, size, rng) -> (size, ...), optional
        Draws observations with a NumPy Generator; `MonteCarlo` needs it.
    score : callable, (x, theta) -> (n, p), optional
        Gradient of the log-density. Without it, derivatives are taken of ``log_density``.
    hessian : callable, (x, theta) -> (n, p, p), optional
        Second derivatives of each observation's log-density, where they cost less than differences of the score.
    uniforms : int, optional
        How many uniform numbers make an observation. ``sampler(theta, u)`` then takes an array ``(size, uniforms)`` of them in
        place of size and rng, and `MonteCarlo` gives it scrambled Sobol points.
    parameters : names, or mapping from name to shape
        In the order of ``theta``.
    derivatives : {"numeric", "torch", "complex"}
        How to differentiate: order-8 differences with an error control (default); ``torch.func``, for a log-density
        of tensors; or a complex step, for one that is complex-safe.
    support : pair of ends, or callable theta -> pair, optional
        Of a single real observation; `Quadrature` needs it.
    discrete : bool
        Whether the observation is an integer.
    outcomes : callable, theta -> array of every possible observation, optional
        For finite models; `Exact` needs it.
    data : array, optional
        Observations that the data verbs use when they are given none.

    Notes
    -----
    A regression is a model of rows: ``x`` holds response and covariates, and ``sampler`` draws both.

    Examples
    --------
    >>> def log_density(x, theta):
    ...     mu, sigma = theta
    ...     return -0.5 * ((x - mu) / sigma) ** 2 - np.log(sigma) - 0.5 * np.log(2 * np.pi)
    >>> def sampler(theta, size, rng):
    ...     return rng.normal(*theta, size)
    >>> model = fk.sampled.Model(log_density, sampler=sampler, parameters=("mu", "sigma"))
    >>> F = fk.expected_information(model, {"mu": 0.0, "sigma": 2.0}, method=fk.MonteCarlo(4000, rng=0))
    >>> bool(np.all(abs(F.dense() - np.diag([0.25, 0.5])) < 4 * F.mcse))
    True
    """

    counts_rows = True

    def __init__(
        self,
        log_density: derivatives.LogDensity | None = None,
        *,
        sampler: Callable[..., Any] | None = None,
        score: Callable[[Any, np.ndarray], Any] | None = None,
        hessian: Callable[[Any, np.ndarray], Any] | None = None,
        uniforms: int | None = None,
        parameters: Any,
        derivatives: str = "numeric",
        support: Support | None = None,
        discrete: bool = False,
        outcomes: Callable[[np.ndarray], Any] | None = None,
        data: Any = None,
    ) -> None:
        if uniforms is not None and (not isinstance(uniforms, int) or isinstance(uniforms, bool) or uniforms < 1 or not sampler):
            raise LayoutError(
                f"uniforms must be a positive integer, beside sampler=(theta, u) -> observations; got {uniforms!r}."
            )
        if sampler is not None and not callable(sampler):
            raise LayoutError(f"sampler= must be a function of (theta, size, rng); got {sampler!r}.")
        super().__init__(log_density, score=score, hessian=hessian, parameters=parameters, kind=derivatives)
        self._sampler, self.uniforms, self._outcomes = sampler, uniforms, outcomes
        self._support, self._discrete, self._data = support, discrete, data
        self._point: Any = None  # where a frozen family was frozen
        self._center: Callable[[np.ndarray], float] | None = None

    # -- the verbs

    def score(self, theta: Theta = None, *, data: Any = None) -> np.ndarray:
        return self._rows(data, self._at(theta))[1]

    def expected_information(
        self, theta: Theta = None, *, inputs: Any = None, method: Method | None = None, structure: str = "dense"
    ) -> FisherInformation:
        method, at = self._method(method), self._at(theta)
        if isinstance(method, MonteCarlo):
            return self._monte_carlo(at, method, structure)
        matrix, error = over_support(self, at, method) if isinstance(method, Quadrature) else (over_outcomes(self, at), None)
        return self._information(matrix, structure, self.provenance("expected", at, method=method, error_bound=error))

    def _moments(self, at: np.ndarray) -> tuple[Moments, float]:
        return moments_of(self, at)

    def observed_information(self, theta: Theta = None, *, data: Any = None, structure: str = "dense") -> FisherInformation:
        at = self._at(theta)
        rows, s = self._rows(data, at)
        return self._over_rows("observed", -self._summed_hessian(rows, at), rows, s, at, structure)

    def empirical_information(self, theta: Theta = None, *, data: Any = None, structure: str = "dense") -> FisherInformation:
        at = self._at(theta)
        rows, s = self._rows(data, at)
        root = rows.root(s)
        return self._over_rows("empirical", root.T @ root, rows, s, at, structure)

    def log_likelihood(self, theta: Theta = None, *, data: Any = None) -> float:
        if self._log_density is None:
            raise MethodError("this model was given by its score alone: its likelihood needs log_density= too.")
        rows, at = self._read(data), self._at(theta)
        values = derivatives.values(self._log_density, rows.data, at, self._derivatives)
        if np.isnan(values).any():
            i = rows.place(int(np.argmax(np.isnan(values))))
            raise DataError(f"the log-density of observation {i} is nan at theta={at.tolist()}.")
        return float(rows.total(values))

    # -- expectations

    def _methods(self) -> tuple[type[Method], ...]:
        """What this model can do, the preferred one first."""
        possible = ((Exact, self._outcomes), (Quadrature, self._support), (MonteCarlo, self._sampler))
        density = self._log_density is not None
        return tuple(cls for cls, given in possible if given is not None and (density or cls is MonteCarlo))

    def _default_method(self) -> Method:
        methods = self._methods()
        if not methods:
            raise MethodError(
                "this model has no sampler, support or outcomes to take an expectation over: give one (and log_density=)."
            )
        if methods[0] is MonteCarlo:
            raise MethodError("the expected information of a sampler needs method=MonteCarlo(n, rng=...).")
        return Quadrature(digits=5) if methods[0] is Quadrature else methods[0]()

    def _monte_carlo(self, at: np.ndarray, method: MonteCarlo, structure: str) -> FisherInformation:
        if structure == "dense":
            entries = (method.groups or default_groups(len(at)) + 2) * len(at) ** 2
            check_budget(entries, what=f"the dense {len(at)} x {len(at)} information", cheaper="Use structure='diagonal'.")
        return monte_carlo.estimate(self, at, method, structure)

    # -- for Monte Carlo

    def draw(self, at: np.ndarray, size: int, rng: np.random.Generator) -> Any:
        """That many observations."""
        assert self._sampler is not None
        if self.uniforms:
            return self.transform(at, rng.random((size, self.uniforms)))
        return self._drawn(self._sampler(at, size, rng), size)

    def transform(self, at: np.ndarray, u: np.ndarray) -> Any:
        """Observations from uniform numbers."""
        assert self._sampler is not None
        return self._drawn(self._sampler(at, u), len(u))

    # -- for bounds

    def point(self, theta: Theta = None) -> dict[str, Any]:
        return self._labelled(self._at(theta))

    def ratios(
        self, theta: Theta, *, order: int, points: Sequence[Mapping[str, Any]], method: Method | None = None
    ) -> Expectation:
        return ratio_moments(self, self._at(theta), order, points, self._method(method))

    def expectation(self, function: Any, theta: Theta = None, *, method: Method | None = None) -> Expectation:
        return mean(self, function, self._at(theta), self._method(method))

    def nodes(self, theta: Theta, count: int) -> tuple[np.ndarray, np.ndarray]:
        return gauss(view(self), self._at(theta), count)

    def curvature(self, theta: Theta, *, data: Any) -> tuple[np.ndarray, np.ndarray]:
        x, at = self._read(data).data, self._at(theta)
        if self._score is None and self._log_density is not None and self._derivatives != "torch":
            return from_ratios(self._log_density, x, at)
        second = derivatives.hessians(self._log_density, self._score, x, at, self._derivatives)
        return self._raw_scores(x, at)[0], second

    def _method(self, method: Method | None) -> Method:
        method = method or self._default_method()
        require(method, self._methods(), what="this model")
        return method

    # -- data and points

    def used_data(self, data: Any) -> Any:
        return self._data if data is None else data

    def _read(self, data: Any) -> Rows:
        """The rows, their values checked."""
        rows = Rows.of(self.used_data(data))
        return replace(rows, data=read(rows.data))

    def _rows(self, data: Any, at: np.ndarray) -> tuple[Rows, np.ndarray]:
        """The rows, and their scores (n, p)."""
        rows = self._read(data)
        return rows, self._scores(rows.data, at, place=rows.place)

    def _summed_hessian(self, rows: Rows, at: np.ndarray) -> np.ndarray:
        x, score = rows.data, self._score
        if self._hessian is not None:
            h = self._given_hessians(x, at)
            if len(bad := np.argwhere(~np.isfinite(h))):
                place, value = rows.place(bad[0][0]), h[tuple(bad[0])]
                raise DataError(f"the second derivatives of observation {place} are not finite: hessian= gave {value}.")
            return rows.total(h)
        if score is not None and derivatives.is_complex_safe(score, x, at):

            def total(_: Any, t: np.ndarray) -> np.ndarray:  # the sum as one observation
                return np.asarray(rows.total(score(x, t)))[None]

            return np.asarray(derivatives.score_jacobians(total, x[:1], at, total(x, at), how="complex")[0])
        return curvature.hessian(self._log_density, score, x, at, self._derivatives, weights=rows.weights)

    def _drawn(self, draws: Any, size: int) -> Any:
        x = read(draws, name="the sampler's draws")
        if len(x) != size:
            raise LayoutError(f"sampler(theta, {size}, rng) must return {size} observations; got {len(x)}.")
        return x

    def _at(self, theta: Theta) -> np.ndarray:
        theta = self._point if theta is None else theta
        if theta is None:
            raise LayoutError(f"theta is needed: give values for {self.parameters}.")
        leaves: Iterable[Array] = self.parameters.split(theta, name="theta")
        flat = np.asarray(concatenate([np.asarray(leaf, dtype=float) for leaf in leaves]))
        if flat.shape != (self.parameters.size,):
            raise LayoutError(f"theta must be one point, shape ({self.parameters.size},); got {flat.shape}.")
        return flat

    # -- results

    def provenance(self, kind: str, at: np.ndarray, **given: Any) -> Provenance:
        """What a result of this model at a point knows of itself."""
        return Provenance(kind=kind, point=self._labelled(at), **given)

    def _labelled(self, at: np.ndarray) -> dict[str, float]:
        return dict(zip(self.parameters.labels, at.tolist(), strict=True))

    def _over_rows(
        self, kind: str, matrix: np.ndarray, rows: Rows, s: np.ndarray, at: np.ndarray, structure: str
    ) -> FisherInformation:
        provenance = self.provenance(kind, at, n=rows.count(len(s)), sample=rows.sample(s, self._labelled(at)))
        return self._information(matrix, structure, provenance)

    def _information(self, matrix: np.ndarray, structure: str, provenance: Provenance) -> FisherInformation:
        kept = np.diagonal(matrix).copy() if structure == "diagonal" else (matrix + matrix.T) / 2
        return FisherInformation.of(stored(self.parameters, kept), provenance)

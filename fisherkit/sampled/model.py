"""A model given by code: a log-density, perhaps its score, a sampler, and a support."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .. import model, quadrature
from ..arrays import Array, check_budget
from ..errors import DataError, LayoutError, MethodError, PrecisionError, RegularityError
from ..information import FisherInformation
from ..methods import Exact, Method, MonteCarlo, Quadrature, require
from ..model import Theta
from ..parameters import Parameters, concatenate
from ..provenance import Provenance
from ..ratios import gauss
from ..uncertainty import Expectation
from . import derivatives, monte_carlo
from .accumulator import EXACT, stored
from .expectations import mean, ratio_moments, view
from .ratios import from_ratios
from .sums import FULL, default_groups

DIFFERENCES = 1e-9  # what central differences of a score may miss of second derivatives, and
FORWARD = 3e-8  # forward ones
NUMERIC_SCORE = 2e-11  # what differences may miss beside a kink, without noticing

Support = tuple[float, float] | Callable[[np.ndarray], tuple[float, float]]


class Model(model.Model):
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
        if log_density is None and score is None:
            raise LayoutError("a sampled model needs log_density= or score=; found neither.")
        if derivatives not in _derivative_kinds():
            raise MethodError(f"derivatives must be one of {', '.join(_derivative_kinds())}; got {derivatives!r}.")
        if uniforms is not None and (not isinstance(uniforms, int) or isinstance(uniforms, bool) or uniforms < 1 or not sampler):
            raise LayoutError(
                f"uniforms must be a positive integer, beside sampler=(theta, u) -> observations; got {uniforms!r}."
            )
        self.parameters = Parameters.of(parameters)
        self._hessian, self.uniforms = hessian, uniforms
        self._log_density, self._sampler, self._score = log_density, sampler, score
        self._derivatives, self._support, self._discrete = derivatives, support, discrete
        self._outcomes, self._data = outcomes, data
        self._complex_safe: bool | None = None  # whether the score carries a complex step; known after the first draws
        self._point: Any = None  # where a frozen family was frozen
        self._center: Callable[[np.ndarray], float] | None = None

    # -- the verbs

    def score(self, theta: Theta = None, *, data: Any = None) -> np.ndarray:
        x = self._observations(data)
        return self._scores(x, self._at(theta))

    def expected_information(
        self, theta: Theta = None, *, inputs: Any = None, method: Method | None = None, structure: str = "dense"
    ) -> FisherInformation:
        method, at = self._method(method), self._at(theta)
        if isinstance(method, MonteCarlo):
            return self._monte_carlo(at, method, structure)
        if isinstance(method, Quadrature):
            return self._quadrature(at, method, structure)
        return self._enumerate(at, method, structure)

    def observed_information(self, theta: Theta = None, *, data: Any = None, structure: str = "dense") -> FisherInformation:
        x, at = self._observations(data), self._at(theta)
        matrix = -derivatives.hessian(self._log_density, self._score, x, at, self._derivatives)
        return self._information(matrix, structure, self.provenance("observed", at, n=len(x)))

    def empirical_information(self, theta: Theta = None, *, data: Any = None, structure: str = "dense") -> FisherInformation:
        x, at = self._observations(data), self._at(theta)
        s = self._scores(x, at)
        return self._information(s.T @ s, structure, self.provenance("empirical", at, n=len(x)))

    def log_likelihood(self, theta: Theta = None, *, data: Any = None) -> float:
        if self._log_density is None:
            raise MethodError("this model was given by its score alone: its likelihood needs log_density= too.")
        x, at = self._observations(data), self._at(theta)
        values = derivatives.values(self._log_density, x, at, self._derivatives)
        if np.isnan(values).any():
            i = int(np.argmax(np.isnan(values)))
            raise DataError(f"the log-density of observation {i} is nan at theta={at.tolist()}.")
        return float(values.sum())

    # -- expectations

    def _methods(self) -> tuple[type[Method], ...]:
        """What this model can do, the preferred one first."""
        possible = ((Exact, self._outcomes), (Quadrature, self._support), (MonteCarlo, self._sampler))
        return tuple(cls for cls, given in possible if given is not None)

    def _default_method(self) -> Method:
        methods = self._methods()
        if not methods:
            raise MethodError("this model has no sampler, support or outcomes to take an expectation over: give one.")
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
        return self._observations(self._sampler(at, size, rng), size=size)

    def transform(self, at: np.ndarray, u: np.ndarray) -> Any:
        """Observations from uniform numbers."""
        assert self._sampler is not None
        return self._observations(self._sampler(at, u), size=len(u))

    @property
    def hessian_costs(self) -> tuple[int, int] | None:
        """Score evaluations that a draw's second derivatives stand for, rough and fine; None where they are not to be had."""
        p = self.parameters.size
        if self._hessian is not None or (self._derivatives == "torch" and self._score is None):
            return p, p
        if self._score is not None or self._derivatives == "complex":
            return p, 2 * p
        return (2 * p, 2 * p) if p <= FULL else None

    def hessian_rounding(self, how: str, at: np.ndarray, root: np.ndarray) -> np.ndarray:
        """What second derivatives may miss in units of ``root``, the roots of the information's diagonal, for each parameter."""
        far = np.maximum(np.abs(at) * root, 1.0)
        if self._hessian is not None or (self._derivatives == "torch" and self._score is None):
            return np.full(len(at), EXACT)
        if how == "rough" and (self._score is not None or self._derivatives == "complex"):
            return np.asarray(FORWARD * np.sqrt(far))
        return np.full(len(at), EXACT) if self._complex_safe else np.asarray(DIFFERENCES * np.cbrt(far) ** 2)

    def score_and_hessian(
        self, x: Any, at: np.ndarray, *, hessians: str, first: int = 0, omit: bool = False
    ) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """(n, p) scores and (n, p, p) Hessians ("rough", "fine" or none) of draws, and the errors of numeric scores.

        Draws whose score is not finite are refused, or left out.
        """
        s, error = self._raw_scores(x, at)
        if omit:
            keep = np.isfinite(s).all(axis=1)
            x, s, error = x[keep], s[keep], error[keep]
        self._refuse_rough(s, error)
        self._refuse_impossible(s, at, first=first)
        told = error if self._score is None and self._derivatives == "numeric" else None
        if not hessians or not len(s):
            return s, np.zeros((0, len(at), len(at))) if hessians else None, told
        h = self._hessians(x, at, s, hessians)
        if len(bad := np.argwhere(~np.isfinite(h))):
            i = bad[0][0]
            raise PrecisionError(
                f"the second derivatives of draw {first + i} are not finite. Give hessian=, or estimator='outer_product'."
            )
        return s, h, told

    def _hessians(self, x: Any, at: np.ndarray, s: np.ndarray, how: str) -> np.ndarray:
        n, p = len(x), len(at)
        if self._hessian is not None:
            h = np.asarray(self._hessian(x, at), dtype=float)
            if h.shape != (n, p, p):
                raise LayoutError(f"hessian(x, theta) must have shape ({n}, {p}, {p}); got {h.shape}.")
            return h
        score, log = self._score, self._log_density
        if score is None and log is not None and self._derivatives == "torch":
            return derivatives.hessians(log, None, x, at, "torch")
        if score is None and log is not None and self._derivatives == "numeric":
            return from_ratios(log, x, at)[1]
        by = "forward" if how == "rough" else "complex" if self._complex_safe else "central"
        return derivatives.score_jacobians(score or (lambda data, t: self._raw_scores(data, t)[0]), x, at, s, how=by)

    def try_complex_step(self, x: Any, at: np.ndarray) -> int:
        """See once whether the score carries a complex step, so that every worker takes the same derivatives; what that cost."""
        if self._score is None or self._hessian is not None or self._complex_safe is not None:
            return 0
        self._complex_safe = derivatives.is_complex_safe(self._score, x, at)
        return 3 * len(at) * len(x)

    def _enumerate(self, at: np.ndarray, method: Method, structure: str) -> FisherInformation:
        assert self._outcomes is not None
        assert self._log_density is not None
        x = np.asarray(self._outcomes(at))
        mass = np.exp(np.asarray(derivatives.evaluate(self._log_density, x, at, len(x))))
        _check_mass(float(mass.sum()), 1e-8)
        s = self._scores(x, at, possible=mass > 0)
        return self._information((s * mass[:, None]).T @ s, structure, self.provenance("expected", at, method=method))

    def _quadrature(self, at: np.ndarray, method: Quadrature, structure: str) -> FisherInformation:
        if method.digits > 15:
            raise MethodError(f"a log-density in code has 15 digits; got {method!r}. Use a symbolic model for more.")
        moments, error = self._moments(at)
        error += 0.0 if self._score else NUMERIC_SCORE
        _check_settled(error, method)
        _check_mass(moments.mass, max(1e-6, 10 * error))
        self._check_mean_score(moments, error)
        provenance = self.provenance("expected", at, method=method, error_bound=error)
        return self._information(moments.product, structure, provenance)

    def _moments(self, at: np.ndarray) -> tuple[quadrature.Moments, float]:
        support, log_density = self._support_at(at), self._log_density
        assert log_density is not None
        log = lambda x: np.asarray(log_density(x, at))  # noqa: E731 a curried argument
        center = self._center(at) if self._center else quadrature.find_center(log, support)
        score = lambda x: self._raw_scores(x, at)  # noqa: E731 a curried argument
        self._check_ends(at, log, center)
        density = quadrature.Density(log, score, len(at), support, (center,))
        return quadrature.summation(density) if self._discrete else quadrature.integrate(density)

    # -- for bounds

    def point(self, theta: Theta = None) -> dict[str, Any]:
        return dict(zip(self.parameters.labels, self._at(theta).tolist(), strict=True))

    def ratios(
        self, theta: Theta, *, order: int, points: Sequence[Mapping[str, Any]], method: Method | None = None
    ) -> Expectation:
        return ratio_moments(self, self._at(theta), order, points, self._method(method))

    def expectation(self, function: Any, theta: Theta = None, *, method: Method | None = None) -> Expectation:
        return mean(self, function, self._at(theta), self._method(method))

    def nodes(self, theta: Theta, count: int) -> tuple[np.ndarray, np.ndarray]:
        return gauss(view(self), self._at(theta), count)

    def curvature(self, theta: Theta, *, data: Any) -> tuple[np.ndarray, np.ndarray]:
        x, at = self._observations(data), self._at(theta)
        if self._score is None and self._log_density is not None and self._derivatives != "torch":
            return from_ratios(self._log_density, x, at)
        second = derivatives.hessians(self._log_density, self._score, x, at, self._derivatives)
        return self._raw_scores(x, at)[0], second

    def _method(self, method: Method | None) -> Method:
        method = method or self._default_method()
        require(method, self._methods(), what="this model")
        return method

    # -- regularity

    def _support_at(self, at: np.ndarray) -> tuple[float, float]:
        low, high = self._support(at) if callable(self._support) else (self._support or (-np.inf, np.inf))
        if not low < high:
            raise DataError(f"the support at theta={at.tolist()} is ({low}, {high}); it must be an interval.")
        return float(low), float(high)

    def _check_ends(self, at: np.ndarray, log: quadrature.Function, center: float) -> None:
        """An end that moves with a parameter must be met with an order above 1: sqrt(f) differentiable there."""
        here = self._support_at(at)
        for j, label in enumerate(self.parameters.labels):
            step = np.zeros(len(at))
            step[j] = 1e-4 * (abs(at[j]) or 1.0)
            moved = self._support_at(at + step)
            for end, other in zip(here, moved, strict=True):
                if end == other:
                    continue
                order = -1.0 if self._discrete else _end_order(log, end, center)
                if order > 1.02:
                    continue
                condition = "infinite_information" if order > 0.02 else "support_depends_on_parameter"
                raise RegularityError(
                    f"the support ends at {end:.6g}, which moves with {label}, and the density meets it with order {order:.2f}: "
                    f"above 1 is needed ({condition}). Give {label} as known, or use fk.bounds.chapman_robbins_bound.",
                    condition=condition,
                    parameter=label,
                )

    def _check_mean_score(self, moments: quadrature.Moments, error: float) -> None:
        z = np.abs(moments.mean) / np.sqrt(np.maximum(np.diagonal(moments.product), 1e-300))
        if (worst := float(z.max())) > max(1e-5, 100 * error):
            label = self.parameters.label(int(z.argmax()))
            raise RegularityError(
                f"the mean score in {label} is {worst:.2g} standard deviations, not 0: the mass of the density changes with "
                f"{label}. A normalising factor that depends on it is missing.",
                condition="not_normalised",
                parameter=label,
            )

    # -- scores and data

    def _scores(self, x: Any, at: np.ndarray, *, possible: Any = True) -> np.ndarray:
        """(n, p) scores, finite wherever an observation is possible."""
        s, error = self._raw_scores(x, at)
        self._refuse_rough(s, error)
        self._refuse_impossible(s, at, possible=possible)
        return np.where(np.reshape(possible, (-1, 1)), s, 0.0)

    def _refuse_impossible(self, s: np.ndarray, at: np.ndarray, *, possible: Any = True, first: int = 0) -> None:
        if len(bad := np.argwhere(~np.isfinite(s) & np.reshape(possible, (-1, 1)))):
            i, j = bad[0]
            raise DataError(
                f"the score of observation {first + i} in {self.parameters.label(j)} is {s[i, j]} at theta={at.tolist()}: the "
                "observation is impossible there, or the log-density overflows."
            )

    def _refuse_rough(self, s: np.ndarray, error: np.ndarray) -> None:
        """A numeric score must be known to four digits of its parameter's typical one."""
        with np.errstate(invalid="ignore"):
            typical = np.sqrt(np.nanmean(s**2, axis=0))
        if len(rough := np.argwhere(error > 1e-4 * np.maximum(typical, np.abs(s)) + 1e-9)):
            i, j = rough[0]
            raise PrecisionError(
                f"the numeric score of observation {i} in {self.parameters.label(j)} is {s[i, j]:.3g} +- {error[i, j]:.1g}: too "
                "rough. Give score=, or derivatives='torch' or 'complex'."
            )

    def _raw_scores(self, x: Any, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n, p) scores and their error estimates, as they come."""
        if self._score is None:
            assert self._log_density is not None
            return derivatives.scores(self._log_density, x, at, self._derivatives)
        s = np.asarray(self._score(x, at), dtype=float)
        if s.shape != (len(x), len(at)):
            raise LayoutError(f"score(x, theta) must have shape ({len(x)}, {len(at)}); got {s.shape}.")
        return s, np.zeros_like(s)

    def _observations(self, data: Any, *, size: int | None = None) -> Any:
        data = self._data if data is None else data
        if data is None:
            raise DataError("observations are needed: give data=.")
        array = data if hasattr(data, "shape") else np.asarray(data)
        if array.ndim == 0 or len(array) == 0:
            raise DataError(f"data must hold at least one observation along its first axis; got shape {tuple(array.shape)}.")
        if size is not None and len(array) != size:
            raise LayoutError(f"sampler(theta, {size}, rng) must return {size} observations; got {len(array)}.")
        values = np.asarray(array)
        if values.dtype.kind not in "fiub":
            raise DataError(f"data must be real numbers; got dtype {values.dtype}.")
        if len(bad := np.argwhere(~np.isfinite(values))):
            raise DataError(f"data must be finite; entry {tuple(bad[0].tolist())} is {values[tuple(bad[0])]}.")
        return array

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
        return Provenance(kind=kind, point=dict(zip(self.parameters.labels, at.tolist(), strict=True)), **given)

    def _information(self, matrix: np.ndarray, structure: str, provenance: Provenance) -> FisherInformation:
        kept = np.diagonal(matrix).copy() if structure == "diagonal" else (matrix + matrix.T) / 2
        return FisherInformation.of(stored(self.parameters, kept), provenance)


def _derivative_kinds() -> tuple[str, ...]:
    return derivatives.KINDS


def _check_settled(error: float, method: Quadrature) -> None:
    if not error <= 10.0**-method.digits:
        raise PrecisionError(
            f"{method!r} was asked for; the quadrature of E[s s'] reaches a relative error of {error:.1g} only. The "
            "information may be infinite, the density may have kinks or heavy tails; a symbolic model or "
            "method=MonteCarlo(n) may help."
        )


def _check_mass(mass: float, tolerance: float) -> None:
    if not abs(mass - 1) < tolerance:
        raise RegularityError(
            f"the density has mass {mass:.8g} over its support, not 1: a factor is missing, or the support is wrong.",
            condition="not_normalised",
        )


def _end_order(log: quadrature.Function, end: float, center: float) -> float:
    """q in f ~ d^q at distance d from the end, read from the log-density."""
    d = abs(center - end) * np.array([1e-6, 1e-8])
    with np.errstate(all="ignore"):
        near, nearer = np.asarray(log(end + np.sign(center - end) * d), dtype=float)
    return float((near - nearer) / np.log(100)) if np.isfinite(near) else float("inf")

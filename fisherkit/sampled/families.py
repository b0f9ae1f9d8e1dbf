"""The families of ``scipy.stats`` as models: the old generic and frozen ones, and the new infrastructure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .. import model
from ..errors import LayoutError, MethodError, PrecisionError, RegularityError
from ..information import FisherInformation
from ..methods import Method
from ..model import Theta
from ..quadrature import Moments
from ..uncertainty import Expectation
from .derivatives import scores
from .exact import check_ends, support_at
from .kinks import find_ends
from .model import Model
from .multivariate import MultivariateNormal, model_of, normal_of
from .standard_form import Scores, StandardForm

WRONG = 3.0  # times what the mass and the mean scores miss, E[s s'] may
STANDARD = {"loc": 0.0, "scale": 1.0}


class Family(model.Model):
    """A ``scipy.stats`` family, univariate or the multivariate normal; its parameters are those that theta names.

    Parameters
    ----------
    distribution : rv_continuous, rv_discrete, multivariate_normal, one of them frozen, or one of the new infrastructure
    fixed : mapping from name to value, optional
        Parameters that are known: integers (the n of a binomial), or any other.

    Notes
    -----
    Nothing is known of a family but its log-density, support, quantiles and sampler. ``loc`` and ``scale`` are
    parameters only where they are named: a gamma at ``{"a": 2.0, "scale": 3.0}`` has two. The multivariate normal has ``mean``
    and ``cov``, given as a matrix; the information is that of its lower triangle by rows.

    Examples
    --------
    >>> F = fk.expected_information(scipy.stats.gamma, {"a": 2.0, "scale": 3.0})
    >>> np.round(F.dense(), 6)
    array([[0.644934, 0.333333],
           [0.333333, 0.222222]])
    """

    counts_rows = True

    def __init__(self, distribution: Any, *, fixed: Mapping[str, Any] | None = None) -> None:
        self._fixed = dict(fixed or {})
        self._normal = normal_of(distribution)
        if self._normal is None:
            self._make, self._own = _reader(distribution)

    def score(self, theta: Theta = None, *, data: Any) -> np.ndarray:
        return self.model(theta).score(data=data)

    def expected_information(
        self, theta: Theta = None, *, inputs: Any = None, method: Method | None = None, structure: str = "dense"
    ) -> FisherInformation:
        return self.model(theta).expected_information(method=method, structure=structure)

    def observed_information(self, theta: Theta = None, *, data: Any, structure: str = "dense") -> FisherInformation:
        return self.model(theta).observed_information(data=data, structure=structure)

    def empirical_information(self, theta: Theta = None, *, data: Any, structure: str = "dense") -> FisherInformation:
        return self.model(theta).empirical_information(data=data, structure=structure)

    def point(self, theta: Theta = None) -> dict[str, Any]:
        return self.model(theta).point(None)

    def ratios(
        self, theta: Theta, *, order: int, points: Sequence[Mapping[str, Any]], method: Method | None = None
    ) -> Expectation:
        return self.model(theta).ratios(None, order=order, points=points, method=method)

    def expectation(self, function: Any, theta: Theta = None, *, method: Method | None = None) -> Expectation:
        return self.model(theta).expectation(function, None, method=method)

    def curvature(self, theta: Theta, *, data: Any) -> tuple[np.ndarray, np.ndarray]:
        return self.model(theta).curvature(None, data=data)

    def log_likelihood(self, theta: Theta = None, *, data: Any) -> float:
        return self.model(theta).log_likelihood(data=data)

    def _is_integer(self, name: str, values: Mapping[str, Any]) -> bool:
        """A family may call a parameter an integer and yet take fractions (the n of a negative binomial)."""
        moved = [self._make({**self._fixed, **values, name: values[name] + step}).support() for step in (-0.25, 0.25)]
        return name == "loc" or bool(np.isnan(moved).any(axis=1).all())

    def model(self, theta: Theta = None) -> Model | MultivariateNormal:
        """The model with the parameters that theta names, at theta."""
        if self._normal is not None:
            return model_of(self._normal, theta, self._fixed)
        if not isinstance(theta, Mapping) and theta is not None:
            raise LayoutError(f"a scipy family needs theta as a mapping from parameter name to value; got {theta!r}.")
        values = {str(k): v for k, v in (self._own if theta is None else theta).items() if str(k) not in self._fixed}
        if not values:
            raise LayoutError("theta must name at least one parameter, for example {'loc': 0.0, 'scale': 1.0}.")
        if integers := [name for name in self._make.integers if name in values and self._is_integer(name, values)]:
            raise RegularityError(
                f"{integers[0]} is an integer: the density has no derivative in it. "
                f"Give it as known: fk.sampled.Family(..., fixed={{{integers[0]!r}: {values[integers[0]]!r}}}).",
                condition="integer_parameter",
                parameter=integers[0],
            )
        return _model_of(self._make, values, self._fixed)


def _model_of(maker: _Maker, values: Mapping[str, Any], fixed: Mapping[str, Any]) -> Model:
    names = tuple(values)
    point = np.array([float(value) for value in values.values()])
    with np.errstate(all="ignore"):
        low, high = map(float, maker({**fixed, **dict(zip(names, point, strict=True))}).support())
    if not low < high:
        given = ", ".join(f"{name}={value:g}" for name, value in zip(names, point, strict=True))
        raise LayoutError(f"{given} is outside the domain of the family: its support there is ({low}, {high}).")
    return _FamilyModel(maker, names, fixed, point)


class _FamilyModel(Model):
    """A family in the parameters named; its quadrature knows more than that of any log-density."""

    def __init__(self, maker: _Maker, names: tuple[str, ...], fixed: Mapping[str, Any], point: np.ndarray) -> None:
        self._maker, self._names, self._fixed = maker, names, dict(fixed)
        super().__init__(
            _LogDensity(maker, names, fixed),
            sampler=lambda at, size, rng: _draw(maker(self._known(at)), size, rng),
            parameters=names,
            support=lambda at: maker.support(self._known(at)),
            discrete=maker.discrete,
        )
        self._point = point
        self._center = (lambda at: float(maker(self._known(at)).median())) if maker.discrete else None

    def _known(self, at: np.ndarray) -> dict[str, Any]:
        return {**self._fixed, **dict(zip(self._names, at, strict=True))}

    def _moments(self, at: np.ndarray) -> tuple[Moments, float]:
        found, error = super()._moments(at) if self._discrete else self._continuous(at)
        return found, error + WRONG * found.amiss  # a log-density that is slightly wrong in some region shows there

    def _continuous(self, at: np.ndarray) -> tuple[Moments, float]:
        values = self._known(at)
        if not self._maker.shifts:
            return self._form(values, lambda x: self._raw_scores(x, at))
        scale = float(values.get("scale", 1.0))
        own = [name for name in self._names if name not in STANDARD]
        known = {name: value for name, value in values.items() if name not in (*own, *STANDARD)}
        partial, there = _LogDensity(self._maker, tuple(own), known), np.array([values[name] for name in own])
        found, error = self._form(values, lambda z: scores(partial, z, there, "numeric"))
        with np.errstate(over="ignore"):
            found = found.rescaled(np.array([1 / scale if name in STANDARD else 1.0 for name in self._names]))
        if not np.isfinite(found.product).all():
            raise PrecisionError(f"the information at scale={scale:g} is larger than any machine number: measure in other units.")
        return found, error

    def _form(self, values: Mapping[str, Any], shapes: Scores) -> tuple[Moments, float]:
        """At loc = 0 and scale = 1 where the family has them."""
        place = STANDARD if self._maker.shifts else {}
        at = np.array([place.get(name, values[name]) for name in self._names])
        fixed = {name: place.get(name, value) for name, value in self._fixed.items()}
        free = {name: value for name, value in values.items() if name not in place}
        twin = _FamilyModel(self._maker, self._names, fixed, at)
        center = None if place else float(self._maker(values).median())
        form = StandardForm.of(lambda z: self._maker.log(z, free), shapes, self._names, support_at(twin, at), center)
        if form.support != (said := support_at(twin, at)):  # it has ends that the family does not tell
            log = _LogDensity(self._maker, self._names, fixed)
            twin._support = lambda t: find_ends(lambda x: log(x, t), said, form.center, form.spread)
        if not form.period:
            twin._check_inside(at)
            check_ends(twin, at, form.center)
        return form.moments()

    def _check_inside(self, at: np.ndarray) -> None:
        """A derivative needs room on both sides of a parameter."""
        for j, name in enumerate(self._names):
            step = np.zeros(len(at))
            step[j] = 1e-4 * (abs(at[j]) or 1.0)
            with np.errstate(all="ignore"):
                ends = [self._maker.support(self._known(t)) for t in (at - step, at + step)]
            if np.isnan(ends).any():
                raise RegularityError(
                    f"{name}={at[j]:g} lies at the boundary of its domain, where the density has no derivative in it. "
                    f"Give {name} as known: fk.sampled.Family(..., fixed={{{name!r}: {at[j]:g}}}).",
                    condition="parameter_on_boundary",
                    parameter=name,
                )


class _LogDensity:
    """The log-density of a family in the parameters named, at one point or at many in one call."""

    def __init__(self, maker: _Maker, names: tuple[str, ...], fixed: Mapping[str, Any]) -> None:
        self._maker, self._names, self._fixed = maker, names, fixed

    def __call__(self, x: Any, at: np.ndarray) -> np.ndarray:
        return self._maker.log(x, {**self._fixed, **dict(zip(self._names, at, strict=True))})

    def many(self, x: Any, points: np.ndarray) -> np.ndarray:
        """(n, m) log-densities of n observations at m points."""
        columns = {name: points[:, j] for j, name in enumerate(self._names)}
        return self._maker.log(np.asarray(x)[:, None], {**self._fixed, **columns})

    def sizes(self, at: np.ndarray) -> np.ndarray:
        """Of the parameters: a location is as large as the scale, where the family has one."""
        known = {**self._fixed, **dict(zip(self._names, at, strict=True))}
        spread = abs(float(known.get("scale", 1.0)))
        return np.array([spread if name == "loc" else abs(v) or 1.0 for name, v in zip(self._names, at, strict=True)])


class _Maker:
    """Builds a frozen distribution from parameter values, and knows which of its parameters are integers."""

    def __init__(self, build: Callable[..., Any], names: set[str], integers: set[str], *, discrete: bool) -> None:
        self._build, self._names = build, names
        self.integers, self.discrete = integers, discrete
        self._log = "logpmf" if discrete else "logpdf"
        self.shifts = not discrete and hasattr(build, "_shape_info")  # loc and scale are what they are in every old family

    def log(self, x: Any, values: Mapping[str, Any]) -> np.ndarray:
        """The log-density; the old infrastructure is asked without freezing, which would take most of the time."""
        with np.errstate(all="ignore"):  # far out a density may overflow on its way to 0
            if not hasattr(self._build, "_shape_info"):
                return np.asarray(getattr(self(values), self._log)(x), dtype=float)
            return np.asarray(getattr(self._build, self._log)(x, **values), dtype=float)

    def support(self, values: Mapping[str, Any]) -> tuple[float, float]:
        own: Any = self._build
        low, high = own.support(**values) if hasattr(own, "_shape_info") else self(values).support()
        return float(low), float(high)

    def __call__(self, values: Mapping[str, Any]) -> Any:
        if unknown := sorted(set(values) - self._names):
            raise LayoutError(f"unknown parameter {', '.join(unknown)}; the family has {', '.join(sorted(self._names))}.")
        try:
            return self._build(**values)
        except (TypeError, ValueError) as error:
            raise LayoutError(f"the family takes {', '.join(sorted(self._names))}; got {', '.join(values)}: {error}.") from None


def _reader(distribution: Any) -> tuple[_Maker, dict[str, float]]:
    """How to build the distribution, and the parameters at which it is frozen, if it is."""
    from scipy import stats

    if isinstance(distribution, (stats.rv_continuous, stats.rv_discrete)):
        return _old(distribution), {}
    if isinstance(distribution, stats.distributions.rv_frozen):
        maker, dist = _old(distribution.dist), distribution.dist
        order = [info.name for info in dist._shape_info()] + ["loc", "scale"]
        return maker, {**dict(zip(order, distribution.args, strict=False)), **distribution.kwds}
    return _new(distribution)


def _old(dist: Any) -> _Maker:
    from scipy import stats

    shapes = dist._shape_info()
    discrete = isinstance(dist, stats.rv_discrete)
    names = {info.name for info in shapes} | ({"loc"} if discrete else {"loc", "scale"})
    integers = {info.name for info in shapes if info.integrality} | ({"loc"} if discrete else set())
    return _Maker(dist, names, integers, discrete=discrete)


def _new(distribution: Any) -> tuple[_Maker, dict[str, float]]:
    """The new infrastructure: a class is built by keywords; an object tells its parameters."""
    cls: Any = distribution if isinstance(distribution, type) else type(distribution)
    bases = {base.__name__ for base in cls.__mro__}
    if not bases & {"ContinuousDistribution", "DiscreteDistribution"} or "TransformedDistribution" in bases:
        raise MethodError(
            f"{cls.__name__} is not a univariate scipy.stats family. Write it as "
            "fk.sampled.Model(log_density, sampler=..., parameters=...)."
        )
    own = {} if isinstance(distribution, type) else {k: float(v) for k, v in distribution._original_parameters.items()}
    names = {name for option in cls._parameterizations for name in option.parameters}
    discrete = "DiscreteDistribution" in bases
    return _Maker(cls, names, names if discrete else set(), discrete=discrete), own


def _draw(distribution: Any, size: int, rng: np.random.Generator) -> np.ndarray:
    if hasattr(distribution, "rvs"):
        return np.asarray(distribution.rvs(size=size, random_state=rng))
    return np.asarray(distribution.sample(size, rng=rng))

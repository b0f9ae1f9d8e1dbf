"""Bounds when parameters are random: all of them, with a prior (van Trees), or some (hybrid)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial, reduce
from itertools import product
from operator import add
from typing import Any

import numpy as np

from .. import jacobians
from ..arrays import Array, as_entries, family, is_expression, public
from ..errors import DataError, FisherkitError, LayoutError, MethodError, PrecisionError
from ..information import FisherInformation
from ..methods import Method
from ..model import Model, Theta, as_location_family, as_model
from ..verbs import expected_information
from .bound import Bound, between
from .functions import expressions, jacobian_of

NODES = (6, 10, 16, 24)  # of a Gauss rule for each random parameter
AGREE = 1e-6


def van_trees_bound(source: Any, *, prior: Any, of: Any = None, n: Any = 1, method: Method | None = None) -> Bound:
    r"""Lower bound on the mean squared error of any estimator, biased or not, averaged over a prior.

    :math:`E[(\hat g - g)(\hat g - g)^\top] \succeq \bar G\, (n\, E_\pi[I(\theta)] + J_\pi)^{-1} \bar G^\top`, with
    :math:`\bar G = E_\pi[\partial g / \partial\theta]` and the prior's own information
    :math:`J_\pi = E_\pi[\nabla\log\pi\, \nabla\log\pi^\top]`.

    Parameters
    ----------
    source : model, or FisherInformation
        A model, or an information in symbols, is averaged over the prior here. An information in numbers is taken for that
        average:
        right where it does not depend on the parameters, or where it was averaged before.
    prior : distribution, mapping from name to distribution, array (p, p), or FisherInformation
        A continuous ``sympy.stats`` variable, a frozen ``scipy.stats`` family or a model, for one parameter; a mapping for
        several
        independent ones; a symbolic model whose data symbols bear the parameters' names, for a joint prior; or the matrix
        :math:`J_\pi` itself, for example ``n=0`` information of a Gaussian prior.
    of : SymPy expression, or several; or callable, shape (p,) -> (q,) or number; optional
        The function g; the parameters themselves by default.
    n : int or expression
        How many independent observations of a model. A FisherInformation brings its own.
    method : Method, optional
        How the expectations of a model are taken.

    Returns
    -------
    Bound
        ``covariance`` of shape (q, q): of the mean squared error, in units of g squared; ``mcse`` where information was
        estimated.

    Raises
    ------
    RegularityError
        When the prior does not vanish at the ends of its support, so that it carries no finite information.
    DataError
        When the prior's information is not positive definite.
    LayoutError
        When a parameter has no prior: `hybrid_bound` is for those.

    Notes
    -----
    Holds for every estimator, where the Cramer-Rao bound asks for unbiased ones, but on average over the prior. By Jensen's
    inequality
    it is never above the mean of the Cramer-Rao bound over the prior; the two meet as n grows where I does not depend on theta.
    It is attained
    when the posterior is Gaussian with a constant covariance. In numbers the average is a Gauss rule of each prior, grown until
    two agree to 1e-6.

    References
    ----------
    van Trees (1968), Detection, Estimation, and Modulation Theory, part I, section 2.4; Gill & Levit (1995), Applications of the
    van
    Trees inequality, Bernoulli 1, 59-79.

    Examples
    --------
    >>> mu, tau, n = sympy.Symbol("mu", real=True), sympy.Symbol("tau", positive=True), sympy.Symbol("n", positive=True)
    >>> from sympy.stats import Normal
    >>> normal, prior = Normal("X", mu, 1), Normal("M", 0, tau)
    >>> fk.van_trees_bound(normal, prior={"mu": prior}, n=n).covariance  # attained by the posterior mean
    Matrix([[tau**2/(n*tau**2 + 1)]])
    """
    return _bayesian(source, None, prior, of, n, method, everywhere=True)


def hybrid_bound(
    source: Any, theta: Theta = None, *, prior: Any, of: Any = None, n: Any = 1, method: Method | None = None
) -> Bound:
    r"""Lower bound when some parameters are random, with a prior, and the others are not.

    For estimators unbiased in the fixed parameters, :math:`\bar G\, (n\, E_\pi[I] + J)^{-1} \bar G^\top`, with the average over
    the random
    parameters alone, and J the prior's information in their block and zero elsewhere.

    Parameters
    ----------
    source, of, n, method
        As for `van_trees_bound`.
    theta : mapping from name to number, optional
        The fixed parameters, where the model answers in numbers. In symbols they stay as they are.
    prior : mapping from name to distribution, or FisherInformation about the random parameters

    Returns
    -------
    Bound
        ``covariance`` of shape (q, q), in the order of the information's parameters.

    Notes
    -----
    Never above the Cramer-Rao bound of the averaged information: a prior helps. Between `cramer_rao_bound`, no prior, and
    `van_trees_bound`, a prior for all. Sharper than treating random nuisances as fixed and unknown; weaker than integrating them
    out of the
    density, which is `cramer_rao_bound` of the marginal model (Miller & Chang 1978).

    References
    ----------
    Rockah & Schultheiss (1987), Array shape calibration using sources in unknown locations, IEEE Trans. Acoust. Speech Signal
    Process. 35,
    286-299; Miller & Chang (1978), A modified Cramer-Rao bound and its applications, IEEE Trans. Inform. Theory 24, 398-400.

    Examples
    --------
    >>> F = 10 * fk.FisherInformation([[2.0, 1.0], [1.0, 1.0]], parameters=("a", "b"))
    >>> fk.bounds.hybrid_bound(F, prior={"b": scipy.stats.norm(0, 0.1)}).covariance.round(6)
    array([[ 0.052381, -0.004762],
           [-0.004762,  0.009524]])
    """
    return _bayesian(source, theta, prior, of, n, method, everywhere=False)


def _bayesian(source: Any, theta: Theta, prior: Any, of: Any, n: Any, method: Method | None, *, everywhere: bool) -> Bound:
    given = isinstance(source, FisherInformation)
    if given and not (not is_expression(n) and n == 1):
        raise LayoutError("n= belongs to a model; a FisherInformation brings its own: source.total(n).")
    model = None if given else as_model(source)
    names = _names(source, model, theta, prior)
    J, laws = _prior(prior, names)
    if everywhere and (lacking := [name for name in names if name not in J.parameters.names]):
        raise LayoutError(f"van_trees_bound needs a prior for {', '.join(lacking)} too. Where it is not random: hybrid_bound.")
    F = source if model is None else _of_model(model, theta, laws, n, method)
    mean, gradient = _averaged(F, laws, of, names) if not isinstance(F, _Numeric) else F.averaged(laws, of, names)
    total = mean + _embedded(J, mean)

    def bound(information: FisherInformation) -> Any:
        return between(information, gradient)

    return Bound(bound(total), total.mcse_of(bound))


# -- priors

Laws = dict[str, Model]  # the location family of each random parameter; a joint one under every name


def _names(source: Any, model: Model | None, theta: Theta, prior: Any) -> tuple[str, ...]:
    if model is None:
        if not source.parameters.is_flat:
            raise LayoutError(f"a prior needs scalar parameters; found {source.parameters}.")
        return tuple(source.parameters.names)
    with suppress(FisherkitError, AttributeError):
        return tuple(model.point(None))
    fixed = [str(name) for name in (theta or {})]
    random = (
        list(prior.parameters.names)
        if isinstance(prior, FisherInformation)
        else list(map(str, prior))
        if isinstance(prior, Mapping)
        else []
    )
    return (*random, *(name for name in fixed if name not in random))


def _prior(prior: Any, names: Sequence[str]) -> tuple[FisherInformation, Laws]:
    """The prior's information, and the laws that averages are taken over; none where it is a matrix."""
    if isinstance(prior, FisherInformation) or _is_matrix(prior):
        J = prior if isinstance(prior, FisherInformation) else FisherInformation(prior, parameters=names, n=0)
        if unknown := sorted(set(J.parameters.names) - set(names)):
            raise LayoutError(f"the prior is about {', '.join(unknown)}; the parameters are {', '.join(names)}.")
        _check_definite(J)
        return J, {}
    laws = _laws(prior, names)
    parts = [_information(law, [name for name in laws if laws[name] is law]) for law in dict.fromkeys(laws.values())]
    return _side_by_side(parts), laws


def _is_matrix(prior: Any) -> bool:
    return isinstance(prior, (np.ndarray, list)) or hasattr(prior, "tolist") or type(prior).__module__.startswith("torch")


def _laws(prior: Any, names: Sequence[str]) -> Laws:
    if isinstance(prior, Mapping):
        laws = {str(name): as_location_family(law) for name, law in prior.items()}
        several = [name for name, law in laws.items() if law.parameters.size != 1]
        if several:
            raise LayoutError(f"the prior of {several[0]} is of several variables: give a joint prior as one model.")
    else:
        law = as_location_family(prior)
        data = [str(x) for x in getattr(law, "data", ())]
        joint = law.parameters.size > 1 or (len(names) > 1 and data[:1] and data[0] in names)
        laws = dict.fromkeys(data if joint else names[:1], law)
        if not joint and len(names) > 1:
            raise LayoutError(f"one prior for {', '.join(names)}: give a mapping from name to distribution.")
    if unknown := sorted(set(laws) - set(names)):
        raise LayoutError(f"the prior names {', '.join(unknown)}; the parameters are {', '.join(names)}.")
    return laws


def _information(law: Model, names: Sequence[str]) -> FisherInformation:
    """That of the shifts, at shift 0."""
    F = expected_information(law, dict.fromkeys(law.parameters.names, 0) if not _is_symbolic(law) else None)
    matrix = as_entries(F.dense())
    if family(matrix) == "sympy":
        zero = dict.fromkeys(law.point(None).values(), 0)
        matrix = np.array([value.subs(zero) for value in matrix.flat], dtype=object).reshape(matrix.shape)
    return FisherInformation(public(matrix), parameters=names, n=0)


def _is_symbolic(law: Model) -> bool:
    return hasattr(law, "data") and any(is_expression(value) for value in law.point(None).values())


def _side_by_side(parts: Sequence[FisherInformation]) -> FisherInformation:
    names = [name for part in parts for name in part.parameters.names]
    blocks = [as_entries(part.dense()) for part in parts]
    exact = any(block.dtype == object for block in blocks)
    out = np.zeros((len(names), len(names)), dtype=object if exact else float)
    start = 0
    for block in blocks:
        out[start : start + len(block), start : start + len(block)] = block
        start += len(block)
    return FisherInformation(out if not exact else public(as_entries(out)), parameters=names, n=0)


def _check_definite(J: FisherInformation) -> None:
    entries = as_entries(J.dense())
    if family(entries) == "sympy" and any(value.free_symbols for value in entries.flat):
        return
    values = np.linalg.eigvalsh(np.asarray(as_entries(entries).tolist(), dtype=float))
    diagonal = np.asarray(entries.diagonal().tolist(), dtype=float)
    singular = not np.all(diagonal > 0) or J.rank < len(diagonal)
    if values[0] <= 0 or singular:
        raise DataError(
            f"the information of a prior must be positive definite; the smallest eigenvalue found is {values[0]:.3g}. "
            f"Parameters without "
            "a prior are for hybrid_bound."
        )


def _embedded(J: FisherInformation, like: FisherInformation) -> FisherInformation:
    """The prior's information among all parameters: zero for those that have none."""
    if set(J.parameters.names) == set(like.parameters.names):
        return J
    positions = [like.parameters.names.index(name) for name in J.parameters.names]
    block = as_entries(J.dense())
    out = np.zeros((like.parameters.size,) * 2, dtype=block.dtype)
    out[np.ix_(positions, positions)] = block
    return FisherInformation(public(as_entries(out)), parameters=like.parameters.names, n=0)


# -- averages in symbols


def _of_model(model: Model, theta: Theta, laws: Laws, n: Any, method: Method | None) -> Any:
    """The model's information as a formula where it has one, else as a function of numbers."""
    with suppress(MethodError, LayoutError):
        if theta is None and method is None:
            return n * expected_information(model)
    if not laws:
        raise LayoutError(
            "a model is averaged over distributions: give prior= as such, or the averaged information in place of the model."
        )
    return _Numeric(model, {str(k): v for k, v in (theta or {}).items()}, n, method)


def _averaged(F: FisherInformation, laws: Laws, of: Any, names: Sequence[str]) -> tuple[FisherInformation, Array | None]:
    """E of the information and of the gradient of g, entry by entry."""
    entries = as_entries(F.dense())
    gradient = None if of is None else _gradient(of, F)
    if family(entries) != "sympy":
        if laws and F.point is not None and any(name in laws for name in F.point):
            at = ", ".join(f"{name}={value}" for name, value in F.point.items())
            raise LayoutError(
                f"the information was taken at one point ({at}), and its mean over the prior is needed: give the model. Where "
                f"it does not "
                "depend on the parameters: FisherInformation(F.dense(), parameters=F.parameters)."
            )
        return F, _mean_numbers(gradient, laws)
    try:
        moved = _mean(entries, laws)
        gradient = gradient if gradient is None else _mean(gradient, laws)
    except MethodError:
        if not all(str(s) in laws for value in entries.flat for s in value.free_symbols):
            raise
        return _Formula(F).averaged(laws, of, names)
    return FisherInformation(public(moved), parameters=F.parameters, n=F.n), gradient


def _mean_numbers(gradient: Array | None, laws: Laws) -> Array | None:
    if gradient is None or gradient.dtype != object:
        return gradient
    moved = _mean(gradient, laws)
    return moved.astype(float) if all(value.is_number for value in moved.flat) else moved


def _gradient(of: Any, F: FisherInformation) -> Array:
    if callable(of):
        raise LayoutError("the mean gradient over a prior needs of= as SymPy expressions here.")
    jacobian = jacobian_of(expressions(of), F.parameters.labels)
    return (
        jacobian
        if any(v.free_symbols for v in jacobian.flat) or family(as_entries(F.dense())) == "sympy"
        else jacobian.astype(float)
    )


def _mean(entries: Array, laws: Laws) -> Array:
    """E over each law in turn, in closed form."""
    for law in dict.fromkeys(laws.values()):
        names = [name for name in laws if laws[name] is law]
        symbols = {str(s): s for value in entries.flat for s in value.free_symbols if str(s) in names}
        if not symbols:
            continue
        if not _is_symbolic(law):
            raise MethodError("a prior in numbers has no closed forms.")
        data: tuple[Any, ...] = law.data  # type: ignore[attr-defined]
        there = {symbols[name]: x for name, x in zip(names, data, strict=True) if name in symbols}
        flat = [value.subs(there) for value in entries.flat]
        found = law.expectation(flat, None, method=None).value
        zero = dict.fromkeys(law.point(None).values(), 0)
        entries = as_entries(np.array([*(v.subs(zero) for v in found), None], dtype=object)[:-1].reshape(entries.shape))
    return entries


# -- averages in numbers


class _Numeric:
    """The information of a model as a function of the random parameters."""

    def __init__(self, model: Model, fixed: Mapping[str, Any], n: Any, method: Method | None) -> None:
        self.model, self.fixed, self.n, self.method = model, fixed, n, method

    def at(self, values: Mapping[str, float], names: Sequence[str]) -> FisherInformation:
        point = {name: values.get(name, self.fixed.get(name)) for name in names}
        if missing := [name for name, value in point.items() if value is None]:
            raise LayoutError(f"numbers need every parameter: give theta={{{missing[0]!r}: ...}}, or a prior for it.")
        F: FisherInformation = self.n * expected_information(self.model, point, method=self.method)
        return F

    def averaged(self, laws: Laws, of: Any, names: Sequence[str]) -> tuple[FisherInformation, Array | None]:
        before: tuple[Array, Array | None] | None = None
        for count in NODES:
            mean, gradient = self._rule(laws, of, names, count)
            now = as_entries(mean.dense()), gradient
            if before is not None and _agree(before[0], now[0]) and (gradient is None or _agree(before[1], gradient)):
                return mean, gradient
            before = now
        raise PrecisionError("the mean of the information over the prior does not settle: it may be infinite there.")

    def _rule(self, laws: Laws, of: Any, names: Sequence[str], count: int) -> tuple[FisherInformation, Array | None]:
        rules = {name: _gauss(law, count) for name, law in laws.items()}
        parts: list[FisherInformation] = []
        slopes: list[Array] = []
        for picked in product(*(range(count) for _ in rules)):
            at = {name: float(rules[name][0][k]) for name, k in zip(rules, picked, strict=True)}
            weight = float(np.prod([rules[name][1][k] for name, k in zip(rules, picked, strict=True)]))
            if weight > 1e-12:
                parts.append(weight * self.at(at, names))
                if of is not None:
                    slopes.append(weight * _slope(of, {**self.fixed, **at}, names))
        return reduce(add, parts), sum(slopes) if slopes else None


class _Formula(_Numeric):
    """The same for an information in symbols."""

    def __init__(self, formula: FisherInformation) -> None:
        self.formula, self.fixed = formula, {}

    def at(self, values: Mapping[str, float], names: Sequence[str]) -> FisherInformation:
        return self.formula.at(values)


def _slope(of: Any, at: Mapping[str, Any], names: Sequence[str]) -> Array:
    flat = np.array([float(at[name]) for name in names])
    if callable(of):
        return jacobians.differentiate(of, flat, name="of")
    jacobian = jacobian_of(expressions(of), names)
    return np.array([[float(v.subs({s: at[str(s)] for s in v.free_symbols})) for v in row] for row in jacobian])


def _agree(before: Array, now: Array) -> bool:
    size = float(np.abs(np.asarray(now.tolist(), dtype=float)).max())
    return bool(np.all(np.abs(np.asarray((now - before).tolist(), dtype=float)) <= AGREE * size))


def _gauss(law: Model, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of the prior's own Gauss rule, from the recurrence of its orthogonal polynomials (Stieltjes)."""
    start = dict.fromkeys(law.parameters.names, 0)

    def mean(function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        return np.asarray(law.expectation(function, start, method=None).value, dtype=float)

    first, second = mean(lambda x: np.stack([x, x**2], axis=1))
    center, size = first, np.sqrt(second - first**2)
    alphas, betas = np.zeros(count), np.zeros(count)

    def polynomials(x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        z = (x - center) / size
        before, now = np.zeros_like(z), np.ones_like(z)
        for j in range(k):
            before, now = now, ((z - alphas[j]) * now - np.sqrt(betas[j]) * before) / np.sqrt(betas[j + 1])
        return z, now

    def slope(x: np.ndarray, k: int) -> np.ndarray:
        z, now = polynomials(x, k)
        return np.asarray(z * now**2)[:, None]

    def square(x: np.ndarray, k: int) -> np.ndarray:
        return np.asarray(polynomials(x, k)[1] ** 2)[:, None]

    for k in range(count):
        alphas[k] = mean(partial(slope, k=k))[0]
        if k + 1 < count:
            betas[k + 1] = 1.0
            betas[k + 1] = mean(partial(square, k=k + 1))[0]
    off = np.sqrt(betas[1:])
    nodes, vectors = np.linalg.eigh(np.diag(alphas) + np.diag(off, 1) + np.diag(off, -1))
    return center + size * nodes, vectors[0] ** 2

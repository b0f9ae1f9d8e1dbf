r"""The exponential family in a log-density: :math:`\log f = \eta(\theta)^\top T(x) - A(\theta) + \log h(x)`.

The log-density is expanded into products of a function of the parameters and one of the data. The sum of such products is
made as short as it can be: equal statistics are added up, and weights or statistics that depend on each other linearly are
merged, so that the representation is minimal (Barndorff-Nielsen 1978, section 8.1; Brown 1986, chapter 1).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import mpmath
import sympy as sp

from ..errors import MethodError, PrecisionError, RegularityError
from ..information import FisherInformation
from ..methods import Exact
from . import closed_forms
from .deadline import Expired, deadline
from .support import Support
from .tidy import tidy

if TYPE_CHECKING:
    from .model import Model

SECONDS = 5.0  # for the integral that tells whether the density is one
Terms = dict[Any, Any]  # weights by statistic; the statistic 1 carries minus the log-partition


@dataclass(frozen=True)
class ExponentialFamily:
    """Natural parameters and log-partition as functions of the parameters; statistics and carrier as functions of the data."""

    natural: tuple[Any, ...]
    statistics: tuple[Any, ...]
    log_partition: Any
    carrier: Any
    parameters: tuple[Any, ...]

    @property
    def curved(self) -> bool:
        """Whether there are more natural parameters than parameters."""
        return len(self.natural) > len(self.parameters)

    @property
    def jacobian(self) -> Any:
        """Derivatives of the k natural parameters by the p parameters, (k, p)."""
        return sp.Matrix(self.natural).jacobian(self.parameters)

    @property
    def mean(self) -> tuple[Any, ...]:
        """E[T], the mean parameters: the solution of J' E[T] = dA/dtheta, with J the `jacobian`.

        Raises
        ------
        MethodError
            When the family is curved, or the natural parameters do not determine the parameters.
        """
        self._refuse_curved()
        slope = sp.Matrix([sp.diff(self.log_partition, parameter) for parameter in self.parameters])
        return tuple(_short(value) for value in self.jacobian.T.inv(method="DM") * slope)

    def information(self, of: str = "natural") -> FisherInformation:
        r"""The information in the natural or the mean parameters, as a function of the model's own.

        In the natural parameters it is the Hessian of A, the covariance of T; in the mean parameters its inverse.

        Parameters
        ----------
        of : {"natural", "mean"}

        Returns
        -------
        FisherInformation
            Of one observation, over ``eta_1, ...`` or ``mean_1, ...`` in the order of `statistics`.

        Raises
        ------
        MethodError
            As for `mean`.

        Examples
        --------
        >>> rate = sympy.Symbol("rate", positive=True)
        >>> family = fk.symbolic.as_model(sympy.stats.Exponential("X", rate)).exponential_family()
        >>> family.information("natural").dense(), family.information("mean").dense()
        (Matrix([[rate**(-2)]]), Matrix([[rate**2]]))
        """
        if of not in ("natural", "mean"):
            raise MethodError(f"the information is that of the 'natural' or the 'mean' parameters; got {of!r}.")
        moved = sp.Matrix(self.mean).jacobian(self.parameters)
        turned = self.jacobian
        matrix = moved * turned.inv(method="DM") if of == "natural" else turned * moved.inv(method="DM")
        name = {"natural": "eta", "mean": "mean"}[of]
        names = [f"{name}_{k + 1}" for k in range(len(self.natural))]
        return FisherInformation(matrix.applyfunc(_short), parameters=names, method=Exact())

    def _refuse_curved(self) -> None:
        k, p = len(self.natural), len(self.parameters)
        told = ", ".join(map(str, self.parameters))
        if self.curved:
            raise MethodError(
                f"{k} natural parameters of {p} parameters ({told}) make a curved family: A(theta) does not determine E[T]. "
                "The information in the parameters themselves is expected_information(model)."
            )
        if k < p or self.jacobian.rank() < p:
            raise MethodError(f"the {k} natural parameters do not determine ({told}): the density is over-parametrised. Fix one.")


def find(model: Model) -> ExponentialFamily:
    """The minimal representation of a model; see `Model.exponential_family`."""
    for support in model.supports:
        for symbol in model.symbols:
            if symbol in support.free_symbols:
                raise RegularityError(
                    f"the support of the density moves with {symbol}: it is no exponential family. Where {symbol} is known "
                    f"it may be one: model.given({symbol}=...).",
                    condition="support_depends_on_parameter",
                    parameter=str(symbol),
                )
    with suppress(MethodError, PrecisionError, Expired), deadline(SECONDS):  # a joint density that is hard to integrate stands
        closed_forms.valid_point(model)
    terms = _terms(model, model.symbols)
    partition, carrier = -terms.pop(sp.S.One, sp.S.Zero), sp.S.Zero
    moving: Terms = {}
    for statistic, weight in terms.items():
        rest, own = sp.expand(weight).as_independent(*model.symbols, as_Add=True)
        carrier += rest * statistic
        if own != 0:
            moving[statistic] = own
    moving, shift, fixed = _minimal(moving, model)
    partition -= shift
    carrier += fixed
    if not moving:
        raise MethodError(f"no statistic of the data is weighted by {model.parameters}: the density is of no exponential family.")
    moving = dict(sorted(moving.items(), key=lambda item: (sp.count_ops(item[0]), str(item[0]))))
    signs = [-1 if statistic.could_extract_minus_sign() else 1 for statistic in moving]
    natural = tuple(sp.factor(sign * weight) for sign, weight in zip(signs, moving.values(), strict=True))
    statistics = tuple(sign * statistic for sign, statistic in zip(signs, moving, strict=True))
    family = ExponentialFamily(natural, statistics, _real(sp.expand(partition), model), _exponential(carrier), model.symbols)
    _check(family, model)
    return family


# -- products of a weight and a statistic


def _terms(model: Model, parameters: tuple[Any, ...]) -> Terms:
    """Weights by statistic, or a refusal that names what mixes the two."""
    if len(model.data) == 1 and (values := model.supports[0].values) is not None and model.log_density.has(sp.Piecewise):
        return _finite_terms(model, values, parameters)
    terms: Terms = {}
    mixed: list[Any] = []
    for term in sp.Add.make_args(_expanded(model.log_density, model.data, parameters)):
        weight, statistic = term.as_independent(*model.data, as_Add=False)
        if statistic.has(*parameters):
            mixed.append(statistic)
        terms[statistic] = terms.get(statistic, 0) + weight
    if mixed:
        _refuse_mixed(mixed, model, parameters)
    return terms


def _expanded(expression: Any, data: tuple[Any, ...], parameters: tuple[Any, ...]) -> Any:
    """With logarithms of products as sums, powers of products as products, and cos(x - m) pulled apart."""

    def apart(f: Any) -> Any:
        return f.func(sp.factor(f.args[0])) if f.has(*data) and f.has(*parameters) else f

    factored = expression.replace(lambda e: isinstance(e, sp.log), apart)
    logs = sp.expand_log(sp.expand_trig(factored), force=True)
    return sp.expand(sp.expand_power_base(sp.expand_power_exp(logs), force=True))


def _finite_terms(model: Model, values: tuple[Any, ...], parameters: tuple[Any, ...]) -> Terms:
    """From the log-probability of each outcome: statistics are functions on the outcomes."""
    (y,) = model.data
    rows: dict[Any, list[Any]] = {}
    for k, value in enumerate(values):
        outcome = sp.expand(sp.expand_log(model.log_density.subs(y, value), force=True))
        for term in sp.Add.make_args(outcome):
            constant, weight = term.as_independent(*parameters, as_Add=False)
            rows.setdefault(weight, [sp.S.Zero] * len(values))[k] += constant
    terms: Terms = {}
    for weight, row in rows.items():
        shift = sp.S.Zero if weight == 1 else row[0]  # so that the first outcome is the origin
        statistic = _function([value - shift for value in row], values, y)
        terms[sp.S.One] = terms.get(sp.S.One, 0) + shift * weight
        terms[statistic] = terms.get(statistic, 0) + weight
    return terms


def _function(row: list[Any], values: tuple[Any, ...], y: Any) -> Any:
    """A function on the outcomes: a line or a parabola where it is one, else outcome by outcome."""
    if any(row):
        polynomial = sp.interpolate(list(zip(values[:4], row[:4], strict=True)), y)
        if all(sp.expand(polynomial.subs(y, value) - wanted) == 0 for value, wanted in zip(values, row, strict=True)):
            return sp.expand(polynomial)
    else:
        return sp.S.Zero
    return sp.Piecewise(
        *((wanted, sp.Eq(y, value)) for value, wanted in zip(values[:-1], row[:-1], strict=True)), (row[-1], True)
    )


def _refuse_mixed(mixed: list[Any], model: Model, parameters: tuple[Any, ...]) -> NoReturn:
    culprits = [p for p in parameters if any(statistic.has(p) for statistic in mixed)]
    told = mixed[0].xreplace({d: sp.Symbol(d.name) for d in model.data})
    raise MethodError(
        f"{told} mixes the data with {', '.join(map(str, culprits))}: the density is of no exponential family in "
        f"({', '.join(map(str, parameters))}).{_hint(culprits, model) if parameters == model.symbols else ''}"
    )


def _hint(culprits: list[Any], model: Model) -> str:
    """Which parameters would have to be known."""
    for known in [*([c] for c in culprits), culprits]:
        rest = tuple(p for p in model.symbols if p not in known)
        with suppress(MethodError):
            if rest and _terms(model, rest):
                given = ", ".join(f"{k}=..." for k in known)
                return f" It is one where {', '.join(map(str, known))} is known: model.given({given})."
    return " Nor is it one with fewer parameters." if len(model.symbols) > 1 else ""


# -- the shortest sum


def _minimal(terms: Terms, model: Model) -> tuple[Terms, Any, Any]:
    """Independent weights and statistics, and what moves into the log-partition and the carrier on the way."""
    shift, fixed = sp.S.Zero, sp.S.Zero
    terms = _independent_weights(terms, model.symbols)
    while len(terms) and (relation := _relation(list(terms), model)) is not None:
        coefficients, constant = relation  # sum of c_i T_i = constant
        statistics = list(terms)
        last = max(k for k, c in enumerate(coefficients) if c != 0)
        weight = terms.pop(statistics[last])
        for statistic, c in zip(statistics, coefficients, strict=True):
            if statistic in terms:
                terms[statistic] = sp.expand(terms[statistic] - weight * c / coefficients[last])
        shift += weight * constant / coefficients[last]
        terms = _independent_weights({t: w for t, w in terms.items() if w != 0}, model.symbols)
    while len(terms) and (relation := _relation(list(terms.values()), model)) is not None:
        coefficients, constant = relation  # sum of c_i eta_i = constant
        statistics = list(terms)
        last = max(k for k, c in enumerate(coefficients) if c != 0)
        gone = statistics[last]
        del terms[gone]
        fixed += gone * constant / coefficients[last]
        terms = {t - gone * c / coefficients[last]: terms[t] for t, c in zip(statistics, coefficients, strict=True) if t in terms}
    return terms, shift, fixed


def _independent_weights(terms: Terms, parameters: tuple[Any, ...]) -> Terms:
    """Weights that are multiples and sums of others, seen in their monomials, merged into one statistic."""
    if not terms:
        return terms
    rows = [_monomials(weight, parameters) for weight in terms.values()]
    columns = sorted({monomial for row in rows for monomial in row}, key=sp.default_sort_key)
    matrix = sp.Matrix([[row.get(monomial, 0) for monomial in columns] for row in rows])
    _, pivots = matrix.T.rref()
    if len(pivots) == len(rows):
        return terms
    basis = matrix.extract(list(pivots), list(range(len(columns))))
    shares = matrix * basis.T * (basis * basis.T).inv()
    statistics, weights = list(terms), list(terms.values())
    return {
        sp.expand(sum(sp.cancel(shares[i, j]) * statistic for i, statistic in enumerate(statistics))): weights[pivot]
        for j, pivot in enumerate(pivots)
    }


def _monomials(weight: Any, parameters: tuple[Any, ...]) -> dict[Any, Any]:
    out: dict[Any, Any] = {}
    for term in sp.Add.make_args(sp.expand(weight)):
        coefficient, monomial = term.as_independent(*parameters, as_Add=False)
        out[monomial] = out.get(monomial, 0) + coefficient
    return out


def _relation(functions: list[Any], model: Model) -> tuple[list[Any], Any] | None:
    """Rational c with sum of c_i f_i constant, or None where the functions and 1 are independent (at random points)."""
    count = len(functions) + 1
    points = list(_points(model, 2 * count + 2))
    with mpmath.workdps(40):
        rows = [[*(_value(f, at) for f in functions), mpmath.mpf(1)] for at in points]
        _, sizes, turned = mpmath.svd_r(mpmath.matrix(rows)) if len(rows) >= count else (None, [1], None)
        if turned is None or sizes[len(sizes) - 1] > mpmath.mpf(10) ** -25 * sizes[0]:
            return None
        null = [turned[turned.rows - 1, k] for k in range(count)]
        largest = max(null[:-1], key=abs, default=mpmath.mpf(0))
        if abs(largest) < mpmath.mpf(10) ** -20:
            return None
        found = [sp.nsimplify(sp.Float(value / largest, 30), rational=True, tolerance=1e-15) for value in null]
        *coefficients, constant = found
        sums = [
            sum(_value(c * f, at) for f, c in zip(functions, coefficients, strict=True)) + _value(constant, {}) for at in points
        ]
        exact = max(map(abs, sums)) < mpmath.mpf(10) ** -20 * (1 + abs(rows[0][0]))
    return (coefficients, -constant) if exact else None


# -- points, to compare functions at


def _points(model: Model, count: int, *, start: int = 0) -> Iterator[dict[Any, Any]]:
    """Values of all symbols; data inside their supports, parameters and constants by their assumptions."""
    free = sorted(model.free, key=str)
    for k in range(start, start + count):
        at = {s: _varied(s, k + 3 * i) for i, s in enumerate(free)}
        yield {**at, **{x: _inside(support.subs(at), k, i, x) for i, (x, support) in enumerate(_observed(model))}}


def _observed(model: Model) -> list[tuple[Any, Support]]:
    return list(zip(model.data, model.supports, strict=True))


def _varied(symbol: Any, k: int) -> Any:
    if symbol.is_integer:
        return sp.Integer(k + 7)
    value = sp.Rational(sp.prime(k + 2) % 11 + 1, 13 + 2 * k)  # below 1: a probability too
    return -value if symbol.is_negative else value


def _inside(support: Support, k: int, i: int, x: Any) -> Any:
    if support.values is not None:
        return sp.sympify(support.values[k % len(support.values)])
    low, high = sp.sympify(support.low), sp.sympify(support.high)
    if support.discrete:
        step = (k * (2 * i + 3) + i * k * k + i) % 11
        return low + step if low.is_finite else high - step if high.is_finite else sp.Integer(step - 5)
    fraction = sp.Rational(sp.prime(k + 3 * i + 1) % 17 + 1, 19 + k)
    if low.is_finite and high.is_finite:
        return low + (high - low) * fraction / 2
    return low + 2 * fraction if low.is_finite else high - 2 * fraction if high.is_finite else (-1) ** k * 2 * fraction


def _value(function: Any, at: dict[Any, Any]) -> Any:
    value = sp.re(sp.sympify(function).subs(at).evalf(40))
    return mpmath.mpf(value) if value.is_Float or value.is_Integer else mpmath.nan


def _exponential(carrier: Any) -> Any:
    """exp, branch by branch."""
    if isinstance(carrier, sp.Piecewise):
        return sp.Piecewise(*((sp.exp(branch), condition) for branch, condition in carrier.args))
    return sp.powsimp(sp.exp(carrier))


def _real(partition: Any, model: Model) -> Any:
    """Without the i pi of logarithms whose arguments are negative."""
    if not partition.has(sp.I):
        return partition
    (at,) = _points(model, 1)
    turned = {f: sp.log(-f.args[0]) for f in partition.atoms(sp.log) if _value(f.args[0], at) < 0}
    return sp.expand(partition.xreplace(turned)).as_independent(sp.I, as_Add=True)[0]


def _short(entry: Any) -> Any:
    short = tidy(entry)
    return sp.trigsimp(short) if short.has(sp.sin, sp.cos) else short


def _check(family: ExponentialFamily, model: Model) -> None:
    """The representation is the log-density, at points."""
    told = sum(w * t for w, t in zip(family.natural, family.statistics, strict=True)) - family.log_partition
    gap = model.log_density - told - sp.log(family.carrier)
    with mpmath.workdps(40):
        gaps = [_value(gap, at) for at in _points(model, 12, start=40)]
        gaps = [value for value in gaps if mpmath.isfinite(value)]  # outside a support that is no rectangle
        if len(gaps) < 3 or max(map(abs, gaps)) > mpmath.mpf(10) ** -18:
            raise MethodError(f"the log-density could not be written as that of an exponential family in {model.parameters}.")

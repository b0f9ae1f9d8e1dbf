"""Expressions as functions: of arrays in machine precision, or of numbers with as many digits as mpmath is set to.

An expression becomes a list of steps, each of its parts once; parts that are numbers are computed when the list is made. In a
sum, what depends on the index alone is kept from one argument to the next.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from typing import Any

import mpmath
import numpy as np
import sympy as sp
from sympy.functions.elementary.trigonometric import TrigonometricFunction
from sympy.utilities.lambdify import MPMATH_TRANSLATIONS

Function = Callable[..., Any]
Steps = list[tuple[int, Function, tuple[int, ...]]]
ELEMENTARY = (sp.exp, sp.log, TrigonometricFunction)
SMALL = 4096  # numbers up to which a loop is quicker than loading SciPy
LONGEST = 2**13  # terms of a sum


def arrays(expressions: list[Any], arguments: tuple[Any, ...], at: Mapping[Any, Any] | None = None) -> Callable[..., np.ndarray]:
    """Expressions as a function of arrays, (len(expressions), n); ``at`` gives the values of other symbols."""
    with mpmath.workdps(30):
        run = Program(expressions, arguments, at or {}, machine=True)

    def evaluate(*given: Any) -> np.ndarray:
        columns = [np.asarray(column, dtype=float) for column in given]
        size = np.broadcast(*columns).shape if columns else ()
        with np.errstate(all="ignore"):
            rows = [np.broadcast_to(_real(value), size) for value in run(*columns)]
        return np.stack(rows) if rows else np.empty((0, *size))

    return evaluate


def digits(expressions: list[Any], arguments: tuple[Any, ...], at: Mapping[Any, Any] | None = None) -> Callable[..., list[Any]]:
    """Expressions as a function of mpmath numbers; parts that are numbers are computed once, with the present digits."""
    return Program(expressions, arguments, at or {}, machine=False)


def _real(value: Any) -> np.ndarray:
    """Real numbers; one with an imaginary part is no log-density: nan."""
    array = np.asarray(value)
    if not np.iscomplexobj(array):
        return array.astype(float)
    return np.where(np.abs(array.imag) <= 1e-9 * (1 + np.abs(array.real)), array.real, np.nan)


def _logistic(product: Any) -> Any:
    """e^(cu) / (1 + e^u)^m by 1/(1 + e^-u) and 1/(1 + e^u), of which neither is infinity over infinity."""
    for factor in product.args:
        base, power = factor.as_base_exp()
        if not (base.is_Add and len(base.args) == 2 and isinstance(base - 1, sp.exp) and power.is_Integer and power < 0):
            continue
        u, m = (base - 1).exp, -power
        for other in product.args:
            if isinstance(other, sp.exp) and (c := sp.expand(other.exp / u)).is_Integer and 0 < c <= m:
                rest = sp.Mul(*(a for a in product.args if a not in (factor, other)))
                return rest * (1 + sp.exp(-u)) ** -c * (1 + sp.exp(u)) ** (c - m)
    return product


def stable(expression: Any) -> Any:
    """With logarithms of factorials, binomials and beta functions as log-gammas, and logistic parts so that nothing overflows."""

    def log_gamma(f: Any) -> Any:
        (inner,) = f.args
        if isinstance(inner, sp.gamma):
            return sp.loggamma(inner.args[0])
        if inner.is_Add and len(inner.args) == 2 and sp.S.One in inner.args and isinstance(power := (inner - 1), sp.exp):
            return sp.Max(power.exp, 0) + sp.log(1 + sp.exp(-sp.Abs(power.exp)), evaluate=False)  # log(1 + e^u), without overflow
        if isinstance(inner, sp.factorial):
            return sp.loggamma(inner.args[0] + 1)
        if isinstance(inner, sp.beta):
            a, b = inner.args
            return sp.loggamma(a) + sp.loggamma(b) - sp.loggamma(a + b)
        if isinstance(inner, sp.binomial):
            n, k = inner.args
            return sp.loggamma(n + 1) - sp.loggamma(k + 1) - sp.loggamma(n - k + 1)
        return f

    quiet = expression.replace(lambda e: e.is_Mul and e.has(sp.exp), _logistic)
    return quiet.replace(sp.log, lambda *args: log_gamma(sp.log(*args, evaluate=False)))


# -- an expression as steps


class Program:
    """Values of expressions from values of their arguments, as arrays of machine numbers or with mpmath's digits."""

    def __init__(self, expressions: list[Any], arguments: tuple[Any, ...], at: Mapping[Any, Any], *, machine: bool) -> None:
        self.arguments, self.at, self.machine, self.precision = arguments, at, machine, mpmath.mp.prec
        self.slots: dict[Any, int] = {argument: k for k, argument in enumerate(arguments)}
        self.values: list[Any] = [None] * len(arguments)
        self.cheap: list[tuple[int, Any]] = []  # constants that follow the precision
        self.known: dict[int, list[Any]] = {}
        self.steps: Steps = []
        self.reach: dict[Any, frozenset[Any]] = {argument: frozenset([argument]) for argument in arguments}
        self.needed: list[frozenset[Any]] = []  # by step
        self.results = [self._slot(stable(sp.sympify(expression))) for expression in expressions]

    def __call__(self, *given: Any) -> list[Any]:
        values = self.start(given)
        perform(self.steps, values)
        return [values[k] for k in self.results]

    def start(self, given: tuple[Any, ...]) -> list[Any]:
        """The list of values, with arguments and constants filled in."""
        if self.precision != mpmath.mp.prec and not self.machine:
            self.precision = mpmath.mp.prec
            if (values := self.known.get(self.precision)) is None:
                values = self.known[self.precision] = [number(part, self.at) for _, part in self.cheap]
            for (k, _), value in zip(self.cheap, values, strict=True):
                self.values[k] = value
        return [*given, *self.values[len(given) :]]

    def needs(self, part: Any) -> frozenset[Any]:
        """The arguments that a part depends on."""
        if (found := self.reach.get(part)) is None:
            self.reach[part] = found = frozenset().union(*(self.needs(argument) for argument in part.args))
        return found

    def _slot(self, part: Any) -> int:
        """Where the value of a part will stand."""
        if (k := self.slots.get(part)) is not None:
            return k
        if not self.needs(part):
            value = number(part, self.at)
            self.slots[part] = k = self._place(_machine(value) if self.machine else value)
            if not self.machine and all(isinstance(f, ELEMENTARY) for f in part.atoms(sp.Function, sp.Sum, sp.Derivative)):
                self.cheap.append((k, part))
        elif part.is_Add or part.is_Mul:
            self.slots[part] = k = self._chain(part.args, operator.add if part.is_Add else operator.mul, part.func)
        elif part.is_Pow and part.exp.is_Add and len(groups := self._grouped(part.exp.args, sp.Add)) > 1:
            self.slots[part] = k = self._chain([part.base**exponent for exponent in groups], operator.mul, sp.Mul)
        else:
            function, operands = opened(part, self.arguments, self.at, machine=self.machine)
            self.slots[part] = k = self._step(self.needs(part), function, tuple(map(self._slot, operands)))
        return k

    def _grouped(self, parts: Iterable[Any], kind: Any) -> list[Any]:
        """The parts of a sum or product, joined where they depend on the same arguments."""
        groups: dict[frozenset[Any], list[Any]] = {}
        for part in parts:
            groups.setdefault(self.needs(part), []).append(part)
        return [same[0] if len(same) == 1 else kind(*same, evaluate=False) for same in groups.values()]

    def _chain(self, parts: Iterable[Any], function: Function, kind: Any) -> int:
        first, *others = grouped if len(grouped := self._grouped(parts, kind)) > 1 else parts
        k, needed = self._slot(first), self.needs(first)
        for other in others:
            needed |= self.needs(other)
            k = self._step(needed, function, (k, self._slot(other)))
        return k

    def _step(self, needed: frozenset[Any], function: Function, places: tuple[int, ...]) -> int:
        k = self._place(None)
        self.steps.append((k, function, places))
        self.needed.append(needed)
        return k

    def _place(self, value: Any) -> int:
        self.values.append(value)
        return len(self.values) - 1


def perform(steps: Steps, values: list[Any]) -> None:
    for k, function, places in steps:
        values[k] = function(*[values[i] for i in places])


def number(part: Any, at: Mapping[Any, Any]) -> Any:
    """A part without arguments, with the present digits."""
    if part in at:
        part = sp.sympify(at[part])
    if isinstance(part, (sp.Number, sp.NumberSymbol)) and part.is_finite:
        return mpmath.mp.make_mpf(part._as_mpf_val(mpmath.mp.prec))
    if part in CONSTANTS:
        return CONSTANTS[part]
    if part.is_Atom:
        raise TypeError(f"{part} has no value")
    function, operands = opened(part, (), at, machine=False)
    return function(*[number(operand, at) for operand in operands])


def _machine(value: Any) -> Any:
    if isinstance(value, list):
        return [_machine(one) for one in value]
    if isinstance(value, mpmath.mpc):
        return complex(value) if value.imag else float(value.real)
    return value if isinstance(value, bool) else float(value)


CONSTANTS = {
    sp.oo: mpmath.inf, -sp.oo: -mpmath.inf, sp.zoo: mpmath.nan, sp.nan: mpmath.nan, sp.I: mpmath.mpc(0, 1), sp.true: True,
    sp.false: False,
}  # fmt: skip


# -- what a part does with the values of its operands


def opened(part: Any, arguments: tuple[Any, ...], at: Mapping[Any, Any], *, machine: bool) -> tuple[Function, tuple[Any, ...]]:
    """The function of a part, and its operands."""
    if isinstance(part, sp.Piecewise):
        return _branches(part, arguments, at, machine=machine), arguments
    if isinstance(part, sp.Sum):
        return (_series_of_arrays if machine else _series)(part, arguments, at), arguments
    if isinstance(part, (sp.Derivative, sp.Subs)):
        function, operands = _derivative(part, at)
        return (_each(function) if machine else function), operands
    if isinstance(part, sp.Pow) and part.exp.is_Integer:
        n = int(part.exp)
        return (lambda base: base**n if n > 0 else 1 / base**-n), (part.base,)
    return _known(type(part), machine=machine), part.args


def _known(kind: Any, *, machine: bool) -> Function:
    known = {**COMMON, **(ARRAYS if machine else DIGITS)}
    for base in kind.__mro__:
        if base in known:
            return known[base]
    exact = DIGITS.get(kind) or getattr(mpmath, MPMATH_TRANSLATIONS.get(kind.__name__, kind.__name__), None)
    if exact is None:
        raise TypeError(f"{kind.__name__} has no numeric value")
    return _each(exact) if machine else exact


def _each(exact: Function) -> Function:
    """A function of mpmath for arrays, one number at a time."""

    def one(*values: Any) -> complex:
        with mpmath.workdps(20):
            return complex(exact(*(mpmath.mpmathify(v) for v in values)))

    def every(*values: Any) -> Any:
        if any(isinstance(value, list) for value in values):  # the parameters of a Meijer function
            return np.vectorize(lambda z: complex(exact(*values[:-1], z)), otypes=[complex])(values[-1])
        return _real(np.vectorize(one, otypes=[complex])(*values))

    return every


def _special(name: str, loop: Callable[[float], float] | None = None) -> Function:
    """A function of SciPy, loaded when there is much to do or no other way."""

    def function(*values: Any) -> Any:
        if loop is not None and np.size(values[0]) <= SMALL and not np.iscomplexobj(values[0]):
            return np.vectorize(_careful(loop), otypes=[float])(values[0])
        from scipy import special

        return getattr(special, name)(*values)

    return function


def _careful(function: Callable[[float], float]) -> Callable[[float], float]:
    def value(x: float) -> float:
        try:
            return function(x)
        except (ValueError, OverflowError):  # a pole, or too large
            return math.inf

    return value


def _polygamma(order: Any, z: Any) -> Any:
    from scipy import special

    return special.psi(z) if order == 0 else special.polygamma(order, z)


def _power(base: Any, exponent: Any) -> Any:
    return np.power(base, exponent) if np.iscomplexobj(base) else np.float_power(base, exponent)


COMMON: dict[Any, Function] = {
    sp.Gt: operator.gt, sp.Ge: operator.ge, sp.Lt: operator.lt, sp.Le: operator.le, sp.Eq: operator.eq, sp.Ne: operator.ne,
    sp.And: lambda *v: reduce(operator.and_, v), sp.Or: lambda *v: reduce(operator.or_, v), sp.Not: np.logical_not,
    sp.Add: lambda *v: reduce(operator.add, v), sp.Mul: lambda *v: reduce(operator.mul, v), sp.Tuple: lambda *v: list(v),
}  # fmt: skip
ARRAYS: dict[Any, Function] = {
    sp.exp: np.exp, sp.log: np.log, sp.sin: np.sin, sp.cos: np.cos, sp.tan: np.tan, sp.sinh: np.sinh, sp.cosh: np.cosh,
    sp.tanh: np.tanh, sp.sign: np.sign, sp.floor: np.floor,
    sp.asin: np.arcsin, sp.acos: np.arccos, sp.atan: np.arctan, sp.atan2: np.arctan2, sp.asinh: np.arcsinh, sp.acosh: np.arccosh,
    sp.atanh: np.arctanh, sp.Abs: np.abs, sp.ceiling: np.ceil, sp.Pow: _power, sp.Heaviside: np.heaviside,
    sp.Max: lambda *v: reduce(np.maximum, v), sp.Min: lambda *v: reduce(np.minimum, v),
    sp.loggamma: _special("gammaln", math.lgamma), sp.gamma: _special("gamma", math.gamma), sp.erf: _special("erf", math.erf),
    sp.erfc: _special("erfc", math.erfc), sp.factorial: lambda n: _special("gamma", math.gamma)(n + 1),
    sp.polygamma: _polygamma, sp.beta: _special("beta"), sp.binomial: _special("binom"), sp.besseli: _special("iv"),
    sp.besselj: _special("jv"), sp.besselk: _special("kv"), sp.bessely: _special("yv"), sp.erfi: _special("erfi"),
    sp.zeta: _special("zeta"), sp.Ei: _special("expi"),
}  # fmt: skip
DIGITS: dict[Any, Function] = {
    sp.Pow: lambda base, exponent: mpmath.mpf(base) ** exponent if isinstance(base, int) else base**exponent,
    sp.Abs: abs, sp.Max: max, sp.Min: min, sp.ceiling: mpmath.ceil, sp.polygamma: lambda n, z: mpmath.psi(int(n), z),
    sp.lowergamma: lambda s, z: mpmath.gammainc(s, 0, z), sp.uppergamma: mpmath.gammainc, sp.LambertW: mpmath.lambertw,
    sp.Heaviside: lambda z, middle: (mpmath.sign(z) + 1) / 2 if z else middle,
    sp.factorial: mpmath.factorial, sp.binomial: mpmath.binomial,
    sp.besseli: lambda n, z: mpmath.besseli(abs(n) if n == int(n) else n, z),  # equal, and mpmath takes long for n < 0
}  # fmt: skip


def _branches(part: Any, *given: Any, machine: bool) -> Function:
    """The branch whose condition holds; with digits, no other is computed."""
    pairs = [tuple(Program([one], *given, machine=machine) for one in (condition, value)) for value, condition in part.args]

    def chosen(*x: Any) -> Any:
        return next((value(*x)[0] for condition, value in pairs if condition(*x)[0]), mpmath.nan)

    def selected(*x: Any) -> Any:
        shape = np.broadcast(*x).shape
        masks = [np.broadcast_to(np.asarray(condition(*x)[0], dtype=bool), shape) for condition, _ in pairs]
        return np.select(masks, [np.broadcast_to(value(*x)[0], shape) for _, value in pairs], np.nan)

    return selected if machine else chosen


def _derivative(part: Any, at: Mapping[Any, Any]) -> tuple[Function, tuple[Any, ...]]:
    """A derivative that SymPy leaves undone, such as zeta's, at a point."""
    inner, point = (part.expr, dict(zip(part.variables, part.point, strict=True))) if isinstance(part, sp.Subs) else (part, {})
    if not isinstance(inner, sp.Derivative):
        return mpmath.mpmathify, (part.doit(),)
    f, *orders = inner.args
    if len(orders) != 1:
        raise TypeError(f"the mixed derivative {inner} has no numeric value")
    (variable, order), others = orders[0], sorted(f.free_symbols - {orders[0][0]} - set(at), key=str)
    run = digits([f], (variable, *others), at)
    function = lambda z, *rest: mpmath.diff(lambda v: run(v, *rest)[0], z, int(order))  # noqa: E731
    return function, (point.get(variable, variable), *others)


# -- sums within an expression


def _series(part: Any, arguments: tuple[Any, ...], at: Mapping[Any, Any]) -> Function:
    """The sum, term by term until terms no longer matter."""
    term, (index, *ends) = part.args
    limits = Program(ends, arguments, at, machine=False)
    run = Program([term], (index, *arguments), at, machine=False)
    fixed, alone, mixed = ([], [], [])  # type: tuple[Steps, Steps, Steps]
    for step, needed in zip(run.steps, run.needed, strict=True):
        (fixed if index not in needed else alone if needed == {index} else mixed).append(step)
    memory: dict[tuple[int, int], list[Any]] = {}

    def total(*x: Any) -> Any:
        low, high = limits(*x)
        values = run.start((None, *x))
        perform(fixed, values)
        out, quiet, j = mpmath.mpf(0), 0, int(low)
        while j <= high and quiet < 5:
            if j - low > LONGEST:
                raise OverflowError(f"{part} needs more than {LONGEST} terms")
            values[0] = mpmath.mpf(j)
            if (known := memory.get((j, mpmath.mp.prec))) is None:
                perform(alone, values)
                memory[j, mpmath.mp.prec] = [values[k] for k, _, _ in alone]
            else:
                for (k, _, _), value in zip(alone, known, strict=True):
                    values[k] = value
            perform(mixed, values)
            change = values[run.results[0]]
            out += change
            quiet = quiet + 1 if abs(change) <= mpmath.eps * abs(out) and j > low + 10 else 0
            j += 1
        return out

    return total


def _series_of_arrays(part: Any, arguments: tuple[Any, ...], at: Mapping[Any, Any]) -> Function:
    """The sum over blocks of terms that double."""
    term, (index, *ends) = part.args
    limits, run = Program(ends, arguments, at, machine=True), Program([term], (index, *arguments), at, machine=True)

    def total(*x: Any) -> Any:
        low, high = limits(*x)
        out, j, size = np.zeros(np.broadcast(*x).shape), float(np.min(low)), 32
        while j <= np.max(high) and size < LONGEST:
            rows = (j + np.arange(size)).reshape(-1, *[1] * out.ndim)
            terms = np.where((low <= rows) & (rows <= high), np.nan_to_num(run(rows, *x)[0], posinf=0.0, neginf=0.0), 0.0)
            out = out + terms.sum(axis=0)
            if np.all(np.abs(terms[-4:]).max(axis=0) <= 1e-17 * np.abs(out)):
                break
            j, size = j + size, 2 * size
        return out

    return total

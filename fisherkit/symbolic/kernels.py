r"""Closed forms by pulling the data back to a Gamma, Beta or Bose variable, whose logarithmic moments are known.

On each smooth piece a term of the log-density proposes a variable u = g(x). Where x enters g once, x = h(u) is put into
the log-density and the scores, going forwards only. If

.. math:: \log f(h(u)) + \log|h'(u)| = p \log u - u, \quad p \log u - w \log(1 + u), \quad p \log u - \log(e^u - 1)

up to a constant, then :math:`E[u^r \log^j u\, Y^t \log^m Y]` (Y = 1 + u, or :math:`e^u - 1`) is a derivative of the Mellin
transform of the kernel, and score products are sums of such monomials. No integral is taken and no moment is tabulated.

The Mellin transforms are analytic in their exponents, so a formula may hold where single monomials diverge, or fail
where the information is infinite: each entry carries the conditions of its monomials, for the caller to try.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import mpmath
import sympy as sp

from . import evaluate
from .pieces import Piece, Point, between, invert, number, resolve

Monomials = dict[tuple[Any, int, Any, int], Any]  # exponents of u, log u, Y, log Y -> coefficient
U, Y = sp.Dummy("u", positive=True), sp.Dummy("Y", positive=True)
S, V = sp.symbols("s v", positive=True)


@dataclass(frozen=True)
class Kernel:
    """``exp(constant) u^(p-1)`` times ``exp(-rate u)``, ``Y^-w`` (Y = 1 + u) or ``1/Y`` (Y = e^u - 1), for u > 0 or u > 1."""

    kind: str  # "gamma", "truncated", "beta", "bose"
    p: Any
    w: Any = sp.S.Zero
    rate: Any = sp.S.One
    constant: Any = sp.S.Zero
    variable: Any = None  # u in the data
    conditions: set[Any] = field(default_factory=set)

    def moment(self, r: Any, j: int, t: Any, m: int) -> Any | None:
        """E of one monomial; None outside the family."""
        s, v = self.p + r, self.w - t
        if self.kind == "gamma" and t == m == 0:
            self.conditions.add(s > 0)
            return self.rate**-r * rise(self.p, r) * _bell(sp.loggamma(S) - S * sp.log(self.rate), j, 0).subs(S, s)
        if self.kind == "beta":
            self.conditions.update((s > 0, v - s > 0))
            ratio = rise(self.p, r) * rise(self.w - self.p, -t - r) / rise(self.w, -t)
            return ratio * _bell(sp.loggamma(S) + sp.loggamma(V - S) - sp.loggamma(V), j, m).subs({S: s, V: v})
        if self.kind == "bose" and m == 0 and t.is_Integer and t <= 0:
            self.conditions.add(s + t > 1)
            return rise(self.p, r) * self._bose(s, int(1 - t), j) / sp.zeta(self.p)
        if self.kind == "truncated" and t == m == 0:
            return self._tail(s, j) / self._tail(self.p, 0)
        return None

    def _bose(self, s: Any, power: int, j: int) -> Any:
        """d^j/ds^j of Gamma(s) sum_n C(n-1, power-1) n^-s, over Gamma(s)."""
        n = sp.Symbol("n")
        weights = sp.Poly(sp.expand(sp.expand_func(sp.ff(n - 1, power - 1))) / sp.factorial(power - 1), n)
        sums = sum(c * sp.zeta(S - k) for (k,), c in weights.terms())
        total = sum(sp.binomial(j, i) * _bell(sp.loggamma(S), i, 0) * sp.diff(sums, S, j - i) for i in range(j + 1))
        return total.subs(S, s)

    def _tail(self, s: Any, j: int) -> Any:
        """The integral of u^(s-1) log^j u exp(-rate u) over u > 1."""
        if s.is_Integer and s > 0 and j == 0:
            return sp.expand_func(sp.uppergamma(s, self.rate)) / self.rate**s
        if (s == 0 and j == 0) or (s == 1 and j == 1):
            return sp.expint(1, self.rate) / (self.rate if j else 1)
        if s.is_Integer and s > 0:  # by parts: down to s = 0
            return ((s - 1) * self._tail(s - 1, j) + j * self._tail(s - 1, j - 1)) / self.rate
        ones, zeros = [1] * (j + 1), [0] * (j + 1)
        return sp.factorial(j) * sp.meijerg([[], ones], [[s, *zeros], []], self.rate) * self.rate**-s

    def mass_between(self, low: Any, high: Any) -> Any | None:
        """The integral of the kernel with its constant between two values of u; None outside the family."""
        if self.kind == "gamma" and high == sp.oo:
            size = sp.expand_func(sp.uppergamma(self.p, self.rate * low)) * self.rate**-self.p
        elif self.kind == "gamma":
            size = sp.lowergamma(self.p, self.rate * high) - (sp.lowergamma(self.p, self.rate * low) if low != 0 else 0)
            size = sp.expand_func(size) * self.rate**-self.p
        elif self.kind == "beta" and self.p == 1:
            size = ((1 + low) ** (1 - self.w) - (0 if high == sp.oo else (1 + high) ** (1 - self.w))) / (self.w - 1)
        elif self.kind == "beta" and self.w - self.p == 1:
            size = ((1 if high == sp.oo else (high / (1 + high)) ** self.p) - (low / (1 + low)) ** self.p) / self.p
        else:
            return None
        return sp.exp(self.constant) * size

    @property
    def mass(self) -> Any:
        """The integral of the kernel with its constant."""
        if self.kind == "gamma":
            size = sp.gamma(self.p) * self.rate**-self.p
        elif self.kind == "beta":
            size = sp.gamma(self.p) * sp.gamma(self.w - self.p) / sp.gamma(self.w)
        else:
            size = sp.gamma(self.p) * sp.zeta(self.p) if self.kind == "bose" else self._tail(self.p, 0)
        return sp.exp(self.constant) * size


Functions = Callable[[Piece], Sequence[Any]]  # of the data, as they are on a piece
Branches = list[tuple[Kernel, list[Monomials]]]
ONE: Monomials = {(sp.S.Zero, 0, sp.S.Zero, 0): sp.S.One}


def information(pieces: list[Piece], x: Any, parameters: tuple[Any, ...], at: Point) -> tuple[Any, dict[Any, set[Any]]] | None:
    """The (p, p) matrix and the conditions of its entries (by index), or None where some piece is no such kernel."""
    branches = _branches(pieces, x, lambda piece: [sp.diff(piece.log_density, symbol) for symbol in parameters], at)
    if branches is None:
        return None
    weights, size = _weights(branches), len(parameters)
    out, conditions = sp.zeros(size, size), {}
    for i in range(size):
        for j in range(i + 1):
            total = _mean(weights, branches, [(scores[i], scores[j]) for _, scores in branches])
            if total is None:
                return None
            out[i, j] = out[j, i] = total
            conditions[i, j] = conditions[j, i] = {c for kernel, _ in branches for c in kernel.conditions if c != True}  # noqa: E712
            for kernel, _ in branches:
                kernel.conditions.clear()
    return out, conditions


def expectations(pieces: list[Piece], x: Any, functions: Sequence[Any], at: Point) -> list[Any] | None:
    """E of each function, or None where some piece is no such kernel, or where a mean exists under a condition only."""
    branches = _branches(pieces, x, lambda piece: [resolve(g, {**at, x: piece.inside}) for g in functions], at)
    if branches is None:
        return None
    weights = _weights(branches)
    out = [_mean(weights, branches, [(means[k], ONE) for _, means in branches]) for k in range(len(functions))]
    conditional = any(c != True for kernel, _ in branches for c in kernel.conditions)  # noqa: E712 SymPy's
    return None if conditional or None in out else out


def mass(pieces: list[Piece], x: Any, at: Point) -> Any | None:
    """The integral of the density over its pieces, or None where some piece is no such kernel."""
    branches = _branches(pieces, x, lambda piece: (), at)
    return None if branches is None else sum(kernel.mass for kernel, _ in branches)


def probability(pieces: list[Piece], x: Any, at: Point, low: Any, high: Any) -> Any | None:
    """The integral over an interval inside the support, or None where some piece is no kernel that is known between two ends."""
    total = sp.S.Zero
    for piece in pieces:
        ends = [max(piece.low, low, key=lambda e: number(e, at)), min(piece.high, high, key=lambda e: number(e, at))]
        if number(ends[0], at) >= number(ends[1], at):
            continue
        if (branches := _pulled_back(piece, x, lambda piece: (), at)) is None or len(branches) > 1:
            return None
        kernel = branches[0][0]
        rising = number(sp.diff(kernel.variable, x), {**at, x: piece.inside}) > 0
        whole = (sp.S.Zero, sp.oo) if rising else (sp.oo, sp.S.Zero)
        inside = [
            u if end == own else kernel.variable.subs(x, end)
            for u, end, own in zip(whole, ends, (piece.low, piece.high), strict=True)
        ]
        part = kernel.mass_between(*(inside if rising else inside[::-1]))
        if part is None:
            return None
        total += part
    return sp.powdenest(total, force=True)


def _branches(pieces: list[Piece], x: Any, functions: Functions, at: Point) -> Branches | None:
    out: Branches = []
    for piece in pieces:
        if (found := _pulled_back(piece, x, functions, at)) is None:
            return None
        out += found
    return out


def _weights(branches: Branches) -> list[Any]:
    """The masses of the branches: equal parts where the kernels are equal."""
    kernels = [kernel for kernel, _ in branches]
    first = kernels[0]
    same = all((k.kind, k.p, k.w, k.rate) == (first.kind, first.p, first.w, first.rate) for k in kernels)
    if same and all(sp.expand(k.constant - first.constant) == 0 for k in kernels):
        return [sp.Rational(1, len(kernels))] * len(kernels)
    return [sp.simplify(kernel.mass) for kernel in kernels]


def _mean(weights: list[Any], branches: Branches, factors: list[tuple[Monomials, Monomials]]) -> Any | None:
    """E of a product, its two factors given on each branch."""
    total = sp.S.Zero
    for weight, (kernel, _), pair in zip(weights, branches, factors, strict=True):
        if (part := _expectation(kernel, *pair)) is None:
            return None
        total += weight * part
    return total


def _expectation(kernel: Kernel, a: Monomials, b: Monomials) -> Any | None:
    product: Monomials = {}
    for (r1, j1, t1, m1), c1 in a.items():
        for (r2, j2, t2, m2), c2 in b.items():
            key = (sp.expand(r1 + r2), j1 + j2, sp.expand(t1 + t2), m1 + m2)
            product[key] = product.get(key, 0) + c1 * c2
    total = sp.S.Zero
    for exponents, coefficient in product.items():
        if (coefficient := sp.cancel(coefficient)) != 0:
            value = kernel.moment(*exponents)
            if value is None:
                return None
            total += coefficient * value
    return total


# -- pulling back


def _pulled_back(piece: Piece, x: Any, functions: Functions, at: Point) -> Branches | None:
    """One kernel with the functions' monomials for each monotone branch of the first proposal that fits."""
    log_density = _completed(sp.expand_mul(sp.expand_log(piece.log_density, force=True), deep=False), x)
    ends = [end for end in (piece.low, piece.high) if not sp.sympify(end).is_infinite]
    for bose, g in proposals(log_density, x, ends):
        branches = []
        for branch in _monotone(replace(piece, log_density=log_density), g, x, at):
            if (pulled := _branch(branch, g, x, functions, at, bose)) is None:
                break
            branches.append(pulled)
        else:
            return branches
    return None


def proposals(log_density: Any, x: Any, ends: list[Any]) -> Iterator[tuple[bool, Any]]:
    """Variables that the terms of a log-density suggest; True for the argument of a Bose kernel."""
    for term in sp.Add.make_args(sp.expand(log_density)):
        coefficient, part = term.as_independent(x, as_Add=False)
        if part == x:
            yield from ((False, -coefficient * (x - end)) for end in ends)
    for term in sp.Add.make_args(log_density):
        coefficient, part = term.as_independent(x, as_Add=False)
        if isinstance(part, sp.log):
            known, rest = part.args[0].as_independent(x, as_Add=True)
            if known != 0 and not rest.is_Add:
                yield False, rest / known
                if isinstance(rest, sp.exp):
                    yield True, rest.exp
        elif part != 1 and not part.is_Mul:
            yield False, -coefficient * part
    for part in log_density.atoms(sp.exp):
        if part.has(x):
            yield False, part


def _completed(expression: Any, x: Any) -> Any:
    """With completed squares inside logarithms, so that x enters once."""

    def complete(node: Any, z: Any) -> Any:
        if not (node.is_Add and node.is_polynomial(z) and sp.degree(node, z) == 2):
            return node
        c2, c1, c0 = sp.Poly(node, z).all_coeffs()
        return c2 * (z + c1 / (2 * c2)) ** 2 + sp.factor(c0 - c1**2 / (4 * c2)) if c1 != 0 else node

    def logarithm(part: Any) -> Any:
        return sp.log(complete(complete(part, x), sp.log(x)))

    return expression.replace(sp.log, logarithm)


def _monotone(piece: Piece, g: Any, x: Any, at: Point) -> list[Piece]:
    """The piece, cut where an even power in g folds it."""
    for power in g.atoms(sp.Pow):
        if power.exp.is_even and power.base.has(x) and (fold := invert(power.base, x, sp.S.Zero, at)) is not None:
            low, middle, high = (number(end, at) for end in (piece.low, fold, piece.high))
            if low < middle < high:
                left = replace(piece, high=fold, inside=between(low, middle))
                return [left, replace(piece, low=fold, inside=between(middle, high))]
    return [piece]


def _branch(piece: Piece, g: Any, x: Any, functions: Functions, at: Point, bose: bool) -> tuple[Kernel, list[Monomials]] | None:
    """The kernel of one branch, or None where it is none."""
    target = _target(g, x, piece, at)
    if target is None:
        return None
    target, truncated = target
    h = invert(g, x, target, {**at, x: piece.inside})
    if h is None:
        return None
    slope = sp.diff(h, U)
    if number(slope, {**at, U: sp.Rational(5, 7)}) < 0:
        slope = -slope
    log = _terms(piece.log_density.subs(x, h) + sp.log(slope), bose)
    kernel = log and _recognised(log, bose, truncated)
    if not kernel:
        return None
    kernel = replace(kernel, variable=_solved(g, target), conditions=set())
    terms = [_terms(sp.sympify(function).subs(x, h), bose) for function in functions(piece)]
    known = [each for each in terms if each is not None]
    return (kernel, known) if len(known) == len(terms) else None


def _solved(g: Any, target: Any) -> Any:
    """u from g = target(u), which is a fraction of linear functions."""
    top, bottom = sp.fraction(sp.together(target))
    a, b, c, d = (part.coeff(U, power) for part in (sp.expand(top), sp.expand(bottom)) for power in (1, 0))
    return (b - d * g) / (c * g - a)


def _target(g: Any, x: Any, piece: Piece, at: Point) -> tuple[Any, bool] | None:
    """What g equals in terms of u, so that u runs over (0, oo), or over (1, oo) where truncated."""
    ends = sorted((_limit(g, x, piece.low, 1, at), _limit(g, x, piece.high, -1, at)))
    known = sorted((round(float(mpmath.nstr(end, 15)), 12), end) for end in ends)
    low, high = (value for value, _ in known)
    if (low, high) == (0, float("inf")):
        return U, False
    if (low, high) == (-1, 0):
        return -U / (1 + U), False
    if (low, high) == (-float("inf"), -1):
        return -1 - U, False
    if low > 0 and high == float("inf"):
        finite = next(end for end in (piece.low, piece.high) if not sp.sympify(end).is_infinite)
        start = g.subs(x, finite)
        return (start * U, True) if start.is_positive else None
    return None


def _limit(g: Any, x: Any, end: Any, side: int, at: Point) -> Any:
    """The value of g towards an end, by how it changes over three great steps."""
    with mpmath.workdps(700):
        f = evaluate.digits([g], (x,), at)
        far = mpmath.isinf(number(end, at))
        exponents = (30, 90, 270) if far else (-30, -90, -270)
        base = mpmath.mpf(0) if far else number(end, at)
        values = [f(base + side * (-1 if far else 1) * mpmath.mpf(10) ** e)[0] for e in exponents]
        if abs(values[2] - values[1]) < mpmath.mpf(10) ** -20 * abs(values[2]):
            return values[2]
        return mpmath.mpf(0) if abs(values[2]) < abs(values[1]) else mpmath.sign(values[2]) * mpmath.inf


def _terms(expression: Any, bose: bool) -> Monomials | None:
    """An expression in u as monomials; None where it is no sum of them."""
    out: Monomials = {}
    for term in sp.Add.make_args(sp.expand(sp.expand_log(_protected(expression, bose), force=True))):
        coefficient, rest = term.as_independent(U, Y, as_Add=False)
        exponents: list[Any] = [sp.S.Zero, 0, sp.S.Zero, 0]
        for factor in sp.Mul.make_args(rest):
            base, exponent = factor.as_base_exp()
            if base not in PLACES or exponent.has(U, Y):
                if factor != 1:
                    return None
                continue
            exponents[PLACES[base]] += exponent
        if not all(sp.sympify(exponents[k]).is_Integer and exponents[k] >= 0 for k in (1, 3)):
            return None
        r, j, t, m = exponents
        key = (r, int(j), t, int(m))
        out[key] = out.get(key, 0) + coefficient
    return out


PLACES = {U: 0, sp.log(U): 1, Y: 2, sp.log(Y): 3}


def _protected(expression: Any, bose: bool) -> Any:
    """With one symbol for 1 + u (or e^u - 1), so that expanding leaves its powers whole."""
    if expression.is_Atom or not expression.has(U):
        return expression
    if bose and isinstance(expression, sp.exp) and (expression.exp / U).is_Integer:
        return (1 + Y) ** (expression.exp / U)
    expression = expression.func(*(_protected(argument, bose) for argument in expression.args))
    if expression.is_Add:
        expression = sp.expand(expression)
        if not bose and expression.has(Y) and expression.is_rational_function(U, Y):
            expression = sp.factor(expression.subs(Y, 1 + U))
        if not bose:
            factors = (factor.as_base_exp() for factor in sp.Mul.make_args(expression))
            return sp.Mul(*(_as_factor(base) ** exponent for base, exponent in factors))
    elif expression.is_Pow:
        return sp.expand_power_base(sp.powdenest(expression, force=True), force=True)
    return expression


def _as_factor(expression: Any) -> Any:
    """c (1 + u) as c Y; anything else as it is."""
    if expression.is_Add and expression.is_polynomial(U) and sp.degree(expression, U) == 1:
        slope, start = sp.Poly(expression, U).all_coeffs()
        if sp.expand(slope - start) == 0:
            return start * Y
    return expression


def _recognised(log: Monomials, bose: bool, truncated: bool) -> Kernel | None:
    """The kernel that a log-density in u is the logarithm of."""
    one = (sp.S.One, 0, sp.S.Zero, 0)
    log_u, log_y = (sp.S.Zero, 1, sp.S.Zero, 0), (sp.S.Zero, 0, sp.S.Zero, 1)
    constant = log.pop((sp.S.Zero, 0, sp.S.Zero, 0), sp.S.Zero)
    p = sp.expand(log.pop(log_u, sp.S.Zero) + 1)
    rate, w = -log.pop(one, sp.S.Zero), sp.expand(-log.pop(log_y, sp.S.Zero))
    if any(sp.simplify(coefficient) != 0 for coefficient in log.values()):
        return None
    rate = sp.cancel(rate)
    if bose:
        return Kernel("bose", p, constant=constant) if rate == 0 and w == 1 else None
    if rate == 0 and not truncated:
        return Kernel("beta", p, w, constant=constant)
    if w == 0 and rate.is_positive:
        return Kernel("truncated" if truncated else "gamma", p, rate=rate, constant=constant)
    return None


# -- Mellin transforms


def rise(z: Any, k: Any) -> Any:
    """Gamma(z + k) / Gamma(z), as a product where k is an integer."""
    k = sp.sympify(k)
    if not k.is_Integer or abs(k) > 20:
        return sp.gamma(sp.expand(z + k)) / sp.gamma(z)
    factors = (z + i for i in range(int(k))) if k >= 0 else (1 / (z - 1 - i) for i in range(int(-k)))
    return sp.Mul(*factors)


_BELL: dict[tuple[Any, int, int], Any] = {}


def _bell(log_transform: Any, j: int, m: int) -> Any:
    """(d/ds)^j (-d/dv)^m of exp(log_transform), over itself."""
    key = (log_transform, j, m)
    if key not in _BELL:
        if j == m == 0:
            _BELL[key] = sp.S.One
        elif j:
            lower = _bell(log_transform, j - 1, m)
            _BELL[key] = sp.diff(lower, S) + lower * sp.diff(log_transform, S)
        else:
            lower = _bell(log_transform, 0, m - 1)
            _BELL[key] = -sp.diff(lower, V) - lower * sp.diff(log_transform, V)
    return _BELL[key]

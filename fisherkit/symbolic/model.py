"""A statistical model given by a formula."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp

from .. import model
from ..arrays import as_entries
from ..errors import DataError, LayoutError, MethodError, PrecisionError, RegularityError
from ..expressions import checked
from ..information import FisherInformation
from ..methods import Exact, Method, Quadrature, require
from ..model import Theta
from ..parameters import Parameters
from ..provenance import Provenance
from ..quadrature import Moments
from ..structures.base import Structure
from ..structures.dense import Dense
from ..structures.diagonal import Diagonal
from . import linear_system, numeric
from .support import read


class Model(model.Model):
    """A density or probability mass function in symbols.

    Parameters
    ----------
    density : expression, optional
        Or ``log_density=``; one of the two.
    data : symbol, or several
        What is observed. An integer symbol makes a pair of ends a discrete support.
    parameters : symbols, optional
        In the order of the rows; by default every other free symbol, by name. Free symbols left over are known
        constants: they stay symbols, and `FisherInformation.at` takes them by name.
    support : pair of ends, SymPy set, range, or collection of values; a tuple of them for several data symbols

    Raises
    ------
    LayoutError
        When a declared parameter is not in the density.
    RegularityError
        When the support moves with a parameter, or a parameter counts something.

    Notes
    -----
    A closed form comes from the equations E[score] = 0 (see `linear_system`), or from a finite sum; each is compared
    with the integral of the score form at a random point before it is returned. Other models are answered at a point by
    `Quadrature`, with an error bound.

    Examples
    --------
    >>> x, mu = sympy.symbols("x mu", real=True)
    >>> sigma = sympy.Symbol("sigma", positive=True)
    >>> log_density = -((x - mu) / sigma) ** 2 / 2 - sympy.log(sigma) - sympy.log(2 * sympy.pi) / 2
    >>> normal = fk.symbolic.Model(log_density=log_density, data=x, parameters=(mu, sigma), support=(-sympy.oo, sympy.oo))
    >>> fk.expected_information(normal).dense()
    Matrix([
    [sigma**(-2),           0],
    [          0, 2/sigma**2]])
    """

    def __init__(
        self,
        density: Any = None,
        *,
        log_density: Any = None,
        data: Any,
        parameters: Any = None,
        support: Any,
    ) -> None:
        if (density is None) == (log_density is None):
            raise LayoutError("a symbolic model needs either a density or log_density=, not both.")
        given = _expression(density if log_density is None else log_density)
        self.log_density = _log(given) if log_density is None else given
        self.data = tuple(data) if isinstance(data, Iterable) else (data,)
        supports = support if len(self.data) > 1 else (support,)
        if len(supports) != len(self.data):
            raise LayoutError(f"{len(self.data)} data symbols need as many supports; got {len(supports)}.")
        self.supports = tuple(read(one, symbol) for one, symbol in zip(supports, self.data, strict=True))
        self.symbols = self._parameter_symbols(parameters)
        self.parameters = Parameters.of(self.symbols)
        self._check_parameters()

    def _parameter_symbols(self, parameters: Any) -> tuple[Any, ...]:
        free = self.log_density.free_symbols.union(*(s.free_symbols for s in self.supports)) - set(self.data)
        if parameters is None:
            return tuple(sorted(free, key=lambda s: s.name))
        chosen = tuple(parameters) if isinstance(parameters, Iterable) else (parameters,)
        if not all(isinstance(symbol, sp.Symbol) for symbol in chosen):
            raise LayoutError(f"parameters must be SymPy symbols; got {parameters!r}.")
        if absent := [symbol for symbol in chosen if symbol not in free]:
            similar = [s for s in free if str(s) == str(absent[0])]
            hint = " (a symbol of that name with other assumptions is there)" if similar else ""
            raise LayoutError(f"the density does not mention {absent[0]}{hint}; it has {', '.join(sorted(map(str, free)))}.")
        return chosen

    def _check_parameters(self) -> None:
        for symbol in self.symbols:
            if any(symbol in support.free_symbols for support in self.supports):
                integer = symbol.is_integer
                raise RegularityError(
                    f"{symbol} counts the outcomes: the density has no derivative in it. Leave it out of parameters=."
                    if integer
                    else f"the support ends at a point that moves with {symbol}, so there is no Fisher information about it. "
                    f"Leave {symbol} out of parameters= where it is known; the Chapman-Robbins bound needs no derivative.",
                    condition="integer_parameter" if integer else "support_depends_on_parameter",
                    parameter=str(symbol),
                )
            if symbol.is_integer:
                raise RegularityError(
                    f"{symbol} is declared an integer: the density has no derivative in it. Declare it real or positive, or "
                    "leave it out of parameters=.",
                    condition="integer_parameter",
                    parameter=str(symbol),
                )

    def _check_zeros(self, at: dict[Any, Any]) -> None:
        """Branches may say where the density is zero: that must not move with a parameter."""
        pieces = [piece for piece in self.log_density.atoms(sp.Piecewise) if piece.has(-sp.oo)]
        turning = {s for piece in pieces for _, condition in piece.args for s in condition.free_symbols}
        for symbol in (s for s in self.symbols if s in turning and len(self.data) == 1):
            if numeric.zeros_move(self.log_density, self.data[0], self.supports[0], at, symbol):
                raise RegularityError(
                    f"the density is zero beyond a point that moves with {symbol}: the support depends on it.",
                    condition="support_depends_on_parameter",
                    parameter=str(symbol),
                )

    # -- formulas

    @cached_property
    def scores(self) -> list[Any]:
        """Derivatives of the log-density, one per parameter."""
        return [sp.diff(self.log_density, symbol) for symbol in self.symbols]

    @cached_property
    def hessian(self) -> list[list[Any]]:
        return [[sp.diff(score, symbol) for symbol in self.symbols] for score in self.scores]

    @cached_property
    def closed_form(self) -> Any | None:
        """The (p, p) matrix where there is one, checked at a point; None otherwise."""
        found = linear_system.information(self.scores, self.hessian, self.data, self.symbols)
        if found is None and all(support.values is not None for support in self.supports):
            found = self._finite_sum()
        at, moments, error = self._valid_point()
        if found is None or not _agrees(found, moments, error, at):
            return None
        return found

    def _finite_sum(self) -> Any:
        """Every outcome by name."""
        p = len(self.symbols)
        outcomes: list[dict[Any, Any]] = [{}]
        for symbol, support in zip(self.data, self.supports, strict=True):
            outcomes = [{**outcome, symbol: value} for outcome in outcomes for value in support.values or ()]
        total = sp.zeros(p, p)
        for outcome in outcomes:
            mass = sp.exp(self.log_density.subs(outcome))
            s = sp.Matrix([score.subs(outcome) for score in self.scores])
            total += mass * s * s.T
        return total.applyfunc(linear_system.tidy)

    # -- the verbs

    def expected_information(
        self, theta: Theta = None, *, inputs: Any = None, method: Method | None = None, structure: str = "dense"
    ) -> FisherInformation:
        if method is not None:
            require(method, (Exact, Quadrature), what="a symbolic model")
        if isinstance(method, Quadrature):
            return self._quadrature(theta, method, structure)
        closed = self.closed_form
        if closed is None:
            if method is None and theta is not None:
                return self._quadrature(theta, Quadrature(digits=5), structure)
            raise MethodError(
                f"no closed form was found for {self.parameters}. Give theta for numbers with an error bound: "
                "expected_information(model, {...}, method=Quadrature())."
            )
        provenance = Provenance(kind="expected", method=method or Exact())
        formula = FisherInformation.of(self._stored(as_entries(closed), structure), provenance)
        if theta is None:
            return formula
        values = self._by_name(theta)
        at = {symbol: checked(symbol, values[str(symbol)]) for symbol in self._free() if str(symbol) in values}
        if set(at) == self._free():
            self._check_mass(at)
        return formula.at({str(symbol): value for symbol, value in at.items()})

    def _check_mass(self, at: dict[Any, Any]) -> None:
        """A point outside a domain that the assumptions do not tell: there the density is none."""
        try:
            moments, error = numeric.moments(self.log_density, self.scores, self.data, self.supports, at)
        except PrecisionError:
            return  # too many variables to integrate: the formula stands
        if error < 1e-3 and not abs(moments.mass - 1) < max(1e-6, 10 * error):
            raise RegularityError(
                f"the density has mass {moments.mass:.8g} over its support at this point, not 1: the point is outside its "
                "domain.",
                condition="not_normalised",
            )

    def score(self, theta: Theta = None, *, data: Any = None) -> Any:
        if theta is None and data is None:
            return sp.ImmutableMatrix([self.scores])
        return self._evaluate(self.scores, theta, data)

    def observed_information(self, theta: Theta = None, *, data: Any = None, structure: str = "dense") -> FisherInformation:
        p = len(self.symbols)
        flat = [entry for row in self.hessian for entry in row]
        if kinked := [e for e in flat if e.has(sp.DiracDelta)]:
            raise RegularityError(
                f"the density has a kink that moves with a parameter ({kinked[0]}), so it has no Hessian there. Use "
                "expected_information, which integrates the score.",
                condition="not_differentiable",
            )
        values = -self._evaluate(flat, theta, data)
        return self._over_data("observed", values.sum(axis=0).reshape(p, p), len(values), theta, structure)

    def empirical_information(self, theta: Theta = None, *, data: Any = None, structure: str = "dense") -> FisherInformation:
        s = self._evaluate(self.scores, theta, data)
        return self._over_data("empirical", s.T @ s, len(s), theta, structure)

    # -- numbers

    def _quadrature(self, theta: Theta, method: Quadrature, structure: str) -> FisherInformation:
        at, univariate = self._point(theta), len(self.data) == 1 and self.supports[0].values is None
        matrix: Any = None
        self._check_zeros(at)
        if method.digits <= 15:
            moments, error = numeric.moments(self.log_density, self.scores, self.data, self.supports, at)
            if error <= 10.0**-method.digits or not univariate:
                self._check_moments(moments, error, method)
                matrix = (moments.product + moments.product.T) / 2
        if matrix is None:
            matrix, error = self._precise(at, method, univariate)
        point = {str(symbol): value for symbol, value in self._by_name(theta).items()}
        provenance = Provenance(kind="expected", method=method, point=point, error_bound=error)
        return FisherInformation.of(self._stored(matrix, structure), provenance)

    def _precise(self, at: dict[Any, Any], method: Quadrature, univariate: bool) -> tuple[Any, float]:
        """By mpmath, where machine numbers do not reach the digits."""
        if not univariate:
            raise MethodError(f"{method!r} is for one real or integer variable; ask for 15 digits or fewer, or Exact().")
        rows, error = numeric.precise(self.log_density, self.scores, self.data[0], self.supports[0], at, method.digits)
        entries = [[sp.Float(v, method.digits + 3) for v in row] for row in rows]
        matrix = as_entries(np.array(entries, dtype=object))
        return (matrix.astype(float), max(error, 2.0**-52)) if method.digits <= 15 else (matrix, error)

    def _check_moments(self, moments: Moments, error: float, method: Quadrature) -> None:
        if not error <= 10.0**-method.digits:
            raise PrecisionError(
                f"{method!r} was asked for; the quadrature of E[s s'] reaches a relative error of {error:.1g} only: the "
                "information may be infinite, or the density has kinks or a heavy tail."
            )
        if not abs(moments.mass - 1) < max(1e-7, 10 * error):
            raise RegularityError(
                f"the density has mass {moments.mass:.8g} over its support at this point, not 1.", condition="not_normalised"
            )
        self._check_mean(moments, error)

    def _check_mean(self, moments: Moments, error: float) -> None:
        z = np.abs(moments.mean) / np.sqrt(np.maximum(np.diagonal(moments.product), 1e-300))
        if float(z.max()) > max(1e-6, 100 * error):
            symbol = self.symbols[int(z.argmax())]
            raise RegularityError(
                f"the mean score in {symbol} is {float(z.max()):.2g} standard deviations, not 0: the mass changes with {symbol}. "
                "A normalising factor that depends on it is missing.",
                condition="not_normalised",
                parameter=str(symbol),
            )

    def _valid_point(self) -> tuple[dict[Any, Any], Moments, float]:
        """A random point at which the density is one: where closed forms are tried."""
        masses = []
        for at in _trial_points(sorted(self._free(), key=str)):
            try:
                moments, error = numeric.moments(self.log_density, self.scores, self.data, self.supports, at)
            except (RegularityError, ZeroDivisionError, TypeError):
                continue
            if abs(moments.mass - 1) < max(1e-6, 10 * error):
                self._check_zeros(at)
                self._check_mean(moments, error)
                return at, moments, error
            masses.append((moments.mass, at))
        told = "; ".join(f"mass {m:.6g} at {', '.join(f'{s}={v}' for s, v in at.items())}" for m, at in masses[:2])
        raise RegularityError(
            f"the density has no mass of 1 over its support ({told or 'it is not finite at any point tried'}): a factor is "
            "missing, or the support is wrong.",
            condition="not_normalised",
        )

    def _free(self) -> set[Any]:
        return set(self.log_density.free_symbols).union(*(s.free_symbols for s in self.supports)) - set(self.data)

    def _by_name(self, theta: Theta) -> dict[str, Any]:
        """Values of all parameters, and of the constants that are named too."""
        if theta is None:
            raise LayoutError(f"theta is needed: give values for {self.parameters}.")
        if not isinstance(theta, Mapping):
            leaves = self.parameters.split(theta, name="theta")
            return {name: leaf[0] for name, leaf in zip(self.parameters.names, leaves, strict=True)}
        values = {str(key): value for key, value in theta.items()}
        known = {str(s) for s in self._free()}
        missing = [name for name in self.parameters.names if name not in values]
        if missing or (unknown := sorted(set(values) - known)):
            raise LayoutError(
                f"theta must name each of {self.parameters}; missing: {', '.join(missing) or 'none'}; "
                f"unknown: {', '.join(unknown) if not missing else 'none'}."
            )
        return values

    def _point(self, theta: Theta) -> dict[Any, Any]:
        values = self._by_name(theta)
        if constants := sorted(str(s) for s in self._free() if str(s) not in values):
            raise LayoutError(f"numbers need every symbol: give {', '.join(constants)} in theta too.")
        return {symbol: checked(symbol, values[str(symbol)]) for symbol in self._free()}

    def _evaluate(self, expressions: list[Any], theta: Theta, data: Any) -> np.ndarray:
        """(n, k) values at the data, finite or refused by name."""
        at = self._point(theta)
        columns = self._columns(data)
        values = numeric.compile([e.subs(at) for e in expressions], self.data)(*columns).T
        if len(bad := np.argwhere(~np.isfinite(values))):
            i, k = bad[0]
            symbol = self.symbols[k % len(self.symbols)]
            raise DataError(f"the score of observation {i} in {symbol} is {values[i, k]}: the observation is impossible there.")
        return values

    def _columns(self, data: Any) -> list[np.ndarray]:
        array = as_entries(np.asarray([] if data is None else data), name="data")
        if array.size == 0:
            raise DataError("data must hold at least one observation: give data=.")
        array = array[:, None] if array.ndim == 1 and len(self.data) == 1 else array
        if array.ndim != 2 or array.shape[1] != len(self.data):
            raise DataError(f"data must have one column for each of {self.data}; got shape {array.shape}.")
        return list(array.T)

    def _over_data(self, kind: str, matrix: np.ndarray, n: int, theta: Theta, structure: str) -> FisherInformation:
        provenance = Provenance(kind=kind, n=n, point=self._by_name(theta))
        return FisherInformation.of(self._stored((matrix + matrix.T) / 2, structure), provenance)

    def _stored(self, matrix: Any, structure: str) -> Structure:
        if structure == "diagonal":
            return Diagonal(self.parameters.split(np.diagonal(matrix)), self.parameters)
        return Dense(matrix, self.parameters)


def _expression(value: Any) -> Any:
    if isinstance(value, str) or not isinstance(value, (sp.Expr, int, float)):
        raise LayoutError(f"a density is a SymPy expression; got {value!r}. Text is never evaluated.")
    return sp.sympify(value)


def _log(density: Any) -> Any:
    """The log-density, branch by branch; factors are pulled apart, which no derivative minds."""
    if isinstance(density, sp.Piecewise):
        return sp.Piecewise(*((_log(branch), condition) for branch, condition in density.args))
    return sp.expand_log(sp.log(density), force=True) if density != 0 else -sp.oo


def _agrees(closed: Any, moments: Moments, error: float, at: dict[Any, Any]) -> bool:
    """Every entry of the formula against the integral."""
    values = np.array(closed.subs(at).evalf().tolist(), dtype=complex)
    root = np.sqrt(np.diagonal(moments.product))
    return bool(np.max(np.abs(values - moments.product) / np.outer(root, root)) < max(1e-6, 100 * error))


def _trial_points(symbols: list[Any]) -> Iterator[dict[Any, Any]]:
    """Rational values that respect the assumptions: fractions, larger numbers, and both mixed, rising and falling."""
    count = len(symbols)
    fractions = [sp.Rational(3 + 2 * k, 7 + 4 * count) for k in range(count)]
    larger = [sp.Rational(13 + 5 * k, 9) for k in range(count)]
    small = [sp.Rational(2 + k, 11 + count**2) for k in range(count)]
    mixed = [(larger if k % 2 else fractions)[k] for k in range(count)]
    other = [(fractions if k % 2 else larger)[k] for k in range(count)]
    for values in (larger, fractions, mixed, other, small, larger[::-1], fractions[::-1], [v + 2 for v in larger]):
        yield {
            s: (-v if s.is_negative else sp.Integer(k + 3) if s.is_integer else v)
            for k, (s, v) in enumerate(zip(symbols, values, strict=True))
        }

"""A statistical model given by a formula."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp

from .. import model
from ..arrays import as_entries
from ..deadline import within
from ..errors import DataError, LayoutError, MethodError, PrecisionError, RegularityError
from ..expressions import checked
from ..information import FisherInformation
from ..methods import Exact, Method, Quadrature, require
from ..model import Theta
from ..parameters import Parameters
from ..provenance import Provenance
from ..rows import Rows
from ..structures.base import Structure
from ..structures.dense import Dense
from ..structures.diagonal import Diagonal
from ..uncertainty import Expectation
from . import closed_forms, evaluate, expectations, exponential_family, predictor, rank, ratios, regularity
from .algebra import Algebra
from .density import Density
from .numbers import estimate
from .observations import Observations, as_symbols, covariates, used
from .support import read


class Model(Algebra, model.Model):
    """A density or probability mass function in symbols.

    Parameters
    ----------
    density : expression, optional
        Or ``log_density=``; one of the two.
    data : symbol, or several
        What is observed. An integer symbol makes a pair of ends a discrete support.
    parameters : symbols, optional
        In the order of the rows; by default every other free symbol, by name. Free symbols left over are known
        constants: they stay symbols, and `FisherInformation.at` takes them by name; or they are covariates, when
        data come as a mapping or data frame with a column for each.
    support : pair of ends, SymPy set, range, or collection of values; a tuple of them for several data symbols

    Raises
    ------
    LayoutError
        When a declared parameter is not in the density.
    RegularityError
        When the support moves with a parameter, or a parameter counts something.

    Notes
    -----
    A closed form comes from the equations E[score] = 0 (`linear_system`), a quadratic log-density (`gaussian`), a finite
    sum, or Gamma, Beta and Bose kernels (`kernels`); each is compared with the integral of the score form at a random
    point before it is returned. Other models are answered at a point by `Quadrature`, with an error bound.

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

    counts_rows = True

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
        chosen = tuple(data) if isinstance(data, Iterable) else (data,)
        supports = support if len(chosen) > 1 else (support,)
        if len(supports) != len(chosen):
            raise LayoutError(f"{len(chosen)} data symbols need as many supports; got {len(supports)}.")
        read_supports = tuple(read(one, symbol) for one, symbol in zip(supports, chosen, strict=True))
        log_density = _log(given) if log_density is None else given
        symbols = _parameter_symbols(Density(log_density, chosen, read_supports, ()).free, parameters)
        super().__init__(log_density, chosen, read_supports, symbols)
        self.parameters = Parameters.of(symbols)
        regularity.check_declared(self)

    def exponential_family(self) -> exponential_family.ExponentialFamily:
        """Natural parameters, sufficient statistics, log-partition and carrier, in a minimal representation.

        Raises
        ------
        MethodError
            When the density is of no exponential family; what mixes data and parameters is named.
        RegularityError
            When the support moves with a parameter.

        Examples
        --------
        >>> rate = sympy.Symbol("rate", positive=True)
        >>> family = fk.symbolic.as_model(sympy.stats.Exponential("X", rate)).exponential_family()
        >>> family.natural, family.log_partition
        ((-rate,), -log(rate))
        """
        found = within(closed_forms.DEADLINE, lambda: exponential_family.find(self))
        if found is None:
            raise MethodError(f"no exponential family was seen within {closed_forms.DEADLINE:g} seconds.")
        return found

    # -- formulas

    @cached_property
    def _closed_form(self) -> tuple[str, Any] | None:
        return predictor.find(self) or closed_forms.find(self)

    @property
    def tier(self) -> str | None:
        """Which idea gave the closed form; None where none was found."""
        return self._closed_form[0] if self._closed_form else None

    @property
    def covariates(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the known constants: data given as a mapping may hold a column for each."""
        return tuple(map(str, covariates(self)))

    # -- the verbs

    def expected_information(
        self, theta: Theta = None, *, inputs: Any = None, method: Method | None = None, structure: str = "dense"
    ) -> FisherInformation:
        if method is not None:
            require(method, (Exact, Quadrature), what="a symbolic model")
        if inputs is not None:
            return self._over_rows(theta, inputs, method, structure)
        found = self.information_of_any_rank(theta, method=method, structure=structure)
        self._refuse_null(found)
        return found

    def _refuse_null(self, found: FisherInformation) -> None:
        """Refuse a density that does not change along a direction, here and at another point."""
        if len(self.symbols) == 1 and self._closed_form is not None:
            return
        if self._closed_form is not None:
            self._full_rank  # noqa: B018 looked at once
        elif not self.covariates and found.structure == "dense":
            here = rank.null_directions(np.asarray(found.dense()).astype(float), self.parameters)
            if here and rank.null_directions(closed_forms.valid_point(self)[1].product.astype(float), self.parameters):
                raise rank.over_parametrized(here)

    @cached_property
    def _full_rank(self) -> bool:
        assert self._closed_form is not None
        rank.refuse_null(as_entries(self._closed_form[1]), self.parameters, self.symbols)
        return True

    def information_of_any_rank(
        self, theta: Theta = None, *, method: Method | None = None, structure: str = "dense"
    ) -> FisherInformation:
        """The expected information, also of a part that alone says nothing about a direction."""
        if isinstance(method, Quadrature):
            return self._quadrature(theta, method, structure)
        if self._closed_form is not None:
            matrix = as_entries(self._closed_form[1])
            formula = FisherInformation.of(self._stored(matrix, structure), Provenance(kind="expected", method=method or Exact()))
            if theta is None:
                return formula
            if (numbers := self._evaluated(formula, theta)) is not None:
                return numbers
        if method is None and theta is not None:
            return self._quadrature(theta, Quadrature(digits=5), structure)
        raise MethodError(
            f"no closed form was found for {self.parameters}. Give theta for numbers with an error bound: "
            "expected_information(model, {...}, method=Quadrature())."
        )

    @cached_property
    def _formula(self) -> FisherInformation:
        return self.expected_information()

    @cached_property
    def _formula_at(self) -> Any:
        return self._formula.lambdify()

    def _over_rows(self, theta: Theta, inputs: Any, method: Method | None, structure: str) -> FisherInformation:
        """The mean of the closed form over the rows of the covariates."""
        if isinstance(method, Quadrature):
            raise MethodError("over rows of covariates the closed form is averaged; leave out method=, or ask row by row.")
        rows = Observations.read(self, inputs, observed=())
        known: dict[str, Any] = {str(s): float(v) for s, v in self._point(theta, rows.symbols).items()}
        known |= dict(zip(map(str, rows.symbols), rows.columns, strict=True))
        used = {str(s) for entry in as_entries(self._formula.dense()).flat for s in entry.free_symbols}
        values = self._formula_at(**{name: value for name, value in known.items() if name in used})
        n = len(rows.columns[0])
        mean = rows.rows.total(np.broadcast_to(values, (n, *values.shape[-2:]))) / rows.rows.count(n)
        provenance = Provenance(kind="expected", method=method or Exact(), n=1, point=self._by_name(theta))
        return FisherInformation.of(self._stored((mean + mean.T) / 2, structure), provenance)

    def _evaluated(self, formula: FisherInformation, theta: Theta) -> FisherInformation | None:
        """The formula at a point that is regular; None where it has a removable singularity."""
        values = self._by_name(theta)
        at = {symbol: checked(symbol, values[str(symbol)]) for symbol in self.free if str(symbol) in values}
        if set(at) == self.free and all(value.is_number for value in at.values()):
            with suppress(PrecisionError):  # too hard to integrate: the formula stands
                estimate(self, at, 5)
        try:
            return formula.at({str(symbol): value for symbol, value in at.items()})
        except DataError:
            return None

    def score(self, theta: Theta = None, *, data: Any = None) -> Any:
        if theta is None and (symbols := as_symbols(self, data)) is not None:
            return sp.ImmutableMatrix([[score.subs(symbols) for score in self.scores]])
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
        values, rows = self._evaluate([*self.scores, *flat], theta, data), Rows.of(data)
        return self._over_data("observed", -rows.total(values[:, p:]).reshape(p, p), rows, values[:, :p], theta, structure)

    def empirical_information(self, theta: Theta = None, *, data: Any = None, structure: str = "dense") -> FisherInformation:
        s, rows = self._evaluate(self.scores, theta, data), Rows.of(data)
        root = rows.root(s)
        return self._over_data("empirical", root.T @ root, rows, s, theta, structure)

    def used_data(self, data: Any) -> Any:
        return used(self, data)

    # -- for bounds

    def point(self, theta: Theta = None) -> dict[str, Any]:
        values = {str(s): s for s in self.symbols} if theta is None else self._by_name(theta)
        return {name: values[name] for name in self.parameters.names}

    def ratios(
        self, theta: Theta, *, order: int, points: Sequence[Mapping[str, Any]], method: Method | None = None
    ) -> Expectation:
        if method is not None:
            require(method, (Exact, Quadrature), what="a symbolic model")
        if theta is None:
            return Expectation(ratios.formula(self, order, points))
        return Expectation(ratios.numbers(self, self._point(theta), order, points))

    def expectation(self, function: Any, theta: Theta = None, *, method: Method | None = None) -> Expectation:
        if method is not None:
            require(method, (Exact, Quadrature), what="a symbolic model")
        if isinstance(method, Exact) and theta is not None:
            return Expectation(expectations.expectation(expectations.known(self, self._by_name(theta)), function, None))
        return Expectation(expectations.expectation(self, function, None if theta is None else self._point(theta)))

    def nodes(self, theta: Theta, count: int) -> tuple[Any, Any]:
        return expectations.nodes(self, self._point(theta), count)

    def curvature(self, theta: Theta = None, *, data: Any = None) -> tuple[Any, Any]:
        if theta is None and (symbols := as_symbols(self, data)) is not None:
            return sp.ImmutableMatrix([self.scores]).subs(symbols), sp.ImmutableMatrix(self.hessian).subs(symbols)
        rows, p = Observations.read(self, data), len(self.symbols)
        at = self._point(theta, rows.symbols)
        formulas = [e.subs(at) for e in (*self.scores, *(entry for row in self.hessian for entry in row))]
        values = evaluate.arrays(formulas, rows.symbols)(*rows.columns).T
        return values[:, :p], values[:, p:].reshape(-1, p, p)

    def log_likelihood(self, theta: Theta = None, *, data: Any = None) -> float:
        at, rows = self._possible(theta, data)
        values = self._numbers([self.log_density], at, rows)[0]
        if np.isnan(values).any():
            i = rows.rows.place(int(np.argmax(np.isnan(values))))
            raise DataError(f"the log-density of observation {i} is nan at {at}.")
        return float(rows.rows.total(values))

    # -- numbers

    def _quadrature(self, theta: Theta, method: Quadrature, structure: str) -> FisherInformation:
        found = estimate(self, self._point(theta), method.digits)
        product = found.product
        if product.dtype == object:
            entries = [sp.Float(value, method.digits + 5) for value in product.flat]
            product = as_entries(np.array(entries, dtype=object).reshape(product.shape))
        if method.digits <= 15:
            product = product.astype(float)
        provenance = Provenance(
            kind="expected",
            method=method,
            point={str(symbol): value for symbol, value in self._by_name(theta).items()},
            error_bound=max(found.error, 2.0**-52) if method.digits <= 15 else found.error,
        )
        return FisherInformation.of(self._stored(product, structure), provenance)

    def _by_name(self, theta: Theta) -> dict[str, Any]:
        """Values of all parameters, and of the constants that are named too."""
        if theta is None:
            raise LayoutError(f"theta is needed: give values for {self.parameters}.")
        if not isinstance(theta, Mapping):
            leaves = self.parameters.split(theta, name="theta")
            return {name: leaf[0] for name, leaf in zip(self.parameters.names, leaves, strict=True)}
        values = {str(key): value for key, value in theta.items()}
        known = {str(s) for s in self.free}
        missing = [name for name in self.parameters.names if name not in values]
        if missing or (unknown := sorted(set(values) - known)):
            raise LayoutError(
                f"theta must name each of {self.parameters}; missing: {', '.join(missing) or 'none'}; "
                f"unknown: {', '.join(unknown) if not missing else 'none'}."
            )
        return values

    def _point(self, theta: Theta, rows: tuple[Any, ...] = ()) -> dict[Any, Any]:
        """Values of every symbol but those that have a column."""
        values, needed = self._by_name(theta), self.free.difference(rows)
        if constants := sorted(str(s) for s in needed if str(s) not in values):
            raise LayoutError(f"numbers need every symbol: give {', '.join(constants)} in theta too, or as columns of data.")
        return {symbol: checked(symbol, values[str(symbol)]) for symbol in needed}

    def _evaluate(self, expressions: list[Any], theta: Theta, data: Any) -> np.ndarray:
        """(n, k) values at the data, finite or refused by name."""
        at, rows = self._possible(theta, data)
        values = self._numbers(expressions, at, rows).T
        if len(bad := np.argwhere(~np.isfinite(values))):
            i, k = bad[0]
            symbol = self.symbols[k % len(self.symbols)]
            place = Rows.of(data).place(i)
            raise DataError(
                f"the score of observation {place} in {symbol} is {values[i, k]}: the observation is impossible there."
            )
        return values

    def _possible(self, theta: Theta, data: Any) -> tuple[dict[Any, Any], Observations]:
        """The point, and observations that lie in their supports there."""
        rows = Observations.read(self, data)
        at = self._point(theta, rows.symbols)
        rows.refuse_impossible(self, at)
        return at, rows

    def _numbers(self, expressions: list[Any], at: dict[Any, Any], rows: Observations) -> np.ndarray:
        """(k, n) values. Compiled once for all points; anew with the point put in first where that is not finite."""
        rest = sorted(at, key=str)
        key = (*expressions, *rows.symbols, *rest)
        if key not in self._compiled:
            self._compiled[key] = evaluate.arrays(expressions, (*rows.symbols, *rest))
        values = self._compiled[key](*rows.columns, *(float(at[s]) for s in rest))
        if np.isfinite(values).all() or expressions == [self.log_density]:
            return np.asarray(values)
        return evaluate.arrays([e.subs(at) for e in expressions], rows.symbols)(*rows.columns)

    @cached_property
    def _compiled(self) -> dict[tuple[Any, ...], Any]:
        return {}

    def _over_data(
        self, kind: str, matrix: np.ndarray, rows: Rows, s: np.ndarray, theta: Theta, structure: str
    ) -> FisherInformation:
        provenance = Provenance(
            kind=kind, n=rows.count(len(s)), point=self._by_name(theta), sample=rows.sample(s, self.point(theta))
        )
        return FisherInformation.of(self._stored((matrix + matrix.T) / 2, structure), provenance)

    def _stored(self, matrix: Any, structure: str) -> Structure:
        if structure == "diagonal":
            return Diagonal(self.parameters.split(np.diagonal(matrix)), self.parameters)
        return Dense(matrix, self.parameters)


def _expression(value: Any) -> Any:
    if isinstance(value, str) or not isinstance(value, (sp.Expr, int, float)):
        raise LayoutError(f"a density is a SymPy expression; got {value!r}. Text is never evaluated.")
    return sp.sympify(value)


def _parameter_symbols(free: set[Any], parameters: Any) -> tuple[Any, ...]:
    """Those asked for, which the density must mention; all free symbols by name otherwise."""
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


def _log(density: Any) -> Any:
    """The log-density, branch by branch; factors are pulled apart, which no derivative minds."""
    if isinstance(density, sp.Piecewise):
        return sp.Piecewise(*((_log(branch), condition) for branch, condition in density.args))
    return sp.expand_log(sp.log(density), force=True) if density != 0 else -sp.oo

"""The noun: a Fisher information matrix at a point, whatever its entries and however it is stored."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any, final

import numpy as np

from . import jacobians, methods, storage
from .arrays import (
    Array,
    alike,
    as_entries,
    as_float64,
    check_budget,
    eye,
    family,
    is_expression,
    is_numeric,
    public,
    square_root,
)
from .errors import DataError, EntriesError, IndefiniteInformationError, LayoutError, MethodError, PrecisionError
from .parameters import Parameters
from .provenance import KINDS, Provenance
from .report import Report
from .report import report as make_report
from .rows import Sample
from .structures.base import Structure
from .structures.dense import Dense
from .structures.diagonal import Diagonal
from .structures.promotion import STRUCTURES, add, congruence
from .uncertainty import LeaveOneOut, sum_errors

RESOLVED = 3.0  # standard errors above 0 that an estimated information must be in every direction to be inverted


@final
class FisherInformation:
    r"""A Fisher information: a symmetric matrix over named parameters.

    The same verbs serve NumPy, PyTorch and SymPy entries. Immutable: every verb returns a new one, and each
    Monte Carlo replicate goes through the same verb, so that `mcse` follows.

    Parameters
    ----------
    values : array, tensor or SymPy matrix of shape (p, p); or mapping from name to array for a diagonal
        The entries. Machine numbers are kept in float64.
    parameters : names, symbols, mapping from name to shape, or Parameters
        Labels of the rows; a mapping of ``values`` brings its own.
    kind : {"expected", "observed", "empirical"}
    n : number or expression
        How many observations the values stand for; 0 for a prior.
    method : Method, optional
        How the expectation was taken.
    point : mapping from name to number, optional
        The parameter values at which the information was taken.

    Raises
    ------
    LayoutError
        When shapes and names do not fit.
    DataError
        When entries are not finite or the matrix is not symmetric to 1e-8.

    Notes
    -----
    An information is a property of n observations. ``10 * F`` stands for ten times as many, ``F + G`` for those of
    both; nothing is scaled in silence. Convert with `per_observation` and `total`.

    Examples
    --------
    >>> F = fk.FisherInformation([[4.0, 0.0], [0.0, 8.0]], parameters=("mu", "sigma"))
    >>> F
    FisherInformation(expected, n=1, dense 2x2, parameters=(mu, sigma), condition=1)
    >>> (25 * F).standard_errors()
    array([0.1       , 0.07071068])
    >>> float(F.marginalize("sigma"))
    4.0
    """

    __array_ufunc__ = None  # np.float64(2) * F is ours to answer
    _op_priority = 20.0  # and so is sympy.Symbol("n") * F

    def __init__(
        self,
        values: Any,
        *,
        parameters: Any = None,
        kind: str = "expected",
        n: Any = 1,
        method: methods.Method | None = None,
        point: Mapping[str, Any] | None = None,
    ) -> None:
        if kind not in KINDS:
            raise LayoutError(f"kind must be one of {', '.join(KINDS)}; got {kind!r}.")
        if not is_expression(n) and not (np.isfinite(n) and n >= 0):
            raise LayoutError(f"n must be a finite number of observations, 0 or more; got {n!r}.")
        self._structure: Structure = _read(values, parameters)
        point = None if point is None else {str(name): value for name, value in point.items()}
        self._provenance = Provenance(kind=kind, method=method, n=n, point=point)
        self._errors: LeaveOneOut | None = None

    @classmethod
    def of(cls, structure: Structure, provenance: Provenance, errors: LeaveOneOut | None = None) -> FisherInformation:
        """From parts that a source has made; no checks."""
        self = object.__new__(cls)
        self._structure, self._provenance, self._errors = structure, provenance, errors
        return self

    # -- what it is

    @property
    def parameters(self) -> Parameters:
        """Names and shapes, in the order of the rows."""
        return self._structure.parameters

    @property
    def structure(self) -> str:
        """How it is stored: ``"dense"``, ``"diagonal"``."""
        return self._structure.name

    @property
    def kind(self) -> str:
        """``"expected"``, ``"observed"``, ``"empirical"``, or several joined by ``+`` in a sum."""
        return self._provenance.kind

    @property
    def method(self) -> methods.Method | None:
        """How the expectation was taken; None where there was none, or where a sum has several."""
        return self._provenance.method

    @property
    def n(self) -> Any:
        """How many observations the values stand for."""
        return self._provenance.n

    @property
    def point(self) -> Mapping[str, Any] | None:
        """The parameter values at which it was taken, where known."""
        return self._provenance.point

    @property
    def error_bound(self) -> float | None:
        r"""Bound on :math:`|\Delta F_{ij}| / \sqrt{F_{ii} F_{jj}}` of a quadrature; None otherwise."""
        return self._provenance.error_bound

    @property
    def sample(self) -> Sample | None:
        """What the data were, of an observed or empirical information: rows, those omitted, clusters, and their score sum."""
        return self._provenance.sample

    @property
    def mcse(self) -> Any:
        """Monte Carlo standard error of each kept entry, in the form of `dense` or `diagonal`.

        None when exact, and when no leave-one-out groups were kept (the repr says ``groups=0``).
        """
        return self.mcse_of(lambda F: F._kept())

    def mcse_of(self, function: Callable[[FisherInformation], Any]) -> Any:
        """Monte Carlo standard error of ``function(F)``; None when F is exact.

        Parameters
        ----------
        function : callable
            Takes a FisherInformation, returns a number, an array or a mapping of arrays.

        Examples
        --------
        >>> F = fk.expected_information(scipy.stats.norm, {"loc": 0.0, "scale": 1.0}, method=fk.MonteCarlo(1000, rng=0))
        >>> bool(F.mcse_of(lambda F: F.logdet) < 0.2)
        True
        """
        return None if self._errors is None else self._errors.standard_error(*self._replicated(function))

    def interval_of(self, function: Callable[[FisherInformation], Any] | None = None, *, level: float = 0.95) -> tuple[Any, Any]:
        """Monte Carlo interval of ``function(F)``, the entries by default: where more draws would lead.

        Parameters
        ----------
        function : callable, optional
            Takes a FisherInformation, returns a number, an array or a mapping of arrays.
        level : float
            The share of runs whose interval holds the exact value.

        Returns
        -------
        low, high
            In the form of the function's value; both the value itself where F is exact.

        Raises
        ------
        MethodError
            When F was estimated and no leave-one-out groups were kept.

        Notes
        -----
        Corrects for the bias of a nonlinear function, for skewness and for heavy tails (`fisherkit.uncertainty.interval`), so it
        is more honest than the value plus or minus two `mcse_of` where there are few draws.

        Examples
        --------
        >>> F = fk.expected_information(scipy.stats.cauchy, {"loc": 0.0, "scale": 1.0}, method=fk.MonteCarlo(1000, rng=0))
        >>> low, high = F.interval_of(lambda F: F.logdet)
        >>> bool(low < np.log(0.25) < high)
        True
        """
        if not 0 < level < 1:
            raise DataError(f"level must lie between 0 and 1; got {level!r}.")
        function = function or (lambda F: F._kept())
        if self._errors is None:
            if isinstance(self.method, methods.MonteCarlo):
                raise MethodError(
                    "no leave-one-out groups were kept, so there is no interval: estimate with groups= of 20 or more."
                )
            return function(self), function(self)
        return self._errors.interval(*self._replicated(function), level)

    def bias_of(self, function: Callable[[FisherInformation], Any]) -> Any:
        """Monte Carlo bias of ``function(F)``: about how far a nonlinear function is too large; None when F is exact.

        The inverse of an estimated information is too large on average, by a factor n / (n - p - 1) for Gaussian scores.
        Subtract it, or draw more.
        """
        return None if self._errors is None else self._errors.bias(*self._replicated(function))

    def _refuse_few_draws(self) -> None:
        """An inverse needs draws: p + 4 outer products, or so many that no direction's information is within noise of 0.

        The inverse of a mean of n outer products of p Gaussian scores has a mean and a variance from n = p + 4 on.
        """
        draws, p = self._provenance.draws, self.parameters.size
        if draws is None or self.structure != "dense" or self._errors is None:
            return
        if getattr(self.method, "estimator", None) in ("outer_product", "score_control"):
            noise, factor = f"{draws} draws of {p} parameters leave it no mean or no variance", (p + 4) / draws
        else:
            ratio = self._noise_of_the_least_known()
            noise, factor = f"the least-known direction is known to {1 / ratio:.1f} standard errors", (RESOLVED * ratio) ** 2
        if factor > 1:
            raise PrecisionError(
                f"the inverse of this estimated information has no finite error: {noise}. It needs about {factor:.2g} times the "
                f"draws, and ten for each parameter at least: give MonteCarlo(n={max(10 * p, round(factor * self.method.n))})."  # type: ignore[union-attr]
            )

    def _noise_of_the_least_known(self) -> float:
        """The error of the smallest eigenvalue of the scaled matrix, relative to it, as its interval of 99.9 % tells it."""
        assert self._errors is not None
        matrix = np.asarray(self)
        scale = np.sqrt(np.abs(np.diagonal(matrix))) + 1e-300
        values, vectors = np.linalg.eigh(matrix / np.outer(scale, scale))
        x = vectors[:, 0] / scale
        along = [float(x @ as_float64(r.dense(), verb="inverse") @ x) for r in self._errors.replicates]
        low, _ = self._errors.interval(float(values[0]), along, 0.999)
        return float(values[0] - low) / 3.29 / max(float(values[0]), 1e-300)

    def _replicated(self, function: Callable[[FisherInformation], Any]) -> tuple[Any, list[Any]]:
        """Its value, and its value at each replicate."""
        assert self._errors is not None
        return function(self), [function(FisherInformation.of(r, self._provenance)) for r in self._errors.replicates]

    def __repr__(self) -> str:
        p = self.parameters.size
        told = [self.kind, f"method={self.method!r}" if self.method else "", f"n={self.n}", f"{self.structure} {p}x{p}"]
        told.append(f"parameters={self.parameters}")
        if self.error_bound is not None:
            told.append(f"error_bound={self.error_bound:.1g}")
        if self.sample is not None:
            told.append(self.sample.told)
        if self.structure == "dense" and p <= 512 and is_numeric(self._structure.dense()):
            told.append(f"condition={self._told_condition()}")
        return f"FisherInformation({', '.join(part for part in told if part)})"

    def _told_condition(self) -> str:
        """An observed information away from a maximum has no condition, and still a repr."""
        try:
            lowest = float(self._structure.scaled_eigenvalues()[0])
        except IndefiniteInformationError:
            return "indefinite"
        return "indefinite" if lowest < -1e-10 else f"{self.condition:.3g}"

    # -- algebra

    def __mul__(self, factor: Any) -> FisherInformation:
        """``factor * F``: the information of ``factor`` times as many observations."""
        if not (isinstance(factor, (int, float, np.number)) or is_expression(factor)):
            return NotImplemented
        if not is_expression(factor) and not (np.isfinite(factor) and factor >= 0):
            raise DataError(f"an information is scaled by a finite non-negative number; got {factor}.")
        if is_expression(factor) and self._family == "torch":
            raise EntriesError(f"tensors cannot be scaled by the expression {factor}; give a number.")
        scaled = self._map(lambda s: s.scale(factor))
        return scaled._with(n=factor * self.n)

    __rmul__ = __mul__

    def __truediv__(self, divisor: Any) -> FisherInformation:
        if self._family == "sympy":
            from sympy import sympify

            divisor = sympify(divisor)  # 1 / 3 stays a third
        return self.__mul__(1 / divisor)

    def __add__(self, other: Any) -> FisherInformation:
        """``F + G``: the information of both sets of observations, matched by parameter name."""
        if isinstance(other, (int, float)) and other == 0:  # so that sum() works
            return self
        if not isinstance(other, FisherInformation):
            return NotImplemented
        if dict(zip(self.parameters.names, self.parameters.shapes, strict=True)) != dict(
            zip(other.parameters.names, other.parameters.shapes, strict=True)
        ):
            raise LayoutError(
                f"F + G needs equal parameters; F has {self.parameters}, G has {other.parameters}. "
                "Rename with G.rename(old='new'), join all of them with F.join(G), or drop one with F.fix(...) or "
                "F.marginalize(...)."
            )
        other = other._map(lambda s: s.select(self.parameters.names))
        errors = sum_errors(self._structure, self._errors, other._structure, other._errors)
        structure = add(self._structure, other._structure)
        return FisherInformation.of(structure, self._provenance.joined(other._provenance), errors)

    __radd__ = __add__

    def __matmul__(self, v: Any) -> Any:
        """F @ v, in the form of v: ``(p,)``, ``(p, k)``, or a mapping by name."""
        return self.parameters.join(self._structure.matvec(self.parameters.split(v)), like=v)

    def solve(self, v: Any, *, damping: float = 0.0) -> Any:
        """(F + damping I)^-1 v, in the form of v.

        Raises
        ------
        SingularInformationError
            When some direction has no information and ``damping`` is 0; the directions are named.
        """
        if not is_expression(damping) and not (np.isfinite(damping) and damping >= 0):
            raise DataError(f"damping must be finite and non-negative; got {damping}.")
        return self.parameters.join(self._structure.solve(self.parameters.split(v), damping), like=v)

    def quadratic(self, delta: Any) -> Any:
        """delta' F delta: twice the Kullback-Leibler divergence of a small step, per n observations."""
        leaves = self.parameters.split(delta, name="delta")
        total = sum((v * w).sum(0) for v, w in zip(leaves, self._structure.matvec(leaves), strict=True))
        return total if is_expression(total) else public(total)

    # -- plain properties

    def dense(self) -> Any:
        """The (p, p) matrix: a SymPy Matrix, a NumPy array or a tensor. Refused over the memory budget."""
        p = self.parameters.size
        check_budget(p * p, what=f"the dense {p} x {p} matrix", cheaper="F.diagonal() needs p numbers.")
        return public(self._structure.dense())

    def diagonal(self) -> Any:
        """The p diagonal entries; a mapping by name where parameters have shapes."""
        return self.parameters.natural(self._structure.diagonal())

    def inverse(self) -> Any:
        """The (p, p) inverse: the Cramer-Rao bound on a covariance. Prefer `solve` for a product with it.

        That of an estimated information is too large on average; `bias_of` tells by how much, and with fewer draws than it needs
        to have a mean it is refused.
        """
        p = self.parameters.size
        self._refuse_few_draws()
        check_budget(p * p, what=f"the {p} x {p} inverse", cheaper="F.solve(v) and F.standard_errors() never form it.")
        return public(self._structure.inverse())

    def standard_errors(self) -> Any:
        """Standard errors of the parameters from the n observations: the root of the inverse's diagonal.

        Where the information was estimated they are too large on average: see `inverse`.
        """
        self._refuse_few_draws()
        return self.parameters.natural([square_root(leaf) for leaf in self._structure.variances()])

    def report(self) -> Report:
        """The diagonal by layer, as a table: entries, trace, share of the whole, largest entry, and how many are zero.

        A layer is what the names of its parameters share up to the last dot; a name without a dot is one by itself. Numbers only.

        Examples
        --------
        >>> F = fk.FisherInformation({"0.weight": [[0.0, 0.5]], "0.bias": [1.0], "1.weight": [[4.5]]})
        >>> F.report()
        expected information, n=1, 4 parameters
          name  entries  trace  share  largest  zeros
          0           3    1.5   0.25        1      1
          1           1    4.5   0.75      4.5      0
          all         4      6      1      4.5      1
        >>> F.report().layers[1].share
        0.75
        """
        title = f"{self.kind} information, n={self.n}, {self.parameters.size} parameters"
        return make_report(title, self.parameters, self._structure.diagonal())

    @property
    def trace(self) -> Any:
        """Sum of the diagonal."""
        return self._structure.trace()

    @property
    def logdet(self) -> Any:
        """Logarithm of the determinant."""
        return self._structure.logdet()

    def eigenvalues(self) -> Any:
        """All p eigenvalues, ascending. Numbers only."""
        return self._structure.eigenvalues()

    @property
    def condition(self) -> float:
        """Condition number after scaling to unit diagonal; infinite when singular. Numbers only."""
        values = self._structure.scaled_eigenvalues()
        return float(values[-1] / values[0]) if values[0] > 0 else float("inf")

    @property
    def rank(self) -> int:
        """How many directions carry information, to rounding. Numbers only."""
        values = self._structure.scaled_eigenvalues()
        return int((values > 10 * len(values) * np.finfo(np.float64).eps * values[-1]).sum())

    def __float__(self) -> float:
        if self.parameters.size != 1:
            raise LayoutError(f"float(F) needs one parameter; F has {self.parameters}. Use F.fix or F.marginalize first.")
        return float(as_float64(self._structure.diagonal()[0], verb="float(F)")[0])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        matrix = as_float64(as_entries(self.dense()), verb="np.asarray(F)")
        return np.asarray(matrix.cpu() if family(matrix) == "torch" else matrix, dtype=dtype)

    # -- fewer, other, or known parameters

    def fix(self, *names: Any) -> FisherInformation:
        """The information about the others when these are known: their rows leave."""
        kept = self.parameters.without(names)
        return self._map(lambda s: s.select(kept))

    def marginalize(self, *names: Any) -> FisherInformation:
        """The information about the others when these nuisance parameters are estimated too: a Schur complement."""
        kept = self.parameters.without(names)
        return self._map(lambda s: s.marginalize(kept))._with(error_bound=None) if names else self

    def __getitem__(self, names: Any) -> FisherInformation:
        """The block of these parameters, in this order, the others known: ``F["mu", "sigma"]``."""
        kept = self.parameters.known(names if isinstance(names, tuple) else (names,))
        return self._map(lambda s: s.select(kept))

    def __iter__(self) -> Any:  # without it, Python would try F[0], F[1], ...
        raise TypeError("a FisherInformation is not iterable; F.parameters.names are its names.")

    def join(self, *others: FisherInformation) -> FisherInformation:
        """The sum over the parameters of all: an experiment tells nothing of a parameter that it does not name.

        Matched by name; new parameters follow in the order in which they come. Dense where parameters differ.

        Examples
        --------
        >>> F = fk.FisherInformation([[4.0]], parameters=("H0",))
        >>> G = fk.FisherInformation([[1.0, 1.0], [1.0, 2.0]], parameters=("H0", "w"))
        >>> F.join(G)["H0", "w"].dense()
        array([[5., 1.],
               [1., 2.]])
        """
        shapes: dict[str, tuple[int, ...]] = {}
        for one in (self, *others):
            if not isinstance(one, FisherInformation):
                raise LayoutError(f"F.join(G) takes informations; got {type(one).__name__}. A prior is F.with_prior(name=width).")
            for name, shape in zip(one.parameters.names, one.parameters.shapes, strict=True):
                if shapes.setdefault(name, shape) != shape:
                    raise LayoutError(f"F.join(G) needs one shape per name; {name} has {shapes[name]} and {shape}.")
        whole = Parameters.of(shapes)
        first, *rest = [one._among(whole) for one in (self, *others)]
        return sum(rest, start=first)

    def _among(self, whole: Parameters) -> FisherInformation:
        """Over more parameters, with zeros for those that it tells nothing of."""
        if set(whole.names) == set(self.parameters.names):
            return self._map(lambda s: s.select(whole.names))
        check_budget(whole.size**2, what=f"the dense {whole.size} x {whole.size} sum", cheaper="Join fewer parameters.")
        rows = eye(whole.size, self._entries)[whole.positions(self.parameters.names)]
        return self._map(lambda s: congruence(s, rows, whole))

    def with_prior(self, widths: Mapping[Any, Any] | None = None, /, **named: Any) -> FisherInformation:
        """With independent Gaussian priors of these standard deviations: ``F.with_prior(H0=1.4)``.

        A name of a tensor means a prior on each of its entries. A prior counts for no observations: ``n`` stays. Correlated
        priors are `forecast.gaussian_prior`, added by `join`.

        Raises
        ------
        DataError
            When a width is not positive and finite.
        """
        given = {str(name): width for name, width in {**(widths or {}), **named}.items()}
        self.parameters.known(given)
        like, leaves = self._entries, {}
        for name, shape in zip(self.parameters.names, self.parameters.shapes, strict=True):
            width = as_entries([given.get(name, 1)], name=f"the prior width of {name}")[0]
            if (not is_expression(width) or width.is_number) and not width > 0:
                raise DataError(f"the prior width of {name} must be positive; got {given[name]!r}.")
            precision = float(name in given) / width**2 if not is_expression(width) else int(name in given) / width**2
            leaves[name] = alike(np.full(shape, precision), like)
        prior = FisherInformation(leaves, n=0, kind=self.kind.split("+")[0])
        kind = self.kind if "prior" in self.kind.split("+") else f"{self.kind}+prior"
        return (self + prior)._with(kind=kind, method=self.method, point=self.point)

    def rename(self, **names: str) -> FisherInformation:
        """The same entries under other names: ``F.rename(tau="sigma")``."""
        parameters = self.parameters.rename(names)
        point = self.point and {names.get(name, name): value for name, value in self.point.items()}
        return self._map(lambda s: s.rename(parameters))._with(point=point)

    def reparametrize(self, new_parameters: Any, inverse_map: Mapping[Any, Any] | Callable[[Any], Any]) -> FisherInformation:
        r"""The information about new parameters :math:`\varphi`: :math:`J' F J`, :math:`J = \partial\theta/\partial\varphi`.

        Parameters
        ----------
        new_parameters : symbols, or mapping from name or symbol to value
            Values are needed when the entries are numbers: F belongs to one point.
        inverse_map : mapping or callable
            The old parameters as functions of the new: a mapping from old name to SymPy expression (an old name that
            is also a new one may be left out), or a callable from a flat array (q,) to a flat array (p,). J comes
            from SymPy, from ``torch.func`` for tensors, or from `scipy.differentiate`.

        Raises
        ------
        LayoutError
            When ``inverse_map`` does not lead back to the point at which F was taken.

        Examples
        --------
        >>> F = fk.FisherInformation([[4.0]], parameters=("sigma",), point={"sigma": 0.5})
        >>> F.reparametrize({"log_sigma": np.log(0.5)}, np.exp).dense().round(9)
        array([[1.]])
        """
        change = jacobians.change_of_parameters(self.parameters, new_parameters, inverse_map, like=self._entries)
        if change.old_point is not None and self.point is not None:
            jacobians.check_point(self.point, change.old_point)
        substitute = change.substitute
        substituted = self._map(lambda s: s.map(substitute)) if substitute else self
        moved = substituted._map(lambda s: congruence(s, change.jacobian, change.parameters))
        return moved._with(point=change.point, error_bound=None)

    def at(self, point: Mapping[Any, Any] | None = None, /, **values: Any) -> FisherInformation:
        """Put numbers (or other expressions) for symbols, by name: ``F.at(mu=0, sigma=2)``.

        Entries that end as numbers become float64, unless they carry more digits than that.

        Raises
        ------
        DataError
            When a value contradicts the assumptions of its symbol, or an entry is not finite there.
        """
        from . import expressions

        given = {str(key): value for key, value in {**(point or {}), **values}.items()}
        arrays = self._structure.arrays
        if any(family(array) != "sympy" for array in arrays.values()):
            raise EntriesError("F.at(...) puts numbers for symbols; the entries of F are numbers already.")
        substitute = expressions.substitution(arrays.values(), given, allowed=self.parameters.names, n=self.n)
        moved = self._map(lambda s: s.map(substitute))
        moved._refuse_negative(given)
        return moved._with(point={**(self.point or {}), **given}, n=expressions.substitute_number(self.n, given))

    def _refuse_negative(self, given: Mapping[str, Any]) -> None:
        """A formula has a domain that the symbols' assumptions may not tell."""
        for leaf in self._structure.diagonal():
            for label, value in zip(self.parameters.labels, leaf, strict=False):
                if self.kind == "expected" and not getattr(value, "free_symbols", None) and value < 0:
                    at = ", ".join(f"{name}={number}" for name, number in given.items())
                    raise DataError(f"{at} is outside the domain: the information of {label} would be {float(value):.3g} there.")

    def lambdify(self, *, outside: str = "raise") -> Callable[..., np.ndarray]:
        """The matrix as a function of arrays of points, quickly: ``F.lambdify()(mu=0, sigma=sigmas)``.

        Parameters
        ----------
        outside : {"raise", "nan"}
            What a point outside the formula's domain gives: an error that names the first, or a matrix of nan.

        Returns
        -------
        callable
            Takes a number or an array for each symbol of the entries, by name or as a mapping; arrays broadcast to a
            shape ``S``. Returns float64 of shape ``(*S, p, p)``, of n observations as F stands.

        Raises
        ------
        EntriesError
            When the entries are numbers already.
        DataError
            By the callable: a value contradicts the assumptions of its symbol, the condition of an entry does not hold, or
            an entry is not finite.

        Notes
        -----
        A bound on the rounding error goes along; points where near terms cancel are done again with more digits, a
        millisecond each. A function that SciPy lacks is interpolated, see `fisherkit.panels`. 1e5 points of a family of two
        parameters take 0.02 to 1 s. Entries are right to 1e-9 of the roots of the diagonal, and as a rule to 1e-14.

        Examples
        --------
        >>> mu, sigma = sympy.Symbol("mu", real=True), sympy.Symbol("sigma", positive=True)
        >>> F = fk.FisherInformation([[1 / sigma**2, 0], [0, 2 / sigma**2]], parameters=(mu, sigma))
        >>> F.lambdify()(sigma=[1.0, 2.0])[:, 1, 1]
        array([2. , 0.5])
        """
        from . import formulas

        return formulas.lambdify(
            self._structure.dense(), labels=self.parameters.names, expected=self.kind == "expected", outside=outside
        )

    def latex(self) -> str:
        r"""The matrix in LaTeX, for a paper: ``\begin{pmatrix} ... \end{pmatrix}``. Formulas only."""
        from . import formulas

        return formulas.latex(self._structure.dense())

    # -- scale

    def per_observation(self) -> FisherInformation:
        """The same for one observation."""
        if not is_expression(self.n) and self.n <= 0:
            raise DataError(f"per_observation() needs n > 0; F stands for n={self.n} observations.")
        return self if self.n == 1 else (self / self.n)._with(n=1)

    def total(self, n: Any) -> FisherInformation:
        """The same for n independent observations like these."""
        return self.per_observation().__mul__(n)._with(n=n)

    # -- files

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to ``.safetensors`` or ``.npz`` by way of a temporary file; no pickle. See `load`."""
        storage.write(path, *_to_file(self))

    @property
    def _entries(self) -> Array:
        """Some stored array: all are of one family."""
        return next(iter(self._structure.arrays.values()))

    @property
    def _family(self) -> str:
        return family(self._entries)

    def _kept(self) -> Any:
        return public(self._structure.dense()) if self.structure == "dense" else self.diagonal()

    def _map(self, verb: Callable[[Structure], Structure]) -> FisherInformation:
        """A verb on the value and on each replicate."""
        errors = self._errors and self._errors.map(verb)
        return FisherInformation.of(verb(self._structure), self._provenance, errors)

    def _with(self, **changes: Any) -> FisherInformation:
        return FisherInformation.of(self._structure, replace(self._provenance, **changes), self._errors)


def _read(values: Any, parameters: Any) -> Structure:
    """The structure that values from outside describe, checked."""
    if isinstance(values, Mapping):
        leaves = {str(name): as_entries(leaf, name=str(name)) for name, leaf in values.items()}
        own = Parameters.of({name: tuple(leaf.shape) for name, leaf in leaves.items()})
        if parameters is not None and Parameters.of(parameters).names != own.names:
            raise LayoutError(f"a mapping brings its own parameters {own}; found parameters={parameters!r} too.")
        return Diagonal([leaf.reshape(-1) for leaf in leaves.values()], own)
    matrix = as_entries(values)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise LayoutError(
            f"values must be a (p, p) matrix, or a mapping from name to array for a diagonal; got shape {tuple(matrix.shape)}."
        )
    labels = Parameters.of(parameters, size=len(matrix))
    if family(matrix) == "sympy":
        if any((a - b).expand() != 0 for a, b in zip(matrix.flat, matrix.T.flat, strict=True)):
            raise DataError("values must be a symmetric matrix; F - F.T is not zero.")
        return Dense(matrix, labels)
    asymmetry, size = float(abs(matrix - matrix.T).max()), float(abs(matrix).max())
    if asymmetry > 1e-8 * size:
        raise DataError(f"values must be a symmetric matrix; the largest entry of F - F.T is {asymmetry:.3g}.")
    return Dense((matrix + matrix.T) / 2, labels)


# -- files


def load(path: str | os.PathLike[str]) -> FisherInformation:
    """Read what `FisherInformation.save` wrote.

    Raises
    ------
    StorageError
        When the file is not a regular one, not of this format, damaged, or larger than the memory budget.
    """
    arrays, meta = storage.read(path)
    with storage.damage(path):
        parameters = Parameters(tuple(meta["names"]), tuple(map(tuple, meta["shapes"])))
        cls, keys = STRUCTURES[meta["structure"]], [*STRUCTURES[meta["structure"]].keys(parameters)]
        parts = [
            cls.from_arrays(dict(zip(keys, (arrays[f"{r}.{k}"] for k in range(len(keys))), strict=True)), parameters)
            for r in range(len(meta["weights"]) + 1)
        ]
        provenance = Provenance(**{**meta["provenance"], "method": methods.from_dict(meta["method"])})
        errors = LeaveOneOut(tuple(parts[1:]), tuple(meta["weights"])) if meta["weights"] else None
        return FisherInformation.of(parts[0], provenance, errors)


def _to_file(information: FisherInformation) -> tuple[dict[str, Array], dict[str, Any]]:
    """Arrays keyed ``replicate.position`` (0 is the value itself), and everything else."""
    parts = [information._structure, *(information._errors.replicates if information._errors else ())]
    keys = [*parts[0].keys(parts[0].parameters)]
    arrays = {f"{r}.{k}": part.arrays[key] for r, part in enumerate(parts) for k, key in enumerate(keys)}
    meta = {
        "names": information.parameters.names,
        "shapes": information.parameters.shapes,
        "structure": information.structure,
        "weights": information._errors.weights if information._errors else (),
        "method": methods.to_dict(information.method),
        "provenance": {k: v for k, v in asdict(replace(information._provenance, method=None)).items() if k != "method"},
    }
    return arrays, meta

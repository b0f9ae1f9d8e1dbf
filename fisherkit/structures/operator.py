"""A matrix that is known by its products with vectors: what fits when not even a diagonal says enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn, Protocol, Self, final

from array_api_compat import array_namespace

from ..arrays import Array, as_float64, check_budget, eye, same_family
from ..errors import ConvergenceError, MethodError
from ..parameters import Parameters, concatenate
from .base import Leaves, Structure
from .inversion import invert, scaled_eigh

BLOCK = 32  # columns of the identity multiplied at a time
ITERATIONS = 2000  # of conjugate gradients, at most
RESIDUAL = 1e-10  # relative, where the products are that precise
SMALL = 4096  # parameters up to which a verb that needs the matrix forms it


class Product(Protocol):
    """A symmetric matrix, as far as an operator needs it; every structure is one."""

    @property
    def parameters(self) -> Parameters: ...

    @property
    def arrays(self) -> Mapping[str, Array]:
        """Some array of its family, on its device."""

    def matvec(self, leaves: Leaves) -> Leaves:
        """The product with leaves of shape (size,) or (size, k)."""

    def diagonal(self) -> Leaves: ...

    @property
    def precision(self) -> float:
        """The relative rounding error of a product."""


@dataclass(frozen=True)
class Term:
    """``factor`` times a product; ``names`` are those of its parameters here, None where one is known."""

    factor: float
    product: Product
    names: tuple[str | None, ...]


@dataclass(frozen=True)
class Congruence:
    """J' F J by the products of F."""

    product: Structure
    jacobian: Array
    parameters: Parameters

    @property
    def arrays(self) -> Mapping[str, Array]:
        return self.product.arrays

    @property
    def precision(self) -> float:
        return self.product.precision

    def matvec(self, leaves: Leaves) -> Leaves:
        jacobian, v = same_family(self.jacobian, concatenate(leaves), verb="F @ v")
        inner = concatenate(self.product.matvec(self.product.parameters.split(jacobian @ v)))
        return self.parameters.split(jacobian.T @ inner)

    def diagonal(self) -> Leaves:
        columns = concatenate(self.product.matvec(self.product.parameters.split(self.jacobian)))
        return self.parameters.split((self.jacobian * columns).sum(0))


@final
class Operator(Structure):
    """A sum of products, never formed."""

    name = "operator"

    def __init__(self, terms: Sequence[Term], parameters: Parameters) -> None:
        self.terms = tuple(terms)
        self.parameters = parameters

    @classmethod
    def of(cls, product: Product) -> Self:
        """One product as it is."""
        return cls([Term(1.0, product, product.parameters.names)], product.parameters)

    @property
    def arrays(self) -> Mapping[str, Array]:
        return self.terms[0].product.arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], parameters: Parameters) -> NoReturn:
        raise MethodError("an operator has no arrays to make it from.")

    @classmethod
    def keys(cls, parameters: Parameters) -> Sequence[str]:
        raise MethodError(
            "an operator is a network and its data, and cannot be saved: save F.dense(), or an information with "
            "structure='diagonal', 'kfac' or 'low-rank'."
        )

    @property
    def precision(self) -> float:
        return max(term.product.precision for term in self.terms)

    # -- algebra

    def scale(self, factor: Any) -> Self:
        return self._with([replace(term, factor=term.factor * float(factor)) for term in self.terms])

    def add(self, other: Self) -> Self:
        return self._with([*self.terms, *other.terms])

    def rename(self, parameters: Parameters) -> Self:
        new = dict(zip(self.parameters.names, parameters.names, strict=True))
        terms = [replace(term, names=tuple(name and new[name] for name in term.names)) for term in self.terms]
        return type(self)(terms, parameters)

    def select(self, names: Sequence[str]) -> Self:
        terms = [replace(term, names=tuple(name if name in names else None for name in term.names)) for term in self.terms]
        return type(self)(terms, self.parameters.select(names))

    def marginalize(self, kept: Sequence[str]) -> NoReturn:
        self._refuse("F.marginalize(...)", "fk.FisherInformation(F.dense(), parameters=F.parameters).marginalize(...)")

    def congruence(self, jacobian: Array, parameters: Parameters) -> Self:
        """J' F J, as lazy as F."""
        return type(self)([Term(1.0, Congruence(self, jacobian, parameters), parameters.names)], parameters)

    # -- products

    def matvec(self, leaves: Leaves) -> Leaves:
        given = dict(zip(self.parameters.names, leaves, strict=True))
        out: dict[str, Array] = {}
        for term in self.terms:
            found = term.product.matvec(term_leaves(term, given))
            for name, leaf in zip(term.names, found, strict=True):
                if name is not None:
                    out[name] = term.factor * leaf + out[name] if name in out else term.factor * leaf
        return [out[name] for name in self.parameters.names]

    def diagonal(self) -> Leaves:
        out: dict[str, Array] = {}
        for term in self.terms:
            for name, leaf in zip(term.names, term.product.diagonal(), strict=True):
                if name is not None:
                    out[name] = term.factor * leaf + out[name] if name in out else term.factor * leaf
        return [out[name] for name in self.parameters.names]

    def solve(self, leaves: Leaves, damping: Any) -> Leaves:
        """By conjugate gradients, to a residual that is checked by one more product."""
        v = concatenate(leaves)
        columns = v if v.ndim == 2 else v[:, None]
        found = self._conjugate_gradients(columns, float(damping))
        return self.parameters.split(found if v.ndim == 2 else found[:, 0])

    def _conjugate_gradients(self, b: Array, damping: float) -> Array:
        xp = array_namespace(b)
        target = max(RESIDUAL, 100 * self.precision)
        size = _norms(b)
        x, r = b * 0.0, b
        p, rr = r, (r * r).sum(0)
        for _ in range(min(ITERATIONS, 10 * len(b) + 10)):
            q = self._times(p, damping)
            curvature = (p * q).sum(0)
            if not bool((curvature > 0)[rr > 0].all()):
                break
            step = xp.where(rr > 0, rr / xp.where(curvature > 0, curvature, curvature * 0 + 1), rr * 0)
            x, r = x + step * p, r - step * q
            new = (r * r).sum(0)
            p, rr = r + xp.where(rr > 0, new / xp.where(rr > 0, rr, rr * 0 + 1), new * 0) * p, new
            if bool((rr <= (0.1 * target * size) ** 2).all()):
                break
        residual = float((_norms(b - self._times(x, damping)) / xp.where(size > 0, size, size * 0 + 1)).max())
        if not residual <= target:
            raise ConvergenceError(
                f"conjugate gradients reached a relative residual of {residual:.2g} with damping={damping:g}; {target:.2g} was "
                "wanted. F may be singular: give a larger damping=, or use a structure that can be solved directly.",
                condition="iterations",
            )
        return x

    def _times(self, v: Array, damping: float) -> Array:
        product = concatenate(self.matvec(self.parameters.split(v)))
        return product + damping * v if damping else product

    # -- the matrix itself, for a few thousand parameters

    def dense(self) -> Array:
        p = self.parameters.size
        check_budget(2 * p * p, what=f"the dense {p} x {p} matrix", cheaper="F @ v and F.solve(v, damping=...) need p numbers.")
        identity = eye(p, next(iter(self.arrays.values())))
        columns = [self._times(identity[:, i : i + BLOCK], 0.0) for i in range(0, p, BLOCK)]
        matrix = array_namespace(*columns).concat(columns, axis=1)
        return (matrix + matrix.T) / 2

    def inverse(self) -> Array:
        return invert(self._small("F.inverse()"), self.parameters).inverse()

    def variances(self) -> Leaves:
        return self.parameters.split(invert(self._small("F.standard_errors()"), self.parameters).variances())

    def logdet(self) -> Any:
        self._refuse(
            "F.logdet", "fk.spectra.logdet(F, damping=...) estimates it with its Monte Carlo error, and F.dense() is exact"
        )

    def eigenvalues(self) -> Array:
        matrix = as_float64(self._small("F.eigenvalues()"), verb="F.eigenvalues()")
        return array_namespace(matrix).linalg.eigvalsh(matrix)

    def scaled_eigenvalues(self) -> Array:
        return scaled_eigh(as_float64(self._small("F.condition"), verb="F.condition"), self.parameters)[1]

    def _small(self, verb: str) -> Array:
        if self.parameters.size > SMALL:
            cure = "fk.spectra.eigenvalues(F, k) and F.solve(v, damping=...) take products alone"
            self._refuse(f"{verb} of {self.parameters.size} parameters", cure)
        return self.dense()

    def _refuse(self, verb: str, cure: str) -> NoReturn:
        raise MethodError(f"{verb} needs the matrix, and an operator has its products only: {cure}.")

    def _with(self, terms: Sequence[Term]) -> Self:
        return type(self)(terms, self.parameters)


def term_leaves(term: Term, given: Mapping[str, Array]) -> Leaves:
    """A vector over the product's own parameters: zero where one is known."""
    some = next(iter(given.values()))
    xp = array_namespace(some)
    device = {"device": some.device} if hasattr(some, "is_cuda") else {}
    return [
        given[name] if name is not None else xp.zeros((size, *some.shape[1:]), dtype=some.dtype, **device)
        for name, size in zip(term.names, term.product.parameters.sizes, strict=True)
    ]


def _norms(columns: Array) -> Array:
    return array_namespace(columns).sqrt((columns * columns).sum(0))

"""How an expectation is taken: frozen descriptions that compute nothing."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from .errors import MethodError

SAMPLER = ("outer_product", "score_control", "hessian", "bartlett")
NETWORK = ("labels", "hutchinson", "batches")


@dataclass(frozen=True)
class Method:
    """A description of how to take an expectation."""

    def __repr__(self) -> str:
        """Only what differs from the defaults."""
        shown = [f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if getattr(self, f.name) != f.default]
        return f"{type(self).__name__}({', '.join(shown)})"


@dataclass(frozen=True, repr=False)
class Exact(Method):
    """A closed form, or a finite sum over every outcome."""


@dataclass(frozen=True, repr=False)
class Quadrature(Method):
    """Numerical integration or summation, with an error bound.

    Parameters
    ----------
    digits : int
        Significant digits asked for; up to 15 give machine numbers, more are kept as SymPy floats
        (symbolic models only).
    """

    digits: int = 10

    def __post_init__(self) -> None:
        if not isinstance(self.digits, int) or not 1 <= self.digits <= 1000:
            raise MethodError(f"Quadrature(digits=) must be an integer from 1 to 1000; got {self.digits!r}.")


@dataclass(frozen=True, repr=False)
class MonteCarlo(Method):
    """Averages over random draws, with a Monte Carlo standard error.

    Parameters
    ----------
    n : int
        For a sampler, the budget in score evaluations: so many draws of the plain outer product, fewer where a Hessian is
        taken of each. With ``rtol`` it is the ceiling. For a network, labels per input.
    rng : None, int, SeedSequence or Generator
        Source of randomness (SPEC 7); the global state is never touched.
    workers : int or concurrent.futures.Executor
        1 is this process alone; an int above 1 starts that many threads. The result is the same for any number.
    groups : int
        Leave-one-out groups that carry the error; 0 keeps none. The default keeps 20, for a sampler with few parameters 100,
        unless the result is very large.
    estimator : str, optional
        For a sampler: ``"outer_product"``, ``"score_control"``, ``"hessian"`` or ``"bartlett"``; by default a pilot within the
        budget chooses. What a result has here is what it was estimated with. For a network: ``"labels"`` drawn from the model (by
        default); ``"hutchinson"``, random signs on a root of the output's information, at the same cost and with less error; or
        ``"batches"``, the square of the sum of a batch's scores, one ordinary backward pass per batch whatever the architecture,
        with more error.
    rtol : float, optional
        For a sampler: draw until the mcse of every entry is below ``rtol`` times the roots of its two diagonal entries.
    nan_policy : {"raise", "omit"}
        For a sampler: what a draw whose score is not finite does; a warning counts those that are left out.
    known : mapping from pair of labels to number, optional
        For a sampler: entries of the information that are known, ``{("mu", "sigma"): 0.0}``; they are kept as given, and correct
        the others.
    checkpoint : str, optional
        For a sampler: an ``.npz`` file that is written while it runs, and from which the same call goes on, bit for bit.
    progress : bool, optional
        For a sampler: a progress bar on stderr; by default on a terminal, when it takes longer than two seconds.

    Notes
    -----
    The choice of estimator, its errors and its costs are told in the page on Monte Carlo of the documentation.
    """

    n: int
    rng: Any = None
    workers: int | Executor = field(default=1, compare=False)
    groups: int | None = None
    estimator: str | None = None
    rtol: float | None = None
    nan_policy: str = "raise"
    known: Mapping[tuple[str, str], float] | None = field(default=None, hash=False)
    checkpoint: str | None = field(default=None, compare=False)
    progress: bool | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.n, bool) or not isinstance(self.n, (int, np.integer)) or self.n < 1:
            raise MethodError(f"MonteCarlo(n=) must be a positive integer; got {self.n!r}.")
        if self.groups is not None and (not isinstance(self.groups, int) or self.groups < 0 or self.groups == 1):
            raise MethodError(f"MonteCarlo(groups=) must be 0 or at least 2; got {self.groups!r}.")
        if not isinstance(self.workers, Executor) and (not isinstance(self.workers, int) or self.workers < 1):
            raise MethodError(f"MonteCarlo(workers=) must be a positive integer or an Executor; got {self.workers!r}.")
        if self.estimator is not None and self.estimator not in SAMPLER + NETWORK:
            raise MethodError(f"MonteCarlo(estimator=) must be one of {', '.join(SAMPLER + NETWORK)}; got {self.estimator!r}.")
        if self.rtol is not None and not (isinstance(self.rtol, (int, float)) and 0 < self.rtol < 1):
            raise MethodError(f"MonteCarlo(rtol=) must be a number between 0 and 1; got {self.rtol!r}.")
        if self.nan_policy not in ("raise", "omit"):
            raise MethodError(f"MonteCarlo(nan_policy=) must be 'raise' or 'omit'; got {self.nan_policy!r}.")
        if self.checkpoint is not None and not isinstance(self.rng, (int, np.integer)):
            raise MethodError("MonteCarlo(checkpoint=) needs rng= to be a number, so that a later call draws the same.")
        seed_sequence(self.rng, peek=True)

    def seeds(self, count: int) -> list[np.random.SeedSequence]:
        """Independent seeds, one per chunk."""
        return seed_sequence(self.rng).spawn(count)


def seed_sequence(rng: Any, *, peek: bool = False) -> np.random.SeedSequence:
    """The seed of a SPEC 7 ``rng``; a Generator is advanced unless only peeked at."""
    if isinstance(rng, np.random.SeedSequence):
        return np.random.SeedSequence(rng.entropy, spawn_key=rng.spawn_key)
    if isinstance(rng, np.random.Generator):
        return np.random.SeedSequence(0 if peek else [int(v) for v in rng.integers(2**32, size=4)])
    if rng is None or (isinstance(rng, (int, np.integer)) and not isinstance(rng, bool) and rng >= 0):
        return np.random.SeedSequence(rng if rng is None else int(rng))
    raise MethodError(
        f"rng must be None, a non-negative int, a numpy SeedSequence or a numpy Generator; got {type(rng).__name__} {rng!r}."
    )


def require(method: Method, accepted: tuple[type[Method], ...], *, what: str, estimators: tuple[str, ...] = SAMPLER) -> None:
    """Refuse a method that the source cannot take, naming those it can."""
    if not isinstance(method, accepted):
        names = " or ".join(cls.__name__ for cls in accepted)
        raise MethodError(f"{what} takes method={names}; got {method!r}.")
    if isinstance(method, MonteCarlo) and method.estimator not in (None, *estimators):
        raise MethodError(f"{what} takes MonteCarlo(estimator={' or '.join(map(repr, estimators))}); got {method!r}.")


def refuse_options(method: MonteCarlo, *, what: str, taken: tuple[str, ...] = ()) -> None:
    """Refuse what only the information of a sampler takes, in place of leaving it aside in silence."""
    options = [name for name in ("estimator", "rtol", "known", "checkpoint") if name not in taken]
    if asked := [name for name in options if getattr(method, name) is not None]:
        raise MethodError(
            f"{what} takes no {', '.join(asked)}: that is for the expected information of a sampler. Got {method!r}."
        )


def to_dict(method: Method | None) -> dict[str, Any] | None:
    """A method as plain values; a random source that is not a plain seed is not kept."""
    if method is None:
        return None
    values = {f.name: getattr(method, f.name) for f in fields(method)}
    plain = {key: value for key, value in values.items() if value is None or isinstance(value, (int, float, str))}
    return {"name": type(method).__name__, **plain}


def from_dict(values: dict[str, Any] | None) -> Method | None:
    """The inverse of `to_dict`."""
    if values is None:
        return None
    known = {cls.__name__: cls for cls in (Exact, Quadrature, MonteCarlo)}
    return known[values["name"]](**{key: value for key, value in values.items() if key != "name"})

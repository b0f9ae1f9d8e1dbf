"""What a result knows about where it came from: printed by repr, kept by save."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .methods import Method
from .rows import Sample

KINDS = ("expected", "observed", "empirical")


@dataclass(frozen=True)
class Provenance:
    """Kind, method, number of observations, the point, and the error of a quadrature.

    ``error_bound`` is relative and scaled: :math:`|\\Delta F_{ij}| \\le` ``error_bound`` :math:`\\sqrt{F_{ii} F_{jj}}`.
    ``draws`` is how many observations a Monte Carlo estimate has seen; fewer than its budget where it took Hessians.
    ``sample`` says what the data were, of an observed or empirical information.
    """

    kind: str = "expected"
    method: Method | None = None
    n: Any = 1
    point: Mapping[str, Any] | None = None
    error_bound: float | None = None
    draws: int | None = None
    sample: Sample | None = None

    def __post_init__(self) -> None:
        if isinstance(self.sample, Mapping):  # as it comes from a file
            object.__setattr__(self, "sample", Sample(**self.sample))

    def joined(self, other: Provenance) -> Provenance:
        """That of a sum."""
        kinds = dict.fromkeys([*self.kind.split("+"), *other.kind.split("+")])
        bounds = [p.error_bound for p in (self, other) if p.error_bound is not None]
        return Provenance(
            kind="+".join(kinds),
            method=self.method if self.method == other.method else None,
            n=self.n + other.n,
            point=joint_point(self.point, other.point),
            error_bound=max(bounds, default=None),
        )


def joint_point(a: Mapping[str, Any] | None, b: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The values of both; None where one is not known, or where they contradict each other."""
    if a is None or b is None or any(a[name] != b[name] for name in a if name in b):
        return None
    return {**a, **b}

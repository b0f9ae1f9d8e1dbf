"""Scores and second derivatives of observations, taken the way that a model was told to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import DataError, LayoutError, MethodError, PrecisionError
from ..parameters import Parameters
from . import derivatives
from .accumulator import EXACT
from .ratios import from_ratios
from .sums import FULL

DIFFERENCES = 1e-9  # what central differences of a score may miss of second derivatives, and
FORWARD = 1e-7  # forward ones
Place = Callable[[int], int]  # where an observation stands in the data as they were given


class Scores:
    """A log-density in code or its score, and how to differentiate them."""

    def __init__(
        self,
        log_density: derivatives.LogDensity | None,
        *,
        score: Callable[[Any, np.ndarray], Any] | None,
        hessian: Callable[[Any, np.ndarray], Any] | None,
        parameters: Any,
        kind: str,
    ) -> None:
        if log_density is None and score is None:
            raise LayoutError("a sampled model needs log_density= or score=; found neither.")
        if kind not in derivatives.KINDS:
            raise MethodError(f"derivatives must be one of {', '.join(derivatives.KINDS)}; got {kind!r}.")
        for name, given in (("log_density", log_density), ("score", score), ("hessian", hessian)):
            if given is not None and not callable(given):
                raise LayoutError(f"{name}= must be a function of (x, theta); got {given!r}.")
        self.parameters = Parameters.of(parameters)
        self._log_density, self._score, self._hessian, self._derivatives = log_density, score, hessian, kind
        self._complex_safe: bool | None = None  # whether the score carries a complex step; known after the first draws

    @property
    def hessian_costs(self) -> tuple[int, int] | None:
        """Score evaluations that a draw's second derivatives stand for, rough and fine; None where they are not to be had."""
        p = self.parameters.size
        if self._hessian is not None or (self._derivatives == "torch" and self._score is None):
            return p, p
        if self._score is not None or self._derivatives == "complex":
            return p, 2 * p
        return (2 * p, 2 * p) if p <= FULL else None

    def hessian_rounding(self, how: str, at: np.ndarray, root: np.ndarray) -> np.ndarray:
        """What second derivatives may miss in units of ``root``, the roots of the information's diagonal, for each parameter."""
        far = np.maximum(np.abs(at) * root, 1.0)
        if self._hessian is not None or (self._derivatives == "torch" and self._score is None):
            return np.full(len(at), EXACT)
        if how == "rough" and (self._score is not None or self._derivatives == "complex"):
            return np.asarray(FORWARD * np.sqrt(far))
        return np.full(len(at), EXACT) if self._complex_safe else np.asarray(DIFFERENCES * np.cbrt(far) ** 2)

    def score_and_hessian(
        self, x: Any, at: np.ndarray, *, hessians: str, first: int = 0, omit: bool = False
    ) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """(n, p) scores and (n, p, p) Hessians ("rough", "fine" or none) of draws, and the errors of numeric scores.

        Draws whose score is not finite are refused, or left out.
        """
        s, error = self._raw_scores(x, at)
        place: Place = lambda i: first + i  # noqa: E731 a curried argument
        if omit:
            keep = np.isfinite(s).all(axis=1)
            x, s, error = x[keep], s[keep], error[keep]
        self._refuse_rough(s, error, place)
        self._refuse_impossible(s, at, place=place)
        told = error if self._score is None and self._derivatives == "numeric" else None
        if not hessians or not len(s):
            return s, np.zeros((0, len(at), len(at))) if hessians else None, told
        h = self._hessians(x, at, s, hessians)
        if len(bad := np.argwhere(~np.isfinite(h))):
            i = bad[0][0]
            raise PrecisionError(
                f"the second derivatives of draw {first + i} are not finite. Give hessian=, or estimator='outer_product'."
            )
        return s, h, told

    def _hessians(self, x: Any, at: np.ndarray, s: np.ndarray, how: str) -> np.ndarray:
        if self._hessian is not None:
            return self._given_hessians(x, at)
        score, log = self._score, self._log_density
        if score is None and log is not None and self._derivatives == "torch":
            return derivatives.hessians(log, None, x, at, "torch")
        if score is None and log is not None and self._derivatives == "numeric":
            return from_ratios(log, x, at)[1]
        by = "forward" if how == "rough" else "complex" if self._complex_safe else "central"
        return derivatives.score_jacobians(score or (lambda data, t: self._raw_scores(data, t)[0]), x, at, s, how=by)

    def _given_hessians(self, x: Any, at: np.ndarray) -> np.ndarray:
        assert self._hessian is not None
        return _returned(self._hessian(x, at), (len(x), len(at), len(at)), "hessian(x, theta)")

    def try_complex_step(self, x: Any, at: np.ndarray) -> int:
        """See once whether the score carries a complex step, so that every worker takes the same derivatives; what that cost."""
        if self._score is None or self._hessian is not None or self._complex_safe is not None:
            return 0
        self._complex_safe = derivatives.is_complex_safe(self._score, x, at)
        return 3 * len(at) * len(x)

    def _scores(self, x: Any, at: np.ndarray, *, possible: Any = True, place: Place = int) -> np.ndarray:
        """(n, p) scores, finite wherever an observation is possible."""
        s, error = self._raw_scores(x, at)
        self._refuse_rough(s, error, place)
        self._refuse_impossible(s, at, possible=possible, place=place)
        return np.where(np.reshape(possible, (-1, 1)), s, 0.0)

    def _refuse_impossible(self, s: np.ndarray, at: np.ndarray, *, possible: Any = True, place: Place = int) -> None:
        if len(bad := np.argwhere(~np.isfinite(s) & np.reshape(possible, (-1, 1)))):
            i, j = bad[0]
            raise DataError(
                f"the score of observation {place(i)} in {self.parameters.label(j)} is {s[i, j]} at theta={at.tolist()}: the "
                "observation is impossible there, or the log-density overflows."
            )

    def _refuse_rough(self, s: np.ndarray, error: np.ndarray, place: Place = int) -> None:
        """A numeric score must be known to four digits of its parameter's typical one."""
        finite = np.isfinite(s)
        typical = np.sqrt((np.where(finite, s, 0.0) ** 2).sum(axis=0) / np.maximum(finite.sum(axis=0), 1))
        if len(rough := np.argwhere(finite & (error > 1e-4 * np.maximum(typical, np.abs(s)) + 1e-9))):
            i, j = rough[0]
            raise PrecisionError(
                f"the numeric score of observation {place(i)} in {self.parameters.label(j)} is {s[i, j]:.3g} +- "
                f"{error[i, j]:.1g}: too rough. Give score=, or derivatives='torch' or 'complex'."
            )

    def _raw_scores(self, x: Any, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n, p) scores and their error estimates, as they come."""
        if self._score is None:
            assert self._log_density is not None
            return derivatives.scores(self._log_density, x, at, self._derivatives)
        s = _returned(self._score(x, at), (len(x), len(at)), "score(x, theta)")
        return s, np.zeros_like(s)


def _returned(values: Any, shape: tuple[int, ...], name: str) -> np.ndarray:
    """What the caller's function gave, as floats of the right shape."""
    array = np.asarray(values)
    if array.shape != shape:
        raise LayoutError(f"{name} must have shape {shape}; got {array.shape}.")
    if array.dtype.kind not in "fiub":
        raise DataError(f"{name} must return real numbers; got dtype {array.dtype}.")
    return array.astype(float)

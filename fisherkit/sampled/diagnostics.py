"""What the draws of a Monte Carlo run tell of the model, the budget and the information, as warnings."""

from __future__ import annotations

import math
import sys
import warnings

import numpy as np

from ..methods import MonteCarlo
from ..parameters import Parameters
from .accumulator import Accumulator
from .sums import TAIL

FAR = 400  # times as many draws as are taken for the tail, so that it is one


class SamplerMismatchWarning(UserWarning):
    """The drawn scores do not have mean zero: the sampler and the log-density are not of one model."""


class UnsettledWarning(UserWarning):
    """The mean of the squared scores does not settle: the information may be infinite."""


class ToleranceWarning(UserWarning):
    """The ceiling on draws was reached before the tolerance."""


class OmittedWarning(UserWarning):
    """Draws whose score is not finite were left out."""


def tell_omitted(count: int) -> None:
    if count:
        told = f"{count} draws with a score that is not finite were left out (nan_policy='omit'); the rest is another law."
        tell(told, OmittedWarning)


def tell_tolerance(error: float, method: MonteCarlo) -> None:
    if method.rtol and error > method.rtol:
        needed = math.ceil(1.2 * method.n * (error / method.rtol) ** 2)
        tell(
            f"the ceiling n={method.n} was reached at a relative error of {error:.2g}, above rtol={method.rtol:g}; n={needed} "
            "should reach it.",
            ToleranceWarning,
        )


def look(sums: Accumulator, parameters: Parameters) -> None:
    """E[s] = 0, E[s s' + H] = 0 and a mean square that settles, or a warning that names the parameter."""
    n, s, squares, tail = sums.moments()
    z = np.abs(s) / np.sqrt(np.maximum(squares, 1e-300))
    if n >= 100 and (worst := float(z.max(initial=0))) > 6:
        tell(
            f"the scores of {n} draws do not have mean zero (z = {worst:.1f} in {parameters.label(int(z.argmax()))}): the "
            "sampler does not draw from the log-density, or a factor that depends on the parameter is missing.",
            SamplerMismatchWarning,
        )
    elif n >= 100 and (worst := sums.identity_z()) > 7:
        tell(
            f"E[s s' + H] is not zero (z = {worst:.1f} over {n} draws): the sampler does not draw from the log-density, or score "
            "and Hessian are not of one density.",
            SamplerMismatchWarning,
        )
    if n >= 500 and tail is not None and len(unsettled := _unsettled(n, squares, tail)):
        k = int(unsettled[0])
        tell(
            f"the mean of the squared score in {parameters.label(k)} does not settle: the largest of {n} draws carries "
            f"{tail[-1, k] / squares[k]:.0%} of it. The information may be infinite, its error too small.",
            UnsettledWarning,
        )


def _unsettled(n: int, squares: np.ndarray, tail: np.ndarray) -> np.ndarray:
    """Where one draw carries much, or the tail is as heavy as 1 / t (Hill's estimate from the largest squares)."""
    share = tail[-1] / np.maximum(squares, 1e-300) > 0.3
    if len(tail) < TAIL or n < FAR * TAIL:
        return np.flatnonzero(share)
    with np.errstate(all="ignore"):
        index = 1 / np.log(tail[1:] / tail[0]).mean(axis=0)
    return np.flatnonzero(share | ((index < 1.1) & (tail[-1] > 0)))


def tell(message: str, category: type[UserWarning]) -> None:
    """At the line that called fisherkit."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("fisherkit."):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)

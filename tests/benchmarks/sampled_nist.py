"""Correct digits of the worst standard error of each NIST nonlinear regression, by fisherkit and by others.

A fit by fisherkit starts at NIST's second start; so do scipy's ``curve_fit`` and, with its Jacobian at the certified values,
everyone else, whose derivative is what is measured. Peers that are not installed are left out.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
from scipy.optimize import curve_fit

from fisherkit.estimation import nonlinear_least_squares
from tests.estimation import nist

Errors = Callable[[Callable[..., np.ndarray], nist.Problem, np.ndarray], np.ndarray]


def by_fisherkit(mean: Callable[..., np.ndarray], given: nist.Problem, y: np.ndarray) -> np.ndarray:
    return np.array(list(nonlinear_least_squares(mean, given.starts[1], (given.x, y)).standard_errors.values()))


def by_curve_fit(mean: Callable[..., np.ndarray], given: nist.Problem, y: np.ndarray) -> np.ndarray:
    start = list(given.starts[1].values())
    return np.sqrt(np.diagonal(curve_fit(lambda x, *b: mean(x, b), given.x, y, start, maxfev=20_000)[1]))


def by_numdifftools(mean: Callable[..., np.ndarray], given: nist.Problem, y: np.ndarray) -> np.ndarray:
    from numdifftools import Jacobian

    return _by_qr(Jacobian(lambda b: mean(given.x, b))(given.certified), mean, given, y)


def by_statsmodels(mean: Callable[..., np.ndarray], given: nist.Problem, y: np.ndarray) -> np.ndarray:
    from statsmodels.tools.numdiff import approx_fprime

    return _by_qr(approx_fprime(given.certified, lambda b: mean(given.x, b), centered=True), mean, given, y)


def by_derivkit(mean: Callable[..., np.ndarray], given: nist.Problem, y: np.ndarray) -> np.ndarray:
    from derivkit import ForecastKit

    variance = np.sum((y - mean(given.x, given.certified)) ** 2) / (len(y) - len(given.certified))
    kit = ForecastKit(lambda b: mean(given.x, np.asarray(b)), given.certified, variance * np.eye(len(y)))
    return np.sqrt(np.diagonal(np.linalg.inv(kit.fisher())))


#: their packages, and what they call
PEERS: dict[str, tuple[str, Errors]] = {
    "fisherkit": ("fisherkit", by_fisherkit),
    "numdifftools Jacobian, QR": ("numdifftools", by_numdifftools),
    "statsmodels approx_fprime centred, QR": ("statsmodels", by_statsmodels),
    "scipy curve_fit": ("scipy", by_curve_fit),
    "derivkit Fisher, then inv": ("derivkit", by_derivkit),
}


def digits(name: str, peer: str) -> tuple[float, float]:
    """Correct digits, 0 where there is no answer, and CPU seconds."""
    given = nist.read(name)
    y = np.log(given.y) if name == "Nelson" else given.y
    start = time.process_time()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            found = PEERS[peer][1](nist.MEANS[name], given, y)
        except (ArithmeticError, ValueError, RuntimeError):  # refused, or failed
            found = np.full(len(given.certified), np.nan)
    seconds = time.process_time() - start
    return max(nist.digits(found, given.standard_errors), 0.0) if np.isfinite(found).all() else 0.0, seconds


def installed() -> list[str]:
    return [peer for peer, (package, _) in PEERS.items() if find_spec(package)]


def _by_qr(J: np.ndarray, mean: Callable[..., np.ndarray], given: nist.Problem, y: np.ndarray) -> np.ndarray:
    """Standard errors from a Jacobian, its columns scaled to length one."""
    scale = np.linalg.norm(J, axis=0)
    R = np.linalg.qr(J / scale, mode="r")
    variance = np.sum((y - mean(given.x, given.certified)) ** 2) / (len(y) - len(scale))
    return np.sqrt(variance) * np.linalg.norm(np.linalg.inv(R), axis=1) / scale

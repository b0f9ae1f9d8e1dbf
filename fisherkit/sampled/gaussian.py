"""Gaussian data whose mean and covariance are functions of the parameters: the forecaster's formula."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import model
from ..errors import DataError, LayoutError, MethodError, PrecisionError
from ..information import FisherInformation
from ..methods import Exact, Method, require
from ..model import Theta
from ..parameters import Parameters
from ..provenance import Provenance
from ..uncertainty import LeaveOneOut
from . import derivatives as scores
from . import pairs
from .accumulator import stored
from .slopes import curvature, slopes
from .whitening import Whitening, log, machine_numbers, squares

NOISES = ("hartlap", "sellentin-heavens")
ROUGH = 1e-3  # error of an entry, in parts of the roots of its diagonal ones, above which derivatives are refused


class GaussianModel(model.Model):
    r"""One Gaussian data vector with mean :math:`\mu(\theta)` and covariance :math:`C(\theta)`.

    Parameters
    ----------
    mean : callable, theta -> (d,); or None
        Of a flat array ``theta`` (p,); of a tensor with ``derivatives="torch"``. None with derivatives from simulations.
    covariance : array (d, d) or (d,), or callable theta -> one
        One axis holds variances of independent data.
    parameters : names, or mapping from name to shape
    derivatives : {"numeric", "torch", "complex"}, or array (m, p, d)
        Order-12 differences whose error is told as ``F.error_bound``; ``torch.func``; a complex step, for functions that are
        complex-safe; or m simulated derivatives of the data, ``(above - below) / (2 * step)`` of each pair of simulations.
    simulations : int, optional
        How many simulations a constant covariance was estimated from, as by ``np.cov``.
    noise : {"hartlap", "sellentin-heavens"}
        What is done about that: the inverse covariance is scaled so that it is unbiased; or the data have the t density that
        remains when the unknown covariance is integrated out.
    correction : {"subtracted", "shrunk", "none"}
        What is done about the noise of simulated derivatives: see Notes.
    data : array (d,) or (n, d), optional
        The data vector, or several, that the data verbs use when they are given none.

    Notes
    -----
    :math:`F_{ij} = \partial_i\mu^\top C^{-1} \partial_j\mu + \frac12 \mathrm{tr}(C^{-1}\partial_iC\,C^{-1}\partial_jC)`, of the
    whole data vector (``n = 1``); the second term is kept whenever the covariance is a function. Data are whitened by one
    Cholesky factor, and C is never inverted. Cost :math:`O(d^3 p)` at most, :math:`O(d p)` for independent data.

    A covariance from N simulations: ``"hartlap"`` multiplies by :math:`(N-d-2)/(N-1)`, so that F is right on average over
    covariances. ``"sellentin-heavens"`` is the information of a t density with N - d degrees of freedom, :math:`N(N-d) /
    ((N+2)(N-1))` times the uncorrected one: larger, because the information of a t exceeds the inverse of its variance, which is
    Hartlap's. Its inverse is no error bar; its log-density and score are what a likelihood needs.

    Simulated derivatives are noisy, which biases F up and bounds down (Coulton & Wandelt 2023). ``"subtracted"`` measures that
    from the spread of the pairs and takes it off: F is unbiased, its inverse too large, and it may be indefinite. ``"shrunk"``
    is for bounds: positive definite, and scaled where little is known such that the inverse is right on average, to second
    order in the noise. ``mcse`` and ``interval_of`` carry the noise on.

    References
    ----------
    Kay (1993), Fundamentals of Statistical Signal Processing: Estimation Theory, section 3.9; Hartlap, Simon & Schneider (2007),
    A&A 464:399; Sellentin & Heavens (2016), MNRAS 456:L132; Coulton & Wandelt (2023), JCAP 02:026.

    Examples
    --------
    >>> x = np.array([0.0, 1.0, 2.0])
    >>> line = fk.sampled.GaussianModel(lambda t: t[0] + t[1] * x, np.full(3, 0.25), parameters=("a", "b"))
    >>> np.round(fk.expected_information(line, {"a": 1.0, "b": 2.0}).dense(), 8)
    array([[12., 12.],
           [12., 20.]])
    >>> fk.score(line, {"a": 1.0, "b": 2.0}, data=[1.5, 3.0, 5.5]).round(8)
    array([[4., 4.]])
    """

    def __init__(
        self,
        mean: Any,
        covariance: Any,
        *,
        parameters: Any,
        derivatives: Any = "numeric",
        simulations: int | None = None,
        noise: str = "hartlap",
        correction: str = "subtracted",
        data: Any = None,
    ) -> None:
        self.parameters = Parameters.of(parameters)
        self._mean, self._covariance, self._data = mean, covariance, data
        self._simulations, self._noise, self._correction = simulations, noise, correction
        self._pairs = None if isinstance(derivatives, str) else pairs.read(derivatives, self.parameters)
        self._kind = derivatives if isinstance(derivatives, str) else ""
        self._check()
        self._last: tuple[np.ndarray, Local] | None = None
        self._constant = None if callable(covariance) else Whitening.of(machine_numbers(covariance))

    def _check(self) -> None:
        if self._pairs is None and self._kind not in scores.KINDS:
            raise MethodError(
                f"derivatives must be one of {', '.join(scores.KINDS)}, or an array (m, p, d) of simulated ones; "
                f"got {self._kind!r}."
            )
        if self._pairs is None and not callable(self._mean):
            raise LayoutError("mean must be a function of theta, unless derivatives= are simulated ones.")
        if self._pairs is not None and callable(self._covariance):
            raise MethodError("simulated derivatives are of the mean: give the covariance at theta as an array.")
        if self._simulations is not None and callable(self._covariance):
            raise MethodError("simulations= corrects a covariance that was estimated once; it cannot be a function of theta too.")
        if self._noise not in NOISES or self._correction not in pairs.CORRECTIONS:
            raise MethodError(
                f"noise must be one of {', '.join(NOISES)} and correction one of {', '.join(pairs.CORRECTIONS)}; "
                f"got {self._noise!r} and {self._correction!r}."
            )

    # -- the verbs

    def expected_information(
        self, theta: Theta = None, *, inputs: Any = None, method: Method | None = None, structure: str = "dense"
    ) -> FisherInformation:
        require(method or Exact(), (Exact,), what="a Gaussian model")
        if self._pairs is not None:
            return self._from_pairs(theta, method, structure)
        at = self._at(theta)
        here = self._local(at)
        return self._information(
            "expected", self._expected(here), at, structure, method=method or Exact(), error_bound=here.bound
        )

    def score(self, theta: Theta = None, *, data: Any = None) -> np.ndarray:
        at, x = self._at(theta), self._vectors(data)
        here = self._local(at)
        z = here.whitening.whiten((self._fitting(x, here) - here.mean).T).T
        s = self._pull(z)[:, None] * (z @ here.slopes)
        if here.curved is not None:
            s = s + np.stack([here.whitening.form(z, one) for one in here.curved], axis=1) / 2
        return np.asarray(s)

    def observed_information(self, theta: Theta = None, *, data: Any = None, structure: str = "dense") -> FisherInformation:
        at, x = self._at(theta), self._vectors(data)
        matrix = -self._hessian(self._fitting(x, self._local(at)), at)
        return self._information("observed", matrix, at, structure, n=len(x))

    def empirical_information(self, theta: Theta = None, *, data: Any = None, structure: str = "dense") -> FisherInformation:
        s = self.score(theta, data=data)
        return self._information("empirical", s.T @ s, self._at(theta), structure, n=len(s))

    def log_likelihood(self, theta: Theta = None, *, data: Any = None) -> float:
        at, x = self._at(theta), self._vectors(data)
        x = self._fitting(x, self._local(at, slopes=False))
        return float(self.log_density(self._own(x), self._own(at)).sum())

    # -- the density

    def log_density(self, x: Any, theta: Any) -> Any:
        """(n,) of the rows of x, for theta of any of the libraries; nan where the covariance is not positive definite."""
        r = x - self._mean(theta)
        size, half = squares(self._covariance(theta) if callable(self._covariance) else self._constant, r)
        d, N = r.shape[-1], self._simulations
        if N is not None and self._noise == "sellentin-heavens":
            self._factor(d)
            constant = math.lgamma(N / 2) - math.lgamma((N - d) / 2) - d / 2 * math.log(math.pi * (N - 1))
            return constant - half - N / 2 * log(1 + size / (N - 1))
        factor = self._factor(d)
        return d / 2 * math.log(factor / (2 * math.pi)) - half - factor * size / 2

    def _expected(self, here: Local) -> np.ndarray:
        matrix = self._factor(len(here.mean)) * here.slopes.T @ here.slopes
        return np.asarray(matrix if here.curved is None else matrix + here.curved @ here.curved.T / 2)

    def _hessian(self, x: np.ndarray, at: np.ndarray) -> np.ndarray:
        """(p, p) second derivatives of the log-likelihood."""
        if self._kind == "torch":
            import torch

            rows = self._own(x)
            return np.asarray(torch.func.hessian(lambda t: self.log_density(rows, t).sum())(self._own(at)))
        mean = lambda t: float(self.log_density(x, t).mean())  # noqa: E731 a curried argument
        matrix, error = curvature(mean, at, self._expected(self._local(at)))
        if not error <= ROUGH:
            raise PrecisionError(
                f"second derivatives of the log-likelihood are known to {error:.1g} only: mean or covariance is noisy near "
                f"theta={at.tolist()}. Tighten its solver's tolerance, or give derivatives='torch'."
            )
        return len(x) * matrix

    def _pull(self, z: np.ndarray) -> np.ndarray:
        """(n,) what the whitened residuals are multiplied by in the score."""
        factor = self._factor(z.shape[1])
        if self._simulations is not None and self._noise == "sellentin-heavens":
            return np.asarray(self._simulations / (self._simulations - 1 + (z**2).sum(axis=1)))
        return np.full(len(z), factor)

    def _factor(self, d: int) -> float:
        """What noise in the covariance does to the information of the mean."""
        N = self._simulations
        if N is None:
            return 1.0
        if not d + 2 < N:
            raise DataError(f"the covariance of {d} data needs more than {d + 2} simulations to be inverted; simulations={N}.")
        return (N - d - 2) / (N - 1) if self._noise == "hartlap" else N * (N - d) / ((N + 2) * (N - 1))

    # -- at a point

    def _local(self, at: np.ndarray, *, slopes: bool = True) -> Local:
        """The last point is remembered: a score and an information are mostly wanted at the same."""
        if self._last is not None and np.array_equal(self._last[0], at):
            return self._last[1]
        here = self._at_point(at, slopes=slopes)
        if slopes:
            self._last = at.copy(), here
        return here

    def _at_point(self, at: np.ndarray, *, slopes: bool) -> Local:
        own = self._own(at)
        mean = machine_numbers(self._mean(own))
        if mean.ndim != 1:
            raise LayoutError(f"mean(theta) must be one data vector, shape (d,); got {mean.shape}.")
        if len(bad := np.argwhere(~np.isfinite(mean))):
            raise DataError(f"mean(theta) is {mean[bad[0][0]]} in datum {bad[0][0]} at theta={at.tolist()}.")
        whitening = self._constant or Whitening.of(machine_numbers(self._covariance(own)))
        whitening.check(len(mean))
        return self._slopes(at, mean, whitening) if slopes else Local(mean, whitening)

    def _slopes(self, at: np.ndarray, mean: np.ndarray, whitening: Whitening) -> Local:
        values, errors = slopes(self._mean, at, self._kind, whitening.whiten)
        size, wrong, curved = (values**2).sum(axis=0), (errors**2).sum(axis=0), None
        if callable(self._covariance):
            covariance = self._covariance
            turned, rough = slopes(lambda t: covariance(t).reshape(-1), at, self._kind, whitening.whiten_both)
            curved = turned.T
            size, wrong = size + (turned**2).sum(axis=0) / 2, wrong + (rough**2).sum(axis=0) / 2
        with np.errstate(invalid="ignore"):
            relative = np.where(size > 0, np.sqrt(wrong / np.where(size > 0, size, 1)), 0.0)
        if not (relative <= ROUGH).all():
            label = self.parameters.label(int(np.argmax(np.where(relative <= ROUGH, 0, 1))))
            raise PrecisionError(
                f"the derivative in {label} is known to {relative.max():.1g} of itself only: mean or covariance is noisy or has "
                "kinks there, or a step of any size leaves the domain. Tighten its solver's tolerance, give derivatives='torch' "
                "or 'complex', or simulated ones."
            )
        return Local(mean, whitening, values, curved, 2 * float(relative.max()) if self._kind == "numeric" else None)

    def _own(self, values: np.ndarray) -> Any:
        """Parameters, or data, as the user's functions take them."""
        if self._kind != "torch":
            return values
        import torch

        return torch.as_tensor(values, dtype=torch.float64)

    def _at(self, theta: Theta) -> np.ndarray:
        if self._pairs is not None:
            raise MethodError("simulated derivatives give the expected information alone: for data give mean= as a function.")
        return self._flat(theta)

    def _flat(self, theta: Theta) -> np.ndarray:
        if theta is None:
            raise LayoutError(f"theta is needed: give values for {self.parameters}.")
        flat = np.concatenate([np.asarray(leaf, dtype=float) for leaf in self.parameters.split(theta, name="theta")])
        if flat.shape != (self.parameters.size,) or not np.isfinite(flat).all():
            raise LayoutError(f"theta must be one finite point, shape ({self.parameters.size},); got {flat}.")
        return flat

    # -- data and results

    def _vectors(self, data: Any) -> np.ndarray:
        data = self._data if data is None else data
        if data is None:
            raise DataError("a data vector is needed: give data=.")
        x = np.atleast_2d(machine_numbers(data))
        if x.ndim != 2 or not x.size:
            raise DataError(f"data must be one vector (d,) or several (n, d); got shape {np.shape(data)}.")
        if len(bad := np.argwhere(~np.isfinite(x))):
            raise DataError(f"data must be finite; datum {bad[0][1]} of vector {bad[0][0]} is {x[tuple(bad[0])]}.")
        return x

    def _fitting(self, x: np.ndarray, here: Local) -> np.ndarray:
        if x.shape[1] != len(here.mean):
            raise LayoutError(f"data must hold {len(here.mean)} numbers for each vector, as mean(theta) does; got {x.shape[1]}.")
        return x

    def _from_pairs(self, theta: Theta, method: Method | None, structure: str) -> FisherInformation:
        assert self._pairs is not None
        assert self._constant is not None
        m, p, d = self._pairs.shape
        self._constant.check(d)
        whitened = self._constant.whiten(self._pairs.reshape(m * p, d).T).T.reshape(m, p, d)
        matrix, others, weights = pairs.information(whitened, self._correction)
        kept = [np.diagonal(one).copy() if structure == "diagonal" else one for one in (matrix, *others)]
        value, *replicates = (stored(self.parameters, self._factor(d) * one) for one in kept)
        point = None if theta is None else self._point(self._flat(theta))
        provenance = Provenance(kind="expected", method=method, point=point)
        return FisherInformation.of(value, provenance, LeaveOneOut(tuple(replicates), tuple(weights)))

    def _point(self, at: np.ndarray) -> dict[str, float]:
        return dict(zip(self.parameters.labels, at.tolist(), strict=True))

    def _information(self, kind: str, matrix: np.ndarray, at: np.ndarray, structure: str, **given: Any) -> FisherInformation:
        kept = np.diagonal(matrix).copy() if structure == "diagonal" else (matrix + matrix.T) / 2
        return FisherInformation.of(stored(self.parameters, kept), Provenance(kind=kind, point=self._point(at), **given))


@dataclass(frozen=True, eq=False)
class Local:
    """Mean and covariance at a point, and their derivatives in units of the noise: (d, p), and (p, d^2) or (p, d)."""

    mean: np.ndarray
    whitening: Whitening
    slopes: Any = None
    curved: np.ndarray | None = None
    bound: float | None = None

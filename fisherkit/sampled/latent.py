"""Models with something unseen: the information of what is seen, from draws of the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import model
from ..errors import DataError, LayoutError, MethodError
from ..information import FisherInformation
from ..methods import MonteCarlo, refuse_options
from ..model import Theta
from ..parameters import Parameters
from ..progress import shown
from ..provenance import Provenance
from ..rows import Rows
from ..structures.base import Structure
from ..structures.dense import Dense
from ..structures.diagonal import Diagonal
from ..uncertainty import LeaveOneOut
from . import curvature, derivatives
from .chunks import Chunk, in_order
from .observations import read

GROUPS = 20
STEP = 1e-3  # relative, of differences of the score
ROWS = 2**17  # complete observations differentiated at a time


@dataclass
class Sums:
    """Over draws of the unseen: scores per observation, and products and Hessians over all."""

    draws: int
    scores: np.ndarray  # (n, p)
    products: np.ndarray  # (p, p)
    hessian: np.ndarray  # (p, p)

    def __add__(self, other: Sums) -> Sums:
        ours, theirs = vars(self).values(), vars(other).values()
        return Sums(*(a + b for a, b in zip(ours, theirs, strict=True)))

    def __sub__(self, other: Sums) -> Sums:
        ours, theirs = vars(self).values(), vars(other).values()
        return Sums(*(a - b for a, b in zip(ours, theirs, strict=True)))

    @property
    def mean_scores(self) -> np.ndarray:
        """E[s_c | y] of each observation: its score, by Fisher's identity."""
        return self.scores / self.draws

    @property
    def covariance(self) -> np.ndarray:
        """sum_i Cov[s_c | y_i], unbiased."""
        return np.asarray(self.products - self.scores.T @ self.mean_scores) / (self.draws - 1)

    def observed(self) -> np.ndarray:
        """Louis 1982: what the complete data would tell, less what is not seen of it."""
        return np.asarray(-self.hessian / self.draws - self.covariance)

    def empirical(self) -> np.ndarray:
        """Delattre & Kuhn 2019; the noise of the mean scores is taken off their squares."""
        return np.asarray(self.mean_scores.T @ self.mean_scores - self.covariance / self.draws)


class LatentModel(model.Model):
    r"""A model whose complete data (y, z) have a density in code, while only y is seen.

    Parameters
    ----------
    log_density : callable, (y, z, theta) -> (n,)
        Log-density of each of n complete observations: the rows of ``y`` and of ``z``. An observation is what is independent of
        the others: a subject, a whole sequence.
    posterior : callable, (y, theta, size, rng) -> (n, size, ...)
        Draws of z given each row of y, at theta.
    parameters : names, or mapping from name to shape
    method : MonteCarlo
        How many draws for each observation; ``workers=`` shares them out in 20 groups, with the same result for any number.
    derivatives : {"numeric", "torch", "complex"}
        As for `Model`, of the complete log-density.
    data : array, optional
        The rows of y that the verbs use when they are given none.

    Notes
    -----
    `score` is :math:`E[s_c \mid y]` (Fisher's identity). `observed_information` is
    :math:`\sum_i E[-H_c \mid y_i] - \mathrm{Cov}[s_c \mid y_i]` (Louis 1982), a difference that few draws may leave indefinite.
    `empirical_information` is :math:`\sum_i E[s_c \mid y_i]\, E[s_c \mid y_i]^\top` (Delattre & Kuhn 2019) from first derivatives
    alone, the safer one. Both are unbiased over the draws; their ``mcse`` is the error of the draws.

    References
    ----------
    Louis (1982), JRSS B 44:226; Delattre & Kuhn (2019), arXiv:1909.06094.

    Examples
    --------
    Normal data around a mean that is itself drawn; what is seen has variance 2.

    >>> def log_density(y, z, theta):
    ...     return -0.5 * (y - z) ** 2 - 0.5 * (z - theta[0]) ** 2
    >>> def posterior(y, theta, size, rng):
    ...     return rng.normal((y[:, None] + theta[0]) / 2, np.sqrt(0.5), (len(y), size))
    >>> y = np.array([-1.0, 0.5, 2.0])
    >>> model = fk.sampled.LatentModel(log_density, posterior=posterior, parameters=("mu",), method=fk.MonteCarlo(4000, rng=0))
    >>> F = fk.observed_information(model, {"mu": 0.5}, data=y)
    >>> bool(abs(float(F) - 3 / 2) < 4 * F.mcse[0, 0])
    True
    """

    def __init__(
        self,
        log_density: Callable[[Any, Any, Any], Any],
        *,
        posterior: Callable[[Any, np.ndarray, int, np.random.Generator], Any],
        parameters: Any,
        method: MonteCarlo,
        derivatives: str = "numeric",
        data: Any = None,
    ) -> None:
        if not isinstance(method, MonteCarlo) or method.n < 2 * GROUPS:
            raise MethodError(f"LatentModel needs method=MonteCarlo(n) with {2 * GROUPS} draws at least; got {method!r}.")
        refuse_options(method, what="a latent model")
        if derivatives not in _kinds():
            raise LayoutError(f"derivatives must be one of {', '.join(_kinds())}; got {derivatives!r}.")
        self.parameters = Parameters.of(parameters)
        self._log_density, self._posterior, self._method = log_density, posterior, method
        self._derivatives, self._data = derivatives, data

    def score(self, theta: Theta = None, *, data: Any = None) -> np.ndarray:
        y, at = self._observations(data), self._at(theta)
        return _total(self._groups(y, at, curved=False)).mean_scores

    def observed_information(self, theta: Theta = None, *, data: Any = None, structure: str = "dense") -> FisherInformation:
        return self._information("observed", Sums.observed, theta, data, structure)

    def empirical_information(self, theta: Theta = None, *, data: Any = None, structure: str = "dense") -> FisherInformation:
        return self._information("empirical", Sums.empirical, theta, data, structure)

    def _information(
        self, kind: str, of: Callable[[Sums], np.ndarray], theta: Theta, data: Any, structure: str
    ) -> FisherInformation:
        y, at = self._observations(data), self._at(theta)
        groups = self._groups(y, at, curved=kind == "observed")
        total = _total(groups)
        replicates = tuple(self._stored(of(total - group), structure) for group in groups)
        weights = tuple((total.draws / group.draws - 1) / len(groups) for group in groups)
        point = dict(zip(self.parameters.labels, at.tolist(), strict=True))
        sample = Rows(y).sample(total.mean_scores, point)
        provenance = Provenance(kind=kind, method=self._method, n=len(y), point=point, sample=sample)
        return FisherInformation.of(self._stored(of(total), structure), provenance, LeaveOneOut(replicates, weights))

    def _groups(self, y: np.ndarray, at: np.ndarray, *, curved: bool) -> list[Sums]:
        method = self._method
        sizes = [method.n // GROUPS + (g < method.n % GROUPS) for g in range(GROUPS)]
        jobs = [Chunk(index=g, size=size, first=sum(sizes[:g]), group=g) for g, size in enumerate(sizes)]
        work = Unseen(self, y, at, tuple(method.seeds(GROUPS)), curved)
        return list(shown(in_order(work, jobs, method.workers), total=len(jobs), unit="groups", progress=method.progress))

    def __getstate__(self) -> dict[str, Any]:
        """For workers, who are not sent the executor that they belong to."""
        return vars(self) | {"_method": replace(self._method, workers=1)}

    def sums(self, y: np.ndarray, at: np.ndarray, draws: int, rng: np.random.Generator, curved: bool) -> Sums:
        """Over a group of draws, a block of observations at a time."""
        n, p = len(y), len(at)
        out = Sums(draws, np.zeros((n, p)), np.zeros((p, p)), np.zeros((p, p)))
        step = max(1, ROWS // draws)
        for start in range(0, n, step):
            rows = slice(start, min(start + step, n))
            log_density, index = self._complete(y[rows], self._drawn(y[rows], at, draws, rng), draws)
            s, _ = derivatives.scores(log_density, index, at, self._derivatives)
            if len(bad := np.argwhere(~np.isfinite(s))):
                i, j = bad[0]
                raise DataError(
                    f"the complete score of observation {start + i // draws} in {self.parameters.label(j)} is {s[i, j]} for draw "
                    f"{i % draws} of the unseen: the draw is impossible at theta={at.tolist()}, or the log-density overflows."
                )
            out.scores[rows] = s.reshape(-1, draws, p).sum(axis=1)
            out.products += s.T @ s
            if curved:
                out.hessian += self._curvature(log_density, index, at)
        return out

    def _curvature(self, log_density: derivatives.LogDensity, index: np.ndarray, at: np.ndarray) -> np.ndarray:
        """The summed Hessian, to far more digits than the draws have: fourth-order differences of the summed score."""
        if self._derivatives == "torch":
            return curvature.hessian(log_density, None, index, at, "torch")

        def score(theta: np.ndarray) -> np.ndarray:
            return np.asarray(derivatives.scores(log_density, index, theta, self._derivatives)[0].sum(axis=0))

        steps = STEP * np.where(at == 0, 1.0, np.abs(at)) * np.eye(len(at))
        near, far = ([score(at + k * step) - score(at - k * step) for step in steps] for k in (1, 2))
        half = (8 * np.array(near) - np.array(far)) / (12 * steps.diagonal()[:, None])
        return np.asarray(half + half.T) / 2

    def _drawn(self, y: np.ndarray, at: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
        z = np.asarray(self._posterior(y, at, draws, rng))
        if z.shape[:2] != (len(y), draws):
            raise LayoutError(
                f"posterior(y, theta, size, rng) must return draws of shape ({len(y)}, {draws}, ...), some for each observation; "
                f"got {z.shape}."
            )
        if z.dtype.kind not in "fiub" or not np.isfinite(z).all():
            raise DataError(f"posterior(y, theta, size, rng) must return finite real numbers; got {z.dtype} with others.")
        return z

    def _complete(self, y: np.ndarray, z: np.ndarray, draws: int) -> tuple[derivatives.LogDensity, np.ndarray]:
        """The complete log-density as one of row numbers: y is not repeated for each draw until it is asked for."""
        flat = z.reshape(-1, *z.shape[2:])
        if self._derivatives == "torch":
            import torch

            seen, unseen = torch.as_tensor(y), torch.as_tensor(flat)
            return lambda i, theta: self._log_density(seen[i.long() // draws], unseen[i.long()], theta), np.arange(len(flat))
        return lambda i, theta: self._log_density(y[i // draws], flat[i], theta), np.arange(len(flat))

    def _observations(self, data: Any) -> np.ndarray:
        return np.asarray(read(self.used_data(data)))

    def used_data(self, data: Any) -> Any:
        return self._data if data is None else data

    def _at(self, theta: Theta) -> np.ndarray:
        if theta is None:
            raise LayoutError(f"theta is needed: give values for {self.parameters}.")
        return np.concatenate([np.asarray(leaf, dtype=float) for leaf in self.parameters.split(theta, name="theta")])

    def _stored(self, matrix: np.ndarray, structure: str) -> Structure:
        if structure == "diagonal":
            return Diagonal(self.parameters.split(np.diagonal(matrix).copy()), self.parameters)
        return Dense((matrix + matrix.T) / 2, self.parameters)


@dataclass(frozen=True)
class Unseen:
    """What a group of draws of the unseen needs, wherever it is made."""

    model: LatentModel
    y: np.ndarray
    at: np.ndarray
    seeds: tuple[Any, ...]
    curved: bool

    def __call__(self, chunk: Chunk) -> Sums:
        return self.model.sums(self.y, self.at, chunk.size, np.random.default_rng(self.seeds[chunk.index]), self.curved)


def _total(groups: Sequence[Sums]) -> Sums:
    total, *rest = groups
    for group in rest:
        total = total + group
    return total


def _kinds() -> tuple[str, ...]:
    return derivatives.KINDS

"""Noisy log-densities and nothing else: the information by simultaneous perturbation of all parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import model
from ..errors import DataError, LayoutError, MethodError
from ..information import FisherInformation
from ..methods import Method, MonteCarlo, refuse_options, require
from ..model import Theta
from ..parameters import Parameters
from ..provenance import Provenance
from ..uncertainty import LeaveOneOut
from .accumulator import stored
from .chunks import Chunk, in_order

GROUPS = 20
SIGNS = np.array([(1, 1), (1, -1), (-1, 1), (-1, -1)])
EQUATIONS = 3  # for each unknown entry


class NoisyModel(model.Model):
    r"""A model whose log-densities are known with noise: from a particle filter, by importance sampling, or measured.

    Parameters
    ----------
    log_density : callable, (x, theta, rng) -> (n,)
        Of each of n observations, the noise with mean zero. At near parameters it is called with equal generators, so that noise
        which is drawn from them cancels.
    sampler : callable, (theta, size, rng) -> (size, ...)
        Draws observations.
    parameters : names, or mapping from name to shape
    steps : mapping from name to number, or array (p,)
        How far each parameter is moved, twice: a tenth of the standard error that one observation would give, less where the
        noise cancels. What the steps make falls with their square; what the noise makes grows with its inverse.

    Notes
    -----
    Every parameter moves at once, by random signs :math:`\Delta, \tilde\Delta` times the steps (Spall 2005). The mixed difference
    of four log-densities has the mean :math:`-\tilde\Delta^\top F \Delta`; F is found from those of many blocks of draws by least
    squares, which leaves none of the noise that the signs make, as the feedback of Das, Ghanem & Spall (2008) does in its limit.
    ``MonteCarlo(known=...)`` leaves entries out of the unknowns. Cost: 4 log-densities for each draw, whatever the dimension.

    A score, even a numeric one, tells far more at equal cost: use `Model` wherever log-densities are exact.

    References
    ----------
    Spall (2005), J. Comput. Graph. Stat. 14, 889-909; Das, Ghanem & Spall (2008), SIAM J. Sci. Comput. 30, 2273-2295.

    Examples
    --------
    >>> def log_density(x, theta, rng):
    ...     noise = np.random.default_rng().normal(size=len(x))  # its own, which never cancels
    ...     return -0.5 * ((x - theta[0]) / theta[1]) ** 2 - np.log(theta[1]) + 0.02 * noise
    >>> def sampler(theta, size, rng):
    ...     return rng.normal(*theta, size)
    >>> noisy = fk.sampled.NoisyModel(log_density, sampler=sampler, parameters=("mu", "sigma"), steps=[0.2, 0.1])
    >>> F = fk.expected_information(noisy, {"mu": 0.0, "sigma": 2.0}, method=fk.MonteCarlo(40_000, rng=0))
    >>> bool(np.all(abs(F.dense() - np.diag([0.25, 0.5])) < 5 * F.mcse + 0.05))
    True
    """

    def __init__(
        self,
        log_density: Callable[[Any, np.ndarray, np.random.Generator], Any],
        *,
        sampler: Callable[[np.ndarray, int, np.random.Generator], Any],
        parameters: Any,
        steps: Any,
    ) -> None:
        self.parameters = Parameters.of(parameters)
        self._log_density, self._sampler = log_density, sampler
        self._steps = self._flat(steps, "steps")
        if not (np.isfinite(self._steps) & (self._steps > 0)).all():
            raise DataError(f"steps must be positive and finite; got {self._steps.tolist()}.")

    def expected_information(
        self, theta: Theta = None, *, inputs: Any = None, method: Method | None = None, structure: str = "dense"
    ) -> FisherInformation:
        if method is None:
            raise MethodError("the expected information of a noisy model needs method=MonteCarlo(n, rng=...).")
        require(method, (MonteCarlo,), what="a noisy model")
        assert isinstance(method, MonteCarlo)
        refuse_options(method, what="a noisy model", taken=("known",))
        at, p = self._flat(theta, "theta"), self.parameters.size
        blocks = max(2, -(-EQUATIONS * p * (p + 1) // 2 // GROUPS))
        if method.n < GROUPS * blocks:
            raise MethodError(f"{method!r}: {p} parameters need {GROUPS * blocks} draws at least.")
        work = Perturbed(self, at, tuple(method.seeds(GROUPS)), blocks)
        sizes = [method.n // GROUPS + (g < method.n % GROUPS) for g in range(GROUPS)]
        jobs = [Chunk(index=g, size=size, first=sum(sizes[:g]), group=g) for g, size in enumerate(sizes)]
        groups = list(in_order(work, jobs, method.workers))
        return self._estimated(groups, at, method, structure)

    def differences(self, at: np.ndarray, size: int, rng: np.random.Generator) -> tuple[np.ndarray, float]:
        """(2, p) random signs, and the mean mixed difference of a block of draws."""
        signs = rng.choice([-1.0, 1.0], size=(2, len(at)))
        x = np.asarray(self._sampler(at, size, rng))
        if len(x) != size:
            raise LayoutError(f"sampler(theta, {size}, rng) must return {size} observations; got {len(x)}.")
        seed = rng.integers(2**63)
        total = 0.0
        for a, b in SIGNS:
            point = at + self._steps * (a * signs[0] + b * signs[1])
            values = np.asarray(self._log_density(x, point, np.random.default_rng(seed)), dtype=float)
            if values.shape != (size,):
                raise LayoutError(f"log_density(x, theta, rng) must have shape ({size},); got {values.shape}.")
            if len(bad := np.flatnonzero(~np.isfinite(values))):
                raise DataError(
                    f"log_density is {values[bad[0]]} for draw {bad[0]} at theta={point.tolist()}. If the step leaves the "
                    "domain, give smaller steps=."
                )
            total += a * b * values.mean()
        return signs, total / 4

    def _estimated(
        self, groups: list[tuple[np.ndarray, np.ndarray]], at: np.ndarray, method: MonteCarlo, structure: str
    ) -> FisherInformation:
        known = self._known(method)
        matrices = [self._solved([group for j, group in enumerate(groups) if j != g], known) for g in (None, *range(GROUPS))]
        kept = [np.diagonal(one).copy() if structure == "diagonal" else one for one in matrices]
        value, *replicates = (stored(self.parameters, one) for one in kept)
        point = dict(zip(self.parameters.labels, at.tolist(), strict=True))
        errors = LeaveOneOut(tuple(replicates), ((GROUPS - 1) / GROUPS,) * GROUPS) if method.groups != 0 else None
        return FisherInformation.of(value, Provenance(kind="expected", method=method, point=point), errors)

    def _solved(self, groups: list[tuple[np.ndarray, np.ndarray]], known: np.ndarray) -> np.ndarray:
        """F from the signs (n, 2, p) and the differences (n,), by least squares; ``known`` is nan where it is not."""
        signs, q = (np.concatenate(parts) for parts in zip(*groups, strict=True))
        rows, columns = np.triu_indices(len(known))
        first, second = signs[:, 0], signs[:, 1]
        design = first[:, rows] * second[:, columns] + (rows != columns) * first[:, columns] * second[:, rows]
        entries = known[rows, columns]
        free = np.isnan(entries)
        entries[free] = np.linalg.lstsq(design[:, free], -q - design[:, ~free] @ entries[~free])[0]
        out = np.empty_like(known)
        out[rows, columns] = out[columns, rows] = entries
        return np.asarray(out / np.outer(self._steps, self._steps))

    def _known(self, method: MonteCarlo) -> np.ndarray:
        """(p, p) in units of the steps."""
        labels = list(self.parameters.labels)
        out = np.full((len(labels), len(labels)), np.nan)
        for pair, value in (method.known or {}).items():
            if unknown := [name for name in pair if name not in labels]:
                raise LayoutError(f"known= names {unknown[0]!r}, which is no parameter of {self.parameters}.")
            i, j = (labels.index(name) for name in pair)
            out[i, j] = out[j, i] = value * self._steps[i] * self._steps[j]
        return out

    def _flat(self, value: Any, name: str) -> np.ndarray:
        if value is None:
            raise LayoutError(f"{name} is needed: give values for {self.parameters}.")
        flat = np.concatenate([np.asarray(leaf, dtype=float) for leaf in self.parameters.split(value, name=name)])
        if flat.shape != (self.parameters.size,):
            raise LayoutError(f"{name} must be one point, shape ({self.parameters.size},); got {flat.shape}.")
        return flat


@dataclass(frozen=True)
class Perturbed:
    """What a group of draws needs, wherever it is made."""

    model: NoisyModel
    at: np.ndarray
    seeds: tuple[Any, ...]
    blocks: int

    def __call__(self, chunk: Chunk) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(self.seeds[chunk.index])
        sizes = [len(part) for part in np.array_split(np.arange(chunk.size), self.blocks)]
        signs, q = zip(*(self.model.differences(self.at, size, rng) for size in sizes), strict=True)
        return np.stack(signs), np.array(q)

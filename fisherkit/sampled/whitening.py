"""What a covariance does to residuals: whitens them, and weighs them in a log-density, in NumPy, PyTorch and complex steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import family
from ..errors import DataError, LayoutError


@dataclass(frozen=True, eq=False)
class Whitening:
    """A covariance by its Cholesky factor (d, d), or variances by their roots (d,)."""

    root: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> Whitening:
        if values.ndim not in (1, 2) or values.shape[0] != values.shape[-1]:
            raise LayoutError(f"covariance must have shape (d, d) or (d,); got {values.shape}.")
        if not np.isfinite(values).all() or (values.ndim == 2 and abs(values - values.T).max() > 1e-10 * abs(values).max()):
            raise DataError("covariance must be finite and symmetric.")
        try:
            if values.ndim == 1:
                if values.min() <= 0:
                    raise np.linalg.LinAlgError
                return cls(np.sqrt(values))
            return cls(np.linalg.cholesky(values))
        except np.linalg.LinAlgError:
            lowest = float(values.min() if values.ndim == 1 else np.linalg.eigvalsh(values)[0])
            raise DataError(f"covariance must be positive definite; its lowest eigenvalue is {lowest:.3g}.") from None

    @property
    def diagonal(self) -> bool:
        return self.root.ndim == 1

    def check(self, d: int) -> None:
        if len(self.root) != d:
            raise LayoutError(
                f"covariance must have shape ({d}, {d}) or ({d},), as the mean has {d} data; got {len(self.root)} data."
            )

    def whiten(self, columns: np.ndarray) -> np.ndarray:
        """L^-1 of (d, k)."""
        if self.diagonal:
            return np.asarray(columns / self.root[:, None])
        from scipy.linalg import solve_triangular

        return np.asarray(solve_triangular(self.root, columns, lower=True, check_finite=False))

    def whiten_both(self, columns: np.ndarray) -> np.ndarray:
        """L^-1 M L^-T of symmetric matrices, flattened in the columns; of variances, the quotients."""
        if self.diagonal:
            return np.asarray(columns / self.root[:, None] ** 2)
        d = len(self.root)
        matrices = columns.T.reshape(-1, d, d)
        return np.stack([self.whiten(self.whiten(one).T).ravel() for one in matrices], axis=1)

    def form(self, z: np.ndarray, turned: np.ndarray) -> np.ndarray:
        """(n,) z' A z - tr A of whitened rows z (n, d) and one of those matrices: its mean is 0."""
        if self.diagonal:
            return np.asarray((z**2 - 1) @ turned)
        matrix = turned.reshape(z.shape[1], -1)
        return np.asarray(((z @ matrix) * z).sum(axis=1) - np.trace(matrix))


def squares(covariance: Any, r: Any) -> tuple[Any, Any]:
    """Squared whitened length of each row of r (n, d), and half the log-determinant of the covariance."""
    if isinstance(covariance, Whitening):
        half = float(np.log(covariance.root if covariance.diagonal else covariance.root.diagonal()).sum())
        if family(r) == "torch":
            import torch

            root = torch.as_tensor(covariance.root)
            z = r / root if covariance.diagonal else torch.linalg.solve_triangular(root, r.mT, upper=False).mT
            return (z**2).sum(-1), half
        return (covariance.whiten(r.T) ** 2).sum(0), half
    if covariance.ndim == 1:
        return (r**2 / covariance).sum(-1), log(covariance).sum() / 2
    if family(covariance) == "torch":
        import torch

        root = torch.linalg.cholesky(covariance)
        return (torch.linalg.solve_triangular(root, r.mT, upper=False) ** 2).sum(0), root.diagonal().log().sum()
    if np.iscomplexobj(covariance):  # a complex step: analytic, which a Cholesky factor is not
        sign, size = np.linalg.slogdet(covariance)
        return (r.T * np.linalg.solve(covariance, r.T)).sum(0), (size + 1j * np.angle(sign)) / 2
    try:
        own = Whitening(np.linalg.cholesky(covariance))
    except np.linalg.LinAlgError:
        return np.full(len(r), np.nan), np.nan
    return squares(own, r)


def log(values: Any) -> Any:
    """Natural logarithm, of an array or a tensor."""
    return values.log() if family(values) == "torch" else np.log(values)


def machine_numbers(values: Any) -> np.ndarray:
    """Machine numbers, whatever library they come from."""
    if hasattr(values, "detach"):
        values = values.detach()
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise DataError(f"mean, covariance and data must be real numbers; got {array.dtype}.")
    return array.astype(float)

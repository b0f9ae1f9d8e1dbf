"""Which parameters can the data tell, and which combinations not?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import DataError, IndefiniteInformationError
from ..information import FisherInformation
from ..tables import table

SHOWN = 1e-2  # of a direction's largest coefficient, in standard errors


@dataclass(frozen=True, repr=False)
class Identifiability:
    """How well an information tells each parameter, and the directions that it tells badly or not at all.

    Attributes
    ----------
    labels : tuple of str
    standard_errors : (p,) array
        With the others estimated too; infinite where the parameter takes part in a null direction.
    conditional_errors : (p,) array
        With the others known.
    variance_inflation : (p,) array
        The square of the ratio of the two: 1 where nothing is lost to the others.
    eigenvalues : (p,) array
        Of the information scaled to unit diagonal, ascending: what no parameter's units change.
    null_directions, sloppy_directions : tuples of mappings from label to coefficient
        Combinations without information, and with an eigenvalue below ``sloppy`` times the largest.
    """

    labels: tuple[str, ...]
    standard_errors: np.ndarray
    conditional_errors: np.ndarray
    variance_inflation: np.ndarray
    eigenvalues: np.ndarray
    null_directions: tuple[Mapping[str, float], ...]
    sloppy_directions: tuple[Mapping[str, float], ...]

    @property
    def identifiable(self) -> bool:
        """Whether every direction carries information."""
        return not self.null_directions

    def __getitem__(self, label: str) -> dict[str, float]:
        """The row of one parameter."""
        if str(label) not in self.labels:
            raise KeyError(f"{label}: the parameters are {', '.join(self.labels)}")
        k = self.labels.index(str(label))
        columns = ("standard_errors", "conditional_errors", "variance_inflation")
        return {name: float(getattr(self, name)[k]) for name in columns}

    def __repr__(self) -> str:
        verdict = "identifiable" if self.identifiable else "not identifiable"
        rows = list(zip(self.labels, self.standard_errors, self.conditional_errors, self.variance_inflation, strict=True))
        notes = [f"no information along {_told(d)}" for d in self.null_directions]
        notes += [f"little information along {_told(d)}" for d in self.sloppy_directions]
        header = ("", "standard error", "others known", "variance inflation")
        values = self.eigenvalues
        spread = f"scaled eigenvalues from {values[0]:.2g} to {values[-1]:.2g}"
        return table(f"Identifiability({verdict}, {spread})", header, rows, notes=notes)


def identifiability(information: FisherInformation, *, sloppy: float = 1e-4) -> Identifiability:
    """A table of what an information can tell, by parameter name.

    Parameters
    ----------
    information : FisherInformation with numbers, p parameters
        Over all of the data, so that errors are those of an estimate from them.
    sloppy : float
        Directions whose eigenvalue, after scaling to unit diagonal, is below this share of the largest are listed. At 1e-4
        an error is a hundred times that of the best-known combination.

    Returns
    -------
    Identifiability
        Printed as a table. A singular information is no error here: what it cannot tell is what is asked.

    Raises
    ------
    IndefiniteInformationError
        When a direction has negative information.

    Notes
    -----
    A variance inflation of 10 or more is the usual sign of parameters that are hard to tell apart. Cost O(p^3).

    References
    ----------
    Rothenberg (1971), Identification in parametric models, Econometrica 39, 577-591. doi:10.2307/1913267
    Gutenkunst et al. (2007), Universally sloppy parameter sensitivities, PLoS Comput. Biol. 3, e189.
    doi:10.1371/journal.pcbi.0030189

    Examples
    --------
    >>> F = fk.FisherInformation([[2.0, 2.0, 0.0], [2.0, 2.0, 0.0], [0.0, 0.0, 4.0]], parameters=("a", "b", "c"))
    >>> fk.estimation.identifiability(F)
    Identifiability(not identifiable, scaled eigenvalues from 0 to 2)
         standard error  others known  variance inflation
      a             inf      0.707107                 inf
      b             inf      0.707107                 inf
      c             0.5           0.5                   1
      no information along +1 a -1 b
    """
    if not 0 <= sloppy < 1:
        raise DataError(f"sloppy must be a share of the largest eigenvalue, from 0 to below 1; got {sloppy}.")
    labels, matrix = information.parameters.labels, np.asarray(information, dtype=float)
    diagonal = np.diagonal(matrix)
    if (diagonal < 0).any():
        raise IndefiniteInformationError(f"the information of {labels[int(diagonal.argmin())]} is negative: not at a maximum.")
    root = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    values, vectors = np.linalg.eigh(matrix / np.outer(root, root))
    zero = 10 * len(values) * np.finfo(float).eps * values[-1]
    if values[0] < -max(zero, 1e-10):
        raise IndefiniteInformationError(f"a direction has negative information ({values[0]:.3g}, scaled): not at a maximum.")
    null = values <= zero
    variances = np.sum(vectors[:, ~null] ** 2 / values[~null], axis=1)
    variances[(np.abs(vectors[:, null]) > 1e-6).any(axis=1)] = np.inf
    with np.errstate(divide="ignore"):
        conditional = np.where(diagonal > 0, 1 / root, np.inf)
    directions = [_direction(labels, column, root) for column in vectors.T]
    poor = [k for k in range(len(values)) if not null[k] and values[k] < sloppy * values[-1]]
    return Identifiability(
        labels,
        np.sqrt(variances) / root,
        conditional,
        np.where(np.isfinite(variances), variances, np.inf),
        np.where(null, 0.0, values),
        tuple(directions[k] for k in np.flatnonzero(null)),
        tuple(directions[k] for k in poor),
    )


def _direction(labels: tuple[str, ...], scaled: np.ndarray, root: np.ndarray) -> dict[str, float]:
    """Coefficients relative to the largest; what is negligible is seen in scaled units."""
    shown = abs(scaled) > SHOWN * abs(scaled).max()
    column = np.where(shown, scaled, 0.0) / root
    column = column / column[np.argmax(abs(column) > 0.999 * abs(column).max())]
    return {label: float(value) for label, value in zip(labels, column, strict=True) if value}


def _told(direction: Mapping[str, float]) -> str:
    return " ".join(f"{value:+.3g} {label}" for label, value in direction.items())

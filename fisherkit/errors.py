"""The exceptions of fisherkit. Each is also the nearest builtin, so ``except ValueError`` keeps working."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

CONDITIONS = (
    "support_depends_on_parameter",
    "infinite_information",
    "not_normalised",
    "not_differentiable",
    "integer_parameter",
    "parameter_on_boundary",
)


class FisherkitError(Exception):
    """Base of every exception that fisherkit raises on purpose."""


class LayoutError(FisherkitError, ValueError):
    """Parameters, names or shapes do not fit together."""


class DataError(FisherkitError, ValueError):
    """Data, labels or scores are unusable: wrong shape, not finite, outside their range, or absent."""


class MethodError(FisherkitError, ValueError):
    """A verb, a method and a structure that make no sense together."""


class EntriesError(FisherkitError, TypeError):
    """The entries are of the wrong family: expressions where numbers are needed, or two families mixed."""


class RegularityError(FisherkitError, ValueError):
    """The density breaks a condition that Fisher information rests on.

    Attributes
    ----------
    condition : str
        One of `fisherkit.errors.CONDITIONS`.
    parameter : str or None
        The parameter at fault, where one can be named.
    """

    def __init__(self, message: str, *, condition: str, parameter: str | None = None) -> None:
        super().__init__(message)
        self.condition = condition
        self.parameter = parameter


class SingularInformationError(FisherkitError, ArithmeticError):
    """Some directions carry no information, so there is no inverse.

    Attributes
    ----------
    condition : str
        Always ``"singular_information"``.
    null_directions : tuple of dict
        One mapping from parameter label to coefficient per direction without information.
    """

    condition = "singular_information"

    def __init__(self, message: str, *, null_directions: Sequence[Mapping[str, object]]) -> None:
        super().__init__(message)
        self.null_directions = tuple(dict(direction) for direction in null_directions)


class IndefiniteInformationError(FisherkitError, ArithmeticError):
    """Some direction has negative information: not a maximum, or wrong entries."""


class NotAtMaximumWarning(UserWarning):
    """The scores of the data do not add up to 0: theta is no maximum of their likelihood."""


class NetworkStateError(FisherkitError, RuntimeError):
    """The network is in a state without per-example scores: BatchNorm in train mode, active Dropout."""


class MemoryBudgetError(FisherkitError, MemoryError):
    """The result would not fit the memory budget; refused before it was allocated."""


class MissingDependencyError(FisherkitError, ImportError):
    """An optional library is not installed."""


class StorageError(FisherkitError, ValueError):
    """A file is not one that `fisherkit.save` wrote, or is damaged."""


class TextError(FisherkitError, ValueError):
    """A text is no formula that fisherkit reads, or one that would cost too much.

    Attributes
    ----------
    text : str
        What was read.
    column : int or None
        Where in it the trouble starts, counted from 0.
    """

    def __init__(self, message: str, *, text: str = "", column: int | None = None) -> None:
        super().__init__(message)
        self.text = text
        self.column = column


class IdentityError(FisherkitError, AssertionError):
    """An identity that every Fisher information obeys does not hold.

    Attributes
    ----------
    identity : str
        The name of the identity that failed.
    """

    def __init__(self, message: str, *, identity: str) -> None:
        super().__init__(message)
        self.identity = identity


class ConvergenceError(FisherkitError, ArithmeticError):
    """An iteration did not reach what it looks for, or there is nothing to reach.

    Attributes
    ----------
    condition : str
        ``"no_maximum"`` (the likelihood has none at a finite point, as in a regression whose response is separated),
        ``"not_ascending"`` (the score does not point upwards), ``"iterations"`` (they ran out) or ``"gap"`` (of a design).
    point : mapping from name to number, or None
        Where the iteration stood.
    """

    def __init__(self, message: str, *, condition: str, point: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.condition = condition
        self.point = None if point is None else dict(point)


class PrecisionError(FisherkitError, ArithmeticError):
    """A number could not be computed to the accuracy asked for."""

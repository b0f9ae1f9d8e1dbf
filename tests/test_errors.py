"""Each error is also the nearest builtin, and carries what a program needs to act on it."""

import pytest

from fisherkit import errors

BUILTIN = {
    errors.LayoutError: ValueError,
    errors.DataError: ValueError,
    errors.MethodError: ValueError,
    errors.EntriesError: TypeError,
    errors.RegularityError: ValueError,
    errors.SingularInformationError: ArithmeticError,
    errors.IndefiniteInformationError: ArithmeticError,
    errors.NetworkStateError: RuntimeError,
    errors.MemoryBudgetError: MemoryError,
    errors.MissingDependencyError: ImportError,
    errors.StorageError: ValueError,
    errors.TextError: ValueError,
    errors.IdentityError: AssertionError,
    errors.PrecisionError: ArithmeticError,
    errors.ConvergenceError: ArithmeticError,
}


def test_the_table_is_complete() -> None:
    family = {value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, errors.FisherkitError)}
    assert family == {*BUILTIN, errors.FisherkitError}


@pytest.mark.parametrize("error", BUILTIN)
def test_each_is_the_nearest_builtin_too(error: type[Exception]) -> None:
    assert issubclass(error, errors.FisherkitError)
    assert issubclass(error, BUILTIN[error])


def test_what_they_carry() -> None:
    regularity = errors.RegularityError("no", condition="integer_parameter", parameter="k")
    assert (regularity.condition, regularity.parameter, str(regularity)) == ("integer_parameter", "k", "no")
    assert regularity.condition in errors.CONDITIONS
    singular = errors.SingularInformationError("no", null_directions=[{"a": 1.0}])
    assert (singular.condition, singular.null_directions) == ("singular_information", ({"a": 1.0},))
    assert errors.IdentityError("no", identity="additivity").identity == "additivity"
    text = errors.TextError("no", text="2x", column=1)
    assert (text.text, text.column, str(text)) == ("2x", 1, "no")
    lost = errors.ConvergenceError("no", condition="iterations", point={"a": 1.0})
    assert (lost.condition, lost.point) == ("iterations", {"a": 1.0})

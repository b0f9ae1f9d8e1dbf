"""The work of ``fisherkit derive``, in a process that ends when its time is over."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from ..errors import FisherkitError, MethodError
from . import derive

MEMORY = 4 * 2**30  # bytes that the process may ask for


def answer(arguments: Sequence[str]) -> int:
    """The work itself: everything is made before anything is printed."""
    parser = argparse.ArgumentParser()
    derive.add_arguments(parser)
    options = parser.parse_args(derive.joined(arguments))
    _limit_resources(options.seconds)
    try:
        print(_text(options))
    except FisherkitError as error:
        return derive.report(str(error) if options.json else _words(error), _details(error), as_json=options.json)
    except (MemoryError, RecursionError) as error:
        return derive.report("the formula is too large to be worked out.", {"error": type(error).__name__}, as_json=options.json)
    except Exception as error:  # SymPy's own, on input that it was not written for
        words = f"the formula could not be worked out ({type(error).__name__}: {error})."
        return derive.report(words, {"error": type(error).__name__}, as_json=options.json)
    return 0


# -- the answer


def _text(options: argparse.Namespace) -> str:
    import fisherkit as fk

    from ..symbolic.statement import parse_point

    if options.digits is not None and options.at is None:
        raise MethodError("--digits is for numbers: give --at too, such as --at mu=0,sigma=2.")
    model = fk.symbolic.parse_model(
        options.family,
        density=options.density,
        log_density=options.log_density,
        data=options.data,
        support=options.support,
        parameters=options.parameters,
        constants=options.constants,
    )
    point = parse_point(options.at, model) if options.at is not None else None
    method = None if options.digits is None else fk.Quadrature(digits=options.digits)
    F = fk.expected_information(model, point, method=method)
    if options.latex:
        return str(F.latex())
    return json.dumps(_record(model, F), indent=1) if options.json else _pretty(model, F, options)


def _record(model: Any, F: Any) -> dict[str, Any]:
    """Plain values, in the order in which a reader asks."""
    entries, conditions = _entries(F)
    return {
        "parameters": list(F.parameters.names),
        "assumptions": {str(symbol): _declared(symbol) for symbol in sorted(model.free, key=str)},
        "information": [[str(entry) for entry in row] for row in entries],
        "conditions": [str(condition) for condition in conditions],
        "kind": F.kind,
        "n": F.n,
        "method": repr(F.method),
        "tier": _tier(model, F),
        "at": None if F.point is None else {name: str(value) for name, value in F.point.items()},
        "error_bound": F.error_bound,
    }


def _pretty(model: Any, F: Any, options: argparse.Namespace) -> str:
    import sympy as sp

    entries, conditions = _entries(F)
    told = ", ".join(f"{symbol} {_declared(symbol)}" for symbol in sorted(model.free, key=str))
    lines = [f"Fisher information of one observation in ({', '.join(F.parameters.names)})", "", f"  where    {told}"]
    if F.point is not None:
        lines += [f"  at       {', '.join(f'{name} = {value}' for name, value in F.point.items())}"]
    if conditions:
        lines += [f"  if       {' and '.join(map(str, conditions))}"]
    lines += [f"  found by {_tier(model, F) or repr(F.method)}"]
    if F.error_bound is not None:
        lines += [f"  error    at most {F.error_bound:.1e}, relative to the diagonal"]
    matrix = sp.pretty(sp.Matrix(entries), use_unicode=not options.ascii, wrap_line=False)
    return "\n".join([*lines, "", matrix])


def _entries(F: Any) -> tuple[list[list[Any]], list[Any]]:
    """The entries, and the conditions under which they hold, apart."""
    import sympy as sp

    conditions: dict[Any, None] = {}

    def plain(entry: Any) -> Any:
        if isinstance(entry, sp.Piecewise) and len(entry.args) == 1:
            conditions[entry.args[0].cond] = None
            return entry.args[0].expr
        return entry

    matrix = sp.Matrix(F.dense().tolist())
    digits = getattr(F.method, "digits", 15)
    return [[plain(_rounded(entry, digits)) for entry in row] for row in matrix.tolist()], list(conditions)


def _rounded(entry: Any, digits: int) -> Any:
    return entry.evalf(digits) if entry.is_Float else entry


def _tier(model: Any, F: Any) -> str | None:
    from ..methods import Exact

    return model.tier if isinstance(F.method, Exact) else None


def _declared(symbol: Any) -> str:
    words = [word for word in ("integer", "positive", "negative", "nonnegative", "real") if symbol._assumptions_orig.get(word)]
    return " ".join(words) or "complex"


# -- refusals


def _words(error: FisherkitError) -> str:
    from ..errors import TextError

    condition, parameter = getattr(error, "condition", None), getattr(error, "parameter", None)
    name = type(error).__name__ + (f" ({condition}{f', {parameter}' if parameter else ''})" if condition else "")
    words = f"{name}: {error}"
    if isinstance(error, TextError) and error.column is not None:
        start = max(0, error.column - 60)
        words += f"\n  {error.text[start : start + 100]}\n  {' ' * (error.column - start)}^"
    return words


def _details(error: FisherkitError) -> dict[str, Any]:
    known = {name: getattr(error, name, None) for name in ("condition", "parameter", "column")}
    return {"error": type(error).__name__, **{name: value for name, value in known.items() if value is not None}}


def _limit_resources(seconds: float) -> None:
    """So that a process whose parent was killed ends too, and none takes all the memory."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 5, int(seconds) + 10))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


if __name__ == "__main__":
    raise SystemExit(answer(sys.argv[1:]))

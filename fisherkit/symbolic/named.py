"""The families of ``sympy.stats`` by name, for text: their own argument checks tell what a parameter may be.

No table is kept. Each place of a family is tried with a few numbers: one that refuses -1 and 0 takes a positive number, one
that refuses 1/2 and 5/2 counts something, one that takes 1/2 and refuses 2 is a probability.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any

import sympy as sp

#: what a place may ask of its argument, and what is declared of a symbol that stands there
ASSUMPTIONS: dict[str, dict[str, bool]] = {
    "real": {"real": True},
    "positive": {"positive": True},
    "nonnegative": {"nonnegative": True},
    "probability": {"positive": True},  # below 1: more than SymPy can be told
    "negative": {"negative": True},
    "integer": {"integer": True},
    "count": {"integer": True, "positive": True},
}
_TRIED = {name: sp.Rational(name) for name in ("-1", "0", "1/2", "1", "2", "5/2")}


@dataclass(frozen=True)
class Named:
    """A family: its name, the function that makes a variable of it, and the names and defaults of its arguments."""

    name: str
    make: Callable[..., Any]
    arguments: dict[str, Any]

    @property
    def usage(self) -> str:
        """As it is written: ``gamma(k, theta)``."""
        told = [name if default is inspect.Parameter.empty else f"{name}={default}" for name, default in self.arguments.items()]
        return f"{snake(self.name)}({', '.join(told)})"

    def place(self, argument: str) -> str:
        """What the family's own check asks of an argument: a key of `ASSUMPTIONS`."""
        return _place(self.name, argument)


def find(name: str) -> Named | None:
    """The family of this name in any case, with or without underscores."""
    return families().get(_key(name))


def similar(name: str) -> list[str]:
    """Names of families near this one, as they are written."""
    words = set(re.findall("[a-z]+", re.sub("([A-Z])", r"_\1", name).lower()))
    known = {key: family.name for key, family in families().items()}
    shared = [key for key, full in known.items() if words & set(snake(full).split("_")) and len(words) > 1]
    near = get_close_matches(_key(name), known, n=3, cutoff=0.6)
    return [snake(known[key]) for key in dict.fromkeys([*near, *shared])][:4]


@cache
def families() -> dict[str, Named]:
    """All of them, by name without case and underscores."""
    from sympy.stats import crv_types, drv_types, frv_types

    out = {}
    for module in (crv_types, drv_types, frv_types):
        for name in module.__all__:
            make = getattr(module, name)
            first, *others = inspect.signature(make).parameters.values()
            plain = all(p.kind is p.POSITIONAL_OR_KEYWORD for p in others)
            if first.name == "name" and plain and others and "items" not in {p.name for p in others}:
                out[_key(name)] = Named(name, make, {p.name: p.default for p in others})
    return out


@cache
def _place(name: str, argument: str) -> str:
    taken = {key: _takes(name, argument, value) for key, value in _TRIED.items()}
    if not taken["2"] and taken["1/2"]:
        return "probability"
    if not taken["1/2"] and not taken["5/2"]:
        return "count"
    return "positive" if not taken["0"] else "real" if taken["-1"] else "nonnegative"


def _takes(name: str, argument: str, value: Any) -> bool:
    """Whether the family takes this number in this place, whatever stands in the others."""
    family = families()[_key(name)]
    others = {key: sp.Dummy(key, real=True) for key in family.arguments}
    try:
        family.make("X", **{**others, argument: value})
    except (ValueError, TypeError):  # a check that fails, or that cannot even be made (a division by zero)
        return False
    return True


def snake(name: str) -> str:
    """``GaussianInverse`` as ``gaussian_inverse``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _key(name: str) -> str:
    return name.replace("_", "").lower()

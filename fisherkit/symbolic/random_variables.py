"""Random variables of ``sympy.stats`` as models: only their density and declared support are read."""

from __future__ import annotations

from typing import Any

import sympy as sp

from ..errors import MethodError, RegularityError
from .model import Model


def as_model(value: Any) -> Model:
    """The model of a univariate ``sympy.stats`` variable; its free symbols are the parameters.

    Symbols that are declared integers, which sympy.stats asks of a chi or F distribution, are continuous in a
    continuous density: they are replaced by positive ones of the same name.
    """
    from sympy.stats.crv import SingleContinuousPSpace
    from sympy.stats.drv import SingleDiscretePSpace
    from sympy.stats.frv import SingleFinitePSpace

    space = getattr(value, "pspace", None)
    if isinstance(space, SingleContinuousPSpace):
        return _continuous(space)
    if isinstance(space, SingleDiscretePSpace):
        k = sp.Dummy("k", integer=True)
        density, support = _plain(space.distribution.pdf(k), k), space.distribution.set
        return Model(density, data=k, parameters=_in_order(space, density), support=support)
    if isinstance(space, SingleFinitePSpace):
        return _finite(space)
    raise MethodError(
        f"{value!r} is not a univariate sympy.stats variable. Write it as fk.symbolic.Model(density, data=x, "
        "parameters=(...), support=(...))."
    )


def _continuous(space: Any) -> Model:
    x = sp.Dummy("x", real=True)
    density, support = _plain(space.distribution.pdf(x), x), space.distribution.set
    integers = {s for s in density.free_symbols | support.free_symbols if s.is_integer and s != x}
    continuous = {s: sp.Symbol(s.name, positive=True) for s in integers}
    parameters = [continuous.get(s, s) for s in _in_order(space, density)]
    return Model(density.subs(continuous), data=x, parameters=parameters, support=support.subs(continuous))


def _finite(space: Any) -> Model:
    y = sp.Dummy("y", real=True)
    masses = space.distribution.dict
    if not isinstance(masses, dict):
        raise RegularityError(
            "the number of outcomes is a symbol: the density has no derivative in it. Give it as a number.",
            condition="integer_parameter",
            parameter=str(next(iter(space.distribution.args))),
        )
    *others, last = ((sp.sympify(mass), sp.Eq(y, value)) for value, mass in masses.items())
    return Model(sp.Piecewise(*others, (last[0], True)), data=y, support=list(masses))


def _in_order(space: Any, density: Any) -> list[Any]:
    """Free symbols in the order of the distribution's own arguments."""
    arguments = [sp.sympify(argument) for argument in space.distribution.args]
    ordered = dict.fromkeys(s for argument in arguments for s in sorted(argument.free_symbols, key=str))
    return [s for s in ordered if density.has(s)]


def _plain(density: Any, x: Any) -> Any:
    """Without the branch that says where the density is zero: that is the support's to say."""
    density = sp.sympify(density)
    branches: tuple[Any, ...] = density.args if isinstance(density, sp.Piecewise) else ()
    if len(branches) == 2 and branches[1].expr == 0:
        return branches[0].expr
    return density

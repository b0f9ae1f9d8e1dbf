"""Random variables of ``sympy.stats`` as models: only their density and declared support are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

import numpy as np
import sympy as sp

from ..errors import FisherkitError, MethodError, RegularityError
from .domain import trial_points
from .model import Model
from .numbers import mass
from .pieces import invert
from .support import read


def as_model(value: Any, *, parameters: Any = None) -> Model:
    """The model of a ``sympy.stats`` variable, of one dimension or several; its free symbols are the parameters.

    Symbols that are declared integers, which sympy.stats asks of a chi or F distribution, are continuous in a
    continuous density: they are replaced by positive ones of the same name.

    Parameters
    ----------
    value : random variable
    parameters : symbols, optional
        Those to be estimated, where the others are known.

    Raises
    ------
    MethodError
        When it has no density of its own, as an index or a function of a variable.
    """
    from sympy.stats.crv import SingleContinuousPSpace
    from sympy.stats.drv import SingleDiscretePSpace
    from sympy.stats.frv import SingleFinitePSpace
    from sympy.stats.joint_rv import JointPSpace

    if isinstance(value, Model):
        return value
    space = getattr(value, "pspace", None)
    if isinstance(space, SingleContinuousPSpace):
        return _continuous(space, parameters)
    if isinstance(space, SingleDiscretePSpace):
        k = sp.Dummy("k", integer=True)
        density = _plain(space.distribution.pdf(k))
        return Model(density, data=k, parameters=parameters or _in_order(space, density), support=space.distribution.set)
    if isinstance(space, SingleFinitePSpace):
        return _finite(space, parameters)
    if isinstance(space, JointPSpace) and value == space.value and isinstance(space.set, sp.ProductSet):
        xs = [sp.Dummy(f"x{i}", real=True) for i in range(1, 1 + len(space.set.args))]
        density = _plain(space.distribution.pdf(*xs))
        return Model(density, data=xs, parameters=parameters or _in_order(space, density), support=space.set.args)
    raise MethodError(
        f"{value!r} is not a sympy.stats variable with a density of its own. Write it as fk.symbolic.Model(density, data=x, "
        "parameters=(...), support=(...))."
    )


def as_location_family(value: Any) -> Model:
    """The shifts of a continuous variable of ``sympy.stats``, or of a model: one parameter for each data symbol, to be 0."""
    from sympy.stats.crv import SingleContinuousPSpace

    if isinstance(value, Model):
        data, log_density, supports = value.data, value.log_density, value.supports
    elif isinstance(space := getattr(value, "pspace", None), SingleContinuousPSpace):
        data = (sp.Dummy("x", real=True),)
        log_density = sp.expand_log(sp.log(_plain(space.distribution.pdf(data[0]))), force=True)
        supports = (read(space.distribution.set, data[0]),)
    else:
        raise MethodError(f"{value!r} is no continuous variable, so its shifts carry no information: it cannot be a prior.")
    if any(support.discrete for support in supports):
        raise MethodError("a prior of a real parameter must be continuous; this one lives on single values.")
    shifts = [sp.Symbol(f"shift_{x.name}", real=True) for x in data]
    moved = log_density.subs({x: x - shift for x, shift in zip(data, shifts, strict=True)}, simultaneous=True)
    ends = [(support.low + shift, support.high + shift) for support, shift in zip(supports, shifts, strict=True)]
    return Model(log_density=moved, data=data, parameters=shifts, support=tuple(ends) if len(ends) > 1 else ends[0])


def _continuous(space: Any, parameters: Any) -> Model:
    x = sp.Dummy("x", real=True)
    density, support = _plain(space.distribution.pdf(x)), space.distribution.set
    integers = {s for s in density.free_symbols | support.free_symbols if s.is_integer and s != x}
    continuous = {s: sp.Symbol(s.name, positive=True) for s in integers}
    named = _listed(parameters) if parameters is not None else _in_order(space, density)
    density, declared = density.subs(continuous), support.subs(continuous)
    chosen = [continuous.get(s, s) for s in named]
    models = (Model(density, data=x, parameters=chosen, support=ends) for ends in (declared, *_other_ends(density, x, declared)))
    missing: dict[Model, float] = {}
    for model in models:
        missing[model] = _missing_mass(model)
        if missing[model] < 1e-9:
            break
    return min(missing, key=lambda model: missing[model])


def _missing_mass(model: Model) -> float:
    """How far the mass is from 1 at the first point where it can be had."""
    for at in islice(trial_points(sorted(model.free, key=str)), 3):
        with suppress(FisherkitError, TypeError, ZeroDivisionError, ValueError):
            return float(np.nan_to_num(abs(mass(model, at) - 1), nan=1.0))
    return 1.0


def _other_ends(density: Any, x: Any, declared: Any) -> Iterator[tuple[Any, Any]]:
    """Pairs of points at which the formula ends, nearest to the declared ones first.

    ``distribution.set`` cannot be trusted (Kumaraswamy's is the half-line, Frechet's starts at 0 wherever it is shifted).
    """
    bases = {part.base for part in density.atoms(sp.Pow) if part.base.has(x) and not part.exp.has(x)}
    bases |= {part.args[0] for part in density.atoms(sp.log) if part.has(x)}
    bases |= {part.exp**-1 for part in density.atoms(sp.exp) if part.has(x)}
    found = {end for base in bases for end in [invert(base, x, sp.S.Zero, {})] if end is not None and not end.has(sp.zoo, sp.nan)}
    low, high = declared.inf, declared.sup
    inner = sorted(found - {low, high}, key=sp.default_sort_key)
    yield from ((end, high) for end in inner)
    yield from ((low, end) for end in inner)


def _listed(parameters: Any) -> list[Any]:
    return list(parameters) if isinstance(parameters, Iterable) else [parameters]


def _finite(space: Any, parameters: Any) -> Model:
    y = sp.Dummy("y", real=True)
    masses = space.distribution.dict
    if not isinstance(masses, dict):
        raise RegularityError(
            "the number of outcomes is a symbol: the density has no derivative in it. Give it as a number.",
            condition="integer_parameter",
            parameter=str(next(iter(space.distribution.args))),
        )
    numbers = list(masses) if all(sp.sympify(value).is_number for value in masses) else list(range(len(masses)))
    *others, last = ((sp.sympify(mass), sp.Eq(y, value)) for value, mass in zip(numbers, masses.values(), strict=True))
    density = sp.Piecewise(*others, (last[0], True))
    return Model(density, data=y, parameters=parameters or _in_order(space, density), support=numbers)


def _in_order(space: Any, density: Any) -> list[Any]:
    """Free symbols in the order of the distribution's own arguments."""
    arguments = [sp.sympify(argument) for argument in space.distribution.args]
    entries = [entry for a in arguments for entry in (a if isinstance(a, sp.MatrixBase) else (a,))]
    ordered = dict.fromkeys(s for entry in entries for s in sorted(entry.free_symbols, key=str))
    return [s for s in ordered if density.has(s)]


def _plain(density: Any) -> Any:
    """Without the branch that says where the density is zero: that is the support's to say."""
    density = sp.sympify(density)
    branches: tuple[Any, ...] = density.args if isinstance(density, sp.Piecewise) else ()
    if len(branches) == 2 and branches[1].expr == 0:
        return branches[0].expr
    return density

r"""The exponential family in a log-density: :math:`\log f = \eta(\theta)^\top T(x) - A(\theta) + \log h(x)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sympy as sp

from ..errors import MethodError

if TYPE_CHECKING:
    from .model import Model


@dataclass(frozen=True)
class ExponentialFamily:
    """Natural parameters and log-partition as functions of the parameters; statistics and carrier as functions of the data."""

    natural: tuple[Any, ...]
    statistics: tuple[Any, ...]
    log_partition: Any
    carrier: Any
    parameters: tuple[Any, ...]

    @property
    def jacobian(self) -> Any:
        """Derivatives of the k natural parameters by the p parameters, (k, p)."""
        return sp.Matrix(self.natural).jacobian(self.parameters)

    @property
    def mean(self) -> Any:
        """E[T], the mean parameters, where there are as many as parameters: the solution of J' E[T] = dA/dtheta."""
        if len(self.natural) != len(self.parameters):
            raise MethodError(
                f"{len(self.natural)} natural parameters of {len(self.parameters)} parameters make a curved family: A(theta) "
                "does not determine E[T]."
            )
        slope = sp.Matrix([sp.diff(self.log_partition, parameter) for parameter in self.parameters])
        return self.jacobian.T.solve(slope).applyfunc(sp.cancel)


def exponential_family(model: Model) -> ExponentialFamily:
    """Natural parameters, sufficient statistics, log-partition and carrier of a model.

    Raises
    ------
    MethodError
        When the log-density is no sum of functions of the parameters times functions of the data.

    Examples
    --------
    >>> rate = sympy.Symbol("rate", positive=True)
    >>> family = fk.symbolic.exponential_family(fk.symbolic.as_model(sympy.stats.Exponential("X", rate)))
    >>> family.natural, family.log_partition
    ((-rate,), -log(rate))
    """
    weights: dict[Any, Any] = {}
    partition, carrier = sp.S.Zero, sp.S.Zero
    for term in sp.Add.make_args(sp.expand(sp.expand_log(sp.expand_trig(model.log_density), force=True))):
        weight, statistic = term.as_independent(*model.data, as_Add=False)
        if statistic == 1:
            partition -= weight
        elif statistic.has(*model.symbols):
            raise MethodError(f"{statistic} mixes data and parameters: the density is of no exponential family.")
        elif not weight.has(*model.symbols):
            carrier += term
        else:
            weights[statistic] = weights.get(statistic, 0) + weight
    moving = {t: sp.factor(w) for t, w in weights.items() if sp.factor(w).has(*model.symbols)}
    carrier += sum(t * sp.factor(w) for t, w in weights.items() if t not in moving)
    if not moving:
        raise MethodError(f"no statistic of the data is weighted by {model.parameters}: the density is of no exponential family.")
    return ExponentialFamily(tuple(moving.values()), tuple(moving), sp.expand(partition), sp.exp(carrier), model.symbols)

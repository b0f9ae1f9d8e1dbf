r"""The exponential family in a log-density: :math:`\log f = \eta(\theta)^\top T(x) - A(\theta) + \log h(x)`.

The log-density is expanded into products of a function of the parameters and one of the data. The sum of such products is
made as short as it can be: equal statistics are added up, and weights or statistics that depend on each other linearly are
merged, so that the representation is minimal (Barndorff-Nielsen 1978, section 8.1; Brown 1986, chapter 1).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import mpmath
import sympy as sp

from ..deadline import within
from ..errors import MethodError, PrecisionError, RegularityError
from ..information import FisherInformation
from ..methods import Exact
from . import closed_forms, minimal, separated
from .tidy import tidy

if TYPE_CHECKING:
    from .model import Model

SECONDS = 5.0  # for the integral that tells whether the density is one


@dataclass(frozen=True)
class ExponentialFamily:
    """Natural parameters and log-partition as functions of the parameters; statistics and carrier as functions of the data."""

    natural: tuple[Any, ...]
    statistics: tuple[Any, ...]
    log_partition: Any
    carrier: Any
    parameters: tuple[Any, ...]

    @property
    def curved(self) -> bool:
        """Whether there are more natural parameters than parameters."""
        return len(self.natural) > len(self.parameters)

    @property
    def jacobian(self) -> Any:
        """Derivatives of the k natural parameters by the p parameters, (k, p)."""
        return sp.Matrix(self.natural).jacobian(self.parameters)

    @property
    def mean(self) -> tuple[Any, ...]:
        """E[T], the mean parameters: the solution of J' E[T] = dA/dtheta, with J the `jacobian`.

        Raises
        ------
        MethodError
            When the family is curved, or the natural parameters do not determine the parameters.
        """
        self._refuse_curved()
        slope = sp.Matrix([sp.diff(self.log_partition, parameter) for parameter in self.parameters])
        return tuple(_short(value) for value in self.jacobian.T.inv(method="DM") * slope)

    def information(self, of: str = "natural") -> FisherInformation:
        r"""The information in the natural or the mean parameters, as a function of the model's own.

        In the natural parameters it is the Hessian of A, the covariance of T; in the mean parameters its inverse.

        Parameters
        ----------
        of : {"natural", "mean"}

        Returns
        -------
        FisherInformation
            Of one observation, over ``eta_1, ...`` or ``mean_1, ...`` in the order of `statistics`.

        Raises
        ------
        MethodError
            As for `mean`.

        Examples
        --------
        >>> rate = sympy.Symbol("rate", positive=True)
        >>> family = fk.symbolic.as_model(sympy.stats.Exponential("X", rate)).exponential_family()
        >>> family.information("natural").dense(), family.information("mean").dense()
        (Matrix([[rate**(-2)]]), Matrix([[rate**2]]))
        """
        if of not in ("natural", "mean"):
            raise MethodError(f"the information is that of the 'natural' or the 'mean' parameters; got {of!r}.")
        moved = sp.Matrix(self.mean).jacobian(self.parameters)
        turned = self.jacobian
        matrix = moved * turned.inv(method="DM") if of == "natural" else turned * moved.inv(method="DM")
        name = {"natural": "eta", "mean": "mean"}[of]
        names = [f"{name}_{k + 1}" for k in range(len(self.natural))]
        return FisherInformation(matrix.applyfunc(_short), parameters=names, method=Exact())

    def _refuse_curved(self) -> None:
        k, p = len(self.natural), len(self.parameters)
        told = ", ".join(map(str, self.parameters))
        if self.curved:
            raise MethodError(
                f"{k} natural parameters of {p} parameters ({told}) make a curved family: A(theta) does not determine E[T]. "
                "The information in the parameters themselves is expected_information(model)."
            )
        if k < p or self.jacobian.rank() < p:
            raise MethodError(f"the {k} natural parameters do not determine ({told}): the density is over-parametrised. Fix one.")


def find(model: Model) -> ExponentialFamily:
    """The minimal representation of a model; see `Model.exponential_family`."""
    _refuse_moving_support(model)
    with suppress(MethodError, PrecisionError):  # a joint density that is hard to integrate stands
        within(SECONDS, lambda: closed_forms.valid_point(model))
    terms = separated.terms(model, model.symbols)
    partition, carrier = -terms.pop(sp.S.One, sp.S.Zero), sp.S.Zero
    moving: dict[Any, Any] = {}
    for statistic, weight in terms.items():
        rest, own = sp.expand(weight).as_independent(*model.symbols, as_Add=True)
        carrier += rest * statistic
        if own != 0:
            moving[statistic] = own
    moving, shift, fixed = minimal.reduce(moving, model)
    partition -= shift
    carrier += fixed
    if not moving:
        raise MethodError(f"no statistic of the data is weighted by {model.parameters}: the density is of no exponential family.")
    moving = dict(sorted(moving.items(), key=lambda item: (sp.count_ops(item[0]), str(item[0]))))
    signs = [-1 if statistic.could_extract_minus_sign() else 1 for statistic in moving]
    natural = tuple(sp.factor(sign * weight) for sign, weight in zip(signs, moving.values(), strict=True))
    statistics = tuple(sign * statistic for sign, statistic in zip(signs, moving, strict=True))
    family = ExponentialFamily(natural, statistics, _real(sp.expand(partition), model), _exponential(carrier), model.symbols)
    _check(family, model)
    return family


def _refuse_moving_support(model: Model) -> None:
    for support in model.supports:
        for symbol in model.symbols:
            if symbol in support.free_symbols:
                raise RegularityError(
                    f"the support of the density moves with {symbol}: it is no exponential family. Where {symbol} is known "
                    f"it may be one: model.given({symbol}=...).",
                    condition="support_depends_on_parameter",
                    parameter=str(symbol),
                )


def _exponential(carrier: Any) -> Any:
    """exp, branch by branch."""
    if isinstance(carrier, sp.Piecewise):
        return sp.Piecewise(*((sp.exp(branch), condition) for branch, condition in carrier.args))
    return sp.powsimp(sp.exp(carrier))


def _real(partition: Any, model: Model) -> Any:
    """Without the i pi of logarithms whose arguments are negative."""
    if not partition.has(sp.I):
        return partition
    (at,) = minimal.points(model, 1)
    turned = {f: sp.log(-f.args[0]) for f in partition.atoms(sp.log) if minimal.value(f.args[0], at) < 0}
    return sp.expand(partition.xreplace(turned)).as_independent(sp.I, as_Add=True)[0]


def _short(entry: Any) -> Any:
    short = tidy(entry)
    return sp.trigsimp(short) if short.has(sp.sin, sp.cos) else short


def _check(family: ExponentialFamily, model: Model) -> None:
    """The representation is the log-density, at points."""
    told = sum(w * t for w, t in zip(family.natural, family.statistics, strict=True)) - family.log_partition
    gap = model.log_density - told - sp.log(family.carrier)
    with mpmath.workdps(40):
        gaps = [minimal.value(gap, at) for at in minimal.points(model, 12, start=40)]
        gaps = [value for value in gaps if mpmath.isfinite(value)]  # outside a support that is no rectangle
        if len(gaps) < 3 or max(map(abs, gaps)) > mpmath.mpf(10) ** -18:
            raise MethodError(f"the log-density could not be written as that of an exponential family in {model.parameters}.")

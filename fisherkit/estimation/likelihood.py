"""A likelihood: a model with its data, as a function of the parameters that are not known."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..arrays import as_entries, family
from ..errors import DataError, FisherkitError, LayoutError, MethodError, RegularityError
from ..information import FisherInformation
from ..methods import Method
from ..model import Model, as_model
from ..parameters import Parameters, concatenate
from ..rows import Rows

KINDS = ("expected", "observed", "empirical")


@dataclass(frozen=True)
class Likelihood:
    """Values, scores and informations over all of the data, at a flat array of the free parameters."""

    model: Model
    data: Any
    parameters: Parameters
    kind: str = "expected"
    method: Method | None = None
    known: Mapping[str, Any] = field(default_factory=dict)

    @property
    def free(self) -> Parameters:
        """The parameters that are not known."""
        return self.parameters.select(self.parameters.without(self.known)) if self.known else self.parameters

    def given(self, known: Mapping[str, Any]) -> Likelihood:
        """The same with these parameters known."""
        return replace(self, known={**self.known, **known})

    def theta(self, at: np.ndarray) -> dict[str, Any]:
        """All parameters by name."""
        own = self.free.as_mapping(self.free.split(at))
        return {name: own.get(name, self.known.get(name)) for name in self.parameters.names}

    def flat(self, theta: Mapping[str, Any]) -> np.ndarray:
        """All parameters as one array."""
        return np.asarray(concatenate(self.parameters.split(theta, name="theta")), dtype=float)

    def value(self, at: np.ndarray) -> float:
        """The log-likelihood; minus infinity outside the domain."""
        try:
            return self.exact_value(self.theta(at))
        except (DataError, LayoutError, RegularityError):
            return -np.inf

    def exact_value(self, theta: Mapping[str, Any]) -> float:
        """The log-likelihood; refused outside the domain."""
        return self.model.log_likelihood(theta, data=self.data)

    def score(self, theta: Mapping[str, Any]) -> np.ndarray:
        """(n, p) scores of the observations in all parameters."""
        return np.asarray(self.model.score(theta, data=self.data), dtype=float)

    def score_sum(self, theta: Mapping[str, Any]) -> np.ndarray:
        """(p,) their sum, each as often as its observation counts."""
        return Rows.of(self.data).total(self.score(theta))

    def information(self, theta: Mapping[str, Any], *, kind: str | None = None) -> FisherInformation:
        """Over all n observations, in the free parameters."""
        kind = kind or self.kind
        if kind == "observed":
            F = self.model.observed_information(theta, data=self.data, structure="dense")
        elif kind == "empirical":
            F = self.model.empirical_information(theta, data=self.data, structure="dense")
        else:
            F = self._expected(theta)
        return F.fix(*self.known) if self.known else F

    def _expected(self, theta: Mapping[str, Any]) -> FisherInformation:
        rows = Rows.of(self.data)
        inputs = self.data if self.model.covariates and not _is_array(rows.data) else None
        n = rows.count(len(self.score(theta)))
        if inputs is None and self.formula is not None:
            with suppress(DataError):  # a removable singularity
                return self.formula.at(theta).total(n)
        return self.model.expected_information(theta, inputs=inputs, method=self.method, structure="dense").total(n)

    @cached_property
    def formula(self) -> FisherInformation | None:
        """The expected information of one observation in symbols, where the model has it: no integral at each step."""
        if self.method is not None or self.model.covariates:
            return None
        try:
            F = self.model.expected_information(None, inputs=None, method=None, structure="dense")
        except FisherkitError:
            return None
        return F if F.point is None and family(as_entries(F.dense())) == "sympy" else None


def _is_array(data: Any) -> bool:
    return not (isinstance(data, Mapping) or hasattr(data, "columns"))


def likelihood(model: Any, start: Any, data: Any, *, kind: str, method: Method | None = None) -> tuple[Likelihood, np.ndarray]:
    """The likelihood, and the start as a flat array."""
    if kind not in KINDS:
        raise MethodError(f"information must be one of {', '.join(KINDS)}; got {kind!r}.")
    source = as_model(model)
    if source.takes_inputs:
        raise MethodError("networks are trained by their own optimizers; estimation takes symbolic and sampled models.")
    parameters = getattr(source, "parameters", None) or Parameters.of(_names(start))
    leaves = parameters.split(start, name="start")
    return Likelihood(source, data, parameters, kind, method), np.asarray(concatenate(leaves), dtype=float)


def _names(start: Any) -> list[str]:
    if not isinstance(start, Mapping):
        raise LayoutError(f"start must be a mapping from parameter name to value; got {start!r}.")
    return [str(name) for name in start]

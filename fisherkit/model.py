"""The contract of a model, and the recognition of objects that are models already."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar, NoReturn

from .errors import MethodError
from .information import FisherInformation
from .methods import Method
from .parameters import Parameters

Theta = Mapping[Any, Any] | Any

#: root module of a known class -> the track whose ``as_model`` wraps it
TRACKS = {"sympy": "symbolic", "scipy": "sampled", "torch.distributions": "sampled"}


class Model(ABC):
    """A statistical model with named parameters: what the four verbs take.

    A track overrides the verbs that it answers; the others refuse in words.
    """

    parameters: Parameters
    takes_inputs: ClassVar[bool] = False
    covariates: tuple[str, ...] = ()
    """Known constants that may differ from row to row of the data: then an expectation is a mean over their rows."""

    def score(self, theta: Theta, *, data: Any) -> Any:
        self._refuse("score")

    def expected_information(self, theta: Theta, *, inputs: Any, method: Method | None, structure: str) -> FisherInformation:
        self._refuse("expected_information")

    def observed_information(self, theta: Theta, *, data: Any, structure: str) -> FisherInformation:
        self._refuse("observed_information")

    def empirical_information(self, theta: Theta, *, data: Any, structure: str) -> FisherInformation:
        self._refuse("empirical_information")

    def log_likelihood(self, theta: Theta, *, data: Any) -> float:
        """Sum of the log-density over the data; minus infinity where an observation is impossible."""
        self._refuse("log_likelihood")

    def _refuse(self, verb: str) -> NoReturn:
        answered = [name for name in VERBS if getattr(type(self), name) is not getattr(Model, name)]
        raise MethodError(f"{verb} is not defined for {type(self).__module__}.Model; it answers {', '.join(answered)}.")


VERBS = ("score", "expected_information", "observed_information", "empirical_information")


def as_model(value: Any) -> Model:
    """The value itself if it is a model, or the model that a SymPy, SciPy or PyTorch object describes.

    The track is found from the names of the classes' modules, so no library is imported to ask.
    """
    if isinstance(value, Model):
        return value
    classes = value.__mro__ if isinstance(value, type) else type(value).__mro__
    modules = [f"{cls.__module__}." for cls in classes]
    if any(module.startswith("torch.nn.modules.") for module in modules):
        raise MethodError(
            "a network needs a likelihood: fk.networks.Model(module, likelihood='categorical'), or 'gaussian' or 'bernoulli'."
        )
    for root, track in TRACKS.items():
        if any(module.startswith(f"{root}.") for module in modules):
            model: Model = import_module(f"fisherkit.{track}").as_model(value)
            return model
    raise MethodError(
        f"{type(value).__name__} is not a model. Give fk.symbolic.Model, fk.sampled.Model or fk.networks.Model, a "
        "sympy.stats variable, a scipy.stats family, or a torch.distributions object."
    )

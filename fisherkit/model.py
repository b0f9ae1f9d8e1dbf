"""The contract of a model, and the recognition of objects that are models already."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, ClassVar, NoReturn

from .errors import MethodError
from .information import FisherInformation
from .methods import Method
from .parameters import Parameters
from .rows import read, unmasked
from .uncertainty import Expectation

Theta = Mapping[Any, Any] | Any

#: root module of a known class -> the track whose ``as_model`` wraps it
TRACKS = {"sympy": "symbolic", "scipy": "sampled", "torch.distributions": "sampled"}


class Model(ABC):
    """A statistical model with named parameters: what the four verbs take.

    A track overrides the verbs that it answers; the others refuse in words. After the four verbs come the few more
    expectations that bounds ask of a density.
    """

    parameters: Parameters
    takes_inputs: ClassVar[bool] = False
    structures: ClassVar[tuple[str, ...]] = ("dense", "diagonal")
    covariates: tuple[str, ...] = ()
    """Known constants that may differ from row to row of the data: then an expectation is a mean over their rows."""
    counts_rows: ClassVar[bool] = False
    """Whether the data verbs take `rows.Rows` for data: weights, clusters, and rows left out."""

    def score(self, theta: Theta, *, data: Any) -> Any:
        self._refuse("score")

    def expected_information(self, theta: Theta, *, inputs: Any, method: Method | None, structure: str) -> FisherInformation:
        self._refuse("expected_information")

    def observed_information(self, theta: Theta, *, data: Any, structure: str) -> FisherInformation:
        self._refuse("observed_information")

    def empirical_information(self, theta: Theta, *, data: Any, structure: str) -> FisherInformation:
        self._refuse("empirical_information")

    def used_data(self, data: Any) -> Any:
        """What the model reads of the data; its own where none are given."""
        return data

    # -- for bounds

    def point(self, theta: Theta) -> dict[str, Any]:
        """The parameters by name at theta: numbers, or the model's own symbols where there is no theta."""
        self._refuse("point")

    def ratios(self, theta: Theta, *, order: int, points: Sequence[Mapping[str, Any]], method: Method | None) -> Expectation:
        r"""E[r r'] of one observation, with r the derivatives :math:`\partial^a f / f` up to an order, then the ratios
        :math:`f_t / f - 1` at the test points: the information about w in the family :math:`f + \sum_k w_k (L_k f)` at w = 0.

        Every point names every parameter. Derivatives are in the order of `multi_indices`.
        """
        self._refuse("ratios")

    def expectation(self, function: Any, theta: Theta, *, method: Method | None) -> Expectation:
        """E of a function of the data, (k,): a callable from n observations to (n, k), or k expressions in ``data``."""
        self._refuse("expectation")

    def nodes(self, theta: Theta, count: int) -> tuple[Any, Any]:
        """Nodes and weights of the law's own Gauss rule."""
        self._refuse("nodes")

    def curvature(self, theta: Theta, *, data: Any) -> tuple[Any, Any]:
        """First and second derivatives of each observation's log-density, (n, p) and (n, p, p); nan where too rough to tell."""
        self._refuse("curvature")

    def log_likelihood(self, theta: Theta, *, data: Any) -> float:
        """Sum of the log-density over the data; minus infinity where an observation is impossible."""
        self._refuse("log_likelihood")

    def _refuse(self, verb: str) -> NoReturn:
        answered = [name for name in VERBS if getattr(type(self), name) is not getattr(Model, name)]
        raise MethodError(f"{verb} is not defined for {type(self).__module__}.Model; it answers {', '.join(answered)}.")


def multi_indices(p: int, order: int) -> list[tuple[int, ...]]:
    """How often each of p parameters is differentiated: all multi-indices a with 1 <= |a| <= order, by |a|."""
    out: list[tuple[int, ...]] = []
    level: list[tuple[int, ...]] = [(0,) * p]
    for _ in range(order):
        level = list(dict.fromkeys((*a[:i], a[i] + 1, *a[i + 1 :]) for a in level for i in range(p)))
        out += level
    return out


VERBS = ("score", "expected_information", "observed_information", "empirical_information")


def as_model(value: Any) -> Model:
    """The value itself if it is a model, or the model that a SymPy, SciPy or PyTorch object describes.

    The track is found from the names of the classes' modules, so no library is imported to ask.
    """
    if isinstance(value, Model):
        return value
    model: Model = _track(value).as_model(value)
    return model


def counted(source: Model, data: Any, *, weights: Any = None, clusters: Any = None, nan_policy: str = "raise") -> Any:
    """The data, as `rows.Rows` where rows are to count otherwise than once each."""
    if weights is None and clusters is None and nan_policy == "raise":
        return unmasked(data)
    if not source.counts_rows:
        raise MethodError(
            "weights=, clusters= and nan_policy= are for models whose data are rows: a symbolic.Model, a sampled.Model or a "
            f"scipy.stats family; this is a {type(source).__module__}.{type(source).__name__}."
        )
    return read(source.used_data(data), weights=weights, clusters=clusters, nan_policy=nan_policy)


def as_location_family(value: Any) -> Model:
    """The family of shifts of a distribution, at shift 0: what a prior's information is the information of.

    Its parameters are the shifts, one for each data symbol of a symbolic model, and one for any other.
    """
    track = import_module(type(value).__module__.rpartition(".")[0]) if isinstance(value, Model) else _track(value)
    if not hasattr(track, "as_location_family"):
        raise MethodError(f"{type(value).__module__}.{type(value).__name__} is no distribution that could be a prior.")
    family: Model = track.as_location_family(value)
    return family


def _track(value: Any) -> Any:
    """The track of a known object, from the names of its classes' modules."""
    classes = value.__mro__ if isinstance(value, type) else type(value).__mro__
    modules = [f"{cls.__module__}." for cls in classes]
    if any(module.startswith("torch.nn.modules.") for module in modules):
        raise MethodError(
            "a network needs a likelihood: fk.networks.Model(module, likelihood='categorical'), or 'gaussian', 'bernoulli', "
            "'poisson'."
        )
    for root, track in TRACKS.items():
        if any(module.startswith(f"{root}.") for module in modules):
            return import_module(f"fisherkit.{track}")
    raise MethodError(
        f"{type(value).__name__} is not a model. Give fk.symbolic.Model, fk.sampled.Model or fk.networks.Model, a "
        "sympy.stats variable, a scipy.stats family, or a torch.distributions object."
    )

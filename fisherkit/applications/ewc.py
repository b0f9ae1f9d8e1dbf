"""Elastic Weight Consolidation: learn a new task without forgetting the old ones."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import DataError, LayoutError, MethodError
from ..information import FisherInformation
from ..methods import Method
from ..model import as_model
from ..structures.diagonal import Diagonal
from ..verbs import empirical_information, expected_information

VANISHED = 1e-6  # a trace below this, relative to the number of outputs' nats, protects nothing


class VanishedInformationWarning(UserWarning):
    """The network is so confident that its information, and with it the penalty, is almost zero."""


@dataclass(frozen=True)
class Report:
    """What the consolidated information looks like.

    Attributes
    ----------
    tasks : int
    trace : float
        Sum of the information's diagonal, per observation.
    zeros : float
        Share of parameters with exactly no information: they are free.
    largest_stable : float
        Plain gradient descent on the penalty diverges where lr * strength is above this, 2 / max F.
    warning : str or None
        Said where the information has vanished: the network was too confident, and the penalty protects almost nothing.
    """

    tasks: int
    trace: float
    zeros: float
    largest_stable: float
    warning: str | None = None


class EWC:
    r"""Elastic Weight Consolidation (Kirkpatrick et al. 2017), online.

    After each task the diagonal information F of the network is added up and the weights are remembered as the anchor;
    while the next is learnt, :math:`\frac{\lambda}{2} \sum_i F_i (\theta_i - \theta_{A,i})^2` is added to its loss.

    Parameters
    ----------
    net : networks.Model
        The network and its likelihood. Only parameters that require a gradient are held.
    strength : float
        :math:`\lambda`. F is per observation, so that a strength means the same for any batch size and any number of
        examples; with a mean loss, 1 is the Bayesian value, and 50 to 300 is what a diagonal needs in practice.
    decay : float
        How much of the earlier tasks' information is kept at each new one (Schwarz et al. 2018); 1 keeps all. There is
        one anchor, at the latest optimum (Huszár 2018).

    Notes
    -----
    Labels are drawn from, or summed over, the network's own predictions, unless asked otherwise. `consolidate` works in eval mode
    and leaves modes, gradients and buffers as it found them.

    References
    ----------
    Kirkpatrick et al. (2017), PNAS 114:3521; Huszár (2018), PNAS 115:E2496; Schwarz et al. (2018), ICML.

    Examples
    --------
    >>> module = torch.nn.Linear(3, 2)
    >>> ewc = fk.applications.EWC(fk.networks.Model(module, likelihood="categorical"), strength=100.0)
    >>> float(ewc.penalty())
    0.0
    >>> ewc.consolidate(torch.ones(5, 3))
    EWC(strength=100.0, tasks=1, labels=from the model, method=Exact(), n=1 per task)
    """

    def __init__(self, net: Any, *, strength: float, decay: float = 1.0) -> None:
        if not (math.isfinite(strength) and strength >= 0):
            raise DataError(f"strength must be finite and non-negative; got {strength!r}.")
        if not 0 <= decay <= 1:
            raise DataError(f"decay must lie between 0 and 1; got {decay!r}.")
        self._net = as_model(net)
        if not hasattr(self._net, "tensors"):
            raise LayoutError(f"EWC needs a network: fk.networks.Model(module, likelihood=...); got {type(net).__name__}.")
        self.strength, self.decay, self.tasks = float(strength), float(decay), 0
        self.information: FisherInformation | None = None
        self._weights: dict[str, Tensor] = {}
        self._anchor: dict[str, Tensor] = {}

    def consolidate(
        self, inputs: Any, *, method: Method | None = None, labels: str = "model", n_samples: int | None = None
    ) -> EWC:
        """Remember the task just learnt, by its training inputs.

        Parameters
        ----------
        inputs : tensor, tuple of tensors, or DataLoader
            Labels that a loader yields are not used.
        method : Exact or MonteCarlo, optional
            Exact sums over all labels; `MonteCarlo` (1) draws one, at the cost of a training pass.
        labels : {"model", "data"}
            With ``"data"``, the empirical information of pairs (inputs, labels): not the Fisher information of the paper,
            and smaller the better the network fits.
        n_samples : int, optional
            Use that many examples: of tensors, evenly spaced ones; of a loader, the first that come. All by default;
            a few hundred are enough (van de Ven 2025).

        Returns
        -------
        EWC
            Itself.
        """
        if n_samples is not None:
            inputs = _some(inputs, n_samples)
        with _evaluating(self._net.module):  # type: ignore[attr-defined]
            found = self._information_of(inputs, method, labels)
        if told := _vanished(found, "this task"):
            warnings.warn(told, VanishedInformationWarning, stacklevel=2)
        self.information = found if self.information is None else _widened(self.information, found) * self.decay + found
        self._anchor = {name: p.detach().clone() for name, p in self._tensors().items()}
        self._keep_weights()
        self.tasks += 1
        return self

    def _information_of(self, inputs: Any, method: Method | None, labels: str) -> FisherInformation:
        if labels == "model":
            return expected_information(self._net, inputs=inputs, structure="diagonal", method=method)
        if labels != "data":
            raise DataError(f"labels must be 'model' or 'data'; got {labels!r}.")
        if method is not None:
            raise MethodError(f"labels='data' takes no expectation over labels, so no method; got {method!r}.")
        return empirical_information(self._net, data=inputs, structure="diagonal").per_observation()

    def penalty(self) -> Tensor:
        """The term to add to the loss, a scalar; 0 before the first task."""
        own = self._tensors()
        total = torch.zeros((), device=next(iter(own.values())).device)
        for name, weight in self._weights.items():
            total = total + (weight * (own[name].to(weight.dtype) - self._anchor[name]) ** 2).sum()
        return 0.5 * self.strength * total

    def proximal_step_(self, lr: float) -> None:
        """After the optimizer's step, instead of the penalty: pull towards the anchor, stable for any strength.

        The minimum of the penalty plus a quadratic around the weights: :math:`(\\theta + w \\theta_A) / (1 + w)` with
        :math:`w = \\mathrm{lr}\\,\\lambda F`.
        """
        if not (math.isfinite(lr) and lr > 0):
            raise DataError(f"lr must be positive and finite; got {lr!r}.")
        own = self._tensors()
        for name, weight in self._weights.items():
            w = lr * self.strength * weight
            own[name].data.copy_((own[name].data.to(w.dtype) + w * self._anchor[name]) / (1 + w))

    def report(self) -> Report:
        """Trace, share of zeros, the largest stable lr * strength, and a warning where the information has vanished."""
        if self.information is None:
            return Report(0, 0.0, 1.0, math.inf)
        leaves = [leaf.reshape(-1) for leaf in self.information.diagonal().values()]
        size, largest = sum(map(len, leaves)), max(float(leaf.max()) for leaf in leaves)
        zeros = sum(int((leaf == 0).sum()) for leaf in leaves) / size
        stable, told = 2 / largest if largest else math.inf, _vanished(self.information, f"{self.tasks} task(s)")
        return Report(self.tasks, float(self.information.trace), zeros, stable, told)

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that a task left behind, as tensors: for ``torch.save`` or ``safetensors.torch.save_file``."""
        state = {"tasks": torch.tensor(self.tasks)}
        if self.information is not None:
            state |= {f"information.{name}": value.clone() for name, value in self.information.diagonal().items()}
            state |= {f"anchor.{name}": value.clone() for name, value in self._anchor.items()}
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of `state_dict`; names and shapes must be those of the network."""
        own = self._tensors()
        tasks = int(state.get("tasks", -1))
        wanted = {f"{part}.{name}" for part in ("information", "anchor") for name in own} if tasks > 0 else set()
        if tasks < 0 or wanted != set(state) - {"tasks"}:
            missing, unknown = sorted(wanted - set(state)), sorted(set(state) - wanted - {"tasks"})
            raise LayoutError(f"the state does not fit the network; missing: {missing or 'none'}; unknown: {unknown or 'none'}.")
        for key in sorted(wanted):
            if tuple(state[key].shape) != tuple(own[key.split(".", 1)[1]].shape):
                raise LayoutError(
                    f"{key} has shape {tuple(state[key].shape)}; the network's is {tuple(own[key.split('.', 1)[1]].shape)}."
                )
            if not bool(torch.isfinite(state[key]).all()) or (key.startswith("information.") and bool((state[key] < 0).any())):
                raise DataError(f"{key} must be finite, and an information non-negative: the state is damaged.")
        self.tasks, self.information = tasks, None
        self._weights, self._anchor = {}, {}
        if tasks:
            self.information = FisherInformation({name: state[f"information.{name}"] for name in own}, n=tasks)
            self._anchor = {name: state[f"anchor.{name}"].to(p) for name, p in own.items()}
            self._keep_weights()

    def __repr__(self) -> str:
        if self.information is None:
            return f"EWC(strength={self.strength}, tasks=0)"
        sources = {"expected": "from the model", "empirical": "from the data"}
        labels = " and ".join(sources[kind] for kind in self.information.kind.split("+"))
        method = f", method={self.information.method}" if self.information.method else ""
        return f"EWC(strength={self.strength}, tasks={self.tasks}, labels={labels}{method}, n=1 per task)"

    def _keep_weights(self) -> None:
        """F in the network's place and dtype, for the penalty of every step; half precision would lose the squares."""
        assert self.information is not None
        for name, value in self.information.diagonal().items():
            held = self._anchor[name]
            self._weights[name] = value.to(held.device, torch.promote_types(held.dtype, torch.float32))

    def _tensors(self) -> dict[str, nn.Parameter]:
        """The network's parameters now; refused when they are no longer those that were consolidated."""
        own: dict[str, nn.Parameter] = self._net.tensors  # type: ignore[attr-defined]
        for name, held in self._anchor.items():
            if name not in own or own[name].shape != held.shape:
                found = "is gone" if name not in own else f"has shape {tuple(own[name].shape)}"
                raise LayoutError(f"parameter {name} was consolidated with shape {tuple(held.shape)} and now {found}.")
        return own


def _widened(earlier: FisherInformation, found: FisherInformation) -> FisherInformation:
    """The earlier tasks' information over the parameters of now: they knew nothing of those that were added since."""
    if earlier.parameters.names == found.parameters.names:
        return earlier
    old, new = earlier.diagonal(), found.diagonal()
    leaves = [old.get(name, torch.zeros_like(value)).reshape(-1) for name, value in new.items()]
    return FisherInformation.of(Diagonal(leaves, found.parameters), earlier._provenance)


def _vanished(information: FisherInformation, whose: str) -> str | None:
    """The warning, where there is something to warn of."""
    trace = float(information.trace)
    if trace >= VANISHED:
        return None
    return (
        f"the information of {whose} has a trace of {trace:.1g}: the network is so confident that the penalty protects almost "
        "nothing. Stop training earlier, or use label smoothing."
    )


def _some(source: Any, n: int) -> Any:
    """That many examples of tensors, or a shorter loader."""
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise DataError(f"n_samples must be a positive integer; got {n!r}.")
    if isinstance(source, Tensor):
        rows = torch.linspace(0, len(source) - 1, min(n, len(source))).round().long()
        return source[rows.to(source.device)]
    if isinstance(source, (tuple, list)) and all(isinstance(part, (Tensor, tuple, list)) for part in source):
        return type(source)(_some(part, n) for part in source)
    return _first(source, n) if isinstance(source, Iterable) else source


def _first(loader: Iterable[Any], n: int) -> Iterator[Any]:
    for item in loader:
        yield _cut(item, n)
        n -= len(_leaf(item))
        if n <= 0:
            return


def _cut(item: Any, n: int) -> Any:
    return type(item)(_cut(part, n) for part in item) if isinstance(item, (tuple, list)) else item[:n]


def _leaf(item: Any) -> Any:
    return _leaf(item[0]) if isinstance(item, (tuple, list)) else item


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Eval mode for a while; every submodule gets its own mode back."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode

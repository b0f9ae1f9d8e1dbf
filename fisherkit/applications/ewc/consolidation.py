"""The guard of a network's weights: consolidate after a task, and let the penalty or the proximal step hold them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ...errors import DataError, LayoutError, MethodError
from ...information import FisherInformation
from ...methods import Method
from ...model import as_model
from . import state as states
from .binding import Binding, below, check_loaded, check_names, check_shape
from .pull import Pulls
from .report import Report, VanishedInformationWarning, report, vanished
from .state import State
from .task import Request

MODES = ("online", "separate", "sum")
STRUCTURES = ("diagonal", "kfac", "ekfac", "low-rank", "dense")  # of these, the ones that the network keeps


class EWC:
    r"""Elastic Weight Consolidation (Kirkpatrick et al. 2017).

    After each task the information F of the network is taken and the weights are remembered as the anchor; while the next
    is learnt, :math:`\frac{\lambda}{2} (\theta - \theta_A)^\top F (\theta - \theta_A)` is added to its loss.

    Parameters
    ----------
    net : networks.Model
        The network and its likelihood. Only parameters that require a gradient at consolidation are held.
    strength : float
        :math:`\lambda`, which may be set later too. F is per observation, so that a strength means the same for any batch size
        and any number of examples; with a mean loss, 1 is the Bayesian value for tasks of equal size, and 50 to 300 is what a
        diagonal needs in practice.
    mode : {"online", "separate", "sum"}
        What several tasks leave behind, see Notes.
    decay : float
        How much of the earlier tasks' information is kept at each new one, in mode ``"online"``; 1 keeps all.
    structure : {"diagonal", "kfac", "ekfac", "low-rank", "dense"}
        What is kept of F. The others hold what weights share too: ``"kfac"`` by a Kronecker product for each weight (Ritter et
        al. 2018), ``"ekfac"`` by the second moments in its eigenvectors, ``"low-rank"`` by a vector per label of each example,
        for a small ``n_samples``, and ``"dense"`` whole, for networks of a few thousand parameters at most.

    Attributes
    ----------
    information : FisherInformation or None
        The F of the penalty, per observation; in mode ``"separate"`` the sum over the tasks.
    tasks : int
        How many were consolidated.

    Raises
    ------
    DataError
        When the strength is negative or not finite, or the decay is not between 0 and 1.
    LayoutError
        When ``net`` is not a networks.Model. By every verb, when a parameter that is held is gone, has another shape, or was
        replaced by another object: see `adopt` and `release`.

    Notes
    -----
    Labels are drawn from, or summed over, the network's own predictions, unless asked otherwise. F does not depend on batch size
    and batch order beyond rounding; labels that are drawn depend on the order alone. Tied weights count once; a parameter that
    the task's forward pass did not touch gets no penalty.

    ``"online"``: :math:`F \leftarrow \gamma F + F_t` with one anchor, at the latest optimum, since anchors of their own would
    count earlier tasks twice (Huszár 2018). Each :math:`F_t` is a mean over its task's examples, so that tasks weigh the same
    whatever their sizes (Schwarz et al. 2018, whose second factor :math:`\gamma`, in the penalty, is part of the strength
    here). Memory and time do not grow with the number of tasks.

    ``"sum"``: the same anchor, and the sum over all examples seen so far, as a posterior has it (Huszár 2018):
    :math:`F = \sum_t (n_t / \bar n) F_t` with :math:`\bar n` the mean of the tasks' sizes. For equal sizes it is ``"online"``
    without decay; a task of ten times as many examples weighs ten times as much.

    ``"separate"``: a penalty for each task with its own anchor and its own :math:`F_t` (Kirkpatrick et al. 2017). Memory and time
    grow with the tasks.

    Sums of Kronecker products are none, so that ``"kfac"`` and ``"ekfac"`` keep those of each task in every mode (Ritter et al.
    2018), with one anchor but for ``"separate"``. Their proximal step is exact for one task, in the factors' eigenvectors, and by
    conjugate gradients to a relative 1e-10 for more.

    The penalty costs one product with F per step, for a diagonal five passes over the parameters, its gradient included; the
    proximal step of a diagonal costs one.

    References
    ----------
    Kirkpatrick et al. (2017), PNAS 114:3521; Huszár (2018), PNAS 115:E2496; Schwarz et al. (2018), ICML; Ritter et al. (2018),
    NeurIPS.

    Examples
    --------
    >>> module = torch.nn.Linear(3, 2)
    >>> ewc = fk.applications.EWC(fk.networks.Model(module, likelihood="categorical"), strength=100.0)
    >>> float(ewc.penalty())
    0.0
    >>> ewc.consolidate(torch.ones(5, 3))
    EWC(strength=100.0, mode=online, structure=diagonal, tasks=1, labels=from the model, method=Exact(), n=5,
        scale=per observation)

    While the next task is learnt, either the penalty joins the loss, or a proximal step follows the optimizer's:

    >>> optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    >>> loss = torch.nn.functional.cross_entropy(module(torch.ones(1, 3)), torch.tensor([0])) + ewc.penalty()
    >>> loss.backward()
    >>> optimizer.step()
    """

    def __init__(
        self, net: Any, *, strength: float, mode: str = "online", decay: float = 1.0, structure: str = "diagonal"
    ) -> None:
        model: Any = as_model(net)
        if not hasattr(model, "tensors"):  # of another track
            raise LayoutError(f"EWC needs a network: fk.networks.Model(module, likelihood=...); got {type(net).__name__}.")
        self.strength = strength
        self._decay = _number(decay, "decay must lie between 0 and 1", 1.0)
        _check_choice("mode", mode, MODES)
        _check_choice("structure", structure, tuple(name for name in STRUCTURES if name in model.structures))
        if mode != "online" and self._decay != 1:
            raise MethodError(f"decay={decay!r} belongs to mode='online'; mode={mode!r} keeps every task whole.")
        self._state = State(mode, structure)
        self._net, self._binding = model, Binding(model.module)
        self._pulls = Pulls(self._state.memories)

    # -- what it is

    @property
    def strength(self) -> float:
        """The factor of the penalty; finite and non-negative."""
        return self._strength

    @strength.setter
    def strength(self, value: float) -> None:
        self._strength = _number(value, "strength must be finite and non-negative", math.inf)

    @property
    def decay(self) -> float:
        """How much of the earlier tasks' information is kept at each new one."""
        return self._decay

    @property
    def mode(self) -> str:
        """``"online"``, ``"separate"`` or ``"sum"``."""
        return self._state.mode

    @property
    def structure(self) -> str:
        """What is kept of F."""
        return self._state.structure

    @property
    def tasks(self) -> int:
        """How many tasks were consolidated."""
        return len(self._state.tasks)

    @property
    def information(self) -> FisherInformation | None:
        """The F of the penalty, per observation; in mode ``"separate"`` the sum over the tasks. None before the first."""
        return self._state.information

    def __repr__(self) -> str:
        told = [f"strength={self.strength}", f"mode={self.mode}"]
        told += [f"decay={self.decay}"] if self.decay != 1 else []
        told += [f"structure={self.structure}", f"tasks={self.tasks}"]
        return f"EWC({', '.join(told + self._state.told())})"

    # -- the verbs

    def consolidate(
        self,
        inputs: Any,
        *,
        method: Method | None = None,
        labels: str = "model",
        n_samples: int | None = None,
        size: int | None = None,
    ) -> EWC:
        """Remember the task just learnt, by its training inputs.

        Parameters
        ----------
        inputs : tensor, tuple or mapping of tensors, or DataLoader
            As `networks.Model` takes them. Labels that a loader yields are not used.
        method : Exact or MonteCarlo, optional
            Exact sums over all labels; `MonteCarlo` (1) draws one, at the cost of a training pass. No leave-one-out groups are
            kept unless asked for by ``groups=``.
        labels : {"model", "data"}
            With ``"data"``, the empirical information of pairs (inputs, labels): not the Fisher information of the paper,
            and smaller the better the network fits.
        n_samples : int, optional
            Use that many examples: of tensors, evenly spaced ones; of a loader, the first that come. All by default;
            a few hundred are enough (van de Ven 2025).
        size : int, optional
            How many examples the task has, where a loader is cut by ``n_samples``; mode ``"sum"`` weighs tasks by it.

        Returns
        -------
        EWC
            Itself.

        Raises
        ------
        DataError
            When there are no examples, or inputs are not finite.
        LayoutError
            When the network cannot take the inputs, or its output does not fit the likelihood.
        NetworkStateError
            When the output of an example depends on the others, or on chance, in eval mode too.

        Warns
        -----
        VanishedInformationWarning
            When the trace is almost zero: the network is too confident.

        Notes
        -----
        Works in eval mode, so that Dropout is off and BatchNorm uses its running statistics, and gives every submodule its own
        mode back, also after an error. Parameters, gradients, buffers and random states are left as they are.
        """
        request = Request(labels, method, n_samples, size)
        self._binding.own(self._state.shapes)
        found, task = request.take(self._net, inputs, structure=self.structure, weighed=self.mode == "sum")
        if told := vanished(found, "this task"):
            warnings.warn(told, VanishedInformationWarning, stacklevel=2)
        with torch.inference_mode(False):  # what is kept must serve a training step
            self._keep(self._state.after(found, task, self._binding.named(), self.decay))
        return self

    def penalty(self) -> Tensor:
        """The term to add to the loss, a scalar; 0 before the first task.

        Half of the strength times :math:`\\delta^\\top F \\delta`, with :math:`\\delta` from the anchor to the weights.
        """
        own = self._binding.own(self._state.shapes)
        if not own or self.strength == 0:
            return torch.zeros((), device=next(self._binding.module.parameters()).device)
        return 0.5 * self.strength * self._pulls.quadratic(own)

    def proximal_step_(self, lr: float) -> None:
        """After the optimizer's step, instead of the penalty: pull towards the anchor, stable for any strength.

        The minimum of the penalty plus a quadratic around the weights: with one anchor, and entry by entry for a diagonal,
        :math:`(\\theta + w \\theta_A) / (1 + w)` with :math:`w = \\mathrm{lr}\\,\\lambda F`. Frozen parameters stay.

        Parameters
        ----------
        lr : float
            The optimizer's step size now.
        """
        rate = _number(lr, "lr must be positive and finite", math.inf) * self.strength
        if not (lr > 0 and math.isfinite(rate)):
            raise DataError(f"lr must be positive and finite, and lr * strength finite; got lr={lr!r}, strength={self.strength}.")
        own = self._binding.own(self._state.shapes)
        if own and rate:
            self._pulls.proximal_step_(own, rate)

    def report(self) -> Report:
        """Trace, share of zeros, the largest stable lr * strength, and a warning where the information has vanished."""
        return report(self.information, self.tasks)

    # -- networks that change

    def release(self, *names: str) -> EWC:
        """Let go of parameters: what is known of them is dropped, and they may be replaced, reshaped or removed.

        Parameters
        ----------
        *names : str
            Parameters, or modules that hold them: ``"head"`` is ``"head.weight"`` and ``"head.bias"``.

        Returns
        -------
        EWC
            Itself.
        """
        if not names:
            raise LayoutError("release needs the names of parameters, or of modules that hold them; got none.")
        gone = below(names, self._state.shapes)
        self._binding.own(self._state.shapes, but=gone)
        self._keep(self._state.without(gone))
        return self

    def adopt(self, *names: str) -> EWC:
        """Hold the network's parameters of now in place of the objects that were consolidated.

        For parameters that were replaced, or that grew: rows and columns up to the old sizes keep their information and their
        anchor, and the new ones, such as a head's new classes, have no information and are free.

        Parameters
        ----------
        *names : str
            Parameters, or modules that hold them; all that are held by default.

        Returns
        -------
        EWC
            Itself.

        Raises
        ------
        LayoutError
            When a parameter is gone, or smaller than it was.
        """
        every, held = self._binding.named(), self._state.shapes
        chosen = below(names, held) if names else list(held)
        for name in chosen:
            check_shape(name, held[name], every, grown=True)
        self._binding.own(held, but=chosen)
        self._keep(self._state.grown({name: every[name] for name in chosen}))
        return self

    # -- files

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that the tasks left behind, as tensors: for ``torch.save`` or ``safetensors.torch.save_file``.

        The strength and the decay are not part of it: they are the constructor's.
        """
        return states.encode(self._state)

    def load_state_dict(self, state: Mapping[str, Tensor], *, grown: bool = False) -> None:
        """The inverse of `state_dict`; names and shapes must be those of the network.

        Parameters
        ----------
        state : mapping
            Of the same mode and structure.
        grown : bool
            Take the state of a smaller network: parameters, rows and columns that it does not know have no information.

        Raises
        ------
        LayoutError
            When keys or shapes do not match the network's. Nothing is changed then.
        DataError
            When the state is damaged: not finite, or an information that is negative.
        """
        found = states.decode(state)
        for what in ("mode", "structure"):
            if getattr(found, what) != getattr(self, what):
                raise LayoutError(f"the state has {what}={getattr(found, what)!r}; this EWC has {what}={getattr(self, what)!r}.")
        every = self._binding.named()
        if found.memories:
            check_names(found.shapes, every, {} if grown else self._net.tensors)
        for name, shape in found.shapes.items():
            check_loaded(name, shape, every, grown=grown)
        self._keep(found.grown({name: every[name] for name in found.shapes}))

    def _keep(self, state: State) -> None:
        """The one place where anything is remembered: a verb that fails before has changed nothing."""
        self._binding.hold(state.shapes)
        self._state, self._pulls = state, Pulls(state.memories)


def _number(value: Any, rule: str, most: float) -> float:
    """A plain number from 0 to ``most``, finite."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise DataError(f"{rule}; got {value!r}.") from None
    if not (math.isfinite(number) and 0 <= number <= most):
        raise DataError(f"{rule}; got {value!r}.")
    return number


def _check_choice(what: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise MethodError(f"{what} must be one of {', '.join(map(repr, choices))}; got {value!r}.")

"""A network with a likelihood: the model whose parameters are the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from .. import model
from ..arrays import check_budget
from ..errors import DataError, LayoutError, MethodError
from ..information import FisherInformation
from ..methods import NETWORK, Exact, Method, MonteCarlo, refuse_options, require
from ..model import Theta
from ..parameters import Parameters
from ..provenance import Provenance
from ..structures.kronecker import Kronecker
from .batches import Mask
from .choice import first_pass, kept_as
from .counting import Counting
from .distributed import from_first
from .eigenbasis import in_basis
from .estimators import Plan
from .hessian import hessian
from .kept import Kept, KeptDense
from .likelihood import Likelihood
from .likelihoods import as_likelihood
from .monte_carlo import drawn
from .network import undisturbed, unwrap
from .operator import empirical_product, expected_product
from .passes import Passes, some
from .selection import Choice, selected

MOST = 4096  # backward passes per batch that an exact expectation takes without being asked to


class Model(model.Model):
    """A network and the distribution of labels that its output parametrises.

    Parameters
    ----------
    module : torch.nn.Module
        It is left as it is found. It returns a tensor, or something with ``.logits`` (Hugging Face), one row per example.
    likelihood : {"categorical", "bernoulli", "gaussian", "poisson"}, Likelihood, or callable
        Logits of classes, logits of independent yes or no, means with variance 1, or logarithms of rates; an object such as
        ``fk.networks.Categorical(axis=1)`` where there is a choice; or a callable from the output to a ``torch.distributions``
        object of batch shape (b, ...).
    params : str, iterable of str, or callable, optional
        Which parameters are the model's: names or patterns (``"encoder.*"``), or a rule ``(name, parameter) -> bool``. By
        default those that require a gradient, such as the adapters of LoRA. Tied ones count once.
    per : {"example", "token"}
        What one observation is where an example has several labels: the example, with the sum of its labels' scores, or each
        label by itself, a token of a sequence or a pixel of a map. ``F.n`` counts these, and the mean is over these.
    mask : str or callable, optional
        Which labels count: the name of a batch's entry (``"attention_mask"``), or a function of the batch as it is given.
        The shape is that of the labels.
    shift : int, optional
        How many places before its label an output tells of it: 1 for causal language models, whose labels repeat their inputs.
    progress : bool, optional
        A bar over the batches, on stderr. By default on a terminal, when the work lasts.
    process_group : torch.distributed.ProcessGroup, optional
        Processes that share the work, ``torch.distributed.group.WORLD`` for all. Each is given the same inputs and calls the same
        verb; batches are dealt among them, and all get the same result, bit for bit that of a group of one.

    Notes
    -----
    Per-example scores, whatever the batch size: by a formula for each operation of linear layers, convolutions, embeddings,
    norms, biases and scales, added over all uses of a parameter; by ``torch.func`` for the other parameters, and one by one
    where that fails. Sums are kept in float64.

    The expected information draws labels from the model and averages over the inputs given. An exact expectation costs a backward
    pass per class or output, and per place. Monte Carlo draws depend on the seed and on the order of the examples, not on the
    batch size, except for the estimator ``"batches"`` and where a callable's labels are drawn. With two draws or more its mcse is
    the error of the draws alone; with one it also holds the variation between inputs, and is too large rather than too small.

    Examples
    --------
    >>> module = torch.nn.Linear(3, 2)
    >>> net = fk.networks.Model(module, likelihood="categorical")
    >>> F = fk.expected_information(net, inputs=torch.ones(5, 3), structure="diagonal")
    >>> F
    FisherInformation(expected, method=Exact(), n=1, diagonal 8x8, parameters=(weight[2, 3], bias[2]))

    Any distribution that can be written down:

    >>> def student(output):
    ...     return torch.distributions.StudentT(4.0, output[:, 0], output[:, 1].exp())
    >>> net = fk.networks.Model(module, likelihood=student, params="bias")
    >>> fk.expected_information(net, inputs=torch.ones(5, 3)).parameters.names
    ('bias',)
    """

    takes_inputs = True
    structures = ("dense", "diagonal", "block-diagonal", "ekfac", "kfac", "low-rank", "operator")

    def __init__(
        self,
        module: nn.Module,
        likelihood: str | Likelihood | Callable[[Tensor], Distribution],
        *,
        params: Choice = None,
        per: str = "example",
        mask: Mask = None,
        shift: int | None = None,
        progress: bool | None = None,
        process_group: Any = None,
    ) -> None:
        if not isinstance(module, nn.Module):
            raise LayoutError(f"fk.networks.Model needs a torch.nn.Module; got {type(module).__name__}.")
        self.module = unwrap(module)
        self.likelihood = as_likelihood(likelihood)
        self.counting = Counting(per, mask, shift)
        self._params = tuple(params) if isinstance(params, Iterable) and not isinstance(params, str) else params
        self._progress, self._group = progress, process_group
        if self._params is not None:
            selected(self.module, self._params)  # a name that fits nothing is told at once

    @property
    def tensors(self) -> dict[str, nn.Parameter]:
        """The caller's own parameters, by name."""
        return selected(self.module, self._params)

    @property
    def parameters(self) -> Parameters:  # type: ignore[override]
        return self._at(None).parameters

    @property
    def device(self) -> torch.device:
        """Where the parameters are; inputs and labels are moved there."""
        return self._at(None).device

    # -- the verbs

    @undisturbed
    def score(self, theta: Theta = None, *, data: Any = None) -> dict[str, Tensor]:
        """One row per observation: per example, or per label that counts."""
        passes = self._at(theta)
        passes.alone("the score of each observation")
        parts: dict[str, list[Tensor]] = {}
        seen = 0
        for batch, labels, weights in passes.labelled(data):
            seen += passes.number(batch, weights)
            check_budget(
                passes.parameters.size * seen,
                what="a score per observation",
                cheaper="fk.empirical_information sums them instead.",
            )
            for name, value in passes.scores(batch, labels, weights).items():
                parts.setdefault(name, []).append(value)
        some(seen)
        return {name: torch.cat(chunks) for name, chunks in parts.items()}

    @undisturbed
    def expected_information(
        self, theta: Theta = None, *, inputs: Any = None, method: Method | None = None, structure: Any = "diagonal"
    ) -> FisherInformation:
        require(method or Exact(), (Exact, MonteCarlo), what="a network", estimators=NETWORK)
        if isinstance(method, MonteCarlo):
            refuse_options(method, what="a network", taken=("estimator",))
        passes = self._at(theta)
        if structure == "operator":
            product, method = expected_product(passes, inputs, method or Exact())
            return FisherInformation.of(product, Provenance(kind="expected", method=method))
        once = replace(method, groups=0) if isinstance(method, MonteCarlo) else method
        kind = self._kind(
            structure, inputs, lambda first: self.expected_information(theta, inputs=inputs, method=once, structure=first), method
        )
        if isinstance(kind, FisherInformation):
            return kind
        if isinstance(method, MonteCarlo):
            mean, errors = drawn(passes, inputs, method, kind)
            method = method if errors else replace(method, groups=0)
            return FisherInformation.of(mean, Provenance(kind="expected", method=method), errors)
        with passes.shared(kind) as share:
            kept, count = share.sum(lambda: passes.kept(kind)), 0
            for batch, item in passes.through(passes.of_inputs(inputs), share):
                weights = passes.weights(batch, item)
                columns = self.likelihood.root(batch.output, weights).columns
                if method is None and len(columns) > MOST:
                    raise MethodError(
                        f"the exact expectation takes {len(columns)} backward passes per batch, one for each column of a root of "
                        "the output's information: fk.MonteCarlo(1, estimator='hutchinson') takes one; method=fk.Exact() insists."
                    )
                kept.add(batch, columns)
                count += passes.number(batch, weights)
            mean = kept.mean(some(share.total(count)))
        return FisherInformation.of(mean, Provenance(kind="expected", method=Exact()))

    @undisturbed
    def empirical_information(self, theta: Theta = None, *, data: Any = None, structure: Any = "dense") -> FisherInformation:
        passes = self._at(theta)
        if structure == "operator":
            product, n = empirical_product(passes, data)
            return FisherInformation.of(product, Provenance(kind="empirical", n=n))
        kind = self._kind(structure, data, lambda first: self.empirical_information(theta, data=data, structure=first))
        if isinstance(kind, FisherInformation):
            return kind
        with passes.shared(kind) as share:
            kept, count = share.sum(lambda: passes.kept(kind)), 0
            for batch, labels, weights in passes.labelled(data, share):
                kept.add(batch, passes.vectors(batch, labels, weights))
                count += passes.number(batch, weights)
            n = some(share.total(count))
        return FisherInformation.of(kept.mean(1), Provenance(kind="empirical", n=n))

    @undisturbed
    def observed_information(self, theta: Theta = None, *, data: Any = None, structure: str = "dense") -> FisherInformation:
        """The Hessian, (p, p) at once: for networks of a few thousand parameters."""
        passes = self._at(theta)
        passes.alone("the Hessian")
        if structure not in ("dense", "diagonal"):
            raise MethodError(f"the Hessian of a network is kept with structure='dense' or 'diagonal'; got {structure!r}.")
        kind, parameters = kept_as(structure), passes.parameters
        p = parameters.size
        cheaper = "fk.expected_information(..., structure='diagonal') needs p numbers, but is another information."
        check_budget(3 * p * p, what=f"the {p} x {p} Hessian", cheaper=cheaper)
        total, count = torch.zeros(p, p, dtype=torch.float64, device=passes.device), 0
        for batch, labels, weights in passes.labelled(data):
            total -= hessian(batch, labels, weights, self.likelihood)
            count += passes.number(batch, weights)
        total = (total + total.T) / 2
        arrays = [total] if kind is KeptDense else list(torch.split(total.diagonal().clone(), list(parameters.sizes)))
        return FisherInformation.of(kind.structure(arrays, parameters), Provenance(kind="observed", n=some(count)))

    # -- what the verbs share

    def _at(self, theta: Theta) -> Passes:
        return Passes(self.module, self.tensors, theta, self.likelihood, self.counting, self._progress, self._group)

    def _kind(
        self, structure: Any, source: Any, verb: Callable[[Any], FisherInformation], method: Method | None = None
    ) -> type[Kept] | FisherInformation:
        """What is kept of a pass over the data; of two passes the second, after the first, or the end where that was enough."""
        grouped = isinstance(method, MonteCarlo) and Plan(method, self.parameters.size).keep
        first = first_pass(structure, keep=not grouped and self._group is None)
        if first is None:
            return kept_as(structure)
        if hasattr(source, "__next__"):
            raise DataError("structure='ekfac' passes over the data twice, and an iterator is spent after once: give a loader.")
        found = verb(first)
        factors = found._structure
        if not isinstance(factors, Kronecker):
            return found
        basis = in_basis(factors.left, factors.right, factors.arrays["precision"], factors.parameters)
        if self._group is not None:
            from_first([side for sides in (basis.left, basis.right) for side in sides.values()], self._group)
        return basis

"""A network with a likelihood: the model whose parameters are the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from .. import model
from ..arrays import check_budget
from ..errors import DataError, LayoutError, MethodError
from ..information import FisherInformation
from ..methods import NETWORK, Exact, Method, MonteCarlo, refuse_options, require, seed_sequence
from ..model import Theta
from ..parameters import Parameters
from ..progress import shown
from ..provenance import Provenance
from ..structures.base import Structure
from ..structures.kronecker import Kronecker
from ..structures.operator import Operator
from ..uncertainty import LeaveOneOut
from . import batches, estimators
from .batches import Item, Mask
from .choice import first_pass, kept_as
from .counting import Counting
from .distributed import Alone, Dealt, from_first
from .eigenbasis import in_basis
from .estimators import BatchScores, Plan
from .kept import Kept, KeptDense
from .layers import trusted
from .likelihood import Likelihood
from .likelihoods import as_likelihood
from .network import Inputs, Network, undisturbed, unwrap
from .operator import Datum, NetworkProduct, Term, held
from .refusals import check_finite, check_passes, check_same, check_state
from .selection import Choice, selected
from .sharded import whole
from .sums import Batch

HESSIAN_ROWS = 64  # taken at a time: each holds a backward pass
TRIAL = 3  # examples on which a network is tried before it is trusted
DRAWN = ("labels", "hutchinson")  # estimators whose vectors an operator can keep
SUMMED = ("diagonal", "dense")  # what can be kept of sums of scores, which have lost the single examples
PASSES = 4096  # backward passes per batch that an exact expectation takes without being asked to


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
        return Parameters.of({name: tuple(p.shape) for name, p in self.tensors.items()})

    # -- the verbs

    @undisturbed
    def score(self, theta: Theta = None, *, data: Any = None) -> dict[str, Tensor]:
        """One row per observation: per example, or per label that counts."""
        self._alone("the score of each observation")
        parts: dict[str, list[Tensor]] = {}
        seen = 0
        for batch, labels, weights in self._labelled(theta, data):
            seen += self.counting.number(self.likelihood, batch.output, weights)
            check_budget(
                self.parameters.size * seen, what="a score per observation", cheaper="fk.empirical_information sums them instead."
            )
            for name, value in self._scores(batch, labels, weights).items():
                parts.setdefault(name, []).append(value)
        _some(seen)
        return {name: torch.cat(chunks) for name, chunks in parts.items()}

    @undisturbed
    def expected_information(
        self, theta: Theta = None, *, inputs: Any = None, method: Method | None = None, structure: Any = "diagonal"
    ) -> FisherInformation:
        require(method or Exact(), (Exact, MonteCarlo), what="a network", estimators=NETWORK)
        if isinstance(method, MonteCarlo):
            refuse_options(method, what="a network", taken=("estimator",))
        if structure == "operator":
            return self._operator(theta, inputs, method or Exact())
        once = replace(method, groups=0) if isinstance(method, MonteCarlo) else method
        kind = self._kind(
            structure, inputs, lambda first: self.expected_information(theta, inputs=inputs, method=once, structure=first), method
        )
        if isinstance(kind, FisherInformation):
            return kind
        if isinstance(method, MonteCarlo):
            mean, errors = self._monte_carlo(theta, inputs, method, kind)
            method = method if errors else replace(method, groups=0)
            return FisherInformation.of(mean, Provenance(kind="expected", method=method), errors)
        with self._shared(kind) as share:
            kept, count = share.sum(lambda: self._kept(kind)), 0
            for batch, item in self._batches(theta, self._of_inputs(inputs), share):
                output = batch.output
                weights = self.counting.weights(self.likelihood, output, item)
                columns = self.likelihood.root(output, weights).columns
                if method is None and len(columns) > PASSES:
                    raise MethodError(
                        f"the exact expectation takes {len(columns)} backward passes per batch, one for each column of a root of "
                        "the output's information: fk.MonteCarlo(1, estimator='hutchinson') takes one; method=fk.Exact() insists."
                    )
                kept.add(batch, columns)
                count += self.counting.number(self.likelihood, output, weights)
            mean = kept.mean(_some(share.total(count)))
        return FisherInformation.of(mean, Provenance(kind="expected", method=Exact()))

    @undisturbed
    def empirical_information(self, theta: Theta = None, *, data: Any = None, structure: Any = "dense") -> FisherInformation:
        if structure == "operator":
            found = (
                (batch, self.counting.scores(self.likelihood, batch.output, labels, weights), weights)
                for batch, labels, weights in self._labelled(theta, data, own=True)
            )
            product, count = self._product(found, mean=False)
            return FisherInformation.of(product, Provenance(kind="empirical", n=count))
        kind = self._kind(structure, data, lambda first: self.empirical_information(theta, data=data, structure=first))
        if isinstance(kind, FisherInformation):
            return kind
        with self._shared(kind) as share:
            kept, count = share.sum(lambda: self._kept(kind)), 0
            for batch, labels, weights in self._labelled(theta, data, share):
                kept.add(batch, self.counting.scores(self.likelihood, batch.output, labels, weights))
                count += self.counting.number(self.likelihood, batch.output, weights)
            n = _some(share.total(count))
        return FisherInformation.of(kept.mean(1), Provenance(kind="empirical", n=n))

    @undisturbed
    def observed_information(self, theta: Theta = None, *, data: Any = None, structure: str = "dense") -> FisherInformation:
        """The Hessian, (p, p) at once: for networks of a few thousand parameters."""
        self._alone("the Hessian")
        if structure not in ("dense", "diagonal"):
            raise MethodError(f"the Hessian of a network is kept with structure='dense' or 'diagonal'; got {structure!r}.")
        kind, p = kept_as(structure), self.parameters.size
        cheaper = "fk.expected_information(..., structure='diagonal') needs p numbers, but is another information."
        check_budget(3 * p * p, what=f"the {p} x {p} Hessian", cheaper=cheaper)
        total, count = torch.zeros(p, p, dtype=torch.float64, device=self.device), 0
        for batch, labels, weights in self._labelled(theta, data):
            total -= _hessian(batch, labels, weights, self.likelihood)
            count += self.counting.number(self.likelihood, batch.output, weights)
        total = (total + total.T) / 2
        arrays = [total] if kind is KeptDense else list(torch.split(total.diagonal().clone(), list(self.parameters.sizes)))
        return FisherInformation.of(kind.structure(arrays, self.parameters), Provenance(kind="observed", n=_some(count)))

    # -- products alone

    def _operator(self, theta: Theta, inputs: Any, method: Method) -> FisherInformation:
        if isinstance(method, MonteCarlo):
            if method.estimator not in (None, *DRAWN):
                raise MethodError(
                    f"structure='operator' takes MonteCarlo(estimator={' or '.join(map(repr, DRAWN))}); got {method!r}."
                )
            method = replace(method, groups=0)
        product, _ = self._product(self._terms(theta, inputs, method), mean=True)
        return FisherInformation.of(product, Provenance(kind="expected", method=method))

    def _terms(self, theta: Theta, inputs: Any, method: Method) -> Iterator[Term]:
        """Each batch with its drawn vectors, or with none where the root of H is exact."""
        rng = np.random.default_rng(seed_sequence(method.rng)) if isinstance(method, MonteCarlo) else None
        for batch, item in self._batches(theta, self._of_inputs(inputs), own=True):
            weights = self.counting.weights(self.likelihood, batch.output, item)
            drawn: list[Tensor] | None = None
            if isinstance(method, MonteCarlo) and rng is not None:
                vectors = estimators.vectors(self.likelihood, batch.output, weights, method, rng)
                drawn = [vector / method.n**0.5 for vector in vectors]
            yield batch, drawn, weights

    def _product(self, found: Iterator[Term], *, mean: bool) -> tuple[Operator, int]:
        self._alone("structure='operator'")
        data: list[Datum] = []
        count = 0
        for batch, vectors, weights in found:
            network = batch.network
            count += self.counting.number(self.likelihood, batch.output, weights)
            data.append(held(batch, vectors, weights, data))
        n = _some(count)
        product = NetworkProduct(network, self.parameters, data, likelihood=self.likelihood, count=n if mean else 1)
        return Operator.of(product), n

    # -- passes over the data

    @property
    def device(self) -> torch.device:
        """Where the parameters are; inputs and labels are moved there."""
        return next(iter(self.tensors.values())).device

    def _kept(self, kind: type[Kept], sums: int = 1) -> Kept:
        kind.check(self.parameters, sums)
        return kind(self.parameters, self.device)

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

    def _of_inputs(self, inputs: Any) -> Iterator[Item]:
        source = batches.of_inputs(inputs, self.device, mask=self.counting.mask)
        return iter(shown(source, total=batches.count(inputs, batches.BATCH), unit="batches", progress=self._progress))

    def _alone(self, what: str) -> None:
        """Refuse what a group of processes cannot share."""
        if self._group is not None:
            raise MethodError(f"{what} is not shared by the processes of a group: use a model without process_group=.")

    @contextmanager
    def _shared(self, kind: type[Kept]) -> Iterator[Alone]:
        """This process's share of the batches, all of them unless there is a group."""
        if not kind.additive:
            self._alone(f"structure={kind.name!r}")
        share = Alone() if self._group is None else Dealt(self._group)
        with share.together(list(self.tensors.values())):
            yield share

    def _batches(
        self, theta: Theta, source: Iterator[Item], share: Alone | None = None, *, summed: bool = False, own: bool = False
    ) -> Iterator[tuple[Any, Item]]:
        """Each batch through a private view of the network, which the first few examples have tried.

        A `Batch`, or where only sums of scores are wanted a `BatchScores`.
        """
        check_state(self.module)
        network = Network(self.module, self._values(theta), own=own)
        first, few = batches.peek(source, TRIAL)
        if few:
            network.keys = next(item.keys for item in first if len(item))
            layers, tried = self._tried(network, few, summed=summed)
            if own:
                network.arrange(few)
        share, largest = share or Alone(), 0
        for item in share.deal(chain(first, source)):
            if item.keys != network.keys:
                raise LayoutError(f"every batch must have the same entries; the first had {network.keys}, another {item.keys}.")
            batch = BatchScores(network, item, share.start) if summed else Batch(network, layers, item.inputs, share.start)
            check_finite(network, item.inputs, batch.output, share.start)
            if len(item) > largest:
                largest = len(item)
                check_same(network, item.inputs, batch.output, TRIAL, tried if item is first[0] else None)
            yield batch, item
            batch.release()

    def _tried(self, network: Network, inputs: Inputs, *, summed: bool) -> tuple[Any, Tensor]:
        """A few examples through the network: the layers that may take the quick way, and the output."""
        with torch.no_grad():
            output = check_passes(network, inputs)
            self.likelihood.check_output(output)
        return [] if summed else trusted(network, inputs), output

    def _labelled(
        self, theta: Theta, data: Any, share: Alone | None = None, *, own: bool = False
    ) -> Iterator[tuple[Batch, Tensor, Tensor | None]]:
        """Each batch with its labels and the weights of their places."""
        if data is None:
            raise DataError("labels are needed: give data=(inputs, labels), or a loader of such pairs.")
        source = batches.of_pairs(data, self.device, mask=self.counting.mask)
        bar = shown(source, total=batches.count(data, batches.BATCH), unit="batches", progress=self._progress)
        for batch, item in self._batches(theta, iter(bar), share, own=own):
            try:
                labels, weights = self.counting.labels(self.likelihood, batch.output, item)
            except DataError as error:
                if not batch.start:
                    raise
                raise DataError(f"{error} The batch starts at example {batch.start}.") from error
            yield batch, labels, weights

    def _scores(self, batch: Batch, labels: Tensor, weights: Tensor | None) -> dict[str, Tensor]:
        """Scores of a batch's observations, (m, *shape): of its examples, or of their labels that count, example by example."""
        vectors = self.counting.scores(self.likelihood, batch.output, labels, weights)
        if self.counting.per == "example":
            return batch.scores(vectors[0])
        places = self.likelihood.places(batch.output)
        everywhere = torch.ones(len(batch), *places, dtype=torch.bool) if weights is None else weights
        counted = everywhere.flatten(1) if places else everywhere[:, None]
        counted = counted[:, counted.any(dim=0)]
        by_place = [batch.scores(vector) for vector in vectors]
        return {name: torch.stack([part[name] for part in by_place], dim=1)[counted] for name in by_place[0]} if by_place else {}

    def _values(self, theta: Theta) -> dict[str, Tensor]:
        own = self.tensors
        if theta is None:
            return dict(own)
        if not isinstance(theta, Mapping) or set(theta) != set(own):
            raise LayoutError(
                f"theta for a network is a mapping with a tensor for each of {self.parameters}, or None for its own."
            )
        for name, value in theta.items():
            if tuple(value.shape) != tuple(own[name].shape) or "complex" in str(value.dtype):
                raise LayoutError(
                    f"theta[{name!r}] must be real, of shape {tuple(own[name].shape)}; got {value.dtype}, {tuple(value.shape)}."
                )
        return {name: whole(torch.as_tensor(theta[name])).to(p.device, p.dtype) for name, p in own.items()}

    def _monte_carlo(
        self, theta: Theta, inputs: Any, method: MonteCarlo, kind: type[Kept]
    ) -> tuple[Structure, LeaveOneOut | None]:
        """Sums per cell: strata of inputs, and within them groups of draws (or of inputs, where there is one draw)."""
        if method.estimator == "batches" and kind.name not in SUMMED:
            raise MethodError(
                f"MonteCarlo(estimator='batches') keeps structure={' or '.join(map(repr, SUMMED))}; got {kind.name!r}."
            )
        plan = Plan(method if kind.additive else replace(method, groups=0), kind.entries(self.parameters))
        with self._shared(kind) as share:
            sums, counts = self._drawn_sums(theta, inputs, method, plan, kind, share)
        if not plan.keep:
            ((cell, kept),) = sums.items()
            return kept.mean(counts[cell]), None
        arrays = {cell: kept.arrays() for cell, kept in sums.items()}
        return estimators.averaged(arrays, counts, lambda found: kind.structure(found, self.parameters))

    def _drawn_sums(
        self, theta: Theta, inputs: Any, method: MonteCarlo, plan: Plan, kind: type[Kept], share: Alone
    ) -> tuple[dict[estimators.Cell, Kept], dict[estimators.Cell, int]]:
        kind.check(self.parameters, plan.numbers)
        seed, rng = seed_sequence(method.rng), None
        sums = {cell: share.sum(lambda: kind(self.parameters, self.device)) for cell in plan.all_cells}
        counts = dict.fromkeys(sums, 0)
        size = plan.batch_size(inputs)
        whole = batches.of_inputs(inputs, self.device, mask=self.counting.mask, size=size)
        bar = shown(whole, total=batches.count(inputs, size), unit="batches", progress=self._progress)
        pieces = batches.cut_first(iter(bar), plan.strata)
        for batch, item in self._batches(theta, pieces, share, summed=method.estimator == "batches"):
            output, rng = batch.output, share.rng(seed, rng)
            weights = self.counting.weights(self.likelihood, output, item)
            if not (number := self.counting.number(self.likelihood, output, weights)):
                continue
            vectors = estimators.vectors(self.likelihood, output, weights, method, rng)
            for cell, draws in plan.cells(share.index):
                sums[cell].add(batch, vectors[draws])
                counts[cell] += number * len(vectors[draws])
        counts = {cell: share.total(count) for cell, count in counts.items()}
        _some(sum(counts.values()))
        return {cell: kept for cell, kept in sums.items() if counts[cell]}, {cell: n for cell, n in counts.items() if n}


def _some(count: int) -> int:
    """The number of observations, refused where the mask has left none."""
    if not count:
        raise DataError("no label counts: the mask, or ignore_index, leaves none.")
    return count


def _hessian(batch: Batch, labels: Tensor, weights: Tensor | None, likelihood: Likelihood) -> Tensor:
    network = batch.network
    names, values = list(network.values), [v.detach() for v in network.values.values()]
    sizes = [v.numel() for v in values]

    def total(flat: Tensor) -> Tensor:
        parts = (part.reshape(v.shape) for part, v in zip(torch.split(flat, sizes), values, strict=True))
        log_prob = likelihood.log_prob(network.at(dict(zip(names, parts, strict=True)), batch.inputs), labels)
        return log_prob.sum() if weights is None else (log_prob * weights).sum()

    point = torch.cat([v.reshape(-1) for v in values])
    try:
        hessian: Tensor = torch.func.jacrev(torch.func.grad(total), chunk_size=HESSIAN_ROWS)(point)
    except (RuntimeError, NotImplementedError) as error:
        raise MethodError(
            f"torch.func cannot take the Hessian of this network: {error}. fk.expected_information and "
            "fk.empirical_information take any network."
        ) from error
    return hessian.double()

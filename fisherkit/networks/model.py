"""A network with a likelihood: the model whose parameters are the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .. import model
from ..arrays import check_budget
from ..errors import DataError, LayoutError, MethodError
from ..information import FisherInformation
from ..methods import Exact, Method, MonteCarlo, require, seed_sequence
from ..model import Theta
from ..parameters import Parameters
from ..provenance import Provenance
from ..structures.base import Structure
from ..uncertainty import LeaveOneOut, average
from . import batches
from .kept import Kept, KeptDense, kept_as
from .layers import Trust, trusted
from .likelihoods import Likelihood, as_likelihood
from .network import Inputs, Network, check_finite, check_passes, check_state, differentiable, undisturbed, unwrap
from .sums import Batch

GROUPS = 20
REPLICATE_ENTRIES = 2**25  # leave-one-out replicates above this many numbers are not kept unless asked for
HESSIAN_ROWS = 64  # taken at a time: each holds a backward pass
TRIAL = 3  # examples on which a network is tried before it is trusted

Cell = tuple[int, int]  # stratum of inputs, group of draws


class Model(model.Model):
    """A network and the distribution of labels that its output parametrises.

    Parameters
    ----------
    module : torch.nn.Module
        Its parameters that require a gradient are the model's; tied ones count once. It is left as it is found.
    likelihood : {"categorical", "bernoulli", "gaussian"} or Likelihood
        Logits of classes, logits of independent yes or no, or means with variance 1
        (``fk.networks.Gaussian(variance=...)`` for another).

    Notes
    -----
    Per-example scores, whatever the batch size: by the outer-product formula in linear layers, by ``torch.func`` for
    the other parameters, and one by one where that fails. Sums are kept in float64.

    The expected information draws labels from the model and averages over the inputs given. Monte Carlo labels depend
    on the seed and on the order of the examples, not on the batch size. With two draws or more its mcse is the error of
    the labels alone; with one draw it also holds the variation between inputs, and is too large rather than too small.

    Examples
    --------
    >>> module = torch.nn.Linear(3, 2)
    >>> net = fk.networks.Model(module, likelihood="categorical")
    >>> F = fk.expected_information(net, inputs=torch.ones(5, 3), structure="diagonal")
    >>> F
    FisherInformation(expected, method=Exact(), n=1, diagonal 8x8, parameters=(weight[2, 3], bias[2]))
    """

    takes_inputs = True

    def __init__(self, module: nn.Module, likelihood: str | Likelihood) -> None:
        if not isinstance(module, nn.Module):
            raise LayoutError(f"fk.networks.Model needs a torch.nn.Module; got {type(module).__name__}.")
        self.module = unwrap(module)
        self.likelihood = as_likelihood(likelihood)

    @property
    def tensors(self) -> dict[str, nn.Parameter]:
        """The caller's own parameters, by name."""
        return differentiable(self.module)

    @property
    def parameters(self) -> Parameters:  # type: ignore[override]
        return Parameters.of({name: tuple(p.shape) for name, p in self.tensors.items()})

    # -- the verbs

    @undisturbed
    def score(self, theta: Theta = None, *, data: Any = None) -> dict[str, Tensor]:
        parts: dict[str, list[Tensor]] = {}
        for batch, labels in self._labelled(theta, data):
            entries = self.parameters.size * (batch.start + len(batch))
            check_budget(entries, what="a score per example", cheaper="fk.empirical_information sums them instead.")
            for name, value in batch.scores(self.likelihood.score(batch.output, labels)).items():
                parts.setdefault(name, []).append(value)
        return {name: torch.cat(chunks) for name, chunks in parts.items()}

    @undisturbed
    def expected_information(
        self, theta: Theta = None, *, inputs: Any = None, method: Method | None = None, structure: str = "diagonal"
    ) -> FisherInformation:
        method = method or Exact()
        require(method, (Exact, MonteCarlo), what="a network")
        kind = kept_as(structure)
        if isinstance(method, MonteCarlo):
            mean, errors = self._monte_carlo(theta, inputs, method, kind)
            method = method if errors else replace(method, groups=0)
            return FisherInformation.of(mean, Provenance(kind="expected", method=method), errors)
        kept, count = self._kept(kind), 0
        for batch in self._batches(theta, batches.of_inputs(inputs, self.device)):
            kept.add(batch, self.likelihood.root(batch.output))
            count += len(batch)
        mean = kind.structure([s.div_(count) for s in kept.arrays()], self.parameters)
        return FisherInformation.of(mean, Provenance(kind="expected", method=method))

    @undisturbed
    def empirical_information(self, theta: Theta = None, *, data: Any = None, structure: str = "dense") -> FisherInformation:
        kind = kept_as(structure)
        kept, count = self._kept(kind), 0
        for batch, labels in self._labelled(theta, data):
            kept.add(batch, [self.likelihood.score(batch.output, labels)])
            count += len(batch)
        stored = kind.structure(kept.arrays(), self.parameters)
        return FisherInformation.of(stored, Provenance(kind="empirical", n=count))

    @undisturbed
    def observed_information(self, theta: Theta = None, *, data: Any = None, structure: str = "dense") -> FisherInformation:
        """The Hessian, (p, p) at once: for networks of a few thousand parameters."""
        kind, p = kept_as(structure), self.parameters.size
        cheaper = "fk.expected_information(..., structure='diagonal') needs p numbers, but is another information."
        check_budget(3 * p * p, what=f"the {p} x {p} Hessian", cheaper=cheaper)
        total, count = torch.zeros(p, p, dtype=torch.float64, device=self.device), 0
        for batch, labels in self._labelled(theta, data):
            total -= _hessian(batch, labels, self.likelihood)
            count += len(batch)
        total = (total + total.T) / 2
        arrays = [total] if kind is KeptDense else list(torch.split(total.diagonal().clone(), list(self.parameters.sizes)))
        return FisherInformation.of(kind.structure(arrays, self.parameters), Provenance(kind="observed", n=count))

    # -- passes over the data

    @property
    def device(self) -> torch.device:
        """Where the parameters are; inputs and labels are moved there."""
        return next(iter(self.tensors.values())).device

    def _kept(self, kind: type[Kept], sums: int = 1) -> Kept:
        kind.check(self.parameters, sums)
        return kind(self.parameters, self.device)

    def _batches(self, theta: Theta, source: Iterable[Inputs]) -> Iterator[Batch]:
        """Each batch through a private view of the network, which the first few examples have tried."""
        check_state(self.module)
        network = Network(self.module, self._values(theta))
        trust: Trust | None = None
        seen = 0
        for inputs in source:
            if not len(inputs[0]):
                continue
            if trust is None:
                few = tuple(x[:TRIAL] if len(x) >= TRIAL else x.repeat(TRIAL, *[1] * (x.ndim - 1))[:TRIAL] for x in inputs)
                with torch.no_grad():
                    self.likelihood.check_output(check_passes(network, few))
                trust = trusted(network, few)
            batch = Batch(network, trust, inputs, seen)
            check_finite(batch.output, seen)
            seen += len(inputs[0])
            yield batch
            batch.release()
        if not seen:
            raise DataError("no examples: an information is a sum over at least one.")

    def _labelled(self, theta: Theta, data: Any) -> Iterator[tuple[Batch, Tensor]]:
        if data is None:
            raise DataError("labels are needed: give data=(inputs, labels), or a loader of such pairs.")
        labels: list[Tensor] = []

        def inputs() -> Iterator[Inputs]:
            for x, y in batches.of_pairs(data, self.device):
                labels.append(y)
                yield x

        for batch in self._batches(theta, inputs()):
            yield batch, self.likelihood.check_labels(batch.output, labels.pop())

    def _values(self, theta: Theta) -> dict[str, Tensor]:
        own = self.tensors
        if theta is None:
            return dict(own)
        if not isinstance(theta, Mapping) or set(theta) != set(own):
            raise LayoutError(
                f"theta for a network is a mapping with a tensor for each of {self.parameters}, or None for its own."
            )
        for name, value in theta.items():
            if tuple(value.shape) != tuple(own[name].shape):
                raise LayoutError(f"theta[{name!r}] must have shape {tuple(own[name].shape)}; got {tuple(value.shape)}.")
        return {name: torch.as_tensor(theta[name]).to(p) for name, p in own.items()}

    # -- Monte Carlo

    def _monte_carlo(
        self, theta: Theta, inputs: Any, method: MonteCarlo, kind: type[Kept]
    ) -> tuple[Structure, LeaveOneOut | None]:
        """Sums per cell: strata of inputs, and within them groups of draws (or of inputs, where there is one draw)."""
        rng = np.random.default_rng(seed_sequence(method.rng))
        plan = _Plan(method, kind.entries(self.parameters))
        sums: dict[Cell, Kept] = {}
        counts: dict[Cell, int] = {}
        pieces = batches.cut_first(batches.of_inputs(inputs, self.device, plan.batch_size(inputs)), plan.strata)
        for index, batch in enumerate(self._batches(theta, pieces)):
            output = batch.output
            labels = self.likelihood.sample(output, method.n, rng)
            vectors = [self.likelihood.score(output, y) for y in labels]
            for cell, draws in plan.cells(index):
                if cell not in sums:
                    sums[cell] = self._kept(kind, plan.numbers)
                sums[cell].add(batch, vectors[draws])
                counts[cell] = counts.get(cell, 0) + len(output) * len(vectors[draws])
        arrays = {cell: kept.arrays() for cell, kept in sums.items()}
        return _averaged(arrays, counts, lambda found: kind.structure(found, self.parameters), keep=plan.keep)


class _Plan:
    """Which draws of which batch go to which leave-one-out group."""

    def __init__(self, method: MonteCarlo, entries: int) -> None:
        groups = GROUPS if method.groups is None else method.groups
        self.keep = groups > 0 and (method.groups is not None or entries * groups <= REPLICATE_ENTRIES)
        groups = groups if self.keep else 1
        self.draws = min(method.n, groups)
        self.strata = max(1, groups // self.draws)
        self.n = method.n
        self.numbers = 2 * groups if self.keep else 1  # the sums, and as many replicates

    def batch_size(self, inputs: Any) -> int:
        """Small enough that every stratum gets a batch, where the number of inputs is known."""
        first = inputs[0] if isinstance(inputs, (tuple, list)) and inputs else inputs
        count = len(first) if isinstance(first, Tensor) and first.ndim else batches.BATCH * self.strata
        return max(1, min(batches.BATCH, -(-count // self.strata)))

    def cells(self, index: int) -> Iterator[tuple[Cell, slice]]:
        """With one draw per input, the strata of inputs are the groups of a single stratum."""
        at = index % self.strata
        for j in range(self.draws):
            yield ((0, at) if self.n == 1 else (at, j)), slice(j, None, self.draws)


def _averaged(
    sums: dict[Cell, list[Tensor]], counts: dict[Cell, int], stored: Callable[[list[Tensor]], Structure], *, keep: bool
) -> tuple[Structure, LeaveOneOut | None]:
    cells = sorted(sums)
    strata = sorted({s for s, _ in cells})
    grouped = [[cell for cell in cells if cell[0] == s] for s in strata]
    sizes = [[counts[cell] for cell in group] for group in grouped]
    parts = [average([[sums[cell][i] for cell in group] for group in grouped], sizes) for i in range(len(sums[cells[0]]))]
    mean, weights = stored([part[0] for part in parts]), parts[0][2]
    if not keep or not weights:
        return mean, None
    replicates = tuple(stored([part[1][r] for part in parts if part[1]]) for r in range(len(weights)))
    return mean, LeaveOneOut(replicates, weights)


def _hessian(batch: Batch, labels: Tensor, likelihood: Likelihood) -> Tensor:
    network = batch.network
    names, values = list(network.values), [v.detach() for v in network.values.values()]
    sizes = [v.numel() for v in values]

    def total(flat: Tensor) -> Tensor:
        parts = (part.reshape(v.shape) for part, v in zip(torch.split(flat, sizes), values, strict=True))
        output = torch.func.functional_call(network.module, dict(zip(names, parts, strict=True)), batch.inputs)
        return likelihood.log_prob(output, labels).sum()

    point = torch.cat([v.reshape(-1) for v in values])
    try:
        hessian: Tensor = torch.func.jacrev(torch.func.grad(total), chunk_size=HESSIAN_ROWS)(point)
    except (RuntimeError, NotImplementedError) as error:
        raise MethodError(
            f"torch.func cannot take the Hessian of this network: {error}. fk.expected_information and "
            "fk.empirical_information take any network."
        ) from error
    return hessian.double()

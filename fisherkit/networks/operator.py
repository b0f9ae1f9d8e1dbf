"""Products of a network's information with vectors, linearised once per batch and reused.

With z the outputs of a batch, ``F v = J' H (J v)``. The graph of a batch is kept while the memory allows, and a product
then needs no forward pass of the network. J v comes from a second backward pass at first, which needs no preparation, and
from a traced forward differentiation once there are enough products to pay for the trace.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from ..arrays import check_budget, memory_budget
from ..errors import MethodError
from ..parameters import Parameters
from ..structures.base import Leaves
from .kept import KeptDiagonal
from .layers import trusted
from .likelihood import Likelihood, rank_ones
from .network import Inputs, Network, undisturbed
from .sums import Batch

WORTHWHILE = 4  # products of a batch from which its trace pays
SHARE = 0.25  # of the memory budget for graphs that are kept


Push = Callable[[Sequence[Tensor]], Tensor]
Term = tuple[Batch, Sequence[Tensor] | None, Tensor | None]  # a batch, its vectors, the weights of its places


@dataclass(frozen=True)
class Datum:
    """What is kept of a batch: inputs, vectors whose outer products sum to H (None where the likelihood tells it), weights."""

    inputs: Inputs
    vectors: Sequence[Tensor] | None
    weights: Tensor | None
    entries: int

    def columns(self, likelihood: Likelihood, output: Tensor) -> Sequence[Tensor]:
        return likelihood.root(output, self.weights).columns if self.vectors is None else self.vectors

    def squared(self, likelihood: Likelihood, output: Tensor, u: Tensor) -> Tensor:
        """H u."""
        return likelihood.root(output, self.weights).squared(u) if self.vectors is None else rank_ones(self.vectors, u)


class Linearization:
    """A batch around the weights: its outputs' change with the weights, and the transpose of that."""

    def __init__(self, network: Network, inputs: Inputs) -> None:
        self._network, self._inputs, self._pushes = network, inputs, 0
        self._values = list(network.values.values())
        self.output = network(inputs)
        self._push: Push | None = None

    def prepare(self, pushes: int) -> None:
        """For that many more products."""
        before, self._pushes = self._pushes, self._pushes + pushes
        if before < WORTHWHILE <= self._pushes:
            self._push = self._sound(self._traced, uses=2) or self._push  # some traces are right once
        self._push = self._push or self._sound(self._twice, uses=1)
        if self._push is None:
            raise MethodError(
                "this network cannot be differentiated twice, nor by torch.func.linearize, which structure='operator' needs. The "
                "other structures take any network."
            )

    def _sound(self, make: Callable[[], Push], *, uses: int) -> Push | None:
        """One that is the transpose of `pull`, as <c, J v> = <J' c, v> must be: of some layers it is not, without a word."""
        try:
            push = make()
            return push if all(self._is_transpose(push) for _ in range(uses)) else None
        except (RuntimeError, ValueError, NotImplementedError):
            return None

    def _is_transpose(self, push: Push) -> bool:
        c, v = torch.randn_like(self.output), [torch.randn_like(value) for value in self._values]
        left = (c.double() * push(v).double()).sum()
        back = [g.double() for g in self.pull(c)]
        right = sum((g * t.double()).sum() for g, t in zip(back, v, strict=True))
        typical = sum((g * g).sum() for g in back) ** 0.5  # of <g, v> over v
        return bool((left - right).abs() <= torch.finfo(c.dtype).eps ** 0.5 * typical)

    def push(self, v: Sequence[Tensor]) -> Tensor:
        """J v, like the output."""
        assert self._push is not None
        return self._push(v)

    def _twice(self) -> Push:
        """J' c is linear in c, so that its own gradient, taken along v, is J v: any module with a second derivative."""
        cotangent = torch.zeros_like(self.output, requires_grad=True)
        found = (None,) * len(self._values)
        if self.output.requires_grad:
            found = torch.autograd.grad(self.output, self._values, cotangent, create_graph=True, allow_unused=True)
        used = [i for i, g in enumerate(found) if g is not None and g.requires_grad]
        gradients = [found[i] for i in used]

        def push(v: Sequence[Tensor]) -> Tensor:
            if not gradients:
                return torch.zeros_like(self.output)
            along = [v[i] for i in used]
            (out,) = torch.autograd.grad(
                gradients, cotangent, along, retain_graph=True, materialize_grads=True, allow_unused=True
            )
            return out

        return push

    def _traced(self) -> Push:
        """Forward differentiation with all that does not depend on v worked out."""
        names = list(self._network.values)
        call = lambda values: self._network.at(values, self._inputs)  # noqa: E731
        values = {name: value.detach() for name, value in self._network.values.items()}
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch.fx about its own graph
            _, linear = torch.func.linearize(call, values)

        def push(v: Sequence[Tensor]) -> Tensor:
            with torch.no_grad():
                out: Tensor = linear(dict(zip(names, v, strict=True)))
            return out

        return push

    def pull(self, cotangent: Tensor) -> list[Tensor]:
        """J' c, one tensor per parameter."""
        if not self.output.requires_grad:
            return [torch.zeros_like(value) for value in self._values]
        return list(
            torch.autograd.grad(
                self.output, self._values, cotangent, retain_graph=True, allow_unused=True, materialize_grads=True
            )
        )

    @property
    def bytes(self) -> int:
        """What the forward graph holds, counted once for each storage; the form that pushes holds as much again, or twice."""
        storages: dict[int, int] = {}
        todo, seen = [self.output.grad_fn] * self.output.requires_grad, set()
        while todo:
            node: Any = todo.pop()
            if node in seen:
                continue
            seen.add(node)
            todo += [after for after, _ in node.next_functions if after is not None]
            for tensor in _saved(node):
                storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return 3 * sum(storages.values())


class NetworkProduct:
    """The matrix ``(1/n) sum_n J_n' H_n J_n`` of a network and its inputs, by products.

    Parameters
    ----------
    network : Network
        One that owns its weights: F belongs to a point, and the caller may train on.
    data : sequence of Datum
    likelihood : Likelihood
    count : int
        What the sum is divided by.
    """

    def __init__(
        self,
        network: Network,
        parameters: Parameters,
        data: Sequence[Datum],
        *,
        likelihood: Likelihood,
        count: int,
    ) -> None:
        self.parameters, self._network, self._data = parameters, network, list(data)
        self._likelihood, self._count = likelihood, count
        self._kept: dict[int, Linearization] = {}
        self._spare = SHARE * memory_budget()
        self._lock = Lock()

    @property
    def device(self) -> torch.device:
        return self._network.device

    @property
    def arrays(self) -> Mapping[str, Tensor]:
        return {"like": torch.zeros((), dtype=torch.float64, device=self.device)}

    @property
    def precision(self) -> float:
        return max(float(torch.finfo(value.dtype).eps) for value in self._network.values.values())

    @undisturbed
    def matvec(self, leaves: Leaves) -> Leaves:
        wide = leaves[0].ndim == 2
        like = [*self._network.values.values()]
        rows = [(leaf.T if wide else leaf[None]).to(p).contiguous() for leaf, p in zip(leaves, like, strict=True)]
        out = [torch.zeros(row.shape, dtype=torch.float64, device=self.device) for row in rows]
        with self._lock, _differentiable_twice():
            for index, datum in enumerate(self._data):
                batch = self._linearized(index, datum.inputs)
                batch.prepare(len(rows[0]))
                output = batch.output.detach()
                for j in range(len(rows[0])):
                    change = batch.push([row[j].reshape(p.shape) for row, p in zip(rows, like, strict=True)])
                    cotangent = datum.squared(self._likelihood, output, change)
                    for total, part in zip(out, batch.pull(cotangent), strict=True):
                        total[j] += part.reshape(-1)
        return [total.div_(self._count).T if wide else total.div_(self._count)[0] for total in out]

    @undisturbed
    def diagonal(self) -> Leaves:
        kept = KeptDiagonal(self.parameters, self.device)
        layers = trusted(self._network, tuple(x[:3] for x in self._data[0].inputs))
        for datum in self._data:
            batch = Batch(self._network, layers, datum.inputs)
            kept.add(batch, datum.columns(self._likelihood, batch.output))
            batch.release()
        return [total / self._count for total in kept.arrays()]

    def _linearized(self, index: int, inputs: Inputs) -> Linearization:
        if index in self._kept:
            return self._kept[index]
        found = Linearization(self._network, inputs)
        if (held := found.bytes) <= self._spare:
            self._kept[index], self._spare = found, self._spare - held
        return found


def held(batch: Batch, vectors: Sequence[Tensor] | None, weights: Tensor | None, earlier: Sequence[Datum]) -> Datum:
    """A copy of a batch's inputs, with its vectors where they cannot be made again; refused over the budget."""
    own = None if vectors is None else list(vectors)
    parts = [*batch.inputs, *(own or ())]
    entries = sum(part.numel() for part in parts) + sum(datum.entries for datum in earlier)
    check_budget(entries, what="a copy of the inputs, which an operator keeps,", cheaper="structure='diagonal' keeps none.")
    return Datum(tuple(x.clone() for x in batch.inputs), own, weights, sum(part.numel() for part in parts))


def _saved(node: Any) -> list[Tensor]:
    out: list[Tensor] = []
    for name in dir(node):
        if name.startswith("_saved_"):
            try:
                value = getattr(node, name)
            except RuntimeError:  # changed in place since, or released: not ours to count
                continue
            out += [v for v in (value if isinstance(value, (tuple, list)) else (value,)) if isinstance(v, Tensor)]
    return out


@contextmanager
def _differentiable_twice() -> Iterator[None]:
    """Kernels that have a second derivative: attention by its formula, and no cuDNN for recurrent layers."""
    attention = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
    with attention, torch.backends.cudnn.flags(enabled=False):
        yield

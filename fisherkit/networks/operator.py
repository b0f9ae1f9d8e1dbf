"""Products of a network's information with vectors, linearised once per batch and reused.

With z the outputs of a batch, ``F v = J' H (J v)``. The graph of a batch is kept while the memory allows. J v comes from forward
differentiation: with a forward pass each time at first, which needs no preparation, and from a trace once there are enough
products to pay for it; where a network has no such derivative, from a second backward pass.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
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
from .layers.use import single
from .likelihood import Likelihood, rank_ones
from .network import Inputs, Network, undisturbed
from .sums import Batch
from .trace import Push, Trace

WORTHWHILE = 16  # products of a batch, times batches of its shape, from which their trace pays
SHARE = 0.25  # of the memory budget for graphs that are kept

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


class Ways:
    """The ways from a change of the weights to that of the outputs, as the batches of one network share them.

    Attributes
    ----------
    sound : dict from str to bool
        Those that have been tried, and whether they are right.
    """

    def __init__(self, network: Network, every: Sequence[Inputs]) -> None:
        self._network = network
        self.sound: dict[str, bool] = {}
        self._alike = Counter(map(_shapes, every))
        self._traces: dict[Hashable, Trace] = {}

    def pays(self, inputs: Inputs, products: int) -> bool:
        """Whether a trace costs less than it saves."""
        return products > 1 and products * self._alike[_shapes(inputs)] >= WORTHWHILE

    def trace(self, inputs: Inputs) -> Trace:
        """The one for inputs of these shapes."""
        shapes = _shapes(inputs)
        if shapes not in self._traces:
            self._traces[shapes] = Trace(self._network, inputs)
        return self._traces[shapes]


class Linearization:
    """A batch around the weights: products with J' H J by the outputs' change along a vector, and the transpose of that."""

    def __init__(self, network: Network, inputs: Inputs, ways: Ways) -> None:
        self._network, self._inputs, self._shared = network, inputs, ways
        self._values, self._products = list(network.values.values()), 0
        self.output = network(inputs)
        self._pushes: dict[str, Push] = {}

    def prepare(self, products: int) -> None:
        """For that many more."""
        self._products += products

    def product(self, v: Sequence[Tensor], squared: Callable[[Tensor], Tensor]) -> list[Tensor]:
        """J' H J v, one tensor per parameter; ``squared`` is the product with H."""
        told, sound = None, self._shared.sound
        for way, make in self._ways():
            if not sound.get(way, True):
                continue
            try:
                if way not in self._pushes:
                    self._pushes = {way: make()}
                if way not in sound:
                    sound[way] = self._is_transpose(self._pushes[way])
                if sound[way] and (found := self._product(self._pushes[way], v, squared)) is not None:
                    return found
                sound[way] = False
            except Exception as error:  # of what PyTorch has no derivative for
                told = error
                sound.setdefault(way, False)
        raise MethodError(
            "this network can be differentiated neither forwards (torch.func.jvp) nor twice, which structure='operator' needs. "
            f"The other structures take any network.{f' PyTorch says: {told}' if told else ''}"
        ) from told

    def _ways(self) -> Iterator[tuple[str, Callable[[], Push]]]:
        if self._shared.pays(self._inputs, self._products):
            yield "traced", self._traced
        yield "forward", self._forward
        yield "twice", self._twice

    def _product(self, push: Push, v: Sequence[Tensor], squared: Callable[[Tensor], Tensor]) -> list[Tensor] | None:
        """None where <H u, u> is not <J' H u, v> for u = J v: of some layers it is not, without a word."""
        u = push(v)
        cotangent = squared(u)
        found = self.pull(cotangent)
        apart = abs(_inner([cotangent], [u]) - _inner(found, v))
        near = self._tolerance * (_inner(found, found) * _inner(v, v)) ** 0.5
        return found if apart <= near or self._is_transpose(push) else None  # rounding may be all there is of a product

    def _is_transpose(self, push: Push) -> bool:
        """Whether <c, J v> is <J' c, v> for a random pair."""
        c, v = torch.randn_like(self.output), [torch.randn_like(value) for value in self._values]
        found = self.pull(c)
        apart = abs(_inner([c], [push(v)]) - _inner(found, v))
        return bool(apart <= self._tolerance * _inner(found, found) ** 0.5)

    @property
    def _tolerance(self) -> float:
        return math.sqrt(torch.finfo(self.output.dtype).eps)

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

    def _forward(self) -> Push:
        """Forward differentiation, with a forward pass each time."""
        values = {name: value.detach() for name, value in self._network.values.items()}

        def push(v: Sequence[Tensor]) -> Tensor:
            change = dict(zip(values, v, strict=True))
            with torch.no_grad():
                out: Tensor = torch.func.jvp(lambda w: self._network.at(w, self._inputs), (values,), (change,))[1]
            return out

        return push

    def _traced(self) -> Push:
        """The same written down, with all that does not depend on v worked out."""
        return self._shared.trace(self._inputs).at(self._inputs)

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
        self._ways = Ways(network, [datum.inputs for datum in self._data])
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
                squared = partial(datum.squared, self._likelihood, batch.output.detach())
                for j in range(len(rows[0])):
                    v = [row[j].reshape(p.shape) for row, p in zip(rows, like, strict=True)]
                    for total, part in zip(out, batch.product(v, squared), strict=True):
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
        found = Linearization(self._network, inputs, self._ways)
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


def _shapes(inputs: Inputs) -> Hashable:
    return tuple((x.shape, x.dtype) for x in inputs)


def _inner(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    return sum(float(torch.dot(single(x).reshape(-1), single(y).reshape(-1))) for x, y in zip(a, b, strict=True))


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

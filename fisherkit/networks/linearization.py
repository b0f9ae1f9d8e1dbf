"""A batch around the weights: how its outputs change with them, and the transpose of that.

J v comes from forward differentiation: with a forward pass each time at first, which needs no preparation, and from a trace once
there are enough products to pay for it; where a network has no such derivative, from a second backward pass.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ..errors import MethodError
from .layers.use import single
from .network import Inputs, Network
from .trace import Push, Trace

WORTHWHILE = 16  # products of a batch, times batches of its shape, from which their trace pays


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
        left, right = _inner([cotangent], [u]), _inner(found, v)
        if abs(left - right) <= self._tolerance * abs(right):
            return found
        near = self._tolerance * (_inner(found, found) * _inner(v, v)) ** 0.5
        return found if abs(left - right) <= near or self._is_transpose(push) else None  # of some products rounding is all

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
def differentiable_twice() -> Iterator[None]:
    """Kernels that have a second derivative: attention by its formula, and no cuDNN for recurrent layers."""
    attention = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
    with attention, torch.backends.cudnn.flags(enabled=False):
        yield

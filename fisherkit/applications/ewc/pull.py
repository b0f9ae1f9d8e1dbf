r"""The quadratic forms of the memories, in the network's place and precision: what each training step evaluates.

One product with F serves the value :math:`\delta^\top F \delta` and its gradient :math:`2 F \delta`, whatever the structure;
F and the anchor are converted once, not at each step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ...structures.base import Structure
from ...structures.diagonal import Diagonal
from .growth import structure_of
from .memory import Memory, merged, summed

BLOCK = 2**16  # products added in the network's precision, before float64 adds the blocks

Own = Mapping[str, Tensor]


class Pulls:
    """Those of all memories, converted when they are first asked for, and when the network has moved."""

    def __init__(self, memories: Sequence[Memory]) -> None:
        self._memories = memories
        self._place: tuple[torch.device, torch.dtype] | None = None
        self._pulls: list[Pull] = []
        self._constant = 0.0
        self._damped: Structure | None = None
        self._rate, self._shares = 0.0, dict[str, Tensor]()

    def __getstate__(self) -> dict[str, Any]:
        return vars(Pulls(self._memories))

    def quadratic(self, own: Own) -> Tensor:
        """The sum over the memories of delta' F delta, a scalar that knows its gradient."""
        self._convert(own)
        return torch.stack([pull.quadratic(own) for pull in self._pulls]).sum() + self._constant

    def proximal_step_(self, own: Own, rate: float) -> None:
        """The minimum of rate / 2 times that sum plus half the squared distance from the weights of now; frozen ones stay."""
        self._convert(own)
        with torch.no_grad():
            if isinstance(self._pulls[0].structure, Diagonal):
                self._shrink_(own, rate)
            else:
                self._solve_(own, rate)

    def _shrink_(self, own: Own, rate: float) -> None:
        """Entry by entry, the share F / (F + 1 / rate) of the way to the anchor; it is kept while the rate stays."""
        (pull,) = self._pulls
        if self._rate != rate:
            least = max(1 / rate, torch.finfo(pull.anchor[0].dtype).tiny)
            leaves = zip(pull.names, pull.structure.diagonal(), strict=True)
            self._rate, self._shares = rate, {name: F / (F + least) for name, F in leaves}
        for name, anchor in zip(pull.names, pull.anchor, strict=True):
            p, share = own[name], self._shares[name].reshape(own[name].shape)
            if not p.requires_grad:
                continue
            if p.dtype == anchor.dtype:
                p.lerp_(anchor.reshape(p.shape), share)
            else:
                p.copy_(torch.lerp(p.to(anchor.dtype), anchor.reshape(p.shape), share))

    def _solve_(self, own: Own, rate: float) -> None:
        r"""With :math:`F = \sum_t F_t`, the weights :math:`\theta - (F + I/r)^{-1} \sum_t F_t (\theta - \theta_t)`."""
        gradient: dict[str, Tensor] = {}
        for pull in self._pulls:
            for name, value in zip(pull.names, pull.products([own[name] for name in pull.names]), strict=True):
                gradient[name] = gradient[name] + value if name in gradient else value
        if self._damped is None:
            device = own[self._pulls[0].names[0]].device
            self._damped = _informed(structure_of(summed([memory.to(device) for memory in self._memories])))
        names = self._damped.parameters.names
        free = [name for name in names if own[name].requires_grad]
        total = self._damped if len(free) == len(names) else self._damped.select(free)
        moves = total.solve([gradient[name].double() for name in free], 1 / rate) if free else ()
        for name, move in zip(free, moves, strict=True):
            own[name].sub_(move.reshape(own[name].shape))

    def _convert(self, own: Own) -> None:
        """Half precision would lose the squares. Diagonal forms become one, so that a step costs the same for any number."""
        device, dtype = next(iter(own.values())).device, torch.float32
        for p in own.values():
            dtype = torch.promote_types(dtype, p.dtype)
        if self._place == (device, dtype):
            return
        with torch.inference_mode(False):  # what is kept must serve a training step too
            self._convert_to(device, dtype)

    def _convert_to(self, device: torch.device, dtype: torch.dtype) -> None:
        memories = self._memories
        if len(memories) > 1 and all(isinstance(structure_of(memory.information), Diagonal) for memory in memories):
            one, self._constant = merged(memories)
            memories = [one]
        self._pulls = [Pull(memory, device, dtype) for memory in memories]
        self._damped, self._rate, self._place = None, 0.0, (device, dtype)


class Pull:
    """One memory's quadratic form. Parameters without any information are left out."""

    def __init__(self, memory: Memory, device: torch.device, dtype: torch.dtype) -> None:
        structure = _informed(structure_of(memory.information))
        self.names = structure.parameters.names
        self.structure = structure.map(lambda array: array.to(device, dtype))
        self.anchor = [memory.anchor[name].to(device, dtype).reshape(-1) for name in self.names]

    def quadratic(self, own: Own) -> Tensor:
        """delta' F delta."""
        value: Tensor = _Quadratic.apply(self, *(own[name] for name in self.names))
        return value

    def steps(self, own: Sequence[Tensor]) -> list[Tensor]:
        """delta: from the anchor to the weights, flat."""
        return [p.reshape(-1).to(a.dtype) - a for p, a in zip(own, self.anchor, strict=True)]

    def times(self, steps: Sequence[Tensor]) -> Sequence[Tensor]:
        """F delta, in its own precision whatever the caller's autocast says."""
        with torch.autocast(steps[0].device.type, enabled=False):
            products = self.structure.matvec(steps)
        return [w.to(v.dtype) for v, w in zip(steps, products, strict=True)]

    def products(self, own: Sequence[Tensor]) -> Sequence[Tensor]:
        """F delta at these weights, which knows its gradient too."""
        products: tuple[Tensor, ...] = _Product.apply(self, *self.steps(own))
        return products


class _Quadratic(torch.autograd.Function):  # type: ignore[misc]  # untyped, where torch is not followed
    """delta' F delta: the product that gave the value is half of its gradient."""

    @staticmethod
    def forward(ctx: Any, pull: Pull, *own: Tensor) -> Tensor:
        steps = pull.steps(own)
        products = pull.times(steps)
        ctx.pull = pull
        ctx.save_for_backward(*own, *products)
        return _dot(steps, products)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        half = len(ctx.saved_tensors) // 2
        own, products = ctx.saved_tensors[:half], ctx.saved_tensors[half:]
        if torch.is_grad_enabled():  # somebody will differentiate once more
            products = ctx.pull.products(own)
        return None, *(
            (2 * grads[0] * w).reshape(p.shape).to(p.dtype) if wanted else None
            for p, w, wanted in zip(own, products, ctx.needs_input_grad[1:], strict=True)
        )


class _Product(torch.autograd.Function):  # type: ignore[misc]  # untyped, where torch is not followed
    """F v: linear and symmetric, so its own gradient."""

    @staticmethod
    def forward(ctx: Any, pull: Pull, *v: Tensor) -> tuple[Tensor, ...]:
        ctx.pull = pull
        return tuple(pull.times(v))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return None, *_Product.apply(ctx.pull, *grads)


def _dot(v: Sequence[Tensor], w: Sequence[Tensor]) -> Tensor:
    """The sum of products, without the rounding of a long running sum."""
    parts: list[Tensor] = []
    for a, b in zip(v, w, strict=True):
        parts += [torch.dot(a, b)] if len(a) <= BLOCK else map(torch.dot, a.split(BLOCK), b.split(BLOCK))
    return torch.stack(parts).sum(dtype=torch.float64).to(v[0].dtype)


def _informed(structure: Structure) -> Structure:
    """Without the parameters whose information is all zero: nothing pulls there."""
    zero = [not bool(leaf.any()) for leaf in structure.diagonal()]
    kept = [name for name, empty in zip(structure.parameters.names, zero, strict=True) if not empty]
    return structure.select(kept) if any(zero) and kept else structure

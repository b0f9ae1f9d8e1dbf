r"""The quadratic form of a memory, in the network's place and precision: what each training step evaluates.

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
from .memory import Memory, structure_of, summed


class Pulls:
    """Those of all memories, converted when they are first asked for, and when the network has moved."""

    def __init__(self, memories: Sequence[Memory]) -> None:
        self._memories = memories
        self._place: tuple[torch.device, torch.dtype] | None = None
        self._pulls: list[Pull] = []
        self._total: Structure | None = None

    def __getstate__(self) -> dict[str, Any]:
        return vars(Pulls(self._memories))

    def quadratic(self, own: Mapping[str, Tensor]) -> Tensor:
        """The sum over the memories of delta' F delta, a scalar that knows its gradient."""
        self._convert(own)
        return torch.stack([pull.quadratic(own) for pull in self._pulls]).sum()

    def proximal_step_(self, own: Mapping[str, Tensor], rate: float) -> None:
        r"""The minimum of the penalty plus a quadratic around the weights, exactly.

        With :math:`r = \mathrm{lr}\,\lambda` and :math:`F = \sum_t F_t`, the weights
        :math:`\theta - (F + I/r)^{-1} \sum_t F_t (\theta - \theta_t)` minimise over :math:`\vartheta`
        :math:`\frac{r}{2} \sum_t (\vartheta - \theta_t)^\top F_t (\vartheta - \theta_t) + \frac12 \|\vartheta - \theta\|^2`.
        A frozen parameter is known, and stays.
        """
        self._convert(own)
        gradient: dict[str, Tensor] = {}
        for pull in self._pulls:
            for name, value in pull.gradient(own).items():
                gradient[name] = gradient[name] + value if name in gradient else value
        self._total = total = self._total or self._sum()
        free = [name for name in total.parameters.names if own[name].requires_grad]
        if not free:
            return
        total = total if len(free) == len(total.parameters.names) else total.select(free)
        moves = _damped(total, [gradient[name] for name in free], 1 / rate)
        with torch.no_grad():
            for name, move in zip(free, moves, strict=True):
                own[name].sub_(move.reshape(own[name].shape))

    def _convert(self, own: Mapping[str, Tensor]) -> None:
        """Into the network's place and dtype; half precision would lose the squares."""
        device, dtype = next(iter(own.values())).device, torch.float32
        for p in own.values():
            dtype = torch.promote_types(dtype, p.dtype)
        if self._place != (device, dtype):
            self._pulls, self._total = [Pull(memory, device, dtype) for memory in self._memories], None
            self._place = device, dtype

    def _sum(self) -> Structure:
        """What a proximal step divides by: a diagonal in the network's precision; others factorise, in float64."""
        first = self._pulls[0].structure
        if isinstance(first, Diagonal) and len(self._pulls) == 1:
            return first
        assert self._place is not None
        device, dtype = self._place
        precision = dtype if isinstance(first, Diagonal) else torch.float64
        return _informed(structure_of(summed(self._memories))).map(lambda array: array.to(device, precision))


class Pull:
    """One memory's quadratic form. Parameters without any information are left out."""

    def __init__(self, memory: Memory, device: torch.device, dtype: torch.dtype) -> None:
        structure = _informed(structure_of(memory.information))
        self.names = structure.parameters.names
        self.structure = structure.map(lambda array: array.to(device, dtype))
        self._anchor = [memory.anchor[name].to(device, dtype).reshape(-1) for name in self.names]

    def quadratic(self, own: Mapping[str, Tensor]) -> Tensor:
        """delta' F delta, a scalar that knows its gradient."""
        value: Tensor = _Quadratic.apply(self, *(own[name] for name in self.names))
        return value

    def steps(self, own: Sequence[Tensor]) -> list[Tensor]:
        """delta: from the anchor to the weights, flat."""
        return [p.reshape(-1).to(a.dtype) - a for p, a in zip(own, self._anchor, strict=True)]

    def products(self, own: Sequence[Tensor]) -> Sequence[Tensor]:
        """F delta."""
        return self.structure.matvec(self.steps(own))

    def gradient(self, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """F delta by name, outside of autograd."""
        with torch.no_grad():
            return dict(zip(self.names, self.products([own[name] for name in self.names]), strict=True))


class _Quadratic(torch.autograd.Function):  # type: ignore[misc]  # untyped, where torch is not followed
    """delta' F delta: the product that gave the value is half of its gradient."""

    @staticmethod
    def forward(ctx: Any, pull: Pull, *own: Tensor) -> Tensor:
        steps = pull.steps(own)
        products = pull.structure.matvec(steps)
        ctx.pull = pull
        ctx.save_for_backward(*own, *products)
        return torch.stack([(v * w).sum() for v, w in zip(steps, products, strict=True)]).sum()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        own, products = ctx.saved_tensors[: len(ctx.saved_tensors) // 2], ctx.saved_tensors[len(ctx.saved_tensors) // 2 :]
        if torch.is_grad_enabled():  # somebody will differentiate once more
            products = ctx.pull.products(own)
        return None, *(
            (2 * grads[0] * w).reshape(p.shape).to(p.dtype) if wanted else None
            for p, w, wanted in zip(own, products, ctx.needs_input_grad[1:], strict=True)
        )


def _damped(structure: Structure, leaves: Sequence[Tensor], damping: float) -> Sequence[Tensor]:
    """(F + damping I)^-1 v; of a diagonal in its own precision, where a zero stays where it is."""
    if isinstance(structure, Diagonal):
        least = max(damping, torch.finfo(leaves[0].dtype).tiny) if leaves else damping
        return [v / (leaf + least) for leaf, v in zip(structure.leaves, leaves, strict=True)]
    return structure.solve([v.double() for v in leaves], damping)


def _informed(structure: Structure) -> Structure:
    """Without the parameters whose information is all zero: nothing pulls there."""
    zero = [not bool(leaf.any()) for leaf in structure.diagonal()]
    kept = [name for name, empty in zip(structure.parameters.names, zero, strict=True) if not empty]
    return structure.select(kept) if any(zero) and kept else structure

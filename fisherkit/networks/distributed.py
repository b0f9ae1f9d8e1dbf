"""Several processes, each with its share of the batches, and one result: the same in all of them, for any number of them.

Every process is given the same inputs. Blocks of batches are dealt in turn; the sums of a block are made by one process and
added by all in the order of the blocks. So the result has the same bits whether one process or a hundred have worked. What
is sent is one set of sums for each block, as little as two gradients in sixteen training steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError, LayoutError, MethodError, NetworkStateError
from ..parameters import Parameters
from ..structures.base import Structure
from .batches import Item
from .kept import FLUSH, Kept
from .sharded import whole

BLOCK = FLUSH  # batches that one process takes at a time: as many as are summed before float64 takes over


class Alone:
    """One process, which takes every batch as it comes."""

    def __init__(self) -> None:
        self.index, self.start = -1, 0  # of the batch at hand, and its first example

    def deal(self, source: Iterator[Item]) -> Iterator[Item]:
        """The batches that are this process's, empty ones left out."""
        for item in source:
            if not len(item):
                continue
            self.index += 1
            yield item
            self.start += len(item)
        if not self.start:
            raise DataError("no examples: an information is a sum over at least one.")

    def sum(self, make: Callable[[], Kept]) -> Any:
        """A running sum."""
        return make()

    def total(self, count: int) -> int:
        """A count over all processes."""
        return count

    def rng(self, seed: np.random.SeedSequence, last: np.random.Generator | None) -> np.random.Generator:
        """The random numbers of the batch at hand."""
        return last or np.random.default_rng(seed)

    @contextmanager
    def together(self, weights: Sequence[Tensor]) -> Iterator[None]:
        """A verb, which all processes end alike."""
        yield


class Dealt(Alone):
    """One of several processes of ``torch.distributed``."""

    def __init__(self, group: Any) -> None:
        super().__init__()
        import torch.distributed as dist

        if not dist.is_available() or not dist.is_initialized():
            raise MethodError("process_group= needs torch.distributed.init_process_group(...) first, as torchrun prepares it.")
        self._dist, self._group = dist, group
        self._rank, self._size = dist.get_rank(group), dist.get_world_size(group)
        self._sums: list[Ordered] = []
        self._ended = False  # whether all processes know that they end

    def deal(self, source: Iterator[Item]) -> Iterator[Item]:
        for item in source:
            if not len(item):
                continue
            self.index += 1
            if self.index and self.index % (BLOCK * self._size) == 0:
                self._exchange(done=False)
            if self.index // BLOCK % self._size == self._rank:
                yield item
            self.start += len(item)
        self._exchange(done=True)
        if not self.start:
            raise DataError("no examples: an information is a sum over at least one.")

    def sum(self, make: Callable[[], Kept]) -> Any:
        self._sums.append(Ordered(make))
        return self._sums[-1]

    def total(self, count: int) -> int:
        value = torch.tensor(count, dtype=torch.int64, device=self._device)
        self._dist.all_reduce(value, group=self._group)
        return int(value)

    def rng(self, seed: np.random.SeedSequence, last: np.random.Generator | None) -> np.random.Generator:
        """A stream for each block, since no process knows how many numbers the blocks of others take."""
        if last is not None and self.index % BLOCK:
            return last
        block = np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, self.index // BLOCK))
        return np.random.default_rng(block)

    @contextmanager
    def together(self, weights: Sequence[Tensor]) -> Iterator[None]:
        self._device = weights[0].device
        try:
            norm = float(sum((whole(w.detach()).double() ** 2).sum() for w in weights))
            self._agree(norm, "weights; the squares of all sum to {low:.17g} in one process and to {high:.17g} in another")
            yield
        except BaseException:
            if not self._ended:
                self._status(fine=False)
            raise

    def _exchange(self, *, done: bool) -> None:
        """The sums of a round of blocks, to all processes, in the order of the blocks."""
        counts = "inputs, which are dealt here; one has seen {low:.0f} examples and another {high:.0f}"
        self._agree(self.start, counts, done=done)
        for kept in self._sums:
            mine = kept.taken()
            for rank in range(self._size):
                kept.add_up(self._sent(mine, rank))

    def _sent(self, mine: list[Tensor], rank: int) -> list[Tensor]:
        """The arrays of one process, whose shapes the others need not know: theirs of a block without batches may be none."""
        source = self._dist.get_global_rank(self._group, rank)
        told = [[tuple(array.shape) for array in mine]]
        self._dist.broadcast_object_list(told, src=source, group=self._group)
        arrays = (
            mine if rank == self._rank else [torch.empty(shape, dtype=torch.float64, device=self._device) for shape in told[0]]
        )
        for array in arrays:
            self._dist.broadcast(array, src=source, group=self._group)
        return arrays

    def _agree(self, value: float, message: str, *, done: bool = False) -> None:
        """Refuse, in every process, what differs between them or what one has met."""
        fine, low, high, some, every = self._status(fine=True, value=value, done=done)
        if fine and low == high and some == every:
            return
        self._ended = True
        if not fine:
            raise NetworkStateError("another process of the group has failed; its own message tells why.")
        raise DataError(f"the processes of a group need the same {message.format(low=low, high=high)}.")

    def _status(self, *, fine: bool, value: float = 0.0, done: bool = False) -> tuple[float, ...]:
        """One message of one form, whatever is told, so that processes that differ still understand each other."""
        told = torch.tensor([fine, value, -value, done, -float(done)], dtype=torch.float64, device=self._device)
        self._dist.all_reduce(told, op=self._dist.ReduceOp.MIN, group=self._group)
        least, low, high, every, some = told.tolist()
        return least, low, -high, -some, every


def from_first(tensors: Sequence[Tensor], group: Any) -> None:
    """What the first process of a group has, in all of them: decompositions differ in their bits between machines."""
    import torch.distributed as dist

    for tensor in tensors:
        dist.broadcast(tensor, src=dist.get_global_rank(group, 0), group=group)


class Ordered:
    """A running sum whose blocks are made anywhere and added in order."""

    def __init__(self, make: Callable[[], Kept]) -> None:
        self._make = make
        self._block = make()
        self._total: list[Tensor] | None = None

    def add(self, batch: Any, vectors: Sequence[Tensor]) -> None:
        self._block.add(batch, vectors)

    def taken(self) -> list[Tensor]:
        """The sums of the block at hand, and a new block."""
        arrays = [array.contiguous() for array in self._block.arrays()]
        self._block = self._make()
        return arrays

    def add_up(self, arrays: list[Tensor]) -> None:
        """A block's sums; none where it had no batches and does not know their shapes."""
        if not arrays:
            return
        if self._total is None:
            self._total = [array.clone() for array in arrays]
            return
        if [array.shape for array in arrays] != [total.shape for total in self._total]:
            raise LayoutError("a layer is used by some blocks of batches only, so that their sums have no common form.")
        for total, array in zip(self._total, arrays, strict=True):
            total += array

    def arrays(self) -> list[Tensor]:
        assert self._total is not None
        return self._total

    def mean(self, count: int) -> Structure:
        return self._block.structure([array / count for array in self.arrays()], self.parameters)

    @property
    def parameters(self) -> Parameters:
        return self._block.parameters

r"""The quick way to per-example gradients: one formula per operation, read off autograd's graph.

An ordinary pass records every operation that a parameter enters, with what the operation saved. From the gradient at its
output, which autograd gives without any weight gradient, follow the examples' own gradients: an outer product, a lookup, a sum.
The graph holds *all* uses of a parameter, in layers and outside them: their gradients are added before they are squared. A
parameter that has a use without a formula takes the general way, and whatever a formula needs is tried first (see `trial`).
"""

from __future__ import annotations

from .forward import Forward, Terms, Trust, add_to, trusted

__all__ = ["Forward", "Terms", "Trust", "add_to", "trusted"]

"""Compiled code of the caller's, run uncompiled: it would be compiled again for each copy, and differentiates but once."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

_lock = threading.Lock()
_inside = 0
_stance = ExitStack()


@contextmanager
def uncompiled() -> Iterator[None]:
    """The first to enter turns compiled code off, the last to leave turns it on again; other threads only lose speed."""
    global _inside
    if "torch._dynamo" not in sys.modules:  # nothing was compiled, and its import takes a second
        yield
        return
    with _lock:
        _inside += 1
        if _inside == 1:
            _stance.enter_context(torch.compiler.set_stance("force_eager"))
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _stance.close()

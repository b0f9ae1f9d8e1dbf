"""A progress bar: on stderr, on a terminal or when asked, and only for work that lasts."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib.util import find_spec
from typing import TypeVar

from .optional import require

Item = TypeVar("Item")
DELAY = 2.0  # seconds before it shows


def shown(source: Iterable[Item], *, total: int | None, unit: str, progress: bool | None) -> Iterable[Item]:
    """The same items. ``progress`` None shows a bar where stderr is a terminal and tqdm is there; True shows it at once."""
    if progress is False or (progress is None and not (sys.stderr.isatty() and find_spec("tqdm"))):
        return source
    tqdm = require("tqdm", extra="progress", what="a progress bar").tqdm
    bar: Iterable[Item] = tqdm(
        source, total=total, desc="information", unit=f" {unit}", file=sys.stderr, leave=False, delay=0 if progress else DELAY
    )
    return bar

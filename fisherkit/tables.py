"""Small tables in text: what the repr of a result with several parameters shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[Any]], *, notes: Sequence[str] = ()) -> str:
    """A title, aligned columns, and notes under them. Numbers to six digits; the first column is flush left."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]).rstrip()
        for row in (list(header), *cells)
    ]
    return "\n".join([title, *(f"  {line}" for line in lines), *(f"  {note}" for note in notes)])


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return f"{float(value):.6g}"
    except (TypeError, ValueError):  # an expression
        return str(value)

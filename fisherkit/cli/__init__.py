"""The command line: ``fisherkit demo``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import FisherkitError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 when it went well, 1 with the error on stderr when it did not."""
    given = _parser().parse_args(arguments)
    try:
        from .demo import run

        return run(given.output)
    except FisherkitError as error:
        print(f"fisherkit: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fisherkit", description="Fisher information: symbolic, sampled, and of neural networks."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="all three tracks on real data, each against an independent value")
    demo.add_argument("--output", type=Path, default=Path("figures"), help="folder for the PNG figures (default: figures)")
    return parser

"""The command line: ``fisherkit demo`` and ``fisherkit derive``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from ..errors import FisherkitError
from . import derive


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 when it went well, 1 or 2 with the error on stderr when it did not."""
    words = derive.joined(sys.argv[1:] if arguments is None else arguments)
    given = _parser(words).parse_args(words)
    if given.command == "derive":
        return derive.run(given, words[words.index("derive") + 1 :])
    try:
        from .demo import run

        return run(given.output)
    except FisherkitError as error:
        print(f"fisherkit: {error}", file=sys.stderr)
        return 1


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            if "--json" in words:
                raise SystemExit(derive.report(message, {"error": "Usage"}, as_json=True))
            super().error(message)

    parser = Parser(prog="fisherkit", description="Fisher information: symbolic, sampled, and of neural networks.")
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="all three tracks on real data, each against an independent value")
    demo.add_argument("--output", type=Path, default=Path("figures"), help="folder for the PNG figures (default: figures)")
    formula = commands.add_parser("derive", help="the information of a family or a density, from text", allow_abbrev=False)
    derive.add_arguments(formula)
    return parser

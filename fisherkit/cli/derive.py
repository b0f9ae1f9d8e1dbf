"""``fisherkit derive``: the information of a model that is stated in text.

The work is done in a process of its own, which ends when the time is over, whatever SymPy is busy with; nothing is printed
unless all of it is there.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

SECONDS = 60.0
WORK = "fisherkit.cli.derivation"
#: options whose value may start with a minus sign
SIGNED = ("--density", "--log-density", "--support", "--at")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    stated = parser.add_mutually_exclusive_group(required=True)
    stated.add_argument("family", nargs="?", help='such as "normal(mu, sigma)": a family of sympy.stats, symbols or numbers')
    stated.add_argument("--density", metavar="TEXT", help='such as "exp(-x/s)/s"; with --data, --support and --parameters')
    stated.add_argument("--log-density", metavar="TEXT", help='such as "-x/s - log(s)"')
    parser.add_argument("--data", metavar="NAMES", help='what is observed: "x", "k:integer", "x, y"')
    parser.add_argument("--support", metavar="ENDS", help='"0, oo", or values "{0, 1}"; separated by ";" for several')
    parser.add_argument("--parameters", metavar="NAMES", help='what is estimated: "m:real, s:positive"')
    parser.add_argument("--constants", metavar="NAMES", help='what is known and stays a symbol: "n:count"')
    parser.add_argument("--at", metavar="POINT", help='numbers for symbols: "mu=0, sigma=2"')
    parser.add_argument("--digits", type=int, metavar="N", help="certified numbers with this many digits; with --at")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--latex", action="store_true", help="the matrix for a paper")
    form.add_argument("--json", action="store_true", help="everything, for a program; errors too")
    parser.add_argument("--seconds", type=_seconds, default=SECONDS, help=f"time after which it ends (default: {SECONDS:g})")
    parser.add_argument("--ascii", action="store_true", help="no line drawing")


def run(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Print what a process of its own found, 0; or what it refused on stderr, 2."""
    wanted = [*arguments, *(["--ascii"] if not _draws(sys.stdout.encoding) else [])]
    command = [sys.executable, "-P", "-X", "utf8", "-m", WORK, *wanted]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
    try:
        done = subprocess.run(command, capture_output=True, timeout=options.seconds, env=environment, check=False)
    except subprocess.TimeoutExpired:
        cure = "Put numbers for some parameters, ask for numbers with --at, or give more --seconds."
        return report(f"no answer within {options.seconds:g} seconds. {cure}", {"error": "Deadline"}, as_json=options.json)
    except KeyboardInterrupt:
        return 130
    if done.returncode not in (0, 2):
        words = "the work was ended by the system: it needed too much memory or time."
        return report(words, {"error": "Deadline"}, as_json=options.json)
    sys.stdout.write(done.stdout.decode())
    sys.stderr.write(done.stderr.decode())
    return done.returncode


def report(message: str, details: dict[str, Any], *, as_json: bool) -> int:
    """A refusal on stderr; 2."""
    told = json.dumps({**details, "message": message}) if as_json else f"fisherkit: {message}"
    print(told, file=sys.stderr)
    return 2


def joined(words: Sequence[str]) -> list[str]:
    """With ``--log-density=-x`` for ``--log-density -x``, which argparse would take for two options."""
    out: list[str] = []
    for word in words:
        if out and out[-1] in SIGNED:
            out[-1] += f"={word}"
        else:
            out.append(word)
    return out


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"a time between 0 and 86400 seconds; got {text}")
    return seconds


def _draws(encoding: str | None) -> bool:
    try:
        "⎡⎢⎣⎤⎥⎦─σ".encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True

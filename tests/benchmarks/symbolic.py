"""Which tier answers each regular family of ``sympy.stats``, in how many CPU seconds of a fresh process, and how well.

Run ``python -m tests.benchmarks.symbolic`` (some minutes; names after it choose families). Importing SymPy, NumPy and this
package is timed apart. Agreement is with a 20-digit quadrature at two points, relative to the diagonal. With ``--plain SECONDS``
the plain route, ``-E[d2 log f]`` by ``sympy.integrate`` or ``summation`` entry by entry, gets that many seconds of CPU for each
family, in a process that is ended after them. ``--markdown FILE`` writes the table between the two marks of a page.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

START, END = "<!-- table: begin -->", "<!-- table: end -->"


def imported() -> float:
    """CPU seconds until SymPy, its statistics, NumPy and the package are loaded."""
    start = time.process_time()
    import numpy  # noqa: F401 what is timed
    import sympy.stats  # noqa: F401

    import fisherkit.symbolic  # noqa: F401

    return time.process_time() - start


def ours(name: str) -> dict[str, Any]:
    """One family in this process: the tier, its time, and its worst digits at two points."""
    seconds = imported()
    import mpmath

    import fisherkit as fk
    from fisherkit.symbolic import as_model, evaluate
    from tests.symbolic.families import family

    row, start = family(name), time.process_time()
    out: dict[str, Any] = {"imports": seconds, "tier": None, "digits": None}
    try:
        model = as_model(row.variable)
        F = fk.expected_information(model)
    except fk.errors.MethodError:
        return {**out, "seconds": time.process_time() - start}
    out |= {"seconds": time.process_time() - start, "tier": model.tier}
    worst = mpmath.mpf(10) ** -20
    for values in row.points:
        at = dict(zip(model.symbols, values, strict=True))
        found = fk.expected_information(model, {str(s): v for s, v in at.items()}, method=fk.Quadrature(digits=20)).dense()
        with mpmath.workdps(30):
            p, formula = len(at), evaluate.digits(list(F.dense()), (), at)()
            exact = [mpmath.mpf(str(value)) for value in found]
            root = [mpmath.sqrt(exact[i * p + i]) for i in range(p)]
            worst = max(worst, *(abs(formula[k] - exact[k]) / (root[k // p] * root[k % p]) for k in range(p * p)))
    return {**out, "digits": int(-mpmath.log10(worst))}


def plain(name: str) -> dict[str, Any]:
    """The Hessian form by SymPy's own integration, entry by entry; right where it is the integral at two points."""
    import sympy as sp

    import fisherkit as fk
    from fisherkit.symbolic import as_model
    from tests.symbolic.families import family

    row = family(name)
    model, start = as_model(row.variable), time.process_time()
    x, support, p = model.data[0], model.supports[0], len(model.symbols)
    density, right = sp.exp(model.log_density), True
    for i in range(p):
        for j in range(i + 1):
            integrand = -density * sp.diff(model.log_density, model.symbols[i], model.symbols[j])
            if support.values is not None:
                entry = sum(integrand.subs(x, value) for value in support.values)
            else:
                limits = (x, support.low, support.high)
                entry = sp.summation(integrand, limits) if support.discrete else sp.integrate(integrand, limits)
            if entry.has(sp.Integral, sp.Sum):
                return {"seconds": time.process_time() - start, "right": False, "what": "unevaluated"}
            for values in row.points:
                at = dict(zip(model.symbols, values, strict=True))
                exact = fk.expected_information(
                    model, {str(s): v for s, v in at.items()}, method=fk.Quadrature(digits=12)
                ).dense()
                value = complex(entry.subs(at).evalf(15))
                right = right and abs(value - exact[i, j]) < 1e-8 * float(exact[i, i] * exact[j, j]) ** 0.5
    return {"seconds": time.process_time() - start, "right": right, "what": "right" if right else "wrong"}


def fresh(kind: str, name: str, seconds: int) -> dict[str, Any]:
    """The measurement in a process of its own, which the system ends after so many seconds of CPU."""
    command = [sys.executable, "-m", "tests.benchmarks.symbolic", "--one", kind, name]
    limited = lambda: resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=limited, env=environment)
    if done.returncode == 0:
        return dict(json.loads(done.stdout.strip().splitlines()[-1]))
    what = (done.stderr.strip().splitlines() or ["out of time"])[-1].split(":")[0][-40:]
    return {"seconds": float(seconds), "tier": None, "digits": None, "right": False, "imports": 0.0, "what": what}


def table(names: list[str], limit: int | None) -> list[str]:
    """One row for each family, then the totals."""
    more = (" plain SymPy, CPU seconds | and its answer |", "---:|---|") if limit else ("", "")
    lines = ["| family | tier | CPU seconds | digits that agree |" + more[0], "|---|---|---:|---:|" + more[1]]
    print("\n".join(lines), flush=True)
    own, other = {}, {}
    for name in names:
        row = own[name] = fresh("ours", name, 120)
        line = f"| {name} | {row['tier'] or 'none: quadrature'} | {row['seconds']:.2f} | {row['digits'] or ''} |"
        if limit:
            row = other[name] = fresh("plain", name, limit)
            line += f" {row['seconds']:.1f} | {row['what']} |"
        lines.append(line)
        print(line, flush=True)
    lines += ["", summary(own, other, limit)]
    print(lines[-1])
    return lines


def summary(own: dict[str, Any], other: dict[str, Any], limit: int | None) -> str:
    answered = [row["seconds"] for row in own.values() if row["tier"]]
    declined = [row["seconds"] for row in own.values() if not row["tier"]]
    imports = sum(row["imports"] for row in own.values()) / len(own)
    text = (
        f"Closed forms for {len(answered)} of {len(own)} families in {sum(answered):.1f} s of CPU in total, none in more than "
        f"{max(answered, default=0):.2f} s; the other {len(declined)} decline in {sum(declined):.1f} s, none in more than "
        f"{max(declined, default=0):.2f} s. Importing SymPy, NumPy and the package takes {imports:.2f} s more in each process."
    )
    if limit:
        good, spent = (sum(row[key] for row in other.values()) for key in ("right", "seconds"))
        text += f" Plain SymPy: {good} of {len(own)} right in {spent:.0f} s of CPU, with at most {limit} s for each family."
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*")
    parser.add_argument(
        "--plain", type=int, metavar="SECONDS", help="time the plain SymPy route too, with this limit for each family"
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table into this page")
    parser.add_argument("--one", choices=["ours", "plain"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps({"ours": ours, "plain": plain}[arguments.one](arguments.families[0])))
        return
    from tests.symbolic.families import ROWS

    lines = table(arguments.families or list(ROWS), arguments.plain)
    if arguments.markdown:
        before, _, rest = arguments.markdown.read_text().partition(START)
        _, _, after = rest.partition(END)
        arguments.markdown.write_text(f"{before}{START}\n" + "\n".join(lines) + f"\n{END}{after}")


if __name__ == "__main__":
    main()

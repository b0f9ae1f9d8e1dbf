"""Everything that is measured of the sampled track, as Markdown tables.

``OMP_NUM_THREADS=1 python -m tests.benchmarks.sampled`` prints all of them, in about half an hour of one core; ``--only variance
nist`` some; ``--quick`` with few runs, to see that they work. Peers are measured where they are installed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence

import numpy as np

import fisherkit as fk
from tests.benchmarks import sampled_cpu, sampled_families, sampled_nist
from tests.benchmarks.sampled_coverage import MANY, WHAT, coverage, gain
from tests.benchmarks.sampled_problems import FROM_UNIFORMS, PROBLEMS
from tests.estimation import nist

ESTIMATORS = ("outer_product", "score_control", "hessian", "bartlett")
BUDGET = 2048
LEFT_OUT = 50.0  # percent of refusals from which on a cell says only that


def variance(quick: bool) -> None:
    """Squared whitened error of the plain outer product over that of each estimator, at 2048 score evaluations."""
    runs = 10 if quick else 60
    header = ("problem", "parameters", *(f'"{name}"' for name in ESTIMATORS[1:]), "chosen", "chosen, Sobol points")
    means: dict[int, list[float]] = {}
    lines = []
    for name, problem in PROBLEMS.items():
        found = [gain(name, BUDGET, runs, estimator=estimator) for estimator in (*ESTIMATORS[1:], None)]
        sobol = [gain(name, BUDGET, runs, sobol=True)] if name in FROM_UNIFORMS else []
        for column, value in enumerate(found + sobol):
            if found[-1] < MANY:
                means.setdefault(column, []).append(value)
        lines.append((name, len(problem.theta), *map(_times, found), *(map(_times, sobol) if sobol else ("",))))
    lines.append(("geometric mean where it is not exact", "", *(_times(np.exp(np.mean(np.log(g)))) for g in means.values())))
    _table(header, lines)


def calibration(quick: bool) -> None:
    """Percent of 95 % intervals that are not wrong: means over what is not exact, and the lowest of all; refused inverses."""
    runs = 20 if quick else 200
    cells: list[tuple[str, Callable[[int], fk.MonteCarlo]]] = []
    for which in (None, *ESTIMATORS):
        for n in (200, 2000):
            cells.append((f"{which or 'chosen'}, n = {n}", lambda seed, n=n, e=which: fk.MonteCarlo(n, rng=seed, estimator=e)))
    for which in (None, "outer_product"):
        until = lambda seed, e=which: fk.MonteCarlo(200_000, rng=seed, estimator=e, rtol=0.05)
        cells.append((f"{which or 'chosen'}, rtol = 0.05", until))
    for title, method in cells:
        print(f"\n**{title}**\n")
        lines = []
        for name in PROBLEMS:
            found = coverage(name, method, runs)
            shares = [_percent(found.shares[what], found.refused if what != "F" else 0.0) for what in WHAT]
            lines.append((name, *shares, _percent(found.worst, 0.0), _percent(found.refused, 0.0), round(found.draws)))
        _table(("problem", *WHAT, "lowest", "refused", "draws"), lines)


def cpu(quick: bool) -> None:
    """CPU time beside one product X.T @ Y of the same shapes, and memory."""
    n, p = (16_384, 100) if quick else (196_608, 200)
    found = sampled_cpu.measure(n, p, repetitions=3 if quick else 7)
    _table(("what", "relative", "seconds", "peak MiB"), [(name, *map(_three, cells)) for name, cells in found.items()])


def families(quick: bool) -> None:
    """Time and error bound of every family of scipy.stats."""
    sampled_families.main(["norm", "gamma", "beta", "t", "poisson"] if quick else [])


def digits(quick: bool) -> None:
    """Correct digits of the worst standard error of the NIST nonlinear regressions."""
    names, peers = nist.NAMES[:4] if quick else nist.NAMES, sampled_nist.installed()
    found = {name: [sampled_nist.digits(name, peer) for peer in peers] for name in names}
    lines: list[Sequence[object]] = [(name, *(f"{d:.1f}" for d, _ in row)) for name, row in found.items()]
    every = np.array(list(found.values()))
    lines.append(("median", *(f"{d:.1f}" for d in np.median(every[:, :, 0], axis=0))))
    lines.append(("sets below 8 digits", *(every[:, :, 0] < 8).sum(axis=0)))
    lines.append(("CPU seconds, all", *(f"{t:.1f}" for t in every[:, :, 1].sum(axis=0))))
    _table(("set", *peers), lines)


SECTIONS = {"variance": variance, "coverage": calibration, "cpu": cpu, "families": families, "nist": digits}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", nargs="*", choices=SECTIONS, default=list(SECTIONS), metavar="SECTION", help=", ".join(SECTIONS)
    )
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    for name in arguments.only:
        print(f"\n## {name}\n\n{SECTIONS[name].__doc__}\n", flush=True)
        SECTIONS[name](arguments.quick)


def _table(header: Sequence[object], lines: Iterable[Sequence[object]]) -> None:
    for line in (header, ["---"] * len(header), *lines):
        print(f"| {' | '.join(map(str, line))} |", flush=True)


def _times(gain: float) -> str:
    return "exact" if gain > MANY else _three(gain)


def _three(value: float) -> str:
    return f"{value:.3g}"


def _percent(share: float, refused: float) -> str:
    return "exact" if np.isnan(share) else "refused" if refused > LEFT_OUT else f"{share:.1f}"


if __name__ == "__main__":
    main()

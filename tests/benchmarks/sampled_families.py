"""Every family of ``scipy.stats`` at its documented shapes: time, error bound or refusal, one line each.

``python tests/benchmarks/sampled_families.py [names]``; a Markdown table of the counts comes last. ``loc`` and ``scale`` are
parameters of every continuous family. A parameter that a refusal names is held fixed, and the family asked again.
"""

from __future__ import annotations

import sys
import time
import warnings
from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.stats import _distr_params

import fisherkit as fk

#: their log-density takes from 0.3 to 6 ms a value in scipy itself
SLOW = frozenset(["levy_stable", "ksone", "studentized_range", "kstwo"])


@dataclass(frozen=True)
class Answer:
    family: str
    parameters: tuple[str, ...]
    seconds: float
    bound: float = np.nan
    refusal: str = ""


def at_documented_shapes(name: str, shapes: tuple[float, ...]) -> tuple[dict[str, float], dict[str, float]]:
    """Parameters to ask for, and integers that are known."""
    infos = getattr(stats, name)._shape_info()
    integers = {info.name for info in infos if info.integrality}
    values = {info.name: float(shape) for info, shape in zip(infos, shapes, strict=False)}
    known = {key: value for key, value in values.items() if key in integers}
    free = {key: value for key, value in values.items() if key not in integers}
    place = {"loc": 0.5, "scale": 2.0} if isinstance(getattr(stats, name), stats.rv_continuous) else {}
    return {**free, **place}, known


def answers(name: str, shapes: tuple[float, ...]) -> list[Answer]:
    """One refusal per parameter that has no information, then the information of the others."""
    theta, known = at_documented_shapes(name, shapes)
    out: list[Answer] = []
    while theta:
        family = fk.sampled.Family(getattr(stats, name), fixed=known)
        seconds = []
        try:
            for _ in range(3):
                start = time.process_time()
                F = fk.expected_information(family, theta)
                seconds.append(time.process_time() - start)
            return [*out, Answer(name, tuple(theta), float(np.median(seconds)), F.error_bound or 0.0)]
        except fk.errors.RegularityError as error:
            out.append(Answer(name, (str(error.parameter),), time.process_time() - start, refusal=str(error.condition)))
            if error.parameter not in theta:
                return out
            known[error.parameter] = theta.pop(error.parameter)
        except (fk.errors.PrecisionError, fk.errors.LayoutError, fk.errors.DataError) as error:
            return [*out, Answer(name, tuple(theta), time.process_time() - start, refusal=type(error).__name__)]
    return out


def main(only: list[str]) -> None:
    warnings.simplefilter("ignore")
    found: list[Answer] = []
    for table in (_distr_params.distcont, _distr_params.distdiscrete):
        first = {name: shapes for name, shapes in reversed(table) if isinstance(name, str)}
        for name in sorted(first):
            if name in SLOW or (only and name not in only):
                continue
            for answer in answers(name, first[name]):
                found.append(answer)
                told = answer.refusal or f"{answer.bound:.1e}"
                print(f"{name:20s} {1e3 * answer.seconds:8.1f} ms  {told:30s} {', '.join(answer.parameters)}", flush=True)
    right = [a for a in found if not a.refusal]
    times = 1e3 * np.array([a.seconds for a in right])
    conditions = sorted({a.refusal for a in found if a.refusal})
    print("\n| what | count |\n|---|---|")
    print(f"| families with an information | {len(right)} |")
    for limit in (1e-10, 1e-9, 1e-7):
        print(f"| of these, error bound at most {limit:g} | {sum(a.bound <= limit for a in right)} |")
    for condition in conditions:
        print(f"| refusals: {condition} | {sum(a.refusal == condition for a in found)} |")
    print(
        f"| median / 90 % / longest CPU time, ms | {np.median(times):.0f} / {np.quantile(times, 0.9):.0f} / {times.max():.0f} |"
    )


if __name__ == "__main__":
    main(sys.argv[1:])

"""The 27 nonlinear regressions of the NIST Statistical Reference Datasets, as they are published.

https://www.itl.nist.gov/div898/strd/nls/nls_main.shtml, in the public domain; tests/data/nist holds the files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parents[1] / "data" / "nist"
NAMES = sorted(path.stem for path in FOLDER.glob("*.dat"))


@dataclass(frozen=True)
class Problem:
    name: str
    starts: tuple[dict[str, float], dict[str, float]]
    certified: np.ndarray
    standard_errors: np.ndarray
    sum_of_squares: float
    residual_deviation: float
    x: np.ndarray
    y: np.ndarray


def read(name: str, dtype: type = np.float64) -> Problem:
    """One file. Numbers are read from their decimals in the precision asked for."""
    lines = (FOLDER / f"{name}.dat").read_text().splitlines()
    rows = [re.match(r"\s*(b\d+) =\s+(\S+)\s+(\S+)\s+(\S+)\s+(\S+)\s*$", line) for line in lines]
    values = [row.groups() for row in rows if row]
    starts = tuple({b: float(v[k]) for b, *v in values} for k in (0, 1))
    told = dict(re.findall(r"^(Residual Sum of Squares|Residual Standard Deviation):\s+(\S+)", "\n".join(lines), re.MULTILINE))
    first = max(i for i, line in enumerate(lines) if line.startswith("Data:")) + 1
    table = np.array([[dtype(number) for number in line.split()] for line in lines[first:] if line.strip()])
    x = table[:, 1] if table.shape[1] == 2 else table[:, 1:]
    certified, errors = (np.array([float(v[k]) for _, *v in values]) for k in (2, 3))
    squares, deviation = float(told["Residual Sum of Squares"]), float(told["Residual Standard Deviation"])
    return Problem(name, starts, certified, errors, squares, deviation, x, table[:, 0])


def _gauss(x, b):
    return (
        b[0] * np.exp(-b[1] * x) + b[2] * np.exp(-((x - b[3]) ** 2) / b[4] ** 2) + b[5] * np.exp(-((x - b[6]) ** 2) / b[7] ** 2)
    )


def _cubic(x, b):
    return (b[0] + b[1] * x + b[2] * x**2 + b[3] * x**3) / (1 + b[4] * x + b[5] * x**2 + b[6] * x**3)


def _enso(x, b):
    t = 2 * np.pi * x
    year = b[0] + b[1] * np.cos(t / 12) + b[2] * np.sin(t / 12)
    return year + b[4] * np.cos(t / b[3]) + b[5] * np.sin(t / b[3]) + b[7] * np.cos(t / b[6]) + b[8] * np.sin(t / b[6])


#: the means, from the files' own "Model" sections; Nelson's response is log(y)
MEANS = {
    "Bennett5": lambda x, b: b[0] * (b[1] + x) ** (-1 / b[2]),
    "BoxBOD": lambda x, b: b[0] * (1 - np.exp(-b[1] * x)),
    "Chwirut1": lambda x, b: np.exp(-b[0] * x) / (b[1] + b[2] * x),
    "Chwirut2": lambda x, b: np.exp(-b[0] * x) / (b[1] + b[2] * x),
    "DanWood": lambda x, b: b[0] * x ** b[1],
    "ENSO": _enso,
    "Eckerle4": lambda x, b: b[0] / b[1] * np.exp(-0.5 * ((x - b[2]) / b[1]) ** 2),
    "Gauss1": _gauss,
    "Gauss2": _gauss,
    "Gauss3": _gauss,
    "Hahn1": _cubic,
    "Kirby2": lambda x, b: (b[0] + b[1] * x + b[2] * x**2) / (1 + b[3] * x + b[4] * x**2),
    "Lanczos1": lambda x, b: b[0] * np.exp(-b[1] * x) + b[2] * np.exp(-b[3] * x) + b[4] * np.exp(-b[5] * x),
    "Lanczos2": lambda x, b: b[0] * np.exp(-b[1] * x) + b[2] * np.exp(-b[3] * x) + b[4] * np.exp(-b[5] * x),
    "Lanczos3": lambda x, b: b[0] * np.exp(-b[1] * x) + b[2] * np.exp(-b[3] * x) + b[4] * np.exp(-b[5] * x),
    "MGH09": lambda x, b: b[0] * (x**2 + x * b[1]) / (x**2 + x * b[2] + b[3]),
    "MGH10": lambda x, b: b[0] * np.exp(b[1] / (x + b[2])),
    "MGH17": lambda x, b: b[0] + b[1] * np.exp(-x * b[3]) + b[2] * np.exp(-x * b[4]),
    "Misra1a": lambda x, b: b[0] * (1 - np.exp(-b[1] * x)),
    "Misra1b": lambda x, b: b[0] * (1 - (1 + b[1] * x / 2) ** -2),
    "Misra1c": lambda x, b: b[0] * (1 - (1 + 2 * b[1] * x) ** -0.5),
    "Misra1d": lambda x, b: b[0] * b[1] * x / (1 + b[1] * x),
    "Nelson": lambda x, b: b[0] - b[1] * x[:, 0] * np.exp(-b[2] * x[:, 1]),
    "Rat42": lambda x, b: b[0] / (1 + np.exp(b[1] - b[2] * x)),
    "Rat43": lambda x, b: b[0] / (1 + np.exp(b[1] - b[2] * x)) ** (1 / b[3]),
    "Roszman1": lambda x, b: b[0] - b[1] * x - np.arctan(b[2] / (x - b[3])) / np.pi,
    "Thurber": _cubic,
}


def digits(found, certified) -> float:
    """Correct significant digits of the worst number: the log relative error of NIST."""
    with np.errstate(divide="ignore"):
        error = np.abs(np.asarray(found, dtype=float) - certified) / np.abs(certified)
        return float(np.min(-np.log10(np.maximum(error, 1e-16))))

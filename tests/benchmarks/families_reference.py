"""The information of ``scipy.stats`` families from their formulas in mpmath, at 70 digits: what families are held against.

``python -m tests.benchmarks.families_reference [names]`` writes ``tests/sampled/families.json``: for each family its parameters,
those held fixed, and the lower triangle. Scores are central differences with a step of 1e-25; those of loc and scale come from
the derivative in z. Integrals are double-exponential between the places where pieces meet. A family is kept only where the last
change of the rule, the mass less 1 and the mean scores are below 1e-15, and scipy's log-density agrees at five quantiles.
"""

from __future__ import annotations

import json
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
from mpmath import mp
from scipy import stats
from scipy.stats import _distr_params

from tests.benchmarks.family_densities import CONTINUOUS, DISCRETE

FILE = Path(__file__).parent.parent / "sampled" / "families.json"
LOC, SCALE = 0.5, 2.0
STEP = mp.mpf(10) ** -25
REACH = 104  # of the rule: distances from exp(-104) to exp(104); from exp(-900), which is exact beside a place at 0
CLOSE = 57  # the same between two finite places: exp(-114), where 20 of 70 digits are left
SETTLED = 1e-18


class Sums:
    """Mass, mean score and E[s s'] of weighted scores."""

    def __init__(self, p):
        self.mass, self.mean, self.product = mp.zero, mp.zeros(p, 1), mp.zeros(p)

    def add(self, weight, s):
        self.mass += weight
        for i, a in enumerate(s):
            self.mean[i] += weight * a
            for j in range(i + 1):
                self.product[i, j] += weight * a * s[j]

    def matrix(self, step):
        return np.array(
            [[step * self.product[max(i, j), min(i, j)] for j in range(len(self.mean))] for i in range(len(self.mean))]
        )


def reference(name, values, asked):
    """(matrix, change, mass - 1, largest mean score) of the parameters asked, at all values."""
    return (_continuous if name in CONTINUOUS else _discrete)(name, values, asked)


def _continuous(name, values, asked):
    density, places = CONTINUOUS[name]
    shapes = [mp.mpf(values[info.name]) for info in getattr(stats, name)._shape_info()]
    names = [info.name for info in getattr(stats, name)._shape_info()]
    scale = mp.mpf(values["scale"])
    own = density(*shapes)
    moved = {}
    for j, label in enumerate(names):
        if label in asked:
            step = STEP * (abs(shapes[j]) or 1)
            up, down = ([*shapes[:j], shapes[j] + t, *shapes[j + 1 :]] for t in (step, -step))
            moved[label] = density(*up), density(*down), 2 * step

    def score(z, room):
        h = STEP * room
        slope = (own(z + h) - own(z - h)) / (2 * h) if {"loc", "scale"} & set(asked) else 0
        known = {"loc": -slope / scale, "scale": -(1 + z * slope) / scale}
        return [
            known[label] if label in known else (moved[label][0](z) - moved[label][1](z)) / moved[label][2] for label in asked
        ]

    ends = [mp.mpf(end) for end in places(*shapes)]
    sums, before, change = Sums(len(asked)), None, None
    for level in range(2, 9):
        step = mp.mpf(1) / 2**level
        near, far = (int(mp.asinh(reach * 2 / mp.pi) / step) for reach in (900, REACH))
        for k in range(-near, far + 1):
            if level > 2 and k % 2 == 0:
                continue
            u = mp.pi / 2 * mp.sinh(k * step)
            stretch = mp.pi / 2 * mp.cosh(k * step)
            for low, high in pairwise(ends):
                infinite = mp.isinf(high - low)
                place = (high if mp.isinf(low) or u > 0 else low) if not (infinite and u > 0) else mp.inf
                if place != 0 and abs(u) > (REACH if infinite else CLOSE):
                    continue
                z, weight, room = _node(low, high, u, stretch)
                height = own(z)
                if height < -2500 or (mass := mp.exp(height) * weight) < mp.mpf(10) ** -900:
                    continue
                sums.add(mass, score(z, room))
        now = sums.matrix(step)
        if before is not None:
            root = np.array([mp.sqrt(now[i, i]) for i in range(len(now))])
            change = max(abs(v) for v in ((now - before) / np.outer(root, root)).ravel())
            if change < SETTLED:
                break
        before = now
    means = [abs(step * m) / r for m, r in zip(sums.mean, root, strict=True)]
    return now, float(change), float(step * sums.mass - 1), float(max(means))


def _node(low, high, u, stretch):
    """Abscissa, its width, and the distance to the nearest place."""
    if mp.isinf(low) or mp.isinf(high):
        d = mp.exp(u)
        return (high - d if mp.isinf(low) else low + d), stretch * d, d
    size = high - low
    near = size / (1 + mp.exp(2 * abs(u)))
    return (low + near if u < 0 else high - near), 2 * stretch * near * (1 - near / size), near


def _discrete(name, values, asked):
    log, first, last = DISCRETE[name]
    names = [info.name for info in getattr(stats, name)._shape_info()]
    shapes = [mp.mpf(values[label]) for label in names]
    sums = Sums(len(asked))
    for k in range(int(first), int(last(*shapes)) + 1):
        s = []
        for label in asked:
            j = names.index(label)
            step = STEP * shapes[j]
            up, down = ([*shapes[:j], shapes[j] + t, *shapes[j + 1 :]] for t in (step, -step))
            s.append((log(k, *up) - log(k, *down)) / (2 * step))
        sums.add(mp.exp(log(k, *shapes)), s)
    now = sums.matrix(1)
    means = [abs(m) / mp.sqrt(now[i, i]) for i, m in enumerate(sums.mean)]
    return now, 0.0, float(sums.mass - 1), float(max(means))


def apart(name, values):
    """Largest difference of scipy's log-density from ours over five quantiles."""
    family = getattr(stats, name)
    frozen = family(**values)
    if name in DISCRETE:
        names = [info.name for info in family._shape_info()]
        at = sorted({int(k) for k in frozen.ppf([0.05, 0.3, 0.5, 0.7, 0.95])})
        ours = [DISCRETE[name][0](k, *(mp.mpf(values[label]) for label in names)) for k in at]
        return max(abs(float(a) - b) for a, b in zip(ours, frozen.logpmf(at), strict=True))
    own = CONTINUOUS[name][0](*(mp.mpf(values[info.name]) for info in family._shape_info()))
    at = frozen.ppf([0.01, 0.3, 0.45, 0.7, 0.99])
    ours = [float(own((mp.mpf(x) - mp.mpf(values["loc"])) / mp.mpf(values["scale"])) - mp.log(values["scale"])) for x in at]
    return float(np.abs(np.array(ours) - frozen.logpdf(at)).max())


def first_shapes(name):
    tables = [*_distr_params.distcont, *_distr_params.distdiscrete]
    shapes = next(shapes for key, shapes in tables if key == name)
    values = {info.name: float(shape) for info, shape in zip(getattr(stats, name)._shape_info(), shapes, strict=True)}
    return values | ({"loc": LOC, "scale": SCALE} if name in CONTINUOUS else {})


def main(asked):
    mp.dps = 70
    kept = json.loads(FILE.read_text()) if FILE.exists() else {}
    for name, parameters in asked.items():
        start, values = time.process_time(), first_shapes(name)
        matrix, change, mass, mean = reference(name, values, parameters)
        difference = apart(name, values)
        good = abs(mass) < 1e-15 and mean < 1e-15 and change < 1e-15 and difference < 1e-9
        told = f"change {change:.0e}  mass {mass:.0e}  mean {mean:.0e}  scipy {difference:.0e}"
        print(f"{name:20s} {time.process_time() - start:7.1f} s  {told}  {'kept' if good else 'REFUSED'}", flush=True)
        if good:
            lower = [mp.nstr(matrix[i, j], 20) for i in range(len(matrix)) for j in range(i + 1)]
            fixed = {key: value for key, value in values.items() if key not in parameters}
            kept[name] = {"theta": {key: values[key] for key in parameters}, "fixed": fixed, "lower": lower}
            FILE.write_text(json.dumps(dict(sorted(kept.items())), indent=1) + "\n")


#: the parameters in which each family has an information, at its first documented shapes, loc 0.5 and scale 2
_ROWS = {
    "K loc scale": "exponnorm",
    "a": "dlaplace powerlaw zipf zipfian",
    "a b": "beta betabinom betanbinom",
    "a b c scale": "genexpon",
    "a b c z loc scale": "gausshyper",
    "a b loc scale": "betaprime jf_skew_t johnsonsb johnsonsu norminvgauss",
    "a c loc scale": "exponweib gengamma",
    "a loc scale": "alpha invgamma skewcauchy skewnorm",
    "a scale": "dgamma gamma kappa3",
    "alpha": "yulesimon",
    "b": "pareto truncpareto",
    "b loc scale": "exponpow",
    "b scale": "rice",
    "beta loc scale": "gennorm",
    "beta m loc scale": "crystalball",
    "beta scale": "halfgennorm",
    "c": "bradford rdist triang truncweibull_min wrapcauchy",
    "c d": "trapezoid",
    "c d loc scale": "burr burr12",
    "c loc scale": "dweibull fatiguelife fisk genextreme genlogistic invweibull loggamma loglaplace powernorm weibull_max",
    "c s loc scale": "powerlognorm",
    "c scale": "foldcauchy foldnorm genpareto gompertz lomax weibull_min",
    "chi": "argus",
    "df loc scale": "chi chi2 t",
    "df nc loc scale": "nct ncx2",
    "dfn dfd loc scale": "f",
    "dfn dfd nc loc scale": "ncf",
    "h k loc scale": "kappa4",
    "k s loc scale": "mielke",
    "kappa": "vonmises_line",
    "kappa loc": "vonmises",
    "kappa loc scale": "laplace_asymmetric",
    "lambda_": "boltzmann planck",
    "loc scale": """
        cauchy cosine erlang gibrat gumbel_l gumbel_r hypsecant irwinhall kstwobign landau laplace levy levy_l logistic
        maxwell moyal norm wald
    """,
    "mu": "poisson",
    "mu loc scale": "invgauss recipinvgauss",
    "mu1 mu2": "skellam",
    "nu loc scale": "nakagami",
    "odds": "nchypergeom_fisher nchypergeom_wallenius",
    "p": "bernoulli binom geom logser nbinom",
    "p a b loc scale": "genhyperbolic",
    "p b loc scale": "geninvgauss",
    "rho scale": "rel_breitwigner",
    "s loc scale": "lognorm",
    "scale": "expon halfcauchy halflogistic halfnorm rayleigh",
    "skew loc scale": "pearson3",
    "u s a b scale": "dpareto_lognorm",
}
ASKED = {name: parameters.split() for parameters, names in _ROWS.items() for name in names.split()}

if __name__ == "__main__":
    chosen = sys.argv[1:] or list(ASKED)
    main({name: ASKED[name] for name in chosen})

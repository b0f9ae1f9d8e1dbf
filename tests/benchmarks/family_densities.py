"""Densities of ``scipy.stats`` families in mpmath, written from their published formulas: log g(z) of the standard form.

A row is ``name: (shapes -> (z -> log g(z)), shapes -> places where pieces meet)``; the places are the ends of the support, those
where g has a kink, and one in the bulk. Nothing here is scipy's; the program that uses it compares the two at a few points.
"""

from __future__ import annotations

from mpmath import mp

inf, pi, HALF = mp.inf, mp.pi, mp.mpf(1) / 2
ln, e, g, lg = mp.log, mp.exp, mp.gamma, mp.loggamma


def phi(x):
    """log of the standard normal density"""
    return -x * x / 2 - ln(2 * pi) / 2


def Phi(x):
    """log of the standard normal distribution function"""
    return ln(mp.erfc(-x / mp.sqrt(2)) / 2)


def lbeta(a, b):
    return lg(a) + lg(b) - lg(a + b)


def add(x, y):
    """log(e^x + e^y)"""
    top = max(x, y)
    return top + ln(e(x - top) + e(y - top))


def between(low, high, *inner):
    return lambda *_: (low, *inner, high)


def light(log):
    """No value where a light tail has left nothing, and mpmath's Bessel functions would take minutes."""
    return lambda x, *shapes: log(x, *shapes) if abs(x) < FAR else -inf


FAR = 2000
LINE, POSITIVE, UNIT = between(-inf, inf, 0), between(0, inf, 1), between(0, 1)

CONTINUOUS = {}
DISCRETE = {}


def row(name, places):
    def keep(density):
        CONTINUOUS[name] = density, places
        return density

    return keep


def simple(name, places, log):
    """A density without a normaliser worth keeping: ``log(z, *shapes)``."""
    CONTINUOUS[name] = lambda *shapes: lambda z: log(z, *shapes), places


simple("alpha", POSITIVE, lambda x, a: -2 * ln(x) + phi(a - 1 / x) - Phi(a))
simple("bradford", UNIT, lambda x, c: ln(c) - ln(mp.log1p(c)) - mp.log1p(c * x))
simple("burr", POSITIVE, lambda x, c, d: ln(c * d) - (c + 1) * ln(x) - (d + 1) * mp.log1p(x**-c))
simple("burr12", POSITIVE, lambda x, c, d: ln(c * d) + (c - 1) * ln(x) - (d + 1) * mp.log1p(x**c))
simple("cauchy", LINE, lambda x: -ln(pi) - mp.log1p(x * x))
simple("cosine", lambda: (-pi, pi), lambda x: ln(2 * mp.cos(x / 2) ** 2) - ln(2 * pi))
simple("expon", POSITIVE, lambda x: -x)
simple("exponnorm", LINE, lambda x, K: 1 / (2 * K * K) - x / K + ln(mp.erfc(-(x - 1 / K) / mp.sqrt(2)) / (2 * K)))
simple("exponpow", POSITIVE, lambda x, b: ln(b) + (b - 1) * ln(x) + 1 + x**b - e(x**b))
simple("exponweib", POSITIVE, lambda x, a, c: ln(a * c) + (a - 1) * ln(-mp.expm1(-(x**c))) - x**c + (c - 1) * ln(x))
simple("fatiguelife", POSITIVE, lambda x, c: mp.log1p(x) - ln(2 * c) - ln(2 * pi * x**3) / 2 - (x - 1) ** 2 / (2 * x * c * c))
simple("fisk", POSITIVE, lambda x, c: ln(c) + (c - 1) * ln(x) - 2 * mp.log1p(x**c))
simple("foldcauchy", between(0, inf, 5), lambda x, c: ln((1 / (1 + (x - c) ** 2) + 1 / (1 + (x + c) ** 2)) / pi))
simple("foldnorm", between(0, inf, 2), lambda x, c: add(phi(x - c), phi(x + c)))
simple("genexpon", POSITIVE, lambda x, a, b, c: ln(a - b * mp.expm1(-c * x)) - (a + b) * x - b * mp.expm1(-c * x) / c)
simple(
    "genextreme",
    lambda c: (1 / c, 0, inf) if c < 0 else (-inf, 0, 1 / c),
    lambda x, c: -((1 - c * x) ** (1 / c)) + (1 / c - 1) * ln(1 - c * x),
)
simple("genlogistic", LINE, lambda x, c: ln(c) - x - (c + 1) * mp.log1p(e(-x)))
simple("genpareto", POSITIVE, lambda x, c: -(1 + 1 / c) * mp.log1p(c * x))
simple("gibrat", POSITIVE, lambda x: phi(ln(x)) - ln(x))
simple("gompertz", POSITIVE, lambda x, c: ln(c) + x - c * mp.expm1(x))
simple("gumbel_l", LINE, lambda x: x - e(x))
simple("gumbel_r", LINE, lambda x: -x - e(-x))
simple("halfcauchy", POSITIVE, lambda x: ln(2 / pi) - mp.log1p(x * x))
simple("halflogistic", POSITIVE, lambda x: ln(2) - x - 2 * mp.log1p(e(-x)))
simple("halfnorm", POSITIVE, lambda x: ln(2) + phi(x))
simple("hypsecant", LINE, lambda x: ln(2 / pi) - abs(x) - mp.log1p(e(-2 * abs(x))))
simple("invgauss", between(0, inf, mp.mpf("0.1")), lambda x, m: -ln(2 * pi * x**3) / 2 - (x - m) ** 2 / (2 * x * m * m))
simple("invweibull", POSITIVE, lambda x, c: ln(c) - (c + 1) * ln(x) - x**-c)
simple("johnsonsb", between(0, 1, mp.mpf("0.2")), lambda x, a, b: ln(b / (x * (1 - x))) + phi(a + b * ln(x / (1 - x))))
simple("johnsonsu", between(-inf, inf, -1), lambda x, a, b: ln(b) - ln(1 + x * x) / 2 + phi(a + b * mp.asinh(x)))
simple("kappa3", POSITIVE, lambda x, a: ln(a) - (a + 1) / a * ln(a + x**a))
simple("laplace", LINE, lambda x: -abs(x) - ln(2))
simple("laplace_asymmetric", LINE, lambda x, k: -ln(k + 1 / k) - (x * k if x > 0 else -x / k))
simple("levy", POSITIVE, lambda x: -ln(2 * pi * x**3) / 2 - 1 / (2 * x))
simple("levy_l", between(-inf, 0, -1), lambda x: -ln(-2 * pi * x**3) / 2 + 1 / (2 * x))
simple("logistic", LINE, lambda x: -abs(x) - 2 * mp.log1p(e(-abs(x))))
simple("loglaplace", POSITIVE, lambda x, c: ln(c / 2) - ln(x) - c * abs(ln(x)))
simple("lognorm", POSITIVE, lambda x, s: phi(ln(x) / s) - ln(s * x))
simple("lomax", POSITIVE, lambda x, c: ln(c) - (c + 1) * mp.log1p(x))
simple("maxwell", POSITIVE, lambda x: ln(2 / pi) / 2 + 2 * ln(x) - x * x / 2)
simple("mielke", POSITIVE, lambda x, k, s: ln(k) + (k - 1) * ln(x) - (1 + k / s) * mp.log1p(x**s))
simple("moyal", LINE, lambda x: -(x + e(-x)) / 2 - ln(2 * pi) / 2)
simple("norm", LINE, phi)
simple("pareto", between(1, inf, 2), lambda x, b: ln(b) - (b + 1) * ln(x))
simple("powerlaw", UNIT, lambda x, a: ln(a) + (a - 1) * ln(x))
simple("powerlognorm", POSITIVE, lambda x, c, s: ln(c / (x * s)) + phi(ln(x) / s) + (c - 1) * Phi(-ln(x) / s))
simple("powernorm", LINE, lambda x, c: ln(c) + phi(x) + (c - 1) * Phi(-x))
simple("rayleigh", POSITIVE, lambda x: ln(x) - x * x / 2)
simple("recipinvgauss", POSITIVE, lambda x, m: -((1 - m * x) ** 2) / (2 * x * m * m) - ln(2 * pi * x) / 2)
simple("rice", POSITIVE, light(lambda x, b: ln(x) - (x * x + b * b) / 2 + ln(mp.besseli(0, x * b))))
simple("skewcauchy", LINE, lambda x, a: -ln(pi) - mp.log1p((x / (1 + a * mp.sign(x))) ** 2))
simple("skewnorm", LINE, lambda x, a: ln(2) + phi(x) + Phi(a * x))
simple("trapezoid", lambda c, d: (0, c, d, 1), lambda x, c, d: ln(2 / (d - c + 1) * min(x / c, 1, (1 - x) / (1 - d))))
simple("triang", lambda c: (0, c, 1), lambda x, c: ln(2 * min(x / c, (1 - x) / (1 - c))))
simple("truncpareto", lambda b, c: (1, c), lambda x, b, c: ln(b / (1 - c**-b)) - (b + 1) * ln(x))
simple(
    "truncweibull_min",
    lambda c, a, b: (a, b),
    lambda x, c, a, b: ln(c) + (c - 1) * ln(x) - x**c - ln(e(-(a**c)) - e(-(b**c))),
)
simple("wald", POSITIVE, lambda x: -ln(2 * pi * x**3) / 2 - (x - 1) ** 2 / (2 * x))
simple("weibull_max", between(-inf, 0, -1), lambda x, c: ln(c) + (c - 1) * ln(-x) - (-x) ** c)
simple("weibull_min", POSITIVE, lambda x, c: ln(c) + (c - 1) * ln(x) - x**c)
simple("wrapcauchy", lambda c: (0, pi, 2 * pi), lambda x, c: ln((1 - c * c) / (2 * pi * (1 + c * c - 2 * c * mp.cos(x)))))


def normalised(name, places, normaliser, log):
    """A density ``log(z, *shapes) + normaliser(*shapes)``; the normaliser is worked out once for each point."""

    def density(*shapes):
        own = normaliser(*shapes)
        return lambda z: log(z, *shapes) + own

    CONTINUOUS[name] = density, places


normalised(
    "argus",
    UNIT,
    lambda c: 3 * ln(c) - phi(mp.zero) - ln(mp.erf(c / mp.sqrt(2)) / 2 - c * e(phi(c))) - ln(2 * pi),
    lambda x, c: ln(x) + mp.log1p(-x * x) / 2 - c * c * (1 - x * x) / 2,
)
normalised("beta", UNIT, lambda a, b: -lbeta(a, b), lambda x, a, b: (a - 1) * ln(x) + (b - 1) * ln(1 - x))
normalised("betaprime", POSITIVE, lambda a, b: -lbeta(a, b), lambda x, a, b: (a - 1) * ln(x) - (a + b) * mp.log1p(x))
normalised("chi", between(0, inf, 9), lambda k: -(k / 2 - 1) * ln(2) - lg(k / 2), lambda x, k: (k - 1) * ln(x) - x * x / 2)
normalised("chi2", between(0, inf, 54), lambda k: -k / 2 * ln(2) - lg(k / 2), lambda x, k: (k / 2 - 1) * ln(x) - x / 2)
normalised(
    "crystalball",
    lambda b, m: (-inf, -b, inf),
    lambda b, m: -ln(m / b / (m - 1) * e(-b * b / 2) + mp.sqrt(2 * pi) * e(Phi(b))),
    lambda x, b, m: -x * x / 2 if x > -b else m * ln(m / b) - b * b / 2 - m * ln(m / b - b - x),
)
normalised("dgamma", LINE, lambda a: -ln(2) - lg(a), lambda x, a: (a - 1) * ln(abs(x)) - abs(x))
normalised("dweibull", LINE, lambda c: ln(c / 2), lambda x, c: (c - 1) * ln(abs(x)) - abs(x) ** c)


def mills(t):
    return Phi(-t) - phi(t)


normalised(
    "dpareto_lognorm",
    between(0, inf, 20),
    lambda u, s, a, b: ln(a * b / (a + b)),
    lambda x, u, s, a, b: phi((ln(x) - u) / s) - ln(x) + add(mills(a * s - (ln(x) - u) / s), mills(b * s + (ln(x) - u) / s)),
)
normalised("erlang", between(0, inf, 9), lambda a: -lg(a), lambda x, a: (a - 1) * ln(x) - x)
normalised(
    "f",
    POSITIVE,
    lambda m, n: m / 2 * ln(m) + n / 2 * ln(n) - lbeta(m / 2, n / 2),
    lambda x, m, n: (m / 2 - 1) * ln(x) - (m + n) / 2 * ln(n + m * x),
)
normalised("gamma", POSITIVE, lambda a: -lg(a), lambda x, a: (a - 1) * ln(x) - x)
normalised("gengamma", POSITIVE, lambda a, c: ln(abs(c)) - lg(a), lambda x, a, c: (c * a - 1) * ln(x) - x**c)
normalised(
    "genhyperbolic",
    LINE,
    lambda p, a, b: p / 2 * ln(a * a - b * b) - ln(2 * pi) / 2 - (p - HALF) * ln(a) - ln(mp.besselk(p, mp.sqrt(a * a - b * b))),
    light(lambda x, p, a, b: ln(mp.besselk(p - HALF, a * mp.sqrt(1 + x * x))) + b * x + (p / 2 - HALF / 2) * mp.log1p(x * x)),
)
normalised("geninvgauss", POSITIVE, lambda p, b: -ln(2 * mp.besselk(p, b)), lambda x, p, b: (p - 1) * ln(x) - b * (x + 1 / x) / 2)
normalised("gennorm", LINE, lambda b: ln(b / 2) - lg(1 / b), lambda x, b: -(abs(x) ** b))
normalised("halfgennorm", POSITIVE, lambda b: ln(b) - lg(1 / b), lambda x, b: -(x**b))
normalised("invgamma", between(0, inf, mp.mpf("0.25")), lambda a: -lg(a), lambda x, a: -(a + 1) * ln(x) - 1 / x)
normalised(
    "jf_skew_t",
    LINE,
    lambda a, b: -(a + b - 1) * ln(2) - lbeta(a, b) - ln(a + b) / 2,
    # 1 - x / sqrt(..) as a quotient that does not cancel
    lambda x, a, b: (a + HALF) * _plus(x, a + b) + (b + HALF) * _plus(-x, a + b),
)


def _plus(x, c):
    root = mp.sqrt(c + x * x)
    return ln(1 + x / root) if x >= 0 else ln(c / (root * (root - x)))


@row("kappa4", between(-inf, inf, 0))
def _kappa4(h, k):
    def inner(x):
        return e(-x) if k == 0 else e(mp.log1p(-k * x) / k) if k * x < 1 else mp.zero

    def log(x):
        if k * x >= 1 or h * (y := inner(x)) >= 1:
            return -inf
        first = -x if k == 0 else (1 / k - 1) * mp.log1p(-k * x)
        return first + (-y if h == 0 else (1 / h - 1) * mp.log1p(-h * y))

    return log


normalised("loggamma", LINE, lambda c: -lg(c), lambda x, c: c * x - e(x))
normalised("nakagami", POSITIVE, lambda n: ln(2) + n * ln(n) - lg(n), lambda x, n: (2 * n - 1) * ln(x) - n * x * x)
normalised(
    "ncf",
    POSITIVE,
    lambda m, n, c: -c / 2 - lbeta(m / 2, n / 2) + m / 2 * ln(m / n),
    lambda x, m, n, c: (
        (m / 2 - 1) * ln(x) - (m + n) / 2 * mp.log1p(m * x / n) + ln(mp.hyp1f1((m + n) / 2, m / 2, c / 2 * m * x / (m * x + n)))
    ),
)
normalised(
    "nct",
    LINE,
    lambda n, c: n / 2 * ln(n) + lg(n + 1) - n * ln(2) - c * c / 2 - lg(n / 2),
    lambda x, n, c: (
        -n / 2 * ln(n + x * x)
        + ln(
            mp.sqrt(2)
            * c
            * x
            * mp.hyp1f1(n / 2 + 1, mp.mpf(3) / 2, c * c * x * x / (2 * (n + x * x)))
            / (n + x * x)
            / g((n + 1) / 2)
            + mp.hyp1f1((n + 1) / 2, HALF, c * c * x * x / (2 * (n + x * x))) / mp.sqrt(n + x * x) / g(n / 2 + 1)
        )
    ),
)
normalised(
    "ncx2",
    between(0, inf, 20),
    lambda k, c: -ln(2) - c / 2,
    light(lambda x, k, c: -x / 2 + (k / 4 - HALF) * ln(x / c) + ln(mp.besseli(k / 2 - 1, mp.sqrt(c * x)))),
)
normalised(
    "norminvgauss",
    LINE,
    lambda a, b: ln(a / pi) + mp.sqrt(a * a - b * b),
    light(lambda x, a, b: b * x + ln(mp.besselk(1, a * mp.sqrt(1 + x * x))) - mp.log1p(x * x) / 2),
)
normalised(
    "pearson3",
    lambda s: (-2 / s, 0, inf),
    lambda s: ln(2 / s) - lg(4 / s**2),
    lambda x, s: (4 / s**2 - 1) * ln(2 / s * (x + 2 / s)) - 2 / s * (x + 2 / s),
)
normalised("rdist", between(-1, 1), lambda c: -lbeta(HALF, c / 2), lambda x, c: (c / 2 - 1) * ln((1 - x) * (1 + x)))
normalised(
    "rel_breitwigner",
    lambda r: (0, r, inf),
    lambda r: ln(mp.sqrt(2 * (1 + 1 / r**2) / (1 + mp.sqrt(1 + 1 / r**2))) * 2 / pi),
    lambda x, r: -mp.log1p(((x - r) * (x + r) / r) ** 2),
)
normalised("t", LINE, lambda n: lg((n + 1) / 2) - lg(n / 2) - ln(n * pi) / 2, lambda x, n: -(n + 1) / 2 * mp.log1p(x * x / n))
normalised("vonmises", lambda k: (-pi, 0, pi), lambda k: -ln(2 * pi * mp.besseli(0, k)), lambda x, k: k * mp.cos(x))
normalised("vonmises_line", lambda k: (-pi, 0, pi), lambda k: -ln(2 * pi * mp.besseli(0, k)), lambda x, k: k * mp.cos(x))


@row("irwinhall", lambda n: range(int(n) + 1))
def _irwinhall(n):
    n = int(n)

    def log(x):
        x = min(x, n - x)
        return ln(sum((-1) ** k * mp.binomial(n, k) * (x - k) ** (n - 1) for k in range(int(x) + 1)) / mp.factorial(n - 1))

    return log


@row("gausshyper", UNIT)
def _gausshyper(a, b, c, z):
    own = -lbeta(a, b) - ln(mp.hyp2f1(c, a, a + b, -z))
    return lambda x: own + (a - 1) * ln(x) + (b - 1) * ln(1 - x) - c * mp.log1p(z * x)


@row("kstwobign", between(0, inf, mp.mpf("0.8")))
def _kstwobign():
    """Kolmogorov (1933), and the same series after Poisson summation where that converges sooner."""

    def log(x):
        if x > 1:
            return ln(mp.fsum(8 * x * (-1) ** (k - 1) * k * k * e(-2 * k * k * x * x) for k in range(1, 40)))
        odd = [((2 * k - 1) * pi) ** 2 / 8 for k in range(1, 40)]
        return ln(mp.sqrt(2 * pi) * mp.fsum((2 * c / x**4 - 1 / x**2) * e(-c / x**2) for c in odd))

    return log


@row("landau", between(-inf, inf, 0))
def _landau():
    """(1 / pi) int_0^oo exp(-t log t - y t) sin(pi t) dt, by Gauss-Legendre rules between the zeros of the sine.

    The stable law of index 1 and unit scale in z has y = (pi / 2) z + log(pi / 2).
    """
    rule = [(mp.mpf(x), mp.mpf(w)) for x, w in _gauss(60)]
    pieces = [[w * e(-(k + t) * ln(k + t)) * mp.sin(pi * (k + t)) / pi for t, w in rule] for k in range(1, 150)]
    first = []
    for j in range(-100, 101):
        u = mp.mpf(j) / 20
        first.append((1 / (1 + e(-pi * mp.sinh(u))), pi * mp.cosh(u) / (80 * mp.cosh(pi / 2 * mp.sinh(u)) ** 2)))
    near = [(t, w * e(-t * ln(t)) * mp.sin(pi * t) / pi) for t, w in first]

    def log(z):
        z = pi / 2 * z + ln(pi / 2)
        total = mp.fsum(w * e(-z * t) for t, w in near)
        inner, fall = [e(-z * t) for t, _ in rule], e(-z)
        for k, weights in enumerate(pieces, 1):
            grown = total + fall**k * mp.fdot(inner, weights)
            if grown == total:
                break
            total = grown
        return ln(pi / 2 * total) if total > 0 else -inf

    return log


def _gauss(n):
    """Nodes and weights of Gauss-Legendre on (0, 1)."""
    out = []
    for i in range(n):
        x = mp.cos(pi * (i + mp.mpf(3) / 4) / (n + HALF))
        for _ in range(8):
            before, now = mp.one, x
            for k in range(2, n + 1):
                before, now = now, ((2 * k - 1) * x * now - (k - 1) * before) / k
            slope = n * (x * now - before) / (x * x - 1)
            x -= now / slope
        out.append(((1 + x) / 2, 1 / ((1 - x * x) * slope**2)))
    return out


# -- discrete: log pmf(k), and the range of k


def sums(name, first, last, log):
    DISCRETE[name] = log, first, last


def lbinom(n, k):
    return lg(n + 1) - lg(k + 1) - lg(n - k + 1)


sums("bernoulli", 0, lambda p: 1, lambda k, p: k * ln(p) + (1 - k) * ln(1 - p))
sums("betabinom", 0, lambda n, a, b: n, lambda k, n, a, b: lbinom(n, k) + lbeta(k + a, n - k + b) - lbeta(a, b))
sums("betanbinom", 0, lambda n, a, b: 4000, lambda k, n, a, b: lbinom(n + k - 1, k) + lbeta(a + n, b + k) - lbeta(a, b))
sums("binom", 0, lambda n, p: n, lambda k, n, p: lbinom(n, k) + k * ln(p) + (n - k) * ln(1 - p))
sums("boltzmann", 0, lambda r, n: n - 1, lambda k, r, n: ln(-mp.expm1(-r)) - r * k - ln(-mp.expm1(-r * n)))
sums("dlaplace", -200, lambda a: 200, lambda k, a: ln(mp.tanh(a / 2)) - a * abs(k))
sums("geom", 1, lambda p: 300, lambda k, p: (k - 1) * ln(1 - p) + ln(p))
sums("logser", 1, lambda p: 300, lambda k, p: k * ln(p) - ln(k) - ln(-ln(1 - p)))
sums("nbinom", 0, lambda n, p: 400, lambda k, n, p: lg(n + k) - lg(n) - lg(k + 1) + n * ln(p) + k * ln(1 - p))
sums("planck", 0, lambda r: 400, lambda k, r: ln(-mp.expm1(-r)) - r * k)
sums("poisson", 0, lambda m: 100, lambda k, m: k * ln(m) - m - lg(k + 1))
sums(
    "skellam",
    -150,
    lambda m, n: 200,
    lambda k, m, n: -m - n + mp.mpf(k) / 2 * ln(m / n) + ln(mp.besseli(abs(k), 2 * mp.sqrt(m * n))),
)
sums("yulesimon", 1, lambda a: 4000, lambda k, a: ln(a) + lbeta(mp.mpf(k), a + 1))
sums("zipfian", 1, lambda a, n: n, lambda k, a, n: -a * ln(k) - ln(mp.fsum(mp.mpf(j) ** -a for j in range(1, int(n) + 1))))


@lambda density: DISCRETE.__setitem__("nchypergeom_fisher", (density, 0, lambda M, n, N, w: N))
def _fisher(k, M, n, N, w):
    M, n, N = int(M), int(n), int(N)
    total = mp.fsum(mp.binomial(n, j) * mp.binomial(M - n, N - j) * w**j for j in range(N + 1))
    return ln(mp.binomial(n, k) * mp.binomial(M - n, N - k)) + k * ln(w) - ln(total)


@lambda density: DISCRETE.__setitem__("nchypergeom_wallenius", (density, 0, lambda M, n, N, w: N))
def _wallenius(k, M, n, N, w):
    M, n, N = int(M), int(n), int(N)
    rest = w * (n - k) + (M - n - (N - k))
    integrand = lambda t: (1 - t ** (w / rest)) ** k * (1 - t ** (1 / rest)) ** (N - k)
    return ln(mp.binomial(n, k) * mp.binomial(M - n, N - k) * mp.quad(integrand, [0, 1]))


sums("zipf", 1, lambda a: 4000, lambda k, a: -a * ln(k) - ln(mp.zeta(a)))

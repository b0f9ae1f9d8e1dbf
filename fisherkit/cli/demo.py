"""The demonstration: all three tracks on real data, each result beside an independent value.

Data: statsmodels' *spector* (did a teaching method help 32 students? a logit), and scikit-learn's handwritten digits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import fisherkit as fk

from ..errors import MissingDependencyError

NEEDED = ("statsmodels", "sklearn", "torch", "matplotlib")


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    track: str
    question: str
    method: str
    error: float
    against: str
    seconds: float


def run(output: Path) -> int:
    """Print the table, write the figures; 0."""
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise MissingDependencyError(f"the demo needs {', '.join(missing)}: pip install 'fisherkit[all]'.")
    output.mkdir(parents=True, exist_ok=True)
    spector, digits = Spector(), Digits()
    print(f"{'track':<10} {'question':<48} {'method':<28} {'error':>8}  {'against':<34} {'s':>5}")
    for row in (*_symbolic(spector), *_sampled(spector), *_networks(spector, digits)):
        line = f"{row.track:<10} {row.question:<48} {row.method:<28} {row.error:>8.1e}  {row.against:<34} {row.seconds:>5.2f}"
        print(line, flush=True)
    for path in (_ellipse(spector, output), _forgetting(output)):
        print(f"wrote {path}")
    return 0


# -- data


class Spector:
    """The logit of statsmodels' spector data, and what statsmodels says of it."""

    names = ("const", "gpa", "tuce", "psi")

    def __init__(self) -> None:
        import statsmodels.api as sm

        data = sm.datasets.spector.load_pandas()
        self.y = data.endog.to_numpy(dtype=float)
        self.X = sm.add_constant(data.exog.to_numpy(dtype=float), prepend=True)
        model = sm.Logit(self.y, self.X)
        fit = model.fit(disp=0, tol=1e-12, method="newton")
        self.theta = dict(zip(self.names, fit.params, strict=True))
        self.information = -model.hessian(fit.params)
        self.standard_errors = fit.bse

    @property
    def rows(self) -> np.ndarray:
        """Response and covariates side by side: the observations of a model in code."""
        return np.column_stack([self.y, self.X])


class Digits:
    """scikit-learn's digits and a small network trained on them."""

    def __init__(self) -> None:
        import torch
        from sklearn.datasets import load_digits

        data = load_digits()
        self.X = torch.tensor(data.data / 16.0, dtype=torch.float32)
        self.y = torch.tensor(data.target)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            nn = torch.nn
            self.network = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))
        optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-2)
        for _ in range(60):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(self.network(self.X), self.y).backward()
            optimizer.step()


# -- the three tracks


def _symbolic(spector: Spector) -> Iterator[Row]:
    import sympy as sp
    from sympy.stats import Gamma

    k, theta = sp.symbols("k theta", positive=True)
    gamma, seconds = _timed(lambda: fk.expected_information(Gamma("X", k, theta)))
    from scipy.special import polygamma

    exact = np.array([[polygamma(1, 2.5), 2.0], [2.0, 10.0]])
    error = _error(gamma.at(k=2.5, theta=0.5), exact)
    yield Row("symbolic", "gamma: closed form, at (2.5, 0.5)", repr(gamma.method), error, "trigamma of SciPy", seconds)
    print(f"{'':<10} its matrix in k and theta: {gamma.dense().tolist()}")

    logit, seconds = _timed(lambda: _symbolic_logit(spector))
    yield Row(
        "symbolic",
        "spector: logit, 32 rows summed",
        repr(logit.method),
        _error(logit, spector.information),
        "statsmodels",
        seconds,
    )


def _symbolic_logit(spector: Spector) -> fk.FisherInformation:
    """One formula for a row of the design; its values summed over the rows."""
    import sympy as sp

    y = sp.Symbol("y", integer=True)
    betas, x = sp.symbols(" ".join(spector.names), real=True), sp.symbols("x0:4", real=True)
    eta = sum(b * v for b, v in zip(betas, x, strict=True))
    row = fk.symbolic.Model(log_density=y * eta - sp.log(1 + sp.exp(eta)), data=y, parameters=betas, support={0, 1})
    formula = fk.expected_information(row)
    parts = [formula.at({**spector.theta, **dict(zip(map(str, x), values, strict=True))}) for values in spector.X]
    return sum(parts[1:], start=parts[0])


def _sampled(spector: Spector) -> Iterator[Row]:
    from scipy import stats
    from scipy.special import polygamma

    gamma, seconds = _timed(lambda: fk.expected_information(stats.gamma, {"a": 2.5, "scale": 0.5}))
    exact = np.array([[polygamma(1, 2.5), 2.0], [2.0, 10.0]])
    yield Row(
        "sampled", "scipy.stats.gamma at (2.5, 0.5)", repr(gamma.method), _error(gamma, exact), "trigamma of SciPy", seconds
    )

    model = _logit_in_code(spector)
    observed, seconds = _timed(lambda: fk.observed_information(model, spector.theta, data=spector.rows))
    errors = np.max(np.abs(observed.standard_errors() / spector.standard_errors - 1))
    yield Row("sampled", "spector: standard errors from 32 students", "observed", float(errors), "statsmodels", seconds)

    method = fk.MonteCarlo(40_000, rng=0)
    drawn, seconds = _timed(lambda: fk.expected_information(model, spector.theta, method=method).total(32))
    worst = np.max(np.abs(np.asarray(drawn) - spector.information) / drawn.mcse)
    told = f"statsmodels, {worst:.1f} mcse off"
    yield Row(
        "sampled",
        "spector: the same from simulated students",
        "MonteCarlo(40000)",
        _error(drawn, spector.information),
        told,
        seconds,
    )


def _logit_in_code(spector: Spector) -> fk.sampled.Model:
    def log_density(rows: np.ndarray, beta: np.ndarray) -> np.ndarray:
        eta = rows[:, 1:] @ beta
        return np.asarray(rows[:, 0] * eta - np.logaddexp(0, eta))

    def sampler(beta: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
        """Students with the covariates of one of the 32, and a response drawn from the model."""
        X = spector.X[rng.integers(len(spector.X), size=size)]
        return np.column_stack([rng.random(size) < 1 / (1 + np.exp(-X @ beta)), X])

    return fk.sampled.Model(log_density, sampler=sampler, parameters=spector.names)


def _networks(spector: Spector, digits: Digits) -> Iterator[Row]:
    import torch

    linear = torch.nn.Linear(4, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        linear.weight[:] = torch.tensor(list(spector.theta.values()))
    net = fk.networks.Model(linear, likelihood="bernoulli")
    logit, seconds = _timed(lambda: fk.expected_information(net, inputs=torch.tensor(spector.X)).total(32))
    yield Row(
        "networks",
        "spector: a network of one Linear",
        repr(logit.method),
        _error(logit, spector.information),
        "statsmodels",
        seconds,
    )

    net, few = fk.networks.Model(digits.network, likelihood="categorical"), digits.X[:200]
    brute = _brute_force(digits.network, few)
    exact, seconds = _timed(lambda: fk.expected_information(net, inputs=few, structure="diagonal"))
    yield Row(
        "networks",
        "digits: diagonal of a trained MLP, 200 images",
        "Exact()",
        _diagonal_error(exact, brute),
        "one by one in a loop",
        seconds,
    )

    full, seconds = _timed(lambda: fk.expected_information(net, inputs=digits.X, structure="diagonal"))
    drawn, drawing = _timed(
        lambda: fk.expected_information(net, inputs=digits.X, structure="diagonal", method=fk.MonteCarlo(50, rng=0))
    )
    error = _diagonal_error(drawn, full.diagonal())
    yield Row(
        "networks",
        "digits: the same, all 1797, labels drawn",
        "MonteCarlo(50)",
        error,
        f"exact, which took {seconds:.2f} s",
        drawing,
    )


def _brute_force(network: Any, images: Any) -> dict[str, Any]:
    """The definition: one image, one label at a time, in float64."""
    import copy

    import torch

    double = copy.deepcopy(network).double()
    names, parameters = zip(*double.named_parameters(), strict=True)
    total = [torch.zeros_like(p) for p in parameters]
    for image in images.double():
        log_p = torch.log_softmax(double(image), dim=0)
        for value in log_p:
            gradients = torch.autograd.grad(value, parameters, retain_graph=True)
            for sum_, gradient in zip(total, gradients, strict=True):
                sum_ += value.exp().detach() * gradient**2 / len(images)
    return dict(zip(names, total, strict=True))


# -- figures


def _ellipse(spector: Spector, output: Path) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4), layout="constrained")
    ax = figure.add_subplot()
    information = fk.FisherInformation(spector.information, parameters=spector.names, kind="observed", n=32, point=spector.theta)
    fk.plots.ellipse(information, "gpa", "psi", ax=ax)
    ax.set_title("spector: what 32 students tell of two effects")
    ax.legend()
    figure.savefig(path := output / "spector_ellipse.png", dpi=150)
    return path


def _forgetting(output: Path) -> Path:
    """Two tasks of permuted digits: accuracy on the first while the second is learnt, plain and with EWC."""
    from matplotlib.figure import Figure

    from . import forgetting

    figure = Figure(figsize=(5, 4), layout="constrained")
    ax = figure.add_subplot()
    for label, (first, second) in forgetting.curves().items():
        (line,) = ax.plot(first, label=f"{label}: first task")
        ax.plot(second, linestyle=":", color=line.get_color(), label=f"{label}: second task")
        print(f"{label}: first task {first[0]:.3f} -> {first[-1]:.3f}, second task {second[-1]:.3f}")
    ax.set(xlabel="epoch of the second task", ylabel="test accuracy", title="permuted digits")
    ax.legend()
    figure.savefig(path := output / "permuted_digits.png", dpi=150)
    return path


# -- small things


def _timed(work: Callable[[], fk.FisherInformation]) -> tuple[fk.FisherInformation, float]:
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def _error(found: fk.FisherInformation, exact: np.ndarray) -> float:
    """Largest difference, relative to the root of the diagonals."""
    root = np.sqrt(np.diagonal(exact))
    return float(np.max(np.abs(np.asarray(found) - exact) / np.outer(root, root)))


def _diagonal_error(found: fk.FisherInformation, exact: dict[str, Any]) -> float:
    """Largest difference, relative to the largest entry of its tensor."""
    diagonal = found.diagonal()
    return max(float((diagonal[name] - exact[name]).abs().max() / exact[name].max()) for name in exact)

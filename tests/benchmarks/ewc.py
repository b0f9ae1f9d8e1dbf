"""``python -m tests.benchmarks.ewc``: EWC beside Avalanche's, on permuted and split digits, and the time of its Fisher pass.

Three tables in Markdown, those of docs/ewc-benchmark.md. Avalanche is optional (``pip install avalanche-lib==0.6.0``); without
it its formula, written by hand, stands in and is labelled so. ``--quick`` is a smaller run with every step of the full one.

Strengths are picked by the mean accuracy after the last task on validation images, over the seeds; the tables show test images.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import fisherkit as fk

from .continual import BATCH, Outcome, Task, convolutional, digits, learn, perceptron, permuted_tasks, split_tasks, train
from .guards import HAS_AVALANCHE, L2, Avalanche, BatchedFormula, Ours, Plain

VALIDATION, TEST = 1, 2
Network, Strengths = Callable[[], nn.Module], tuple[float, ...]
STAND_IN = "Avalanche's formula, by hand"


@dataclass(frozen=True)
class Size:
    """How much is run."""

    seeds: int = 3
    epochs: int = 5
    strengths: Strengths = (3, 10, 30, 100, 300, 1e3, 3e3, 1e4)  # one grid for ours and Avalanche's
    batches: tuple[int, ...] = (16, 128, 1000)
    l2: Strengths = (0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10)
    split_l2: Strengths = (0.01, 0.1, 1, 10, 100)
    split_ewc: Strengths = (1, 10, 100, 1e3, 1e4)
    split_epochs: int = 10
    repetitions: int = 5


FULL = Size()
QUICK = Size(1, 2, (100, 1e4), (16, 1000), l2=(0.1,), split_l2=(0.1,), split_ewc=(100,), split_epochs=2, repetitions=1)


@dataclass(frozen=True)
class Best:
    """The outcomes, one per seed, at the strength that validation picked."""

    strength: float
    outcomes: list[Outcome]

    def spread(self, what: Callable[[Outcome], float]) -> str:
        values = [what(outcome) for outcome in self.outcomes]
        return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else f"{values[0]:.3f}"

    def row(self) -> str:
        """Mean accuracy, forgetting, first and last task."""
        last = [outcome.accuracy[TEST, -1] for outcome in self.outcomes]
        first, final = np.mean([rows[0] for rows in last]), np.mean([rows[-1] for rows in last])
        parts = (self.spread(lambda o: o.mean(TEST)), self.spread(lambda o: o.forgetting(TEST)), f"{first:.3f} / {final:.3f}")
        return " | ".join(parts)


def begun(network: Network, tasks: list[Task], epochs: int, seed: int) -> nn.Module:
    """A network that has learnt the first task: there is nothing to hold yet, so that all guards start from here."""
    torch.manual_seed(seed)
    module = network()
    train(module, tasks[0], lambda: 0.0, epochs, seed)
    return module


def run(module: nn.Module, guard: Callable[..., Any], strength: float, tasks: list[Task], epochs: int, seed: int) -> Outcome:
    """All other tasks, by a copy."""
    module = copy.deepcopy(module)
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of an information that has vanished: the trace tells it
        return learn(module, guard(module, strength), tasks, epochs=epochs, seed=seed)


def picked(network: Network, guard: Callable[..., Any], strengths: Strengths, tasks: list[list[Task]], epochs: int) -> Best:
    """The strength with the best validation mean over the seeds; one list of tasks per seed."""
    first = [begun(network, t, epochs, seed) for seed, t in enumerate(tasks)]
    tried = {s: [run(first[seed], guard, s, t, epochs, seed) for seed, t in enumerate(tasks)] for s in strengths}
    strength = max(tried, key=lambda s: float(np.mean([outcome.mean(VALIDATION) for outcome in tried[s]])))
    return Best(strength, tried[strength])


def table(*header: str) -> str:
    return "| " + " | ".join(header) + " |\n|" + "---|" * len(header)


MEASURES = ("best strength", "mean accuracy", "forgetting", "first / last task")


def side_by_side(size: Size) -> Iterator[str]:
    """Permuted digits, a perceptron: one grid, the Fisher's batch size 16, 128, 1000."""
    tasks = [permuted_tasks(seed) for seed in range(size.seeds)]
    yield table("permuted digits", "Fisher's batch", "trace of the first F", *MEASURES)
    rivals: dict[str, Any] = {"fisherkit": Ours}
    rivals |= {"Avalanche 0.6.0": Avalanche} if HAS_AVALANCHE else {STAND_IN: BatchedFormula}
    for name, guard, strengths in (("plain", Plain, (0.0,)), ("L2", L2, size.l2)):
        best = picked(perceptron, partial(guard, batch=0), strengths, tasks, size.epochs)
        yield f"| {name} | | | {best.strength:g} | {best.row()} |"
    for name, guard in rivals.items():
        for batch in size.batches:
            best = picked(perceptron, partial(guard, batch=batch), size.strengths, tasks, size.epochs)
            trace = np.mean([outcome.trace for outcome in best.outcomes])
            yield f"| {name} | {batch} | {trace:.3g} | {best.strength:,.0f} | {best.row()} |"


def splits(size: Size) -> Iterator[str]:
    """Five tasks of two digits, a small CNN with BatchNorm and without."""
    yield table("split digits", "guard", *MEASURES)
    guards = (("plain", Plain, (0.0,)), ("L2", L2, size.split_l2), ("EWC", Ours, size.split_ewc))
    for own_heads, normalise in ((True, True), (True, False), (False, True), (False, False)):
        tasks = [split_tasks(seed, own_heads=own_heads) for seed in range(size.seeds)]
        network = partial(convolutional, own_heads=own_heads, normalise=normalise)
        heads = "task-incremental, a head each" if own_heads else "class-incremental, a growing head"
        for name, guard, strengths in guards:
            best = picked(network, partial(guard, batch=128), strengths, tasks, size.split_epochs)
            yield f"| {heads}{'' if normalise else ', no BatchNorm'} | {name} | {best.strength:g} | {best.row()} |"


# -- time


def jobs(module: nn.Module, X: torch.Tensor, y: torch.Tensor, batch: int) -> dict[str, Callable[[], object]]:
    """One epoch of training first; then the passes over the same images."""
    net, optimizer = fk.networks.Model(module, likelihood="categorical"), torch.optim.Adam(module.parameters(), lr=1e-9)
    loader = DataLoader(TensorDataset(X, y), batch_size=batch)

    def epoch() -> None:
        for x, labels in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(x), labels).backward()
            optimizer.step()

    def consolidated(**how: Any) -> Callable[[], object]:
        return lambda: fk.applications.EWC(net, strength=1.0).consolidate(loader, **how)

    rival = Avalanche(module, 1.0, batch) if HAS_AVALANCHE else BatchedFormula(module, 1.0, batch)
    return {
        "one training epoch": epoch,
        "exact": consolidated(method=fk.Exact()),
        "Monte Carlo, one label": consolidated(method=fk.MonteCarlo(1, rng=0, groups=0)),
        "empirical": consolidated(labels="data"),
        "Avalanche 0.6.0, batched" if HAS_AVALANCHE else STAND_IN: lambda: rival.consolidate(X, y),
    }


def times(size: Size) -> Iterator[str]:
    """Medians of interleaved repetitions, relative to an epoch of training, so that a busy machine slows both."""
    (X, y), *_ = digits()
    torch.manual_seed(0)
    wide = nn.Sequential(nn.Linear(784, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(), nn.Linear(200, 10))
    cases = {
        "perceptron 784-200-200-10": (wide, torch.rand(2048, 784), torch.randint(0, 10, (2048,))),
        "perceptron 64-100-10": (perceptron(), X, y),
        "CNN with BatchNorm, 8 × 8": (convolutional(own_heads=False), X.reshape(-1, 1, 8, 8), y % 2),
    }
    yield table("network, batches of 128", "images", "pass", "relative to a training epoch")
    for name, (module, inputs, labels) in cases.items():
        todo = jobs(module.eval(), inputs, labels, 128)
        for what, ratio in ratios(todo, size.repetitions).items():
            yield f"| {name} | {len(inputs)} | {what} | {ratio:.2f} |"


def ratios(todo: dict[str, Callable[[], object]], repetitions: int) -> dict[str, float]:
    """Of each job to the first one, after a round that warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in todo}
    for _ in range(repetitions + 1):
        for name, job in todo.items():
            start = time.process_time()
            job()
            seconds[name].append(time.process_time() - start)
    base = seconds[next(iter(todo))][1:]
    return {name: statistics.median(t / b for t, b in zip(spent[1:], base, strict=True)) for name, spent in seconds.items()}


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed, few strengths and epochs: that it runs, not a result")
    parser.add_argument("--only", choices=("avalanche", "splits", "times"), help="one table")
    arguments = parser.parse_args(given)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        report(QUICK if arguments.quick else FULL, arguments.only)
    finally:
        torch.set_num_threads(threads)


def report(size: Size, only: str | None) -> None:
    start = time.process_time()
    told = "" if HAS_AVALANCHE else f" Avalanche is not installed: '{STAND_IN}' stands in for it."
    print(f"{size.seeds} seed(s), Adam at 1e-3, batches of {BATCH}, one thread, torch {torch.__version__}.{told}")
    for name, study in (("avalanche", side_by_side), ("splits", splits), ("times", times)):
        if only in (None, name):
            print()
            for line in study(size):
                print(line, flush=True)
    print(f"\n{time.process_time() - start:.0f} s of CPU.")


if __name__ == "__main__":
    main()

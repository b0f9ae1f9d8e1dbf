"""Time of a diagonal and of Kronecker factors, relative to a forward and backward pass of the mean loss over the same batches.

Run ``python -m tests.benchmarks.networks``: medians of interleaved repetitions, so that a busy machine slows both.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

import fisherkit as fk

BATCH = 256


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(784, 1000), nn.ReLU(), nn.Linear(1000, 1000), nn.ReLU(), nn.Linear(1000, 10))


def training_pass(module: nn.Module, X: torch.Tensor, y: torch.Tensor) -> None:
    """What an optimizer pays for one epoch, without its own step."""
    for x, labels in zip(X.split(BATCH), y.split(BATCH), strict=True):
        module.zero_grad()
        nn.functional.cross_entropy(module(x), labels).backward()


def jobs(module: nn.Module, X: torch.Tensor, y: torch.Tensor) -> dict[str, Callable[[], object]]:
    net = fk.networks.Model(module, "categorical")

    def expected(method: fk.MonteCarlo | fk.Exact, structure: str = "diagonal") -> Callable[[], object]:
        return lambda: fk.expected_information(net, inputs=X, structure=structure, method=method)

    return {
        "forward + backward": lambda: training_pass(module, X, y),
        "empirical": lambda: fk.empirical_information(net, data=(X, y), structure="diagonal"),
        "Monte Carlo, one label": expected(fk.MonteCarlo(1, rng=0)),
        "Monte Carlo, one label, 20 groups": expected(fk.MonteCarlo(1, rng=0, groups=20)),
        "exact, 10 classes": expected(fk.Exact()),
        "KFAC, one label": expected(fk.MonteCarlo(1, rng=0), "kfac"),
        "EKFAC, one label": expected(fk.MonteCarlo(1, rng=0), "ekfac"),
    }


def ratios(repetitions: int, examples: int) -> dict[str, float]:
    """Median over the repetitions of each job's time over the baseline's."""
    torch.manual_seed(0)
    X, y = torch.randn(examples, 784), torch.randint(0, 10, (examples,))
    todo = jobs(mlp(), X, y)
    for job in todo.values():
        job()
    seconds: dict[str, list[float]] = {name: [] for name in todo}
    for _ in range(repetitions):
        for name, job in todo.items():
            start = time.perf_counter()
            job()
            seconds[name].append(time.perf_counter() - start)
    base = seconds["forward + backward"]
    return {name: statistics.median(t / b for t, b in zip(times, base, strict=True)) for name, times in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--examples", type=int, default=4096)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"MLP 784-1000-1000-10, {arguments.examples} examples, batch {BATCH}, float32, {arguments.threads} thread(s)")
    for name, ratio in ratios(arguments.repetitions, arguments.examples).items():
        print(f"{ratio:6.2f}  {name}")


if __name__ == "__main__":
    main()

"""Two tasks of permuted digits, learnt one after the other: plain training forgets, EWC does not."""

from __future__ import annotations

import copy
from typing import Any

import fisherkit as fk

STRENGTH = 100.0
EPOCHS = 40


def curves() -> dict[str, tuple[list[float], list[float]]]:
    """Accuracy on the first and on the second task, after each epoch of the second."""
    import torch
    from sklearn.datasets import load_digits

    data = load_digits()
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(data.data), generator=generator)
    X = torch.tensor(data.data / 16.0, dtype=torch.float32)[order]
    y = torch.tensor(data.target)[order]
    permuted = X[:, torch.randperm(64, generator=generator)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        nn = torch.nn
        network = nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 10))
    for _ in _epochs(network, X[:1400], y[:1400], None, generator):
        pass
    tasks = ((X[1400:], y[1400:]), (permuted[1400:], y[1400:]))
    out = {}
    for label in ("plain", "EWC"):
        learner = copy.deepcopy(network)
        ewc = None
        if label == "EWC":
            ewc = fk.applications.EWC(fk.networks.Model(learner, likelihood="categorical"), strength=STRENGTH)
            ewc.consolidate(X[:1400])
        first, second = ([_accuracy(learner, *task)] for task in tasks)
        for _ in _epochs(learner, permuted[:1400], y[:1400], ewc, torch.Generator().manual_seed(1)):
            first.append(_accuracy(learner, *tasks[0]))
            second.append(_accuracy(learner, *tasks[1]))
        out[label] = (first, second)
    return out


def _epochs(network: Any, X: Any, y: Any, ewc: Any, generator: Any) -> Any:
    """Train, yielding after each epoch."""
    import torch

    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for epoch in range(EPOCHS):
        for batch in torch.randperm(len(X), generator=generator).split(64):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(network(X[batch]), y[batch])
            (loss + ewc.penalty() if ewc else loss).backward()
            optimizer.step()
        yield epoch


def _accuracy(network: Any, X: Any, y: Any) -> float:
    import torch

    with torch.no_grad():
        return float((network(X).argmax(dim=1) == y).double().mean())

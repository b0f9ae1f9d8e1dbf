"""Tasks, networks and one training loop for all that ``tests.benchmarks.ewc`` compares; guards are in `guards`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

BATCH, LEARNING_RATE = 32, 1e-3
PARTS = (1100, 297, 400)  # images to learn from, to pick strengths by, and to report


class Guard(Protocol):
    """What holds the weights between tasks."""

    def penalty(self) -> Tensor | float: ...

    def consolidate(self, X: Tensor, y: Tensor) -> None: ...

    def trace(self) -> float: ...


@dataclass(frozen=True)
class Task:
    """Images and labels for learning, validation and test."""

    parts: tuple[tuple[Tensor, Tensor], ...]

    def accuracy(self, module: nn.Module, part: int) -> float:
        X, y = self.parts[part]
        with torch.no_grad():
            return float((module(X).argmax(dim=1) == y).double().mean())


def digits() -> tuple[tuple[Tensor, Tensor], ...]:
    """Scikit-learn's 1,797 digits, shuffled once and cut in three."""
    from sklearn.datasets import load_digits

    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.data))
    X, y = torch.tensor(data.data[order] / 16, dtype=torch.float32), torch.tensor(data.target[order])
    return tuple(zip(X.split(PARTS), y.split(PARTS), strict=True))


def permuted_tasks(seed: int, count: int = 3) -> list[Task]:
    """The first task is the digits as they are; each other one shuffles the pixels."""
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.arange(64), *(torch.randperm(64, generator=generator) for _ in range(count - 1))]
    return [Task(tuple((X[:, order], y) for X, y in digits())) for order in orders]


def split_tasks(seed: int, *, own_heads: bool) -> list[Task]:
    """Two classes a task, in an order drawn by the seed; labels count within the task where it has a head of its own."""
    rank = torch.randperm(10, generator=torch.Generator().manual_seed(seed))
    tasks = []
    for number in range(5):
        parts = []
        for X, y in digits():
            rows = rank[y] // 2 == number
            labels = rank[y][rows]
            parts.append((X[rows].reshape(-1, 1, 8, 8), labels % 2 if own_heads else labels))
        tasks.append(Task(tuple(parts)))
    return tasks


class Headed(nn.Module):
    """A body with one head per task, used alone (task-incremental) or side by side (class-incremental: the output grows)."""

    def __init__(self, body: nn.Module, width: int, outputs: int, *, own_heads: bool) -> None:
        super().__init__()
        self.body, self.heads, self.own_heads = body, nn.ModuleList([nn.Linear(width, outputs)]), own_heads
        self.task = 0

    def enter(self, task: int) -> None:
        if task == len(self.heads):
            self.heads.append(nn.Linear(self.heads[0].in_features, self.heads[0].out_features))
        self.task = task

    def forward(self, x: Tensor) -> Tensor:
        features = self.body(x)
        if self.own_heads:
            return self.heads[self.task](features)
        return torch.cat([head(features) for head in self.heads], dim=1)


class OneHead(nn.Sequential):
    """A network that does not know which task it is in."""

    def enter(self, task: int) -> None:
        pass


def perceptron(*, width: int = 100) -> nn.Module:
    return OneHead(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))


def convolutional(*, own_heads: bool, normalise: bool = True) -> nn.Module:
    """Two convolutions with BatchNorm."""
    norms = (nn.BatchNorm2d(8), nn.BatchNorm2d(16)) if normalise else (nn.Identity(), nn.Identity())
    first, second = nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.Conv2d(8, 16, 3, stride=2, padding=1)
    body = nn.Sequential(first, norms[0], nn.ReLU(), second, norms[1], nn.ReLU(), nn.Flatten())
    return Headed(body, 64, 2, own_heads=own_heads)


@dataclass(frozen=True)
class Outcome:
    """Accuracies after each task: (part, after task, on task)."""

    accuracy: np.ndarray
    trace: float

    def mean(self, part: int) -> float:
        """Average over the tasks after the last."""
        return float(self.accuracy[part, -1].mean())

    def forgetting(self, part: int) -> float:
        """How far each earlier task fell from its best."""
        rows = self.accuracy[part]
        return float((np.nanmax(rows, axis=0) - rows[-1])[:-1].mean())


def train(module: nn.Module, task: Task, penalty: Callable[[], Tensor | float], epochs: int, seed: int) -> None:
    """A new Adam for each task."""
    generator, optimizer = torch.Generator().manual_seed(seed), torch.optim.Adam(module.parameters(), lr=LEARNING_RATE)
    X, y = task.parts[0]
    module.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(X), generator=generator).split(BATCH):
            optimizer.zero_grad()
            (nn.functional.cross_entropy(module(X[rows]), y[rows]) + penalty()).backward()
            optimizer.step()
    module.eval()


def learn(module: nn.Module, guard: Guard, tasks: list[Task], *, epochs: int, seed: int) -> Outcome:
    """The tasks after the first, which the module has learnt already; nothing of an earlier task is seen again."""
    accuracy, trace = np.full((3, len(tasks), len(tasks)), np.nan), 0.0
    judge(module, tasks[:1], accuracy[:, 0])
    for number in range(1, len(tasks)):
        guard.consolidate(*tasks[number - 1].parts[0])
        trace = trace or guard.trace()
        module.enter(number)
        train(module, tasks[number], guard.penalty, epochs, seed)
        judge(module, tasks[: number + 1], accuracy[:, number])
    return Outcome(accuracy, trace)


def judge(module: nn.Module, tasks: list[Task], into: np.ndarray) -> None:
    """Accuracy on validation and test images of each task so far."""
    for number, task in enumerate(tasks):
        module.enter(number)
        for part in (1, 2):
            into[part, number] = task.accuracy(module, part)
    module.enter(len(tasks) - 1)

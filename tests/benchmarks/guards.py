"""What can hold the weights between tasks: nothing, L2, fisherkit's EWC, Avalanche's, and its formula written by hand."""

from __future__ import annotations

import warnings
from functools import cache
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import fisherkit as fk

HAS_AVALANCHE = find_spec("avalanche") is not None


class Plain:
    """Nothing is held."""

    def __init__(self, module: nn.Module, strength: float = 0.0, batch: int = 0) -> None:
        self.module, self.strength, self.batch = module, strength, batch
        self.anchor: dict[str, Tensor] = {}
        self.weights: dict[str, Tensor] = {}

    def penalty(self) -> Tensor | float:
        """Without the 1/2, as Avalanche has it."""
        own = dict(self.module.named_parameters())
        return self.strength * sum((w * (own[name] - self.anchor[name]) ** 2).sum() for name, w in self.weights.items())

    def consolidate(self, X: Tensor, y: Tensor) -> None:
        pass

    def trace(self) -> float:
        return float(sum(w.sum() for w in self.weights.values()))

    def remember(self) -> None:
        self.anchor = {name: p.detach().clone() for name, p in self.module.named_parameters()}


class L2(Plain):
    """strength / 2 * the squared distance from the last optimum."""

    def consolidate(self, X: Tensor, y: Tensor) -> None:
        self.remember()
        self.weights = {name: torch.tensor(0.5) for name in self.anchor}


class BatchedFormula(Plain):
    """Avalanche's arithmetic by hand: the square of each batch's mean gradient at the data's labels, averaged over batches."""

    def consolidate(self, X: Tensor, y: Tensor) -> None:
        self.module.eval()
        pairs = list(zip(X.split(self.batch), y.split(self.batch), strict=True))
        for x, labels in pairs:
            self.module.zero_grad()
            nn.functional.cross_entropy(self.module(x), labels).backward()
            for name, p in self.module.named_parameters():
                if p.grad is not None:
                    self.weights[name] = self.weights.get(name, torch.zeros_like(p)) + p.grad**2 / len(pairs)
        self.remember()


class Avalanche:
    """The EWCPlugin of avalanche-lib 0.6.0, online with decay 1; the loop calls the hooks that Avalanche's own loop calls."""

    def __init__(self, module: nn.Module, strength: float, batch: int) -> None:
        self.plugin = plugin(strength)
        self.strategy = SimpleNamespace(
            model=module,
            device="cpu",
            train_mb_size=batch,
            optimizer=module,  # of which the pass calls zero_grad only
            _criterion=nn.CrossEntropyLoss(),
            clock=SimpleNamespace(train_exp_counter=0),
            loss=0.0,
        )

    def penalty(self) -> Tensor | float:
        self.strategy.loss = 0.0
        self.plugin.before_backward(self.strategy)
        return self.strategy.loss

    def consolidate(self, X: Tensor, y: Tensor) -> None:
        self.strategy.experience = SimpleNamespace(dataset=TensorDataset(X, y, torch.zeros_like(y)))
        self.plugin.after_training_exp(self.strategy)
        self.strategy.model.eval()  # train mode is left behind, even where eval mode was found
        self.strategy.clock.train_exp_counter += 1

    def trace(self) -> float:
        latest = self.plugin.importances[self.strategy.clock.train_exp_counter - 1]
        return float(sum(value.data.sum() for value in latest.values()))


class Ours:
    """`fk.applications.EWC`, with its information taken in batches of that size."""

    def __init__(self, module: nn.Module, strength: float, batch: int) -> None:
        self.ewc = fk.applications.EWC(fk.networks.Model(module, likelihood="categorical"), strength=strength)
        self.batch = batch

    def penalty(self) -> Tensor:
        return self.ewc.penalty()

    def consolidate(self, X: Tensor, y: Tensor) -> None:
        self.ewc.consolidate(DataLoader(TensorDataset(X, y), batch_size=self.batch))

    def trace(self) -> float:
        return self.ewc.report().trace


def plugin(strength: float) -> Any:
    """Avalanche's EWC."""
    _declare_operators()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from avalanche.training.plugins import EWCPlugin
    return EWCPlugin(ewc_lambda=strength, mode="online", decay_factor=1.0)


@cache
def _declare_operators() -> torch.library.Library | None:
    """Avalanche imports torchvision, whose wheels are built for CUDA's torch: beside a CPU torch two operators are missing."""
    if hasattr(torch.ops.torchvision, "nms"):
        return None
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library

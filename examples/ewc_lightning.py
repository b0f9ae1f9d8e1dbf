"""EWC in Lightning: one callback. Two tasks of permuted digits, with it and without.

    pip install lightning scikit-learn
    python examples/ewc_lightning.py        # about 10 seconds

Run with lightning 2.6.
"""

from __future__ import annotations

import logging
import warnings
from typing import Any

import lightning
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import fisherkit as fk


class EWCCallback(lightning.Callback):
    """Holds what earlier calls of ``fit`` have learnt: ``Trainer(callbacks=[EWCCallback(net, strength=100.0)])``.

    Give every trainer the same callback. Checkpoints keep its state.
    """

    def __init__(self, net: fk.networks.Model, *, strength: float) -> None:
        self.ewc = fk.applications.EWC(net, strength=strength)

    def on_before_optimizer_step(self, *_: Any) -> None:  # gradients are whole and unscaled here, before they are clipped
        penalty = self.ewc.penalty()
        if penalty.requires_grad:  # not in the first task
            penalty.backward()

    def on_train_end(self, trainer: lightning.Trainer, *_: Any) -> None:  # the network is still on its device
        self.ewc.consolidate(trainer.train_dataloader)

    def state_dict(self) -> dict[str, Tensor]:
        return self.ewc.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.ewc.load_state_dict(state)


class Classifier(lightning.LightningModule):
    """A LightningModule as yours is: the network is one of its attributes, and gives logits."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 10))

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        inputs, labels = batch
        return nn.functional.cross_entropy(self.network(inputs), labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def tasks() -> list[TensorDataset]:
    """The digits, and the digits with their pixels in another order."""
    digits = load_digits()
    X, y = torch.tensor(digits.data / 16, dtype=torch.float32), torch.tensor(digits.target)
    other = torch.from_numpy(np.random.default_rng(0).permutation(64))
    return [TensorDataset(X, y), TensorDataset(X[:, other], y)]


def learn(strength: float, epochs: int) -> list[float]:
    """Accuracy on both tasks after learning one and then the other."""
    lightning.seed_everything(0, verbose=False)
    classifier = Classifier()
    net = fk.networks.Model(classifier.network, likelihood="categorical")  # the network itself, not the LightningModule
    callback = EWCCallback(net, strength=strength)
    for task in tasks():
        trainer = lightning.Trainer(
            max_epochs=epochs,
            callbacks=[callback],
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(classifier, DataLoader(task, batch_size=64, shuffle=True))
    return [accuracy(classifier.network, task) for task in tasks()]


def accuracy(network: nn.Module, task: TensorDataset) -> float:
    inputs, labels = task.tensors
    with torch.no_grad():
        return float((network(inputs).argmax(1) == labels).double().mean())


def main(epochs: int = 20) -> dict[str, list[float]]:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    found = {name: learn(strength, epochs) for name, strength in (("plain", 0.0), ("EWC", 100.0))}
    for name, (first, second) in found.items():
        print(f"{name:6} first task {first:.3f}  second task {second:.3f}")
    return found


if __name__ == "__main__":
    main()

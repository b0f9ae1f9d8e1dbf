"""EWC in the Hugging Face Trainer: one callback. Two tasks of permuted digits for a small ViT, with it and without.

    pip install "transformers[torch]" scikit-learn
    python examples/ewc_trainer.py          # about a minute

Run with transformers 5.23. The model is made from a configuration: nothing is downloaded.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
import transformers
from sklearn.datasets import load_digits
from torch import Tensor, nn

import fisherkit as fk


class Logits(nn.Module):
    """A model of transformers as a network: the tensors of these names in, logits out."""

    def __init__(self, model: nn.Module, names: tuple[str, ...] = ("input_ids", "attention_mask")) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *tensors: Tensor) -> Tensor:
        return self.model(**dict(zip(self.names, tensors, strict=True))).logits

    def inputs(self, batches: Iterable[dict[str, Tensor]]) -> Iterator[tuple[tuple[Tensor, ...]]]:
        for batch in batches:
            yield (tuple(batch[name] for name in self.names),)


class EWCCallback(transformers.TrainerCallback):
    """Holds what earlier trainers have learnt: ``Trainer(..., callbacks=[callback])``, the same for all."""

    def __init__(self, logits: Logits, *, strength: float) -> None:
        self.logits = logits
        self.ewc = fk.applications.EWC(fk.networks.Model(logits, "categorical"), strength=strength)

    def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:  # once per step, however gradients are accumulated
        penalty = self.ewc.penalty()
        if penalty.requires_grad:  # not in the first task
            penalty.backward()

    def on_train_end(self, *_: Any, train_dataloader: Any = None, **__: Any) -> None:
        self.ewc.consolidate(self.logits.inputs(train_dataloader))


class Digits(torch.utils.data.Dataset):
    """Images of the digits, their pixels in an order of the task's own."""

    def __init__(self, order: np.ndarray) -> None:
        digits = load_digits()
        self.X = torch.tensor(digits.data[:, order] / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
        self.y = torch.tensor(digits.target)

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, row: int) -> dict[str, Tensor]:
        return {"pixel_values": self.X[row], "labels": self.y[row]}


def learn(strength: float, epochs: int) -> list[float]:
    """Accuracy on both tasks after learning one and then the other."""
    transformers.set_seed(0)
    sizes = {"image_size": 8, "patch_size": 2, "num_channels": 1, "hidden_size": 32, "intermediate_size": 64}
    configuration = transformers.ViTConfig(**sizes, num_hidden_layers=2, num_attention_heads=2, num_labels=10)
    logits = Logits(transformers.ViTForImageClassification(configuration), ("pixel_values",))
    callback = EWCCallback(logits, strength=strength)
    tasks = [Digits(np.arange(64)), Digits(np.random.default_rng(0).permutation(64))]
    for task in tasks:
        with tempfile.TemporaryDirectory() as folder:
            options = {"learning_rate": 2e-3, "lr_scheduler_type": "constant", "report_to": "none", "use_cpu": True}
            arguments = transformers.TrainingArguments(
                folder, num_train_epochs=epochs, per_device_train_batch_size=64, save_strategy="no", disable_tqdm=True, **options
            )
            transformers.Trainer(logits.model, arguments, train_dataset=task, callbacks=[callback]).train()
    return [accuracy(logits, task) for task in tasks]


def accuracy(logits: Logits, task: Digits) -> float:
    logits.eval()
    with torch.no_grad():
        return float((logits(task.X).argmax(1) == task.y).double().mean())


def main(epochs: int = 20) -> dict[str, list[float]]:
    transformers.logging.set_verbosity_error()
    found = {name: learn(strength, epochs) for name, strength in (("plain", 0.0), ("EWC", 30.0))}
    for name, (first, second) in found.items():
        print(f"{name:6} first task {first:.3f}  second task {second:.3f}")
    return found


if __name__ == "__main__":
    main()

"""The digits and small networks trained on them, for the applications' tests."""

import itertools

import numpy as np
import torch
from torch import Tensor, nn


def digits() -> tuple[Tensor, Tensor]:
    """1,797 images of 64 pixels in float64, shuffled, and their labels."""
    from sklearn.datasets import load_digits

    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.data))
    return torch.tensor(found.data[order] / 16), torch.tensor(found.target[order])


def perceptron(seed: int, *widths: int) -> nn.Sequential:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1]).double()


def trained(module: nn.Module, X: Tensor, y: Tensor, *, epochs: int, seed: int, lr: float = 1e-2) -> nn.Module:
    optimizer = torch.optim.Adam(module.parameters(), lr=lr)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for rows in torch.randperm(len(X), generator=generator).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(X[rows]), y[rows]).backward()
            optimizer.step()
    return module

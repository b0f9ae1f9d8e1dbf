"""What a module sharded by FSDP2 gives beside one that is whole, in each of several processes. Called by processes."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed import tensor
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard

import fisherkit as fk
from tests.networks.processes import told


def sharded() -> Any:
    """The network of `network`, with a norm and a tied weight, by FSDP2: one layer by itself, the rest with the root."""
    mesh = dist.init_device_mesh("cpu", (dist.get_world_size(),))
    module = Tied()
    fully_shard(module.hidden, mesh=mesh)
    return fully_shard(module, mesh=mesh)


class Tied(nn.Module):
    """What a language model has: an embedding that is its head too, a norm with buffers, a hook of the caller's."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.hidden, self.norm = nn.Embedding(3, 5), nn.Linear(5, 5), nn.BatchNorm1d(5)
        self.head = nn.Linear(5, 3)
        self.head.weight = self.embed.weight
        self.hidden.register_forward_hook(doubled)
        self.eval()

    def forward(self, x: torch.Tensor) -> Any:
        return self.head(torch.tanh(self.norm(self.hidden(self.embed(x).mean(dim=1)))))


def doubled(layer: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
    return 2 * output


def of_a_sharded(module: Any, group: Any) -> dict[str, Any]:
    """Every verb and structure, as plain tensors."""
    X, y = torch.arange(45).reshape(15, 3) % 3, torch.arange(15) % 3
    net = fk.networks.Model(module, "categorical")
    found: dict[str, Any] = {
        structure: fk.expected_information(net, inputs=X, structure=structure)
        for structure in ("diagonal", "dense", "block-diagonal", "low-rank", "kfac", "ekfac", "operator")
    }
    found["drawn"] = fk.expected_information(net, inputs=X, structure="diagonal", method=fk.MonteCarlo(3, rng=0))
    found["empirical"] = fk.empirical_information(net, data=(X, y))
    found["observed"] = fk.observed_information(net, data=(X, y))
    elsewhere = {name: torch.ones(shape) / 3 for name, shape in zip(net.parameters.names, net.parameters.shapes, strict=True)}
    found["elsewhere"] = fk.expected_information(net, elsewhere, inputs=X)
    own = dict(net.tensors)
    found["at its own"] = fk.expected_information(net, own, inputs=X)
    chosen = fk.networks.Model(module, "categorical", params="hidden.*")
    found["chosen"] = fk.expected_information(chosen, inputs=X)
    dealt = fk.networks.Model(module, "categorical", process_group=group)
    found["dealt"] = fk.expected_information(dealt, inputs=iter(X.split(1)))
    arrays = {name: F.dense() for name, F in found.items()}
    return arrays | {f"score of {name}": value for name, value in fk.score(net, data=(X, y)).items()}


def some_of_a_sharded(module: Any) -> dict[str, Any]:
    X, net = torch.arange(45).reshape(15, 3) % 3, fk.networks.Model(module, "categorical")
    return {structure: fk.expected_information(net, inputs=X, structure=structure).dense() for structure in ("dense", "diagonal")}


def step_of_training(module: Any) -> list[torch.Tensor]:
    """Gradients of a step, as they would be had nobody asked for an information; whole."""
    X, y = torch.arange(45).reshape(15, 3) % 3, torch.arange(15) % 3
    nn.functional.cross_entropy(module(X), y).backward()
    found = [p.grad.full_tensor() for p in module.parameters()]
    for p in module.parameters():
        p.grad = None
    return found


def found() -> dict[str, Any]:
    """For `test_distributed`; the sharded module is checked to be as it was."""
    module, world = sharded(), dist.group.WORLD
    before, types = state_of(module), [type(part) for part in module.modules()]
    first = of_a_sharded(module, world)
    assert types == [type(part) for part in module.modules()]
    assert all(torch.equal(a, b) for a, b in zip(before, state_of(module), strict=True))
    step = step_of_training(module)
    again = some_of_a_sharded(module)  # the root's own weights are whole by now
    steps = step, step_of_training(module)
    module.hidden.unshard()
    one = some_of_a_sharded(module)
    parallel = Tied()
    tensor.distribute_module(parallel.hidden, dist.init_device_mesh("cpu", (dist.get_world_size(),)))
    return {
        "sharded": first,
        "again": again,
        "one layer whole": one,
        "whole": of_a_sharded(Tied(), world),
        "steps": steps,
        "parallel": told(lambda: some_of_a_sharded(parallel)),
        "flat": told(lambda: some_of_a_sharded(FullyShardedDataParallel(Tied(), device_id="cpu"))),
    }


def state_of(module: Any) -> list[torch.Tensor]:
    """Each process's own part of the weights, and the buffers."""
    return [p.to_local().clone() for p in module.parameters()] + [b.clone() for b in module.buffers()]

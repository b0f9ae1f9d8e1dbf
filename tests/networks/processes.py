"""Run by several processes: what each of them finds, saved by its rank. Started by test_distributed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

import fisherkit as fk

BATCH = 3


def network() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))


def batches() -> Any:
    """More than two rounds of blocks, and a short last batch."""
    generator = torch.Generator().manual_seed(1)
    X, y = torch.randn(299, 4, generator=generator), torch.randint(0, 3, (299,), generator=generator)
    return list(zip(X.split(BATCH), y.split(BATCH), strict=True))


def informations(group: Any) -> dict[str, Any]:
    net = fk.networks.Model(network(), "categorical", process_group=group)
    found = {}
    for structure in ("kfac", "ekfac"):
        found[f"empirical {structure}"] = fk.empirical_information(net, data=batches(), structure=structure)
        method = fk.MonteCarlo(1, rng=0, groups=3 if structure == "kfac" else 0)
        found[f"drawn 1 {structure}"] = fk.expected_information(net, inputs=batches(), structure=structure, method=method)
    for structure in ("diagonal", "dense", "block-diagonal"):
        found[f"exact {structure}"] = fk.expected_information(net, inputs=batches(), structure=structure)
        found[f"empirical {structure}"] = fk.empirical_information(net, data=batches(), structure=structure)
        for draws in (1, 3):
            method = fk.MonteCarlo(draws, rng=0)
            found[f"drawn {draws} {structure}"] = fk.expected_information(
                net, inputs=batches(), structure=structure, method=method
            )
    return found


def flat(F: fk.FisherInformation) -> torch.Tensor:
    return F.dense() if F.structure != "diagonal" else torch.cat([leaf.reshape(-1) for leaf in F.diagonal().values()])


def told(work: Any) -> str:
    """The message of a refusal."""
    try:
        work()
    except (fk.errors.FisherkitError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def refusals(rank: int) -> dict[str, str]:
    """What differs between the processes, and what one of them meets alone."""
    world = dist.group.WORLD
    net = fk.networks.Model(network(), "categorical", process_group=world)
    fewer = batches()[: 40 - 8 * rank]
    spoilt = [(x, y if i != 20 else y + 9) for i, (x, y) in enumerate(batches())]
    other = fk.networks.Model(nn.Linear(4, 3), "categorical", process_group=world)
    with torch.no_grad():
        other.module.bias.fill_(rank)
    return {
        "inputs": told(lambda: fk.expected_information(net, inputs=fewer)),
        "labels": told(lambda: fk.empirical_information(net, data=spoilt)),
        "weights": told(lambda: fk.expected_information(other, inputs=batches())),
    }


def main(rank: int, size: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=size)
    found = informations(dist.group.WORLD)
    ddp = fk.networks.Model(nn.parallel.DistributedDataParallel(network()), "categorical", process_group=dist.group.WORLD)
    found["ddp"] = fk.expected_information(ddp, inputs=batches(), structure="diagonal")
    values = {name: (flat(F), F.n, repr(F.mcse)) for name, F in found.items()}
    saved = {"values": values}
    if size == 2:
        from tests.networks import sharded_modules  # its imports take a while

        saved |= {"refusals": refusals(rank), "fsdp": sharded_modules.found()}
    torch.save(saved, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])

"""The information of one network by several processes: torchrun --nproc_per_node=2 examples/distributed.py

Each process is given the same data and takes its share of the batches; all get the same result, bit for bit that of one process.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits

import fisherkit as fk


def main() -> None:
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    if torch.cuda.is_available():
        torch.cuda.set_device(dist.get_rank() % torch.cuda.device_count())
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10)).to(device)
    digits = torch.from_numpy(load_digits().data).float() / 16
    net = fk.networks.Model(module, likelihood="categorical", process_group=dist.group.WORLD)
    F = fk.expected_information(net, inputs=[(batch,) for batch in digits.split(16)], structure="diagonal")
    print(f"process {dist.get_rank()} of {dist.get_world_size()}: trace {float(F.trace):.17g}, {F}", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()

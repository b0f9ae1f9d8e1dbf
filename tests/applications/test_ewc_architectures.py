"""F of a consolidation against float64 gradients, one example and one label at a time, in layers of every kind."""

from __future__ import annotations

import copy

import pytest

import fisherkit as fk

torch = pytest.importorskip("torch")
nn = torch.nn
N, T, D, C = 12, 5, 4, 3


def numbers(*shape: int):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(D, 6, batch_first=True, num_layers=2, dropout=0.3), nn.Linear(6, C)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


class Attentive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(D), nn.MultiheadAttention(D, 2, dropout=0.2, batch_first=True)
        self.head = nn.Linear(D, C)

    def forward(self, x):
        z = self.norm(x)
        return self.head((x + self.attention(z, z, z, need_weights=False)[0]).mean(dim=1))


class Tied(nn.Module):
    """One table of words, to read and to write."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.mix, self.out = nn.Embedding(C, D), nn.Linear(D, D), nn.Linear(D, C, bias=False)
        self.out.weight = self.words.weight

    def forward(self, tokens):
        return self.out(torch.tanh(self.mix(self.words(tokens).mean(dim=1))))


def tokens():
    return torch.randint(C, (N, T), generator=torch.Generator().manual_seed(2))


CASES = {
    "LSTM": (Recurrent, lambda: numbers(N, T, D)),
    "attention": (Attentive, lambda: numbers(N, T, D)),
    "tied embedding": (Tied, tokens),
    "embedding": (lambda: nn.Sequential(nn.Embedding(7, D), nn.Flatten(), nn.Linear(T * D, C)), tokens),
    "convolution and BatchNorm": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 3, 3, stride=2, padding=1, groups=1), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, C)
        ),
        lambda: numbers(N, 2, 4, 4),
    ),
    "dropout": (lambda: nn.Sequential(nn.Linear(D, 8), nn.Dropout(0.5), nn.GELU(), nn.Linear(8, C)), lambda: numbers(N, D)),
    "a raw parameter": (lambda: Scaled(), lambda: numbers(N, D)),
}


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear, self.scale = nn.Linear(D, C), nn.Parameter(torch.tensor(1.5))

    def forward(self, x):
        return self.scale * self.linear(x)


def module_of(case: str):
    torch.manual_seed(0)
    module = CASES[case][0]()
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean += 0.3
                part.running_var *= 2
    return module.train(), CASES[case][1]()


def brute_force(module, X) -> dict:
    """The mean over examples of sum_k p_k (d log p_k / d theta)^2."""
    module = copy.deepcopy(module).double().eval()
    total = {name: torch.zeros_like(p) for name, p in module.named_parameters() if p.requires_grad}
    for x in X:
        log_p = torch.log_softmax(module(x[None].double() if x.is_floating_point() else x[None]), dim=1)[0]
        for value in log_p:
            own = [dict(module.named_parameters())[name] for name in total]
            grads = torch.autograd.grad(value, own, retain_graph=True, materialize_grads=True)
            for name, g in zip(total, grads, strict=True):
                total[name] += value.exp().detach() * g**2 / len(X)
    return total


def guard_of(module, **changes: object) -> fk.applications.EWC:
    return fk.applications.EWC(fk.networks.Model(module, "categorical"), **{"strength": 10.0, **changes})


def check(guard, right, rtol: float = 2e-5) -> None:
    found = guard.information.parameters.as_mapping(list(guard.information._structure.arrays.values()))
    assert set(found) == set(right)
    for name, value in right.items():
        torch.testing.assert_close(found[name], value, rtol=rtol, atol=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_information_is_that_of_single_examples(case: str) -> None:
    module, X = module_of(case)
    guard = guard_of(module).consolidate(X)
    check(guard, brute_force(module, X))
    anchor = {name: p.detach().clone() for name, p in module.named_parameters()}
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.1 * torch.ones_like(p))
    expected = 0.0
    for name, F in brute_force_at(module, anchor, X).items():
        expected += 0.5 * 10 * float((F * (dict(module.named_parameters())[name].detach().double() - anchor[name]) ** 2).sum())
    assert guard.penalty().item() == pytest.approx(expected, rel=2e-5)


def brute_force_at(module, weights: dict, X) -> dict:
    other = copy.deepcopy(module)
    with torch.no_grad():
        for name, p in other.named_parameters():
            p.copy_(weights[name])
    return brute_force(other, X)


@pytest.mark.parametrize("case", CASES)
def test_batch_size_and_order_do_not_matter(case: str) -> None:
    module, X = module_of(case)
    one = guard_of(module).consolidate(X).information
    data = torch.utils.data.TensorDataset(X, torch.zeros(N))
    for size in (1, 5, N):  # 5 leaves a short last batch
        loader = torch.utils.data.DataLoader(data, batch_size=size, shuffle=True, generator=torch.Generator().manual_seed(size))
        other = guard_of(module).consolidate(loader).information
        for a, b in zip(one._structure.arrays.values(), other._structure.arrays.values(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("fails", [False, True])
def test_the_network_is_left_as_it_was(case: str, fails: bool) -> None:
    """Weights, gradients, buffers, modes of each submodule and the random state; after an exception too."""
    module, X = module_of(case)
    next(module.children()).eval()
    for p in list(module.parameters())[1:]:
        p.grad = torch.full_like(p, 7.0)
    modes = [part.training for part in module.modules()]
    tensors = {name: value.clone() for name, value in module.state_dict().items()}
    state = torch.random.get_rng_state()
    grads = [p.grad for p in module.parameters()]

    def batches():
        yield X[:6]
        if fails:
            raise RuntimeError("the disk is full")
        yield X[6:]

    guard = guard_of(module)
    if fails:
        with pytest.raises(RuntimeError, match="the disk is full"):
            guard.consolidate(batches())
        assert guard.tasks == 0
        assert guard.penalty().item() == 0
    else:
        guard.consolidate(batches())
    assert [part.training for part in module.modules()] == modes
    assert all(torch.equal(value, tensors[name]) for name, value in module.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(p.grad is g and (g is None or bool((g == 7).all())) for p, g in zip(module.parameters(), grads, strict=True))
    assert all(p.requires_grad for p in module.parameters())


def test_a_train_of_the_module_s_own_is_not_called() -> None:
    """Layers that merge their adapters when they are set to eval mode would change the weights."""

    class Merging(nn.Linear):
        def train(self, mode: bool = True):
            raise AssertionError("train() was called")

    module = Merging(D, C)
    guard = guard_of(module).consolidate(numbers(N, D))
    assert module.training
    assert guard.tasks == 1


def test_what_the_caller_did_to_gradients_and_modes_does_not_matter() -> None:
    module, X = module_of("convolution and BatchNorm")
    right = guard_of(module).consolidate(X).information.diagonal()
    module.eval()
    module(X).sum().backward()
    with torch.no_grad():
        found = guard_of(module).consolidate(X).information.diagonal()
    with torch.autocast("cpu"):
        mixed = guard_of(module).consolidate(X).information.diagonal()
    for name in right:
        assert torch.equal(found[name], right[name])
        assert torch.equal(mixed[name], right[name])


def test_the_order_of_the_memory_does_not_matter() -> None:
    module, X = module_of("convolution and BatchNorm")
    other = copy.deepcopy(module).to(memory_format=torch.channels_last)
    values = []
    for one in (module, other):
        guard = guard_of(one).consolidate(X)
        with torch.no_grad():
            one[0].weight += torch.linspace(0, 1, one[0].weight.numel()).reshape(one[0].weight.shape)
        values.append(guard.penalty().item())
        guard.penalty().backward()
        guard.proximal_step_(0.1)
    assert values[0] == pytest.approx(values[1], rel=1e-6)
    torch.testing.assert_close(other[0].weight.grad, module[0].weight.grad)
    torch.testing.assert_close(other[0].weight, module[0].weight)


def test_tied_weights_count_once() -> None:
    module, X = module_of("tied embedding")
    guard = guard_of(module).consolidate(X)
    assert guard.information.parameters.names == ("words.weight", "mix.weight", "mix.bias")
    with torch.no_grad():
        module.words.weight += 0.1
    guard.penalty().backward()
    F = guard.information.diagonal()["words.weight"]
    torch.testing.assert_close(module.out.weight.grad.double(), 10 * F * 0.1, rtol=1e-4, atol=1e-9)


def test_frozen_parameters_are_skipped() -> None:
    module, X = module_of("dropout")
    module[0].requires_grad_(False)
    guard = guard_of(module).consolidate(X)
    assert guard.information.parameters.names == ("3.weight", "3.bias")
    check(guard, brute_force(module, X))
    with torch.no_grad():
        module[0].weight += 1
    assert guard.penalty().item() == 0


def test_parameters_that_are_frozen_later_keep_their_information_and_stay() -> None:
    """A frozen backbone for the second task; the third may move it again, and it is still held."""
    module, X = module_of("dropout")
    guard = guard_of(module).consolidate(X)
    first = guard.information.diagonal()["0.weight"].clone()
    module[0].requires_grad_(False)
    before = module[0].weight.clone()
    with torch.no_grad():
        module[3].weight += 0.1
    guard.penalty().backward()
    assert module[0].weight.grad is None
    guard.proximal_step_(0.1)
    assert torch.equal(module[0].weight, before)
    guard.consolidate(X)
    torch.testing.assert_close(guard.information.diagonal()["0.weight"], first)
    module[0].requires_grad_(True)
    with torch.no_grad():
        module[0].weight += 0.1
    assert guard.penalty().item() > 0


def test_wrapped_networks_are_looked_into(tmp_path) -> None:
    """A wrapper would average gradients over ranks before they are squared."""
    module, X = module_of("dropout")
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(module)
        guard = guard_of(wrapped).consolidate(X)
        check(guard, brute_force(module, X))
        with torch.no_grad():
            module[0].weight += 0.1
        assert guard.penalty().item() > 0
        (wrapped(X).sum() + guard.penalty()).backward()
        net = fk.networks.Model(wrapped, "categorical", process_group=torch.distributed.group.WORLD)
        shared = fk.applications.EWC(net, strength=1.0).consolidate(torch.utils.data.DataLoader(X, batch_size=5))
        check(shared, brute_force(module, X))
        assert "n=12" in repr(shared)
    finally:
        torch.distributed.destroy_process_group()
    check(guard_of(nn.DataParallel(module)).consolidate(X), brute_force(module, X))


def test_drawn_labels_have_the_right_mean_whatever_the_batches() -> None:
    """The classic mistake, the square of a batch's mean gradient, is off by the batch size."""
    module, X = module_of("dropout")
    right = sum(float(v.sum()) for v in brute_force(module, X).values())
    traces = []
    for seed, size in enumerate((1, 4, 12)):
        loader = torch.utils.data.DataLoader(X, batch_size=size)
        F = guard_of(module).consolidate(loader, method=fk.MonteCarlo(400, rng=seed)).information
        traces.append(float(F.trace))
        assert F.mcse is None  # no copies for an error that nobody asked for
    assert traces == pytest.approx([right] * 3, rel=0.05)
    F = guard_of(module).consolidate(X, method=fk.MonteCarlo(20, rng=0, groups=5)).information
    assert F.mcse["0.weight"].shape == (8, D)

"""Every operation with a formula, option by option: against brute force in float64, and by the formula rather than around it."""

from collections.abc import Callable

import pytest

import fisherkit as fk

torch = pytest.importorskip("torch")
from fisherkit.networks.layers import Forward, Trust, trial, trusted  # noqa: E402 needs torch
from fisherkit.networks.network import Network  # noqa: E402 needs torch
from tests.networks import brute_force  # noqa: E402 needs torch

nn = torch.nn
functional = nn.functional
BATCH = 5


class Around(nn.Module):
    """A module between an elementwise input and a readout of three classes, both without parameters."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *inputs):
        h = torch.tanh(self.inner(*inputs)).flatten(1)
        readout = torch.randn(h.shape[1], 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(h)
        return h @ readout


class HuggingFaceConv1D(nn.Module):
    """As in transformers.pytorch_utils: a linear layer whose weight is (inputs, outputs)."""

    def __init__(self, outputs: int, inputs: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(inputs, outputs)), nn.Parameter(torch.randn(outputs))

    def forward(self, x):
        out = torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight)
        return out.view(*x.shape[:-1], len(self.bias))


class Twice(nn.Module):
    """One module called twice, with different numbers of positions."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(torch.tanh(self.inner(x))) + self.inner(x.mean(1, keepdim=True))


class Tied(nn.Module):
    """An embedding with positions and a head that is the table transposed; called by rows that all examples share."""

    def __init__(self, shared: Callable[[int], torch.Tensor], padding: int | None = None) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(6, 4, padding_idx=padding), nn.Embedding(7, 4)
        self.head = nn.Linear(4, 6, bias=False)
        self.head.weight, self.shared = self.tokens.weight, shared

    def forward(self, x):
        h = self.tokens(x) + self.places(self.shared(x.shape[1]))
        return self.head(torch.tanh(h))[..., :4]


class Raw(nn.Module):
    """Parameters without a layer: added, subtracted either way, multiplied, from the left and from the right."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d, self.e = (nn.Parameter(torch.randn(shape)) for _ in range(5))

    def forward(self, x):
        return (self.d - ((torch.add(x, self.a, alpha=3) - self.b) * self.c)) * torch.tanh(self.e * x)


class SharedBias(nn.Module):
    """One bias in two layers and in a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
        self.b.bias = self.a.bias

    def forward(self, x):
        return self.b(torch.tanh(self.a(x))) + self.a.bias


class AcrossTypes(nn.Module):
    """One weight as a linear layer, as a convolution's input of an embedding, and through its transpose."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.norm = nn.Parameter(torch.randn(6, 4)), nn.LayerNorm(6)

    def forward(self, x):
        h = functional.embedding(x, self.weight) + functional.embedding(x, self.weight).mean(1, keepdim=True)
        return torch.tanh(self.norm(functional.linear(h, self.weight))) @ self.weight


class Attention(nn.Module):
    def __init__(self, **options: bool) -> None:
        super().__init__()
        self.attention, self.first = nn.MultiheadAttention(4, 2, **options), options.get("batch_first", False)

    def forward(self, x):
        y = x if self.first else x.transpose(0, 1)
        z = self.attention(y, y, y, need_weights=False)[0]
        return z if self.first else z.transpose(0, 1)


class TimeFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.map, self.table = nn.LayerNorm(4), nn.Linear(4, 3), nn.Embedding(6, 4)

    def forward(self, x):
        return self.map(torch.tanh(self.norm(self.table(x.T)))).sum(0)


class Folded(nn.Module):
    """Frames of a film, folded into the batch."""

    def __init__(self, inputs: int = 2, outputs: int = 4) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(inputs, outputs, 3), nn.GroupNorm(2, outputs)

    def forward(self, x):
        return self.norm(self.conv(x.flatten(0, 1))).reshape(len(x), -1)


def batch_norm(kind: type, *shape: int) -> nn.Module:
    norm = kind(shape[0])
    norm.train()
    norm(torch.randn(9, *shape))
    return norm.eval()


def positions(*shape: int) -> Callable[[], torch.Tensor]:
    return lambda: torch.randn(BATCH, *shape)


def tokens() -> torch.Tensor:
    return torch.randint(0, 6, (BATCH, 7))


LINEAR = {
    "linear": (lambda: nn.Linear(4, 3), positions(4)),
    "linear, positions": (lambda: nn.Linear(4, 3), positions(6, 4)),
    "linear, two axes of positions": (lambda: nn.Linear(4, 3), positions(2, 3, 4)),
    "linear without bias, positions": (lambda: nn.Linear(4, 3, bias=False), positions(6, 4)),
    "linear, one output": (lambda: nn.Linear(4, 1), positions(6, 4)),
    "Hugging Face's Conv1D": (lambda: HuggingFaceConv1D(3, 4), positions(6, 4)),
    "used twice": (lambda: Twice(nn.Linear(4, 4)), positions(6, 4)),
    "one bias in two layers": (SharedBias, positions(4)),
    "attention": (lambda: Attention(batch_first=True), positions(6, 4)),
    "attention, time first": (Attention, positions(6, 4)),
    "time first": (TimeFirst, tokens),
}

CONVOLUTIONS = {
    "1d": (lambda: nn.Conv1d(2, 4, 3), positions(2, 9)),
    "1d, same": (lambda: nn.Conv1d(2, 4, 4, padding="same", dilation=2), positions(2, 9)),
    "2d": (lambda: nn.Conv2d(2, 4, 3, padding=1), positions(2, 6, 7)),
    "2d, wide channels on a small map": (lambda: nn.Conv2d(9, 8, 2), positions(9, 3, 3)),
    "2d, strides, dilation, uneven": (
        lambda: nn.Conv2d(2, 3, (3, 2), stride=(2, 1), dilation=(1, 2), padding=(0, 2), bias=False),
        positions(2, 8, 7),
    ),
    "2d, groups": (lambda: nn.Conv2d(4, 6, 3, groups=2), positions(4, 5, 5)),
    "2d, depthwise": (lambda: nn.Conv2d(3, 6, 3, groups=3), positions(3, 5, 5)),
    **{
        f"2d, {mode}": (lambda mode=mode: nn.Conv2d(2, 3, 3, padding=2, padding_mode=mode, stride=2), positions(2, 5, 6))
        for mode in ("circular", "reflect", "replicate")
    },
    "3d": (lambda: nn.Conv3d(2, 3, 2, stride=2, padding=1), positions(2, 4, 5, 3)),
    "1d transposed": (lambda: nn.ConvTranspose1d(2, 3, 3, stride=2, output_padding=1), positions(2, 5)),
    "2d transposed, groups": (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, groups=2, dilation=2), positions(4, 4, 3)),
    "3d transposed": (lambda: nn.ConvTranspose3d(2, 2, 2), positions(2, 3, 2, 2)),
    "2d, used twice": (lambda: nn.Sequential(conv := nn.Conv2d(2, 2, 3, padding=1), nn.Tanh(), conv), positions(2, 4, 4)),
    "2d, frames in the batch": (Folded, positions(3, 2, 5, 5)),
    "2d, wide frames in the batch": (lambda: Folded(9, 8), positions(3, 9, 4, 4)),
}

NORMS = {
    "layer norm": (lambda: nn.LayerNorm(4), positions(4)),
    "layer norm, positions, two axes": (lambda: nn.LayerNorm((3, 4)), positions(5, 3, 4)),
    "layer norm without bias": (lambda: nn.LayerNorm(4, bias=False), positions(6, 4)),
    "group norm": (lambda: nn.GroupNorm(2, 4), positions(4)),
    "group norm of maps": (lambda: nn.GroupNorm(2, 4), positions(4, 3, 3)),
    "rms norm": (lambda: nn.RMSNorm(4), positions(6, 4)),
    "batch norm": (lambda: batch_norm(nn.BatchNorm1d, 4), positions(4)),
    "batch norm of maps": (lambda: batch_norm(nn.BatchNorm2d, 4, 3, 3), positions(4, 3, 3)),
    "norm used twice": (lambda: Twice(nn.LayerNorm(4)), positions(6, 4)),
}

LOOKUPS = {
    "embedding": (lambda: nn.Embedding(6, 4), tokens),
    "embedding, one token": (lambda: nn.Embedding(6, 4), lambda: torch.randint(0, 6, (BATCH,))),
    "embedding, a padding row": (lambda: nn.Embedding(6, 4, padding_idx=2), tokens),
    "sparse embedding": (lambda: nn.Embedding(6, 4, sparse=True), tokens),
    "tied head": (lambda: Tied(torch.arange), tokens),
    "tied head, positions as a batch of one": (lambda: Tied(lambda n: torch.arange(n)[None]), tokens),
    "tied head, repeated positions": (lambda: Tied(lambda n: torch.arange(n) // 2), tokens),
    "tied head, padding": (lambda: Tied(torch.arange, padding=2), tokens),
    "one weight across types": (AcrossTypes, tokens),
}

RAW = {
    "raw": (lambda: Raw(4), positions(4)),
    "raw, positions": (lambda: Raw(4), positions(6, 4)),
    "raw, one per position": (lambda: Raw(6, 1), positions(6, 4)),
    "raw, with a first axis of one": (lambda: Raw(1, 6, 4), positions(6, 4)),
    "raw scalars": (lambda: nn.Sequential(nn.Linear(4, 4), Raw()), positions(6, 4)),
}

CASES = LINEAR | {f"conv {name}": case for name, case in CONVOLUTIONS.items()} | NORMS | LOOKUPS | RAW


def build(name: str) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    make, draw = CASES[name]
    module = Around(make())
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(0.5 * torch.randn_like(p))
    inputs = draw()
    return module.eval().double(), inputs.double() if inputs.is_floating_point() else inputs


def network(module: nn.Module) -> Network:
    return Network(module, dict(module.named_parameters()))


@pytest.mark.parametrize("name", CASES)
def test_each_formula_is_the_definition(name: str) -> None:
    module, inputs = build(name)
    labels = torch.arange(BATCH) % 3
    net, copy = fk.networks.Model(module, "categorical"), network(module)
    forward = Forward(copy, trusted(copy, (inputs,)), (inputs,))
    assert set(forward.uses) == {key for key, _ in module.named_parameters()}  # nothing is left to the general way
    scores = fk.score(net, data=(inputs, labels))
    found = torch.cat([value.reshape(BATCH, -1) for value in scores.values()], dim=1)
    picked = [
        next(brute_force.rows(module, x[None], lambda z, y=y: [(1.0, torch.log_softmax(z, 0)[y])]))[1]
        for x, y in zip(inputs, labels, strict=True)
    ]
    exact = torch.stack(picked)
    assert float((found - exact).abs().max()) < 1e-12 * float(exact.abs().max())
    F = fk.expected_information(net, inputs=inputs).dense()
    assert float((F - brute_force.expected(module, inputs)).abs().max()) < 1e-12 * float(F.abs().max())
    squares = brute_force.flat(fk.empirical_information(net, data=(inputs, labels), structure="diagonal"))
    assert float((squares - (exact**2).sum(0)).abs().max()) < 1e-12 * float((exact**2).sum(0).max())


@pytest.mark.parametrize("name", [name for name in CONVOLUTIONS if "transposed" not in name and "twice" not in name])
def test_unfolded_inputs_give_the_kernels_gradient(name: str) -> None:
    module, inputs = build(f"conv {name}")
    copy = network(module)
    forward = Forward(copy, trusted(copy, (inputs,)), (inputs,))
    (use,) = next(own for key, own in forward.uses.items() if forward.uses[key][0].edge.parameter.ndim > 1)
    terms = forward.terms(torch.ones(BATCH, 3, dtype=torch.float64))
    (g,) = terms[use.name]
    g = g.reshape(BATCH, g.shape[1], use.groups, -1, g[0, 0, 0].numel()).permute(0, 1, 4, 2, 3).flatten(1, 2)
    found = torch.einsum("npgo,npgi->ngoi", g, use.patches(use.x)).reshape(BATCH, *use.shape)
    torch.testing.assert_close(
        found, forward.per_example(forward.terms(torch.ones(BATCH, 3).double()), slice(0, BATCH))[use.name]
    )


@pytest.mark.parametrize(("dtype", "digits"), [(torch.float32, 2e-5), (torch.bfloat16, 0.1)], ids=str)
@pytest.mark.parametrize(
    "name", ["linear, positions", "linear", "conv 2d", "tied head", "layer norm", "group norm", "raw, positions"]
)
def test_lower_precision_loses_its_own_digits_only(name: str, dtype: torch.dtype, digits: float) -> None:
    module, inputs = build(name)
    exact = brute_force.expected(module, inputs).diagonal()
    inputs = inputs.to(dtype) if inputs.is_floating_point() else inputs
    F = fk.expected_information(fk.networks.Model(module.to(dtype), "categorical"), inputs=inputs, structure="diagonal")
    assert float((brute_force.flat(F) - exact).abs().max()) < digits * float(exact.max())


CHUNKED = ["linear", "linear, positions", "tied head", "used twice", "raw", "conv 2d, groups", "conv 2d transposed, groups"]
CHUNKED += ["conv 2d, wide channels on a small map", "conv 2d, wide frames in the batch"]


@pytest.mark.parametrize("name", CHUNKED)
def test_chunks_add_up(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No array holds examples times parameters: one example at a time is the sum over all at once."""
    from fisherkit.networks.layers import convolution, use

    module, inputs = build(name)
    net = fk.networks.Model(module, "categorical")
    whole = brute_force.flat(fk.expected_information(net, inputs=inputs, structure="diagonal"))
    monkeypatch.setattr(use, "CHUNK", 1)
    monkeypatch.setattr(use, "SMALL", 1)
    apart = brute_force.flat(fk.expected_information(net, inputs=inputs, structure="diagonal"))
    torch.testing.assert_close(apart, whole, rtol=1e-5, atol=1e-8)
    monkeypatch.undo()
    monkeypatch.setattr(convolution, "SEVERAL", 2)
    pairs = brute_force.flat(fk.expected_information(net, inputs=inputs, structure="diagonal"))
    torch.testing.assert_close(pairs, whole, rtol=1e-12, atol=0)


def test_the_modules_are_left_clean_even_by_an_exception() -> None:
    module, inputs = build("attention")
    net = fk.networks.Model(module, "categorical")
    fk.expected_information(net, inputs=inputs)
    with pytest.raises(AssertionError, match="was expecting embedding dimension of 4, but got 3"):
        fk.expected_information(net, inputs=torch.randn(5, 6, 3))
    for part in module.modules():
        assert not any((part._forward_hooks, part._forward_pre_hooks, part._backward_hooks))
    assert all(p.grad is None and p.requires_grad and p.is_leaf for p in module.parameters())


# -- soundness


class Reversed(nn.Module):
    """Examples in another order inside: no order of rows that is known."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 3)

    def forward(self, x):
        return self.inner(x.flip(0)).flip(0)


class Mixed(nn.Module):
    """A formula, a recurrence, an operation without a formula, and a parameter without effect."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.lstm, self.slopes = nn.Linear(4, 4), nn.LSTM(4, 3, batch_first=True), nn.PReLU(3)
        self.idle = nn.Parameter(torch.ones(2))

    def forward(self, x):
        return self.slopes(self.lstm(self.first(x))[0].transpose(1, 2))


class Sliced(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight, self.other = nn.Parameter(torch.randn(4, 4)), nn.Linear(4, 4)

    def forward(self, x):
        return self.other(x) @ self.weight + x @ self.weight[:, [1, 0, 3, 2]]


class ShapeDependent(nn.Module):
    """Time first for long sequences only: another graph, tried when it comes."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 3)

    def forward(self, x):
        if len(x) > 3:
            return self.inner(x.transpose(0, 1)).sum(0)
        return self.inner(x).sum(1)


SOUND = {
    "examples in another order": (Reversed, (5, 4), set()),
    "mixed with a recurrence": (Mixed, (5, 6, 4), {"inner.first.weight", "inner.first.bias", "inner.idle"}),
    "one use of two without a formula": (Sliced, (5, 4), {"inner.other.weight", "inner.other.bias"}),
    "another graph for larger batches": (ShapeDependent, (5, 6, 4), {"inner.inner.weight", "inner.inner.bias"}),
}


@pytest.mark.parametrize("name", SOUND)
def test_what_is_not_known_takes_the_general_way(name: str) -> None:
    make, shape, quick = SOUND[name]
    torch.manual_seed(0)
    module, inputs = Around(make()), torch.randn(shape)
    copy = network(module)
    assert set(Forward(copy, trusted(copy, (inputs,)), (inputs,)).uses) == quick
    found = brute_force.flat(
        fk.expected_information(fk.networks.Model(module, "categorical"), inputs=inputs, structure="diagonal")
    )
    exact = brute_force.expected(module, inputs).diagonal()
    assert float((found - exact).abs().max()) < 4e-6 * float(exact.max())


def test_a_formula_that_disagrees_with_autograd_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    from fisherkit.networks.layers.matrix import Matrix

    right = Matrix.per_example
    monkeypatch.setattr(Matrix, "per_example", lambda self, terms, at: 2 * right(self, terms, at))
    module, inputs = build("linear, positions")
    copy = network(module)
    assert set(Forward(copy, trusted(copy, (inputs,)), (inputs,)).uses) == {"inner.bias"}


def test_where_nothing_flows_nothing_is_learnt() -> None:
    """A first batch whose examples are dead does not settle the order of the rows."""
    module = Around(TimeFirst())
    with torch.no_grad():
        module.inner.map.weight.zero_()
    copy, trust = network(module), Trust()
    inputs = torch.randint(0, 6, (5, 5))
    Forward(copy, trust, (inputs,))
    assert not trust.orders
    with torch.no_grad():
        module.inner.map.weight.normal_()
    forward = Forward(copy, trust, (inputs,))
    assert trust.orders
    assert {use.inner for own in forward.uses.values() for use in own} == {True}


def test_the_order_of_rows_is_found_for_every_shape() -> None:
    """As many positions as examples: shapes alone cannot tell."""
    for make, inner in ((lambda: nn.Linear(4, 3), False), (TimeFirst, True)):
        module = Around(make())
        inputs = torch.randn(3, 3, 4) if not inner else torch.randint(0, 6, (3, 3))
        copy = network(module)
        forward = Forward(copy, Trust(), (inputs,))
        assert {use.inner for own in forward.uses.values() for use in own} == {inner}
    assert trial.Order.NONE in trial.Order

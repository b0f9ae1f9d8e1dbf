"""Right on any module: every case that a published library gets wrong or refuses, against brute force."""

import pytest

import fisherkit as fk

torch = pytest.importorskip("torch")
from tests.networks import brute_force  # noqa: E402 needs torch

nn = torch.nn


class Raw(nn.Module):
    """A raw parameter, a weight through F.linear, an in-place activation."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last, self.weight = nn.Linear(4, 5), nn.Linear(3, 3), nn.Parameter(torch.randn(3, 5))
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, x):
        hidden = torch.tanh(nn.functional.linear(self.first(x).relu_(), self.weight))
        return self.last(hidden * self.scale) + nn.functional.linear(hidden, self.last.weight)


class Shared(nn.Module):
    """One weight in two modules, and a module used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.b.weight = self.a.weight
        self.out = nn.Linear(4, 3)

    def forward(self, x):
        hidden = torch.tanh(self.b(torch.tanh(self.a(x))))
        return self.out(torch.tanh(self.c(torch.tanh(self.c(hidden)))))


class Transformer(nn.Module):
    """Embedding, LayerNorm, attention (whose out_proj is no module call), a tied head, positions."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm = nn.Embedding(7, 6), nn.LayerNorm(6)
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.hidden = nn.Linear(6, 6)

    def forward(self, x):
        h = self.norm(self.embed(x))
        h = h + self.attention(h, h, h, need_weights=False)[0]
        return torch.tanh(self.hidden(h)).mean(1) @ self.embed.weight.T


class TimeFirst(nn.Module):
    """A Linear that sees (T, batch, features): its first axis is not the example."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x):
        return self.out(torch.tanh(self.hidden(x.transpose(0, 1))).mean(0))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.out = nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x):
        return self.out(self.lstm(x)[0][:, -1])


class Branching(nn.Module):
    """A branch on the data: vmap cannot follow it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.out = nn.Parameter(torch.randn(4)), nn.Linear(4, 3)

    def forward(self, x):
        gates = [self.weight if row.sum().item() > 0 else -2 * self.weight for row in x]
        return self.out(torch.tanh(x * torch.stack(gates)))


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.never, self.idle = nn.Linear(4, 3), nn.Linear(4, 3), nn.Parameter(torch.ones(2))

    def forward(self, x):
        return self.used(x)


class By(nn.Module):
    """Parts by name, and what is done with them: a function of the module, as a method is."""

    def __init__(self, work, **parts) -> None:
        super().__init__()
        self.work = work
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.work(self, x)


def encoder() -> nn.Module:
    """In eval mode and without gradients PyTorch takes another, fused way."""
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    return By(lambda s, x: s.out(s.encoder(x).mean(1)), encoder=nn.TransformerEncoder(layer, 2), out=nn.Linear(4, 3))


def encoder_and_decoder() -> nn.Module:
    both = nn.Transformer(4, 2, 1, 1, 8, batch_first=True)
    return By(lambda s, x: s.out(s.both(x, x[:, :2]).mean(1)), both=both, out=nn.Linear(4, 3))


def attention() -> nn.Module:
    """Keys and values of another width, with biases of their own; a class token."""
    inner = nn.MultiheadAttention(4, 2, batch_first=True, kdim=3, vdim=3, add_bias_kv=True)

    def work(s, x):
        first = torch.cat([s.token.expand(len(x), -1, -1), x], dim=1)
        return s.out(s.inner(first, first[..., :3], first[..., :3])[0][:, 0])

    return By(work, inner=inner, token=nn.Parameter(torch.randn(1, 1, 4)), out=nn.Linear(4, 3))


def both_ways() -> nn.Module:
    """A recurrent layer in both directions, time first."""
    gru = nn.GRU(4, 3, num_layers=2, bidirectional=True)
    return By(lambda s, x: s.out(s.gru(x.transpose(0, 1))[0][-1]), gru=gru, out=nn.Linear(6, 3))


def packed() -> nn.Module:
    """Sequences of different lengths, which a longer batch packs in another order."""

    def work(s, x):
        lengths = (x[:, :, 0] > -1).sum(1).clamp(min=1)
        rows = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return s.out(s.lstm(rows)[1][0][-1])

    return By(work, lstm=nn.LSTM(4, 3, batch_first=True), out=nn.Linear(3, 3))


def experts() -> nn.Module:
    """Each example by one of two layers, gathered and put back."""

    def work(s, x):
        gates = s.gate(x).softmax(-1)
        chosen, out = gates.argmax(-1), x.new_zeros(len(x), 3)
        for i, expert in enumerate((s.a, s.b)):
            rows = torch.nonzero(chosen == i)[:, 0]
            out = out.index_add(0, rows, expert(x[rows]) * gates[rows, i : i + 1])
        return out

    return By(work, gate=nn.Linear(4, 2), a=nn.Linear(4, 3), b=nn.Linear(4, 3))


def bag(mode: str) -> nn.Module:
    return nn.Sequential(nn.EmbeddingBag(7, 4, mode=mode), nn.Tanh(), nn.Linear(4, 3))


def generated() -> nn.Module:
    """Weights that another layer makes."""
    return By(lambda s, x: x @ s.maker(x.new_ones(2)).reshape(4, 3), maker=nn.Linear(2, 12))


def constrained() -> nn.Module:
    first = nn.utils.parametrizations.orthogonal(nn.Linear(4, 4))
    second = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 5))
    return nn.Sequential(first, nn.Tanh(), second, nn.PReLU(5), nn.Linear(5, 3))


def half_frozen() -> nn.Module:
    module = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    module[0].requires_grad_(False)
    return module


def convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, groups=2, padding=1, padding_mode="circular"),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 2, 3, stride=2, dilation=2, padding="valid"),
        nn.Flatten(),
        nn.Linear(2, 3),
    )


CASES = {
    "mlp with in-place relu": (lambda: nn.Sequential(nn.Linear(4, 6), nn.ReLU(inplace=True), nn.Linear(6, 3)), (11, 4)),
    "raw parameters": (Raw, (11, 4)),
    "tied weight and a module used twice": (Shared, (11, 4)),
    "transformer with a tied head": (Transformer, None),
    "time first": (TimeFirst, (11, 5, 4)),
    "time first, as many steps as examples": (TimeFirst, (3, 3, 4)),
    "positions": (lambda: nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2), nn.Flatten(), nn.Linear(6, 3)), (11, 3, 4)),
    "lstm": (Recurrent, (11, 3, 4)),
    "convolutions and batch norm": (convolutions, (5, 2, 6, 6)),
    "a branch on the data": (Branching, (11, 4)),
    "parameters without effect": (Unused, (11, 4)),
    "an encoder": (encoder, (6, 5, 4)),
    "an encoder and a decoder": (encoder_and_decoder, (6, 5, 4)),
    "attention with a class token": (attention, (6, 5, 4)),
    "a recurrent layer both ways": (both_ways, (6, 5, 4)),
    "packed sequences": (packed, (6, 5, 4)),
    "experts": (experts, (11, 4)),
    "mean of a bag": (lambda: bag("mean"), None),
    "largest of a bag": (lambda: bag("max"), None),
    "generated weights": (generated, (11, 4)),
    "constrained weights": (constrained, (11, 4)),
    "the other half frozen": (half_frozen, (11, 4)),
    "indexed by examples": (
        lambda: By(lambda s, x: s.w[x[:, 0]] * s.w[x[:, 1]] + s.w[2], w=nn.Parameter(torch.ones(7, 3))),
        None,
    ),
    "one linear layer, one example": (lambda: nn.Linear(4, 3), (1, 4)),
}


def build(name: str):
    torch.manual_seed(0)
    make, shape = CASES[name]
    module = make().eval()
    return module, torch.randint(0, 7, (11, 3)) if shape is None else torch.randn(shape)


@pytest.mark.parametrize("name", CASES)
def test_expected_information_is_the_definition(name: str) -> None:
    module, inputs = build(name)
    net, brute = fk.networks.Model(module, "categorical"), brute_force.expected(module, inputs)
    size = float(brute.abs().max())
    diagonal = fk.expected_information(net, inputs=inputs, structure="diagonal")
    assert list(diagonal.diagonal()) == [name for name, p in module.named_parameters() if p.requires_grad]
    assert float((brute_force.flat(diagonal) - brute.diagonal()).abs().max()) < 3e-6 * size
    dense = fk.expected_information(net, inputs=inputs)
    assert float((dense.dense() - brute).abs().max()) < 3e-6 * size


@pytest.mark.parametrize("name", ["tied weight and a module used twice", "positions", "transformer with a tied head"])
def test_scores_and_their_squares_agree(name: str) -> None:
    module, inputs = build(name)
    net = fk.networks.Model(module, "categorical")
    labels = torch.arange(len(inputs)) % 3
    scores = fk.score(net, data=(inputs, labels))
    diagonal = fk.empirical_information(net, data=(inputs, labels), structure="diagonal").diagonal()
    for key, value in scores.items():
        assert value.shape == (len(inputs), *dict(module.named_parameters())[key].shape)
        torch.testing.assert_close((value**2).sum(0), diagonal[key], rtol=1e-5, atol=1e-7)

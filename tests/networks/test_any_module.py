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
    assert list(diagonal.diagonal()) == [name for name, _ in module.named_parameters()]
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

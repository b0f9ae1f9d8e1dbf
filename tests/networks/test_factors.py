"""Kronecker factors of convolutions, embeddings and weights used again, beside loops over positions in float64."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

import fisherkit as fk

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from tests.networks import brute_force  # noqa: E402

N = 4


class Around(nn.Module):
    """A part, behind something that all of its outputs matter to differently."""

    def __init__(self, part: nn.Module, x: Any) -> None:
        super().__init__()
        self.part = part
        self.head = nn.Linear(part(x).flatten(1).shape[1], 3)

    def forward(self, x: Any) -> Any:
        return self.head(torch.tanh(self.part(x)).flatten(1))


class Twice(nn.Module):
    """One layer, used on rows of different numbers of positions."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Any) -> Any:
        return self.inner(torch.tanh(self.inner(x)[:, 1:]))


class Places(nn.Module):
    """Tokens and learnt places."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(6, 4, padding_idx=2), nn.Embedding(7, 4)

    def forward(self, x: Any) -> Any:
        return self.tokens(x) + self.places(torch.arange(x.shape[1])[None])


def real(*shape: int) -> Callable[[], Any]:
    return lambda: torch.randn(N, *shape).double()


def tokens() -> Any:
    return torch.randint(0, 6, (N, 7))


CASES: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "linear": (lambda: nn.Linear(4, 3), real(4)),
    "linear, positions": (lambda: nn.Linear(4, 3), real(2, 3, 4)),
    "linear, two positions": (lambda: nn.Linear(4, 3), real(2, 4)),
    "linear, used twice": (lambda: Twice(nn.Linear(4, 4)), real(5, 4)),
    "1d": (lambda: nn.Conv1d(2, 4, 3), real(2, 9)),
    "1d, strides, dilation, padding": (lambda: nn.Conv1d(2, 3, 3, stride=2, padding=2, dilation=2), real(2, 9)),
    "2d": (lambda: nn.Conv2d(2, 3, (3, 2), padding=1), real(2, 4, 5)),
    "2d, a small map": (lambda: nn.Conv2d(3, 4, 2), real(3, 2, 3)),
    "2d, one by one": (lambda: nn.Conv2d(3, 2, 1), real(3, 4, 3)),
    "2d, strides, dilation, uneven": (
        lambda: nn.Conv2d(2, 3, (3, 2), stride=(2, 1), dilation=(1, 2), padding=(0, 2), bias=False),
        real(2, 6, 5),
    ),
    "2d, groups": (lambda: nn.Conv2d(4, 6, 2, groups=2), real(4, 4, 4)),
    "2d, depthwise": (lambda: nn.Conv2d(3, 6, 3, groups=3, padding=1), real(3, 3, 4)),
    "2d, circular": (lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), real(2, 3, 4)),
    "3d": (lambda: nn.Conv3d(2, 3, 2, stride=2, padding=1), real(2, 3, 4, 3)),
    "1d transposed": (lambda: nn.ConvTranspose1d(2, 3, 3, stride=2, output_padding=1, padding=1), real(2, 4)),
    "2d transposed, groups": (lambda: nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2, dilation=2), real(4, 2, 3)),
    "embedding": (lambda: nn.Embedding(6, 4), tokens),
    "embedding, padding and places": (Places, tokens),
}


def build(name: str) -> tuple[nn.Module, Any]:
    torch.manual_seed(0)
    make, draw = CASES[name]
    x = draw()
    return Around(make().double(), x).double(), x


Rows = tuple[Any, Any]  # (P, groups, left entries) and (P, groups, right entries) of one example


def rows_of(layer: nn.Module, x: Any, g: Any) -> tuple[Rows, bool]:
    """Left and right rows of one example (or one position of it, (1, ...)), and whether inputs are on the right."""
    if isinstance(layer, nn.Linear):
        return (g.reshape(-1, 1, g.shape[-1]), x.reshape(-1, 1, x.shape[-1])), True
    if isinstance(layer, nn.Embedding):
        x = x.expand(g.shape[:-1]).reshape(-1)
        known = x != (-1 if layer.padding_idx is None else layer.padding_idx)
        g, x = g.reshape(-1, 1, g.shape[-1])[known], x[known]
        return (functional.one_hot(x, layer.num_embeddings).double()[:, None], g), False
    if not layer.transposed:
        return (spots(g, layer.groups), patches(x, g, layer)), True
    return (spots(x, layer.groups), patches(g, x, layer)), False


def spots(v: Any, groups: int) -> Any:
    """Channels at each place of a map (1, C, ...)."""
    return torch.stack([v[(0, slice(None), *at)].reshape(groups, -1) for at in places(v)])


def patches(source: Any, at: Any, layer: Any) -> Any:
    """What the kernel meets in the source, for each place of the map ``at``; by a loop over places and kernel entries."""
    circular = getattr(layer, "padding_mode", "zeros") == "circular"
    wide = [size for pad in reversed(layer.padding) for size in (pad, pad)]
    source = functional.pad(source, wide, mode="circular") if circular else functional.pad(source, wide)
    out = []
    for place in places(at):
        entries = []
        for offset in itertools.product(*map(range, layer.kernel_size)):
            zipped = zip(place, layer.stride, offset, layer.dilation, strict=True)
            entries.append(source[(0, slice(None), *(p * s + k * d for p, s, k, d in zipped))])
        out.append(torch.stack(entries, dim=-1).reshape(layer.groups, -1))
    return torch.stack(out)


def places(v: Any) -> Any:
    return itertools.product(*map(range, v.shape[2:]))


def sides(module: Any, X: Any, layer: Any, shared: str) -> list[tuple[Any, Any]]:
    """L and R of each group of rows, by the definition: example by example and label by label."""
    calls: list[tuple[Any, Any]] = []
    handle = layer.register_forward_hook(lambda _, inputs, output: calls.append((inputs[0].detach(), output)))
    total: dict[bool, Any] = {True: 0.0, False: 0.0}  # by whether they are of inputs
    count = 0.0
    shared = "expand" if isinstance(layer, nn.Embedding) else shared
    for x in X:
        calls.clear()
        log_p = torch.log_softmax(module(x[None])[0], dim=0)
        for value in log_p:
            p = float(value.detach().exp())
            found = []
            for entered, output in calls:
                (g,) = torch.autograd.grad(value, output, retain_graph=True)
                rows, right = rows_of(layer, entered, g)
                found.append(rows)
            left, other = (torch.cat([part[i] for part in found]) for i in (0, 1))
            inputs, gradients = (other, left) if right else (left, other)
            if shared == "reduce":
                inputs, gradients = inputs.mean(dim=0, keepdim=True), gradients.sum(dim=0, keepdim=True)
            total[True] = total[True] + p * torch.einsum("pgi,pgj->gij", inputs, inputs)
            total[False] = total[False] + p * torch.einsum("pgi,pgj->gij", gradients, gradients) / len(X)
            count += p * len(inputs)
    handle.remove()
    total[True] = total[True] / count
    return list(zip(total[not right], total[right], strict=True))


def of_bias(module: Any, X: Any, layer: Any, shared: str) -> Any:
    if isinstance(layer, nn.Linear):
        return sides(module, X, layer, shared)[0][0]
    calls: list[Any] = []
    handle = layer.register_forward_hook(lambda _, inputs, output: calls.append(output))
    total = 0.0
    for x in X:
        calls.clear()
        log_p = torch.log_softmax(module(x[None])[0], dim=0)
        for value in log_p:
            g = torch.cat([g[0].flatten(1).T for g in torch.autograd.grad(value, calls, retain_graph=True)])
            g = g.sum(dim=0, keepdim=True) if shared == "reduce" else g
            total = total + float(value.detach().exp()) * g.T @ g / len(X)
    handle.remove()
    return total


def layers(module: Any) -> dict[str, Any]:
    return {name: layer for name, layer in module.named_modules() if getattr(layer, "weight", None) is not None}


def block(matrix: Any, F: fk.FisherInformation, name: str) -> Any:
    at = F.parameters.positions((name,))
    return matrix[at][:, at]


@pytest.mark.parametrize("shared", ["expand", "reduce"])
@pytest.mark.parametrize("name", CASES)
def test_the_factors_are_the_definition(name: str, shared: str) -> None:
    module, X = build(name)
    net = fk.networks.Model(module, "categorical")
    for source in (X, [(x,) for x in X.split(3)]):
        F = fk.expected_information(net, inputs=source, structure=fk.networks.KFAC(shared))
        for key, layer in layers(module).items():
            right = torch.block_diag(*(torch.kron(L, R) for L, R in sides(module, X, layer, shared)))
            torch.testing.assert_close(F[f"{key}.weight"].dense(), right, rtol=1e-9, atol=1e-12)
            if getattr(layer, "bias", None) is not None:
                torch.testing.assert_close(F[f"{key}.bias"].dense(), of_bias(module, X, layer, shared), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shared", ["expand", "reduce"])
@pytest.mark.parametrize("name", CASES)
def test_the_diagonal_in_the_eigenbasis_is_the_definition(name: str, shared: str) -> None:
    module, X = build(name)
    net = fk.networks.Model(module, "categorical")
    exact = brute_force.expected(module, X)
    for source in (X, [(x,) for x in X.split(3)]):
        F = fk.expected_information(net, inputs=source, structure=fk.networks.EKFAC(shared))
        for key, layer in layers(module).items():
            whole, products = block(exact, F, f"{key}.weight"), sides(module, X, layer, shared)
            Q, P = (stored.arrays[f"{key}.weight:{side}"] for stored in (F._structure,) for side in ("left", "right"))
            check_bases(Q, P, products)
            pairs = zip(Q, P, strict=True) if Q.ndim == 3 else [(Q if len(Q) else torch.eye(len(products[0][0])).double(), P)]
            W = torch.block_diag(*(torch.kron(q.contiguous(), p.contiguous()) for q, p in pairs))
            right = (W * (W.T @ whole @ W).diagonal()) @ W.T
            torch.testing.assert_close(F[f"{key}.weight"].dense(), right, rtol=1e-6, atol=1e-9)
    assert float(F.trace) == pytest.approx(float(exact.trace()), rel=1e-9)


def check_bases(Q: Any, P: Any, products: list[tuple[Any, Any]]) -> None:
    """Orthogonal, and eigenvectors of both sides, of which there may be many where an eigenvalue is zero."""
    for k, pair in enumerate(products):
        for basis, side in zip((Q, P), pair, strict=True):
            W = basis[k] if basis.ndim == 3 else basis if len(basis) else torch.eye(len(side)).double()
            inner = W.T @ side @ W
            torch.testing.assert_close(inner, inner.diagonal().diag(), rtol=0, atol=1e-10 * float(side.abs().max()))
            torch.testing.assert_close(W.T @ W, torch.eye(len(W)).double())


class Mean(nn.Module):
    """Over all positions: of tokens (b, T, d), or of a map (b, d, ...)."""

    def forward(self, x: Any) -> Any:
        return x.mean(dim=1) if x.ndim == 3 else x.flatten(2).mean(dim=2)


class Each(nn.Module):
    """A map's channels, with the places before them: a label for each."""

    def forward(self, x: Any) -> Any:
        return x.flatten(2).transpose(1, 2)


def ring(a: int, b: int, **options: Any) -> nn.Module:
    return nn.Conv2d(a, b, 3, padding=1, padding_mode="circular", **options)


LINEAR: dict[str, tuple[str, Callable[[], list[nn.Module]], Callable[[], Any]]] = {
    "one position": ("expand", lambda: [nn.Linear(3, 4), nn.Linear(4, 2)], real(3)),
    "a label at each position": ("expand", lambda: [nn.Linear(3, 4), nn.Linear(4, 2)], real(5, 3)),
    "a label at each place": (
        "expand",
        lambda: [nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.Conv2d(3, 2, 1), Each()],
        real(2, 4, 5),
    ),
    "a label for each token": ("expand", lambda: [nn.Embedding(6, 4, padding_idx=2), nn.Linear(4, 2)], tokens),
    "depthwise, a label at each place": ("expand", lambda: [nn.Conv2d(4, 4, 2, groups=4), Each()], real(4, 3, 3)),
    "the mean over positions": ("reduce", lambda: [nn.Linear(3, 4), nn.Linear(4, 2), Mean()], real(5, 3)),
    "the mean, then a layer": ("reduce", lambda: [nn.Linear(3, 4), Mean(), nn.Linear(4, 2)], real(5, 3)),
    "the mean over a map": ("reduce", lambda: [ring(2, 3), ring(3, 3), Mean(), nn.Linear(3, 2)], real(2, 3, 4)),
    "the mean, groups": ("reduce", lambda: [ring(4, 4, groups=2), Mean()], real(4, 3, 4)),
}


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("structure", [fk.networks.KFAC, fk.networks.EKFAC])
def test_exact_in_linear_networks_with_gaussian_labels(name: str, structure: Any) -> None:
    """Eschenhagen et al. (2023): expanded with a label at each position, reduced where the positions are averaged."""
    torch.manual_seed(1)
    shared, make, draw = LINEAR[name]
    module, X = nn.Sequential(*make()).double(), draw()
    net = fk.networks.Model(module, fk.networks.Gaussian(0.5))
    exact = fk.expected_information(net, inputs=X, structure="dense")
    found, other = (fk.expected_information(net, inputs=X, structure=structure(way)) for way in (shared, NEITHER[shared]))
    for key in found.parameters.names:
        block = exact[key].dense()
        if "groups" in name or "depthwise" in name:
            block = block * (found[key].dense() != 0)  # nothing is kept between groups
        torch.testing.assert_close(found[key].dense(), block, rtol=1e-9, atol=1e-12)
    if name != "one position" and structure is fk.networks.KFAC:
        assert any(not torch.allclose(other[key].dense(), found[key].dense(), rtol=0.01) for key in found.parameters.names)


def test_exact_for_batches_of_different_lengths() -> None:
    """All positions count alike: a mean over examples of means over their positions is not exact."""
    torch.manual_seed(7)
    module = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)).double()
    net, loader = fk.networks.Model(module, "gaussian"), [(torch.randn(3, n, 3).double(),) for n in (2, 5)]
    exact = fk.expected_information(net, inputs=loader, structure="dense")
    F = fk.expected_information(net, inputs=loader, structure="kfac")
    for key in F.parameters.names:
        torch.testing.assert_close(F[key].dense(), exact[key].dense(), rtol=1e-9, atol=1e-12)


NEITHER = {"expand": "reduce", "reduce": "expand"}


def test_exact_for_one_example_where_there_is_one_position() -> None:
    """A kernel as large as the image is a linear layer."""
    torch.manual_seed(2)
    X = real(2, 3, 4)()[:1]
    module = nn.Sequential(
        nn.Conv2d(2, 4, (3, 4)), nn.Tanh(), nn.Conv2d(4, 4, 1), nn.Tanh(), nn.Flatten(), nn.Linear(4, 3)
    ).double()
    net = fk.networks.Model(module, "categorical")
    exact, *rest = (fk.expected_information(net, inputs=X, structure=kept) for kept in ("dense", "kfac", "ekfac"))
    for F in rest:
        for key in F.parameters.names:
            torch.testing.assert_close(F[key].dense(), exact[key].dense(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("structure", ["kfac", "ekfac"])
def test_verbs_of_groups_and_tokens(structure: str, tmp_path: Any) -> None:
    torch.manual_seed(3)
    convolution = nn.Sequential(nn.Conv2d(4, 6, 2, groups=2), nn.Tanh(), nn.Flatten(), nn.Linear(24, 3))
    lookup = nn.Sequential(nn.Embedding(6, 4), nn.Tanh(), nn.Flatten(), nn.Linear(28, 3))
    for module, X in ((convolution, torch.randn(40, 4, 3, 3)), (lookup, torch.randint(0, 6, (40, 7)))):
        net = fk.networks.Model(module, "categorical", params=["0.*"])
        F = fk.expected_information(net, inputs=X, structure=structure)
        dense, v = F.dense(), torch.randn(F.parameters.size, 2).double()
        torch.testing.assert_close(F @ v, dense @ v)
        damped = dense + 0.3 * torch.eye(len(dense), dtype=torch.float64)
        torch.testing.assert_close(F.solve(v, damping=0.3), torch.linalg.solve(damped, v))
        torch.testing.assert_close(F.eigenvalues(), torch.linalg.eigvalsh(dense), atol=1e-12, rtol=1e-6)
        torch.testing.assert_close(torch.cat([leaf.flatten() for leaf in F.diagonal().values()]), dense.diagonal())
        assert float(F.trace) == pytest.approx(float(dense.trace()))
        assert float(F.quadratic(v[:, 0])) == pytest.approx(float(v[:, 0] @ dense @ v[:, 0]))
        torch.testing.assert_close((3 * F)["0.weight"].dense(), 3 * F["0.weight"].dense())
        weight = F["0.weight"]
        inverse = torch.linalg.inv(weight.dense())
        torch.testing.assert_close(weight.inverse(), inverse, rtol=1e-5, atol=1e-6 * float(inverse.abs().max()))
        assert float(weight.logdet) == pytest.approx(float(weight.dense().logdet()), rel=1e-6)
        errors = torch.cat([leaf.flatten() for leaf in weight.standard_errors().values()])
        torch.testing.assert_close(errors, inverse.diagonal().sqrt(), rtol=1e-5, atol=0)
        assert F.rank == len(dense)
        F.save(tmp_path / "f.npz")
        torch.testing.assert_close(fk.load(tmp_path / "f.npz").dense(), dense)


def test_a_group_without_inputs_is_named() -> None:
    torch.manual_seed(8)
    module = nn.Sequential(nn.Conv1d(4, 6, 2, groups=2), nn.Tanh(), nn.Flatten(), nn.Linear(12, 3)).double()
    X = torch.randn(40, 4, 3).double()
    X[:, 2:] = 0
    for structure, name in (("kfac", r"1 0.weight\[3:6,\d\]"), ("ekfac", r"0.weight\[[345],\d,\d\]")):
        F = fk.expected_information(fk.networks.Model(module, "categorical"), inputs=X, structure=structure)
        with pytest.raises(fk.errors.SingularInformationError, match=name):
            F["0.weight"].inverse()


@pytest.mark.parametrize("structure", ["kfac", "ekfac"])
@pytest.mark.parametrize("name", ["2d", "2d transposed, groups", "embedding, padding and places"])
def test_half_precision_is_multiplied_in_single(name: str, structure: str) -> None:
    module, X = build(name)
    exact = fk.expected_information(fk.networks.Model(module, "categorical"), inputs=X, structure=structure)
    X = X.bfloat16() if X.is_floating_point() else X
    F = fk.expected_information(fk.networks.Model(module.bfloat16(), "categorical"), inputs=X, structure=structure)
    assert float(F.trace) == pytest.approx(float(exact.trace), rel=0.05)
    again = fk.expected_information(
        fk.networks.Model(module.double(), "categorical"), inputs=X.double() if X.is_floating_point() else X
    )
    assert float(again.trace) == pytest.approx(float(exact.trace), rel=0.05)


def test_what_overflows_is_refused() -> None:
    module, X = nn.Sequential(nn.Conv1d(1, 2, 2), nn.Tanh(), nn.Flatten(), nn.Linear(4, 3)), torch.full((4, 1, 3), 1e25)
    net = fk.networks.Model(module, "categorical")
    for structure in ("kfac", "ekfac"):
        with pytest.raises(fk.errors.DataError, match=r"the products of 0\.weight are not finite"):
            fk.expected_information(net, inputs=X, structure=structure)


def test_a_token_that_is_never_seen_has_no_information() -> None:
    torch.manual_seed(4)
    module = nn.Sequential(nn.Embedding(5, 3), nn.Tanh(), nn.Flatten(), nn.Linear(6, 3)).double()
    net, X = fk.networks.Model(module, "categorical", params="0.weight"), torch.tensor([[0, 1], [1, 2], [2, 4]]).repeat(9, 1)
    for structure, name in (("kfac", r"weight\[3,:\]"), ("ekfac", r"weight\[3,\d\]")):
        F = fk.expected_information(net, inputs=X, structure=structure)
        with pytest.raises(fk.errors.SingularInformationError, match=name):
            F.inverse()
        assert float(F["0.weight"].eigenvalues()[2]) == 0 < float(F["0.weight"].eigenvalues()[3])


def test_what_has_no_product_keeps_its_diagonal() -> None:
    """A head tied to its embedding, scales, and what torch.func differentiates, beside layers that have products."""

    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.norm, self.inner = nn.Embedding(6, 4), nn.LayerNorm(4), nn.Linear(4, 4)
            self.raw, self.places = nn.Parameter(torch.randn(4)), nn.Parameter(torch.randn(1, 7, 4))

        def forward(self, x: Any) -> Any:
            h = self.inner(torch.tanh(self.norm(self.table(x) + self.places))) * torch.sin(self.raw)
            return functional.linear(h, self.table.weight).sum(dim=1)

    torch.manual_seed(5)
    module, X = Mixed().double(), tokens()
    net = fk.networks.Model(module, "categorical")
    exact = brute_force.expected(module, X)
    for structure in ("kfac", "ekfac"):
        F = fk.expected_information(net, inputs=X, structure=structure)
        for name in ("table.weight", "norm.weight", "raw", "places"):
            torch.testing.assert_close(F[name].dense(), block(exact, F, name).diagonal().diag())
        torch.testing.assert_close(F["inner.weight"].dense().count_nonzero(), torch.tensor(256))


def test_attention_has_products() -> None:
    """Its projections are linear layers without a module: the inputs are known, and the bias tells the gradients' sum."""

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.MultiheadAttention(4, 2, batch_first=True)

        def forward(self, x: Any) -> Any:
            return self.inner(x, x, x, need_weights=False)[0].mean(dim=1)

    torch.manual_seed(9)
    module, X = Attention().double(), real(5, 4)()
    net, exact = fk.networks.Model(module, "categorical"), brute_force.expected(module, X)
    expand, reduce = (fk.expected_information(net, inputs=X, structure=fk.networks.KFAC(way)) for way in ("expand", "reduce"))
    for F, rows in ((expand, X.flatten(0, 1)), (reduce, X.mean(dim=1))):
        product = torch.kron(F["inner.in_proj_bias"].dense(), rows.T @ rows / len(rows))
        torch.testing.assert_close(F["inner.in_proj_weight"].dense(), product)
    for name in ("inner.in_proj_bias", "inner.out_proj.bias"):
        torch.testing.assert_close(reduce[name].dense(), block(exact, reduce, name))
    E = fk.expected_information(net, inputs=X, structure="ekfac")
    assert float(E.trace) == pytest.approx(float(exact.trace()), rel=1e-9)
    for name in E.parameters.names:
        far, near = (float((F[name].dense() - block(exact, E, name)).norm()) for F in (expand, E))
        assert near <= far * (1 + 1e-9)


def test_a_layer_that_some_batches_do_not_use() -> None:
    class Switch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 2), nn.Conv1d(1, 2, 3)

        def forward(self, x: Any) -> Any:
            return self.a(x) if x.sum() > 0 else self.b(x[:, None])[..., 0]

    torch.manual_seed(6)
    module = Switch().double()
    X = torch.rand(4, 3).double()
    net, alone = (fk.networks.Model(m, "categorical") for m in (module, module.a))
    for structure in ("kfac", "ekfac"):
        F = fk.expected_information(net, inputs=[(X,), (-X,)], structure=structure)
        half = fk.expected_information(alone, inputs=X, structure=structure)
        torch.testing.assert_close(2 * F["a.weight"].dense(), half["weight"].dense())


def test_the_factors_of_a_large_vocabulary_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FISHERKIT_MEMORY", str(8 * 10_000))
    module = nn.Sequential(nn.Embedding(200, 4), nn.Flatten(), nn.Linear(8, 150))
    X = torch.randint(0, 200, (5, 2))
    net = fk.networks.Model(module, "categorical")
    with pytest.raises(MemoryError, match=r"of 2.weight alone 22564 numbers"):
        fk.expected_information(net, inputs=X, structure="kfac")
    F = fk.expected_information(fk.networks.Model(module, "categorical", params="0.*"), inputs=X, structure="kfac")
    assert F.parameters.size == 800

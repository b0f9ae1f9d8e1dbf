"""Sensitivity: the quadratic form part by part, against brute force, small divergences, and what pruning really costs."""

import re

import numpy as np
import pytest

import fisherkit as fk

torch = pytest.importorskip("torch")
nn = torch.nn
GENERATOR = torch.Generator().manual_seed(0)
SHAPES = {"a.weight": (3, 2), "a.bias": (3,), "b.weight": (2, 3), "b.scale": (), "free": (2,)}
PARTS = {
    "parameter": [*SHAPES],
    "channel": ["a", "b.weight", "b.scale", "(root)"],
    "tensor": [*SHAPES],
    "layer": ["a", "b", "(root)"],
}


def sensitivity():
    return fk.applications.sensitivity


def random_dense() -> fk.FisherInformation:
    root = torch.randn(18, 18, generator=GENERATOR, dtype=torch.float64)
    return fk.FisherInformation(root @ root.T, parameters=SHAPES)


def random_weights() -> dict:
    return {name: torch.randn(shape, generator=GENERATOR, dtype=torch.float64) for name, shape in SHAPES.items()}


def members(part: str, index: tuple[int, ...], by: str) -> dict[str, object]:
    """Which entries of each tensor belong to a part, written down by hand."""
    every = ...
    if by in ("parameter", "tensor"):
        return {part: index or every}
    names = {"a": ("a.weight", "a.bias"), "b": ("b.weight", "b.scale"), "(root)": ("free",)}.get(part, (part,))
    return {name: (index if SHAPES[name] else every) or every for name in names}


# -- the quadratic form of each part


@pytest.mark.parametrize("by", PARTS)
@pytest.mark.parametrize("structure", ["dense", "diagonal"])
def test_each_part_is_the_quadratic_form_of_its_own_change(by: str, structure: str) -> None:
    F, delta = random_dense(), random_weights()
    if structure == "diagonal":
        F = fk.FisherInformation(F.diagonal())
    matrix = np.asarray(F)
    found = sensitivity().to_change(F, delta, by=by).divergence
    assert [*found] == PARTS[by]
    for part, values in found.items():
        for index in np.ndindex(values.shape):
            alone = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in SHAPES.items()}
            for name, where in members(part, index, by).items():
                alone[name][where] = delta[name][where]
            d = np.concatenate([np.ravel(value) for value in alone.values()])
            assert float(values[index]) == pytest.approx(0.5 * d @ matrix @ d, rel=1e-12)
    together = sensitivity().to_change(F, delta, by="layer").divergence
    whole = float(F.quadratic(delta)) / 2
    assert (float(sum(together.values())) == pytest.approx(whole)) == (structure == "diagonal")


def test_the_scale_of_the_information_does_not_matter() -> None:
    F, delta = random_dense(), random_weights()
    once, many = (sensitivity().to_change(G, delta).divergence for G in (F, F.total(500)))
    torch.testing.assert_close(once, many)


def test_pruning_and_quantization_are_changes() -> None:
    F, weights = random_dense(), random_weights()
    pruned = sensitivity().to_pruning(F, {**weights, "buffer": torch.ones(4)}, by="channel").divergence
    torch.testing.assert_close(pruned, sensitivity().to_change(F, {n: -w for n, w in weights.items()}, by="channel").divergence)
    for per_channel in (True, False):
        options = {"bits": 3, "per_channel": per_channel}
        delta = {name: sensitivity().quantize(w, **options) - w for name, w in weights.items()}
        found = sensitivity().to_quantization(F, weights, **options, by="parameter").divergence
        torch.testing.assert_close(found, sensitivity().to_change(F, delta, by="parameter").divergence)
    part = sensitivity().to_pruning(F["a.weight",], weights)
    assert [*part.divergence] == ["a.weight"]


def test_quantization_takes_the_nearest_of_symmetric_levels() -> None:
    weight = torch.tensor([[0.3, -0.7, 0.05], [14.0, 3.1, -9.2], [0.0, 0.0, 0.0]], dtype=torch.float64)
    for per_channel in (True, False):
        found = sensitivity().quantize(weight, bits=4, per_channel=per_channel)
        for row, got in zip(weight.tolist(), found.tolist(), strict=True):
            largest = max(map(abs, row)) if per_channel else 14.0
            levels = np.arange(-7, 8) * largest / 7
            assert got == pytest.approx([levels[abs(levels - value).argmin()] for value in row])
    bias = torch.tensor([0.5, -1.0])
    assert sensitivity().quantize(bias, bits=2, per_channel=True).tolist() == [0.0, -1.0]  # one scale, or nothing would change


# -- against what really happens


@pytest.fixture(scope="module")
def trained_network():
    """A network of the digits, its inputs, and the true divergence of a change to it."""
    pytest.importorskip("sklearn")
    from .digits import digits, perceptron, trained

    X, y = digits()
    module = trained(perceptron(0, 64, 24, 24, 10), X[:1400], y[:1400], epochs=10, seed=0, lr=5e-3)
    X = X[:500]
    weights = dict(module.named_parameters())
    with torch.no_grad():
        old = torch.log_softmax(module(X), 1)

    def divergence(delta) -> float:
        with torch.no_grad():
            changed = {name: w + delta[name] if name in delta else w for name, w in weights.items()}
            new = torch.log_softmax(torch.func.functional_call(module, changed, (X,)), 1)
        return float((old.exp() * (old - new)).sum(1).mean())

    net = fk.networks.Model(module, "categorical")
    informations = {s: fk.expected_information(net, inputs=X, structure=s) for s in ("dense", "diagonal")}
    return module, informations, divergence


def of_channel(delta: dict, layer: str, channel: int) -> dict:
    """The change of one channel alone, for a stack of linear layers."""
    alone = {name: torch.zeros_like(delta[name]) for name in (f"{layer}.weight", f"{layer}.bias")}
    for name, value in alone.items():
        value[channel] = delta[name][channel]
    return alone


def test_a_small_change_costs_what_is_told(trained_network) -> None:
    module, informations, divergence = trained_network
    delta = {n: 1e-4 * torch.randn(p.shape, generator=GENERATOR, dtype=p.dtype) for n, p in module.named_parameters()}
    told = sensitivity().to_change(informations["dense"], delta, by="tensor").divergence
    for name, value in told.items():
        assert divergence({name: delta[name]}) == pytest.approx(float(value), rel=2e-3)
    told = sensitivity().to_change(informations["dense"], delta, by="channel").divergence
    for layer, values in told.items():
        for channel, value in enumerate(values[:3]):
            assert divergence(of_channel(delta, layer, channel)) == pytest.approx(float(value), rel=2e-3)
    told = sensitivity().to_change(informations["diagonal"], delta, by="parameter").divergence["4.bias"]
    for position, value in enumerate(told):  # of single parameters the diagonal knows everything
        single = torch.zeros_like(delta["4.bias"])
        single[position] = delta["4.bias"][position]
        assert divergence({"4.bias": single}) == pytest.approx(float(value), rel=2e-3)


#: change, structure -> Spearman correlation with the true divergence over the 58 channels: measured, and asserted.
#: That of the size of the change alone is 0.58 for pruning, and -0.03 for 4 bits.
MEASURED = {
    ("pruning", "dense"): (0.884, 0.8),
    ("pruning", "diagonal"): (0.787, 0.65),
    ("4 bits", "dense"): (0.996, 0.98),
    ("4 bits", "diagonal"): (0.659, 0.5),
}


@pytest.mark.parametrize(("change", "structure"), MEASURED)
def test_ranks_are_those_of_the_true_divergence(trained_network, change: str, structure: str) -> None:
    from scipy.stats import spearmanr

    module, informations, divergence = trained_network
    F, weights = informations[structure], {name: p.detach() for name, p in module.named_parameters()}
    if change == "pruning":
        delta, told = {n: -w for n, w in weights.items()}, sensitivity().to_pruning(F, module, by="channel")
    else:
        told = sensitivity().to_quantization(F, module, bits=4, per_channel=False, by="channel")
        delta = {n: sensitivity().quantize(w, bits=4, per_channel=False) - w for n, w in weights.items()}
    truth = [divergence(of_channel(delta, layer, c)) for layer, v in told.divergence.items() for c in range(len(v))]
    correlation = spearmanr(torch.cat([*told.divergence.values()]), truth).statistic
    ones = fk.FisherInformation({name: torch.ones_like(w) for name, w in weights.items()})
    by_size = spearmanr(torch.cat([*sensitivity().to_change(ones, delta, by="channel").divergence.values()]), truth).statistic
    print(f"{change}, {structure}: {correlation:.3f} over {len(truth)} channels; by size {by_size:.3f}")
    assert correlation > max(by_size, MEASURED[change, structure][1])


def test_ranks_of_single_weights(trained_network) -> None:
    """Pruning 120 weights one at a time."""
    from scipy.stats import spearmanr

    module, informations, divergence = trained_network
    told = sensitivity().to_pruning(informations["diagonal"], module, by="parameter").divergence
    rng, pairs = np.random.default_rng(0), []
    for name in ("0.weight", "2.weight", "4.weight"):
        weight = module.get_parameter(name).detach()
        for position in rng.choice(weight.numel(), 40, replace=False):
            index, delta = np.unravel_index(position, weight.shape), torch.zeros_like(weight)
            delta[index] = -weight[index]
            pairs.append((float(told[name][index]), divergence({name: delta})))
    correlation = spearmanr(*zip(*pairs, strict=True)).statistic
    print(f"single weights: {correlation:.4f}")
    assert correlation > 0.99


# -- the table


def test_the_table_is_sorted_by_name_and_cut() -> None:
    names = {f"{k}.weight": torch.full((2, 2), float(k)) for k in (10, 2, 1)}
    told = sensitivity().to_pruning(fk.FisherInformation(names), {n: torch.ones(2, 2) for n in names}, by="layer")
    assert told.report().splitlines() == [
        "Sensitivity(by='layer') to pruning, KL per observation",
        "  layer  nats",
        "  1         2",
        "  2         4",
        "  10       20",
    ]
    assert repr(told) == told.report()
    assert told.ranked() == [("1", 2.0), ("2", 4.0), ("10", 20.0)]
    F = fk.FisherInformation({"a": torch.ones(5, 6)})
    told = sensitivity().to_quantization(F, {"a": torch.ones(5, 6)}, bits=4, by="parameter")
    assert repr(told).splitlines()[0] == "Sensitivity(by='parameter') to 4 bits per channel, KL per observation"
    assert repr(told).splitlines()[-1] == "  ... and 6 more: report() shows all"
    assert re.findall(r"a\[\d,\d\]", told.report())[-1] == "a[4,5]"
    with pytest.raises(AttributeError):
        told.by = "layer"


def test_a_monte_carlo_error_follows() -> None:
    module = nn.Linear(3, 2)
    net, X = fk.networks.Model(module, "categorical"), torch.randn(50, 3, generator=GENERATOR)
    F = fk.expected_information(net, inputs=X, structure="diagonal", method=fk.MonteCarlo(40, rng=0))
    exact = sensitivity().to_pruning(fk.expected_information(net, inputs=X, structure="diagonal"), module).divergence
    errors = F.mcse_of(lambda F: sensitivity().to_pruning(F, module).divergence)
    for name, value in sensitivity().to_pruning(F, module).divergence.items():
        assert 0 < errors[name] < 0.2 * value
        assert abs(value - exact[name]) < 4 * errors[name]


# -- bad input

F, WEIGHTS = random_dense(), random_weights()


@pytest.mark.parametrize(
    ("ask", "error", "said"),
    [
        (lambda s: s.to_change(F, {"free": torch.ones(2)}), fk.errors.LayoutError, r"missing: a\.weight"),
        (lambda s: s.to_change(F, {**WEIGHTS, "free": torch.ones(3)}), fk.errors.LayoutError, r"shape \(2,\); got \(3,\)"),
        (lambda s: s.to_change(F, {**WEIGHTS, "free": torch.tensor([1, torch.nan])}), fk.errors.DataError, "must be finite"),
        (lambda s: s.to_change(F, WEIGHTS, by="row"), fk.errors.LayoutError, "by must be one of 'parameter', 'channel'"),
        (lambda s: s.to_change(F * 0.0, WEIGHTS), fk.errors.DataError, "n > 0"),
        (lambda s: s.to_change(F, np.ones(18)), fk.errors.EntriesError, "found torch and numpy"),
        (
            lambda s: s.to_pruning(F, {"free": torch.ones(2)}),
            fk.errors.LayoutError,
            r"not of these weights, which have no a\.weight",
        ),
        (lambda s: s.to_pruning(F, nn.Linear(2, 2)), fk.errors.LayoutError, "not of these weights"),
        (lambda s: s.to_quantization(F, WEIGHTS, bits=1), fk.errors.DataError, "bits must be an integer from 2 to 16; got 1"),
        (lambda s: s.to_quantization(F, WEIGHTS, bits=4.0), fk.errors.DataError, "bits must be an integer"),
    ],
)
def test_what_does_not_fit_is_refused(ask, error, said) -> None:
    with pytest.raises(error, match=said):
        ask(sensitivity())


def test_other_entries_and_negative_ones_are_refused() -> None:
    import sympy

    x = sympy.Symbol("x", positive=True)
    for other in (fk.FisherInformation([[1 / x]], parameters=(x,)), fk.FisherInformation([[1.0]], parameters=("x",))):
        with pytest.raises(fk.errors.EntriesError, match="needs an information of tensors"):
            sensitivity().to_pruning(other, {"x": torch.tensor(1.0)})
    with pytest.raises(fk.errors.IndefiniteInformationError, match=r"x\[1\] is negative"):
        sensitivity().to_pruning(fk.FisherInformation({"x": torch.tensor([1.0, -1.0])}), {"x": torch.ones(2)})


def test_channels_of_transposed_convolutions_are_refused() -> None:
    module = nn.Sequential(nn.ConvTranspose1d(2, 3, 2), nn.Flatten())
    F = fk.expected_information(fk.networks.Model(module, "gaussian"), inputs=torch.ones(2, 2, 4), structure="diagonal")
    assert [*sensitivity().to_pruning(F, module).divergence] == ["0.weight", "0.bias"]
    with pytest.raises(fk.errors.LayoutError, match="the outputs of 0 are on the second axis"):
        sensitivity().to_pruning(F, module, by="channel")
    with pytest.raises(fk.errors.LayoutError, match="per_channel=False"):
        sensitivity().to_quantization(F, module)

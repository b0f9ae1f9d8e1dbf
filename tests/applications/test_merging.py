"""Merging: the formula, a model where merging halves is fitting the whole, and networks of digits."""

import copy

import numpy as np
import pytest

import fisherkit as fk

torch = pytest.importorskip("torch")
nn = torch.nn
GENERATOR = torch.Generator().manual_seed(0)
SHAPES = {"a.weight": (3, 2), "a.bias": (3,), "scale": ()}


def merge(*arguments, **options):
    return fk.applications.merging.merge(*arguments, **options)


def random_state() -> dict:
    return {name: torch.randn(shape, generator=GENERATOR, dtype=torch.float64) for name, shape in SHAPES.items()}


def random_diagonal() -> fk.FisherInformation:
    return fk.FisherInformation({name: torch.rand(shape, generator=GENERATOR) for name, shape in SHAPES.items()})


def random_dense(rank: int = 10) -> fk.FisherInformation:
    root = torch.randn(10, rank, generator=GENERATOR, dtype=torch.float64)
    return fk.FisherInformation(root @ root.T, parameters=SHAPES)


def flat(state: dict) -> np.ndarray:
    return np.concatenate([np.ravel(state[name].numpy()) for name in SHAPES])


# -- the formula


@pytest.mark.parametrize("weights", [None, (1, 2, 3), (0.5, 0, 0.25)])
def test_each_entry_is_the_mean_weighted_by_its_information(weights) -> None:
    states, informations = [random_state() for _ in range(3)], [random_diagonal() for _ in range(3)]
    informations[0] = fk.FisherInformation({**informations[0].diagonal(), "scale": torch.tensor(0.0)})
    merged = merge(states, informations, weights=weights)
    for name, shape in SHAPES.items():
        for index in np.ndindex(shape):
            top = bottom = 0.0
            for w, state, F in zip(weights or (1, 1, 1), states, informations, strict=True):
                top += w * float(F.diagonal()[name][index]) * float(state[name][index])
                bottom += w * float(F.diagonal()[name][index])
            assert float(merged[name][index]) == pytest.approx(top / bottom, rel=1e-12)


def test_the_plain_mean_where_no_model_has_information() -> None:
    states = [random_state() for _ in range(3)]
    nothing = {name: torch.zeros(shape) for name, shape in SHAPES.items()}
    merged = merge(states, [nothing] * 3, weights=[1, 1, 2])
    for name in SHAPES:
        torch.testing.assert_close(merged[name], (states[0][name] + states[1][name] + 2 * states[2][name]) / 4)
    equal = merge([states[0]] * 3, [nothing, random_diagonal(), random_diagonal()])
    assert all(torch.equal(equal[name], states[0][name]) for name in SHAPES)


def test_dense_informations_are_solved_together() -> None:
    states, informations = [random_state() for _ in range(2)], [random_dense(), random_dense()]
    A, B = (F.dense().numpy() for F in informations)
    expected = np.linalg.solve(3 * A + B, 3 * A @ flat(states[0]) + B @ flat(states[1]))
    np.testing.assert_allclose(flat(merge(states, informations, weights=(3, 1))), expected, rtol=1e-9)
    entrywise = merge(states, [fk.FisherInformation(F.diagonal()) for F in informations], weights=(3, 1))
    assert abs(flat(entrywise) - expected).max() > 0.05  # the diagonals alone say something else
    mixed = [informations[0], fk.FisherInformation(informations[1].diagonal())]
    expected = np.linalg.solve(A + np.diag(np.diag(B)), A @ flat(states[0]) + np.diag(B) * flat(states[1]))
    np.testing.assert_allclose(flat(merge(states, mixed)), expected, rtol=1e-9)


def test_directions_without_information_keep_the_mean() -> None:
    """Of all minima the nearest to the mean: the limit of ever smaller damping."""
    states, informations = [random_state() for _ in range(2)], [random_dense(rank=3), random_dense(rank=2)]
    A, B = (F.dense().numpy() for F in informations)
    merged, mean = flat(merge(states, informations)), (flat(states[0]) + flat(states[1])) / 2
    slope = A @ (merged - flat(states[0])) + B @ (merged - flat(states[1]))
    assert abs(slope).max() < 1e-10 * abs(A).max()
    null = np.linalg.svd(A + B)[2][5:]
    assert abs(null @ (merged - mean)).max() < 1e-10
    np.testing.assert_allclose(merged, flat(merge(states, informations, damping=1e-7)), atol=1e-5)
    pair = [{"ab": torch.tensor([0.0, 0.0])}, {"ab": torch.tensor([2.0, 4.0])}]
    ones = fk.FisherInformation(torch.ones(2, 2), parameters={"ab": (2,)})  # of the sum alone, which is 0 and 6
    assert merge(pair, [ones * 2.0, ones * 6.0])["ab"].tolist() == pytest.approx([1.75, 2.75])


def test_rounding_of_float32_is_no_negative_information() -> None:
    states, informations = [random_state() for _ in range(2)], [random_dense(rank=3), random_dense(rank=2)]
    expected = flat(merge(states, informations))
    rounded = [fk.FisherInformation(F.dense().float(), parameters=SHAPES) for F in informations]
    assert np.linalg.eigvalsh(rounded[0].dense().numpy())[0] < -1e-10  # and yet of rank 3
    np.testing.assert_allclose(flat(merge(states, rounded)), expected, atol=1e-3)
    observed = fk.FisherInformation(informations[0].dense() - 0.1 * torch.eye(10), parameters=SHAPES)
    with pytest.raises(fk.errors.IndefiniteInformationError, match="negative eigenvalue"):
        merge(states, [observed, observed])


def test_damping_pulls_to_the_mean() -> None:
    states, informations = [random_state() for _ in range(2)], [random_dense(rank=3), random_dense(rank=2)]
    A, B = (F.dense().numpy() / 2 for F in informations)
    mean = (flat(states[0]) + flat(states[1])) / 2
    pull = A @ flat(states[0]) + B @ flat(states[1]) + 0.3 * mean
    expected = np.linalg.solve(A + B + 0.3 * np.eye(10), pull)
    np.testing.assert_allclose(flat(merge(states, informations, damping=0.3)), expected, rtol=1e-9)
    np.testing.assert_allclose(flat(merge(states, informations, damping=1e12)), mean, rtol=1e-9)


# -- a model where merging the halves is fitting the whole


@pytest.mark.parametrize("sizes", [(50, 50), (20, 80)])
def test_halves_of_a_linear_regression_merge_to_the_fit_of_all(sizes) -> None:
    X = torch.randn(100, 4, generator=GENERATOR, dtype=torch.float64)
    y = X @ torch.randn(4, 2, generator=GENERATOR, dtype=torch.float64) + torch.randn(100, 2, generator=GENERATOR)

    def fitted(rows):
        layer = nn.Linear(4, 2, bias=False).double()
        layer.weight.data = torch.linalg.lstsq(X[rows], y[rows]).solution.T
        return fk.networks.Model(layer, "gaussian")

    parts = [slice(0, sizes[0]), slice(sizes[0], 100)]
    models = [fitted(part) for part in parts]
    per_one = [fk.expected_information(m, inputs=X[part], structure="dense") for m, part in zip(models, parts, strict=True)]
    whole = fitted(slice(None)).module.weight.detach()
    totals = [F.total(size) for F, size in zip(per_one, sizes, strict=True)]
    torch.testing.assert_close(merge(models, totals)["weight"], whole, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(merge(models, per_one, weights=sizes)["weight"], whole, rtol=1e-10, atol=1e-12)
    alike = merge(models, per_one)["weight"]  # each counts alike, however little it has seen
    assert torch.allclose(alike, whole, rtol=1e-6) == (sizes[0] == sizes[1])


# -- networks


@pytest.mark.parametrize(
    ("share", "least"), [(0.5, 0.003), (0.9, 0.06)], ids=["halves at random", "halves of mostly five digits each"]
)
def test_halves_of_the_digits_merge_better_than_the_plain_mean(share: float, least: float) -> None:
    """From one start without a common training. Mean test log-likelihood and accuracy over ten seeds, merged against plain:
    -0.099 and 0.968 against -0.107 and 0.965 at random; -0.188 and 0.935 against -0.310 and 0.902 with different digits."""
    pytest.importorskip("sklearn")
    from .digits import digits, perceptron, trained

    X, y = digits()
    X, y, X_test, y_test = X[:1400], y[:1400], X[1400:], y[1400:]
    rows = []
    for seed in range(10):
        start = perceptron(seed, 64, 32, 10)
        first = torch.rand(1400, generator=torch.Generator().manual_seed(seed)) < torch.where(y < 5, share, 1 - share)
        parts = [(X[half], y[half]) for half in (first, ~first)]
        nets = [fk.networks.Model(trained(copy.deepcopy(start), *part, epochs=20, seed=seed), "categorical") for part in parts]
        informations = [
            fk.expected_information(net, inputs=inputs, structure="diagonal").total(len(inputs))
            for net, (inputs, _) in zip(nets, parts, strict=True)
        ]
        found = []
        for used in ([F * 0.0 for F in informations], informations):
            start.load_state_dict(merge(nets, used))
            with torch.no_grad():
                output = start(X_test)
            found += [-nn.functional.cross_entropy(output, y_test).item(), (output.argmax(1) == y_test).double().mean().item()]
        rows.append(found)
    plain, plain_right, fisher, right = np.mean(rows, axis=0)
    print(f"log-likelihood and accuracy: plain {plain:.4f}, {plain_right:.4f}; merged {fisher:.4f}, {right:.4f}")
    assert fisher > plain + least
    assert right >= plain_right


class Tied(nn.Module):
    """BatchNorm, a frozen layer, an embedding that is also the head, and a state that is no tensor."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embedding, self.norm, self.frozen = nn.Embedding(5, 3), nn.BatchNorm1d(3), nn.Linear(3, 3)
        self.head = nn.Linear(3, 5, bias=False)
        self.head.weight = self.embedding.weight
        self.frozen.requires_grad_(False)

    def forward(self, tokens):
        return self.head(self.frozen(self.norm(self.embedding(tokens))))

    def get_extra_state(self):
        return {"version": [1]}

    def set_extra_state(self, state):
        self.version = state["version"]


def test_buffers_and_frozen_parameters_are_copied_and_tied_weights_stay_tied() -> None:
    tokens = torch.tensor([0, 1, 2, 3, 4, 0])
    one, two = Tied(0), Tied(1)
    two(tokens)  # moves the statistics and the counter
    nets = [fk.networks.Model(m.eval(), "categorical") for m in (one, two)]
    informations = [fk.expected_information(net, inputs=tokens, structure="diagonal") for net in nets]
    before = [copy.deepcopy(m.state_dict()) for m in (one, two)]
    for source, count in ((0, 0), (1, 1)):
        merged = merge([one, two], informations, copy_from=source)
        assert merged["norm.num_batches_tracked"] == count
        for name in ("norm.running_mean", "frozen.weight"):
            assert torch.equal(merged[name], before[source][name])
        assert torch.equal(merged["head.weight"], merged["embedding.weight"])
        assert not torch.equal(merged["head.weight"], before[source]["embedding.weight"])
        fresh = Tied(2)
        fresh.load_state_dict(merged)
        assert torch.equal(fresh.embedding.weight, merged["embedding.weight"])
        assert fresh.version == [1]
    merged["norm.running_mean"] += 1
    for module, state in zip((one, two), before, strict=True):
        torch.testing.assert_close(dict(module.state_dict()), dict(state), rtol=0, atol=0)


def test_modules_models_and_states_are_read_alike() -> None:
    one, two = nn.Linear(2, 3), nn.Linear(2, 3)
    nets = [fk.networks.Model(m, "categorical") for m in (one, two)]
    informations = [fk.expected_information(net, inputs=torch.rand(9, 2), structure="diagonal") for net in nets]
    informations[1] = informations[1]["bias", "weight"]  # matched by name
    found = [
        merge(pair, informations)
        for pair in ((one, two), (fk.networks.Model(one, "gaussian"), two.state_dict()), (nn.DataParallel(one), two))
    ]
    assert found[0]["weight"].dtype == torch.float32
    for other in found[1:]:
        assert all(torch.equal(other[name], value) for name, value in found[0].items())
    half = merge([m.half().state_dict() for m in (one, two)], informations)
    assert half["weight"].dtype == torch.float16
    torch.testing.assert_close(half["weight"].float(), found[0]["weight"], rtol=2e-3, atol=1e-3)


# -- bad input

STATES, INFORMATIONS = [random_state(), random_state()], [random_diagonal(), random_diagonal()]


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"models": STATES[:1], "informations": INFORMATIONS[:1]}, fk.errors.LayoutError, "two models or more"),
        ({"informations": INFORMATIONS[:1]}, fk.errors.LayoutError, "an information each; got 2 and 1"),
        ({"models": [STATES[0], {"scale": STATES[1]["scale"]}]}, fk.errors.LayoutError, r"2 differ: a\.bias: \(3,\) and missing"),
        ({"models": [STATES[0], {**STATES[1], "scale": torch.ones(2)}]}, fk.errors.LayoutError, r"scale: \(\) and \(2,\)"),
        ({"models": [STATES[0], {**STATES[1], "scale": torch.tensor(torch.nan)}]}, fk.errors.DataError, "must be finite"),
        ({"informations": [{"b": torch.ones(2)}] * 2}, fk.errors.LayoutError, r"informations\[0\] is not of this model.* b\."),
        ({"informations": [{"scale": torch.ones(2)}] * 2}, fk.errors.LayoutError, r"must have shape \(2,\); got \(\)"),
        (
            {"informations": [INFORMATIONS[0], INFORMATIONS[1].fix("scale")]},
            fk.errors.LayoutError,
            r"only one of informations\[0\] and informations\[1\] has scale",
        ),
        ({"informations": [INFORMATIONS[0], INFORMATIONS[1].total(50)]}, fk.errors.MethodError, "stand for n = 1, 50"),
        ({"informations": [{"scale": torch.tensor(-1.0)}] * 2}, fk.errors.IndefiniteInformationError, "scale is negative"),
        ({"informations": [{"scale": np.array(1.0)}] * 2}, fk.errors.EntriesError, "found numpy and torch"),
        ({"weights": [1, -1]}, fk.errors.DataError, "non-negative and not all 0"),
        ({"weights": [0, 0]}, fk.errors.DataError, "not all 0"),
        ({"weights": [1, float("nan")]}, fk.errors.DataError, "finite"),
        ({"weights": [1]}, fk.errors.LayoutError, "2 models need as many weights; got 1"),
        ({"damping": -1.0}, fk.errors.DataError, "damping must be finite and non-negative"),
        ({"copy_from": 2}, fk.errors.LayoutError, "copy_from must be one of the models 0 to 1; got 2"),
    ],
)
def test_what_does_not_fit_is_refused(change, error, said) -> None:
    arguments = {"models": STATES, "informations": INFORMATIONS, **change}
    with pytest.raises(error, match=said):
        merge(arguments.pop("models"), arguments.pop("informations"), **arguments)


def test_expressions_and_integers_are_refused() -> None:
    import sympy

    x = sympy.Symbol("x", positive=True)
    with pytest.raises(fk.errors.EntriesError, match=r"F\.at\(x=\.\.\.\)"):
        merge([{"x": torch.tensor(1.0)}] * 2, [fk.FisherInformation([[x]], parameters=(x,))] * 2)
    with pytest.raises(fk.errors.LayoutError, match="no real tensor steps"):
        merge([{"steps": torch.tensor(1)}] * 2, [{"steps": torch.tensor(1.0)}] * 2)

"""Which parameters, which estimator, what is shown and what is kept in a file."""

import copy
import sys

import numpy as np
import pytest

import fisherkit as fk

torch = pytest.importorskip("torch")
from tests.networks import brute_force  # noqa: E402 needs torch

nn = torch.nn
torch.manual_seed(0)
X, Y = torch.randn(40, 4, dtype=torch.float64), torch.arange(40) % 3
ESTIMATORS = ("labels", "hutchinson", "batches")


def mlp():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.LayerNorm(5), nn.Linear(5, 3)).double()


def diagonal(model, method=None):
    return fk.expected_information(model, inputs=X, structure="diagonal", method=method)


# -- params=


class Adapted(nn.Module):
    """A frozen weight with a low-rank adapter beside it, and a head that is tied to it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.base = nn.Linear(4, 4, bias=False).requires_grad_(False)
        self.lora_A, self.lora_B = nn.Linear(4, 2, bias=False), nn.Linear(2, 4, bias=False)
        self.head = nn.Linear(4, 4, bias=False)
        self.head.weight = self.base.weight

    def forward(self, x):
        return self.head(torch.tanh(self.base(x) + self.lora_B(self.lora_A(x))))


CHOICES = {
    "those that require a gradient": (None, ["lora_A.weight", "lora_B.weight"]),
    "a name": ("lora_B.weight", ["lora_B.weight"]),
    "a pattern": ("lora_*", ["lora_A.weight", "lora_B.weight"]),
    "several, in the network's order": (["lora_B.*", "base.weight"], ["base.weight", "lora_B.weight"]),
    "a tied weight by its second name": ("head.weight", ["base.weight"]),
    "a rule": (lambda name, p: p.shape[0] == 2, ["lora_A.weight"]),
    "all": ("*", ["base.weight", "lora_A.weight", "lora_B.weight"]),
}


@pytest.mark.parametrize("name", CHOICES)
def test_parameters_are_chosen(name: str) -> None:
    choice, names = CHOICES[name]
    module = Adapted().double()
    F = fk.expected_information(fk.networks.Model(module, "categorical", params=choice), inputs=X)
    assert list(F.parameters.names) == names
    free = copy.deepcopy(module).requires_grad_(False)
    for key in names:
        dict(free.named_parameters())[key].requires_grad_()
    torch.testing.assert_close(F.dense(), brute_force.expected(free, X), rtol=1e-9, atol=1e-12)
    assert [p.requires_grad for p in module.parameters()] == [False, True, True]


def test_names_that_fit_nothing_are_told_with_near_ones() -> None:
    module = Adapted()
    for choice, message in (
        ("lora_a.weight", r"params='lora_a.weight' fits no parameter.*near names are lora_B.weight, lora_A.weight"),
        (["lora_A.weight", "encoder.*"], r"params='encoder.\*' fits no parameter"),
        ([3], "names, patterns or a rule"),
        (lambda name, p: False, "leaves no parameter of the network"),
    ):
        with pytest.raises(fk.errors.LayoutError, match=message):
            fk.networks.Model(module, "categorical", params=choice)


# -- estimators


def relative_error(model, method, exact, repetitions: int = 20) -> float:
    runs = [brute_force.flat(diagonal(model, fk.MonteCarlo(method[0], rng=s, estimator=method[1]))) for s in range(repetitions)]
    return float(torch.stack([(run - exact).norm() / exact.norm() for run in runs]).mean())


def test_signs_are_twice_as_accurate_as_labels_for_the_same_passes() -> None:
    """On a network that is not saturated; sums of batches are least accurate, and need no per-example gradient."""
    torch.manual_seed(0)
    model = fk.networks.Model(nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 10)).double(), "categorical")
    exact = brute_force.flat(diagonal(model))
    labels, signs, sums = (relative_error(model, (2, estimator), exact) for estimator in ESTIMATORS)
    assert labels > 2 * signs
    assert sums > labels


@pytest.mark.parametrize("structure", ["diagonal", "dense"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_each_estimator_is_calibrated(estimator: str, structure: str) -> None:
    """The trace over many seeds: no bias, and mcse is the error that is made."""
    model = fk.networks.Model(mlp(), "categorical")
    exact = fk.expected_information(model, inputs=X, structure=structure).trace
    methods = [fk.MonteCarlo(8, rng=seed, estimator=estimator) for seed in range(60)]
    runs = [fk.expected_information(model, inputs=X, structure=structure, method=method) for method in methods]
    z = np.array([float((F.trace - exact) / F.mcse_of(lambda F: F.trace)) for F in runs])
    assert abs(z.mean()) < 4 / len(z) ** 0.5
    assert 0.7 < z.std() < 1.5


def test_one_sum_of_scores_per_batch_is_unbiased_whatever_the_batch() -> None:
    """Even for a network that only autograd knows; the mean over batches, not over their squares, is what is right."""
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, Y), batch_size=16)
    model = fk.networks.Model(mlp(), "categorical")
    exact = diagonal(model).trace
    traces = [
        fk.expected_information(
            model, inputs=loader, structure="diagonal", method=fk.MonteCarlo(1, rng=seed, estimator="batches")
        ).trace
        for seed in range(80)
    ]
    error = np.std(traces) / len(traces) ** 0.5
    assert abs(np.mean(traces) - float(exact)) < 4 * error
    assert error < 0.1 * float(exact)  # so that a factor of the batch size would be seen


@pytest.mark.parametrize("estimator", ["labels", "hutchinson"])
def test_draws_do_not_depend_on_the_batch_size(estimator: str) -> None:
    model = fk.networks.Model(mlp(), "categorical")
    pairs = torch.utils.data.TensorDataset(X, Y)
    loaders = [torch.utils.data.DataLoader(pairs, batch_size=b) for b in (1, 7, 40)]
    method = fk.MonteCarlo(3, rng=5, estimator=estimator)
    found = [brute_force.flat(fk.expected_information(model, inputs=one, structure="diagonal", method=method)) for one in loaders]
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-12, atol=0)


def test_estimators_are_refused_where_they_mean_nothing() -> None:
    with pytest.raises(fk.errors.MethodError, match=r"estimator=\) must be one of .*labels, hutchinson, batches; got 'signs'"):
        fk.MonteCarlo(1, estimator="signs")
    sampled = fk.sampled.Model(
        log_density=lambda x, theta: -((x - theta[0]) ** 2) / 2,
        sampler=lambda theta, n, rng: theta[0] + rng.normal(size=n),
        parameters=("mu",),
    )
    with pytest.raises(fk.errors.MethodError, match=r"takes MonteCarlo\(estimator='outer_product' or"):
        fk.expected_information(sampled, {"mu": 0.0}, method=fk.MonteCarlo(10, estimator="hutchinson"))


def test_many_columns_are_not_enumerated_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    from fisherkit.networks import model as module

    monkeypatch.setattr(module, "MOST", 1)
    model = fk.networks.Model(mlp(), "categorical")
    with pytest.raises(fk.errors.MethodError, match=r"takes 2 backward passes.*MonteCarlo\(1, estimator='hutchinson'\)"):
        fk.expected_information(model, inputs=X)
    assert fk.expected_information(model, inputs=X, method=fk.Exact()).method == fk.Exact()
    fk.expected_information(model, inputs=X, method=fk.MonteCarlo(1, rng=0, estimator="hutchinson"))


# -- progress


def test_a_bar_is_shown_when_asked(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tqdm")
    for progress in (None, False, True):
        fk.expected_information(fk.networks.Model(mlp(), "categorical", progress=progress), inputs=X)
        shown = capsys.readouterr()
        assert shown.out == ""
        assert ("information" in shown.err) == (progress is True)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    fk.expected_information(fk.networks.Model(mlp(), "categorical"), inputs=X)
    assert "information: " not in capsys.readouterr().err  # short work shows none


def test_a_bar_without_tqdm_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with pytest.raises(fk.errors.MissingDependencyError, match=r"a progress bar needs tqdm: pip install 'fisherkit\[progress\]'"):
        fk.expected_information(fk.networks.Model(mlp(), "categorical", progress=True), inputs=X)


# -- files, and the table


@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
@pytest.mark.parametrize("structure", ["diagonal", "dense"])
def test_what_a_network_gave_is_saved_and_loaded(tmp_path, structure: str, suffix: str) -> None:
    method = fk.MonteCarlo(4, rng=0, estimator="hutchinson")
    F = fk.expected_information(fk.networks.Model(mlp(), "categorical"), inputs=X, structure=structure, method=method)
    F.save(tmp_path / f"f.{suffix}")
    G = fk.load(tmp_path / f"f.{suffix}")
    assert (G.parameters, G.kind, G.method, G.n, G.structure) == (F.parameters, F.kind, F.method, F.n, F.structure)
    assert repr(G) == repr(F)
    for name, value in F.diagonal().items():
        assert torch.equal(G.diagonal()[name], value)
    for name, value in F.mcse.items() if structure == "diagonal" else ():
        assert torch.equal(G.mcse[name], value)


def test_the_table_of_a_network_has_a_row_per_layer() -> None:
    F = diagonal(fk.networks.Model(mlp(), "categorical"))
    report = F.report()
    assert [row.name for row in report.layers] == ["0", "2", "3"]
    assert abs(sum(row.share for row in report.layers) - 1) < 1e-12
    assert report.layers[0].trace == pytest.approx(float(sum(F.diagonal()[k].sum() for k in ("0.weight", "0.bias"))))
    assert sum(row.entries for row in report.layers) == F.parameters.size

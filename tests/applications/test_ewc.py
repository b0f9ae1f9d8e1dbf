"""Elastic Weight Consolidation: the penalty's own mathematics, and two tasks of real digits."""

import numpy as np
import pytest

import fisherkit as fk

torch = pytest.importorskip("torch")
nn = torch.nn
X = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))


def linear():
    torch.manual_seed(0)
    return nn.Linear(4, 3)


def ewc(module, **changes: object) -> fk.applications.EWC:
    return fk.applications.EWC(fk.networks.Model(module, "categorical"), **{"strength": 10.0, **changes})


def test_penalty_is_half_strength_times_the_quadratic_form() -> None:
    module = linear()
    guard = ewc(module)
    assert guard.penalty().item() == 0
    guard.consolidate(X)
    assert guard.penalty().item() == 0
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    with torch.no_grad():
        module.weight += 0.1
        module.bias -= 0.2
    delta = {name: (p.detach() - before[name]).double() for name, p in module.named_parameters()}
    assert guard.penalty().item() == pytest.approx(0.5 * 10 * float(guard.information.quadratic(delta)), rel=1e-5)
    guard.penalty().backward()
    F = guard.information.diagonal()["weight"]
    torch.testing.assert_close(module.weight.grad.double(), 10 * F * delta["weight"], rtol=1e-4, atol=1e-8)


def test_a_small_penalty_is_the_divergence_of_the_predictions() -> None:
    """With strength 1 it is KL(old || new) to second order where the information is diagonal: one bias at a time."""
    module = linear().double()
    guard = ewc(module, strength=1.0).consolidate(X.double())
    old = torch.log_softmax(module(X.double()), 1).detach()
    with torch.no_grad():
        module.bias[1] += 0.01
    new = torch.log_softmax(module(X.double()), 1)
    divergence = (old.exp() * (old - new)).sum(1).mean().item()
    assert guard.penalty().item() == pytest.approx(divergence, rel=2e-2)


def test_proximal_step_is_stable_where_gradient_descent_diverges() -> None:
    module = linear()
    guard = ewc(module, strength=1e4).consolidate(X)
    lr = 10 * guard.report().largest_stable / guard.strength
    anchor = module.weight.detach().clone()
    with torch.no_grad():
        module.weight += 1
    for _ in range(5):
        module.zero_grad()
        guard.penalty().backward()
        with torch.no_grad():
            module.weight -= lr * module.weight.grad
    assert (module.weight - anchor).abs().max().item() > 100
    with torch.no_grad():
        module.weight.copy_(anchor + 1)
    distance = 1.0
    for _ in range(5):
        guard.proximal_step_(lr)
        now = (module.weight - anchor).abs().max().item()
        assert now < distance
        distance = now


def test_tasks_add_up_with_decay_and_the_anchor_is_the_latest() -> None:
    module = linear()
    guard = ewc(module, decay=0.5).consolidate(X)
    first = guard.information.diagonal()["weight"].clone()
    with torch.no_grad():
        module.weight += 0.3
    second = fk.expected_information(fk.networks.Model(module, "categorical"), inputs=X, structure="diagonal").diagonal()[
        "weight"
    ]
    guard.consolidate(X)
    torch.testing.assert_close(guard.information.diagonal()["weight"], 0.5 * first + second)
    assert guard.penalty().item() == 0
    assert "tasks=2" in repr(guard)


def test_state_survives_a_file(tmp_path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    module = linear()
    guard = ewc(module).consolidate(X)
    safetensors.save_file(guard.state_dict(), tmp_path / "ewc.safetensors")
    with torch.no_grad():
        module.weight += 0.1
    other = ewc(module)
    other.load_state_dict(safetensors.load_file(tmp_path / "ewc.safetensors"))
    assert other.penalty().item() == pytest.approx(guard.penalty().item(), rel=1e-6)
    with pytest.raises(fk.errors.LayoutError, match="does not fit the network; missing"):
        ewc(nn.Sequential(nn.Linear(4, 3))).load_state_dict(guard.state_dict())
    with pytest.raises(fk.errors.LayoutError, match=r"weight has shape \(3, 4\) in the state and \(2, 4\) in the network.$"):
        ewc(nn.Linear(4, 2)).load_state_dict(guard.state_dict())


def test_consolidation_works_in_eval_mode_and_leaves_the_network_alone() -> None:
    module = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 3))
    module[2].eval()
    modes, mean = [m.training for m in module.modules()], module[1].running_mean.clone()
    guard = ewc(module).consolidate(X)
    assert [m.training for m in module.modules()] == modes
    assert torch.equal(module[1].running_mean, mean)
    assert all(p.grad is None for p in module.parameters())
    module.eval()
    right = fk.expected_information(fk.networks.Model(module, "categorical"), inputs=X, structure="diagonal").diagonal()
    torch.testing.assert_close(guard.information.diagonal()["0.weight"], right["0.weight"])


def test_refusals_and_warnings() -> None:
    for strength in (-1.0, np.nan, np.inf):
        with pytest.raises(fk.errors.DataError, match="strength must be finite and non-negative"):
            ewc(linear(), strength=strength)
    with pytest.raises(fk.errors.DataError, match="decay must lie between 0 and 1"):
        ewc(linear(), decay=2.0)
    with pytest.raises(fk.errors.DataError, match="no examples"):
        ewc(linear()).consolidate(X[:0])
    module = nn.Sequential(nn.Linear(4, 3))
    guard = ewc(module).consolidate(X)
    module[0] = nn.Linear(4, 2)
    with pytest.raises(fk.errors.LayoutError, match=r"0.weight was consolidated with shape \(3, 4\) and now has shape \(2, 4\)"):
        guard.penalty()
    confident = linear()
    with torch.no_grad():
        confident.bias += torch.tensor([200.0, 0.0, 0.0])
    with pytest.warns(UserWarning, match="so confident that the penalty protects almost nothing"):
        guard = ewc(confident).consolidate(X)
    assert "so confident that the penalty protects almost nothing" in guard.report().warning
    assert ewc(linear()).report().warning is None
    assert ewc(linear()).consolidate(X).report().warning is None


def test_a_head_added_for_a_new_task_leaves_the_old_heads_held() -> None:
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.heads, self.task = nn.ModuleList([nn.Linear(4, 2)]), 0

        def forward(self, x):
            return self.heads[self.task](x)

    module = Heads()
    guard = ewc(module).consolidate(X)
    first = guard.information.diagonal()["heads.0.weight"]
    module.heads.append(nn.Linear(4, 5))
    module.task = 1
    assert guard.penalty().item() == 0
    held = guard.consolidate(X).information.diagonal()
    torch.testing.assert_close(held["heads.0.weight"], first)
    assert held["heads.1.weight"].shape == (5, 4)
    assert held["heads.1.weight"].min() > 0
    assert "tasks=2" in repr(guard)


@pytest.mark.parametrize(("part", "value"), [("information", -1.0), ("information", np.nan), ("anchor", np.inf)])
def test_a_damaged_state_is_refused_and_changes_nothing(part: str, value: float) -> None:
    """A negative information would pull away from the anchor; a nan would end the training."""
    guard = ewc(linear()).consolidate(X)
    before, state = guard.state_dict(), guard.state_dict()
    state[f"0.{part}.weight"] = torch.full_like(state[f"0.{part}.weight"], value)
    with pytest.raises(fk.errors.DataError, match=rf"the state is damaged: 0.{part}.* must be (finite|non-negative)"):
        guard.load_state_dict(state)
    assert all(torch.equal(value, before[name]) for name, value in guard.state_dict().items())


def test_labels_of_the_data_are_taken_only_on_request() -> None:
    module, labels = linear(), torch.arange(20) % 3
    net = fk.networks.Model(module, "categorical")
    guard = ewc(module).consolidate((X, labels), labels="data")
    true = fk.empirical_information(net, data=(X, labels), structure="diagonal").diagonal()["weight"] / 20
    torch.testing.assert_close(guard.information.diagonal()["weight"], true)
    assert "labels=from the data, n=20, scale=per observation" in repr(guard)
    assert "labels=from the data and from the model" in repr(guard.consolidate(X))
    with pytest.raises(fk.errors.DataError, match="labels must be 'model' or 'data'; got 'true'"):
        ewc(module).consolidate(X, labels="true")
    with pytest.raises(fk.errors.MethodError, match=r"takes no expectation over labels.*Exact\(\)"):
        ewc(module).consolidate((X, labels), labels="data", method=fk.Exact())


def test_some_examples_of_tensors_or_of_a_loader() -> None:
    module, labels = linear(), torch.arange(20) % 3
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, labels), batch_size=8)
    for source, rows in ((X, X[[0, 5, 10, 14, 19]]), ((X,), X[[0, 5, 10, 14, 19]]), (loader, X[:5]), (X[:3], X[:3])):
        some = ewc(module).consolidate(source, n_samples=5).information.diagonal()["weight"]
        torch.testing.assert_close(some, ewc(module).consolidate(rows).information.diagonal()["weight"])
    ten = ewc(module).consolidate(loader, n_samples=10, labels="data").information.diagonal()["weight"]
    true = ewc(module).consolidate((X[:10], labels[:10]), labels="data").information.diagonal()["weight"]
    torch.testing.assert_close(ten, true)
    seen = []

    def batches():  # no length, and more than are asked for
        for batch in loader:
            seen.append(len(batch[0]))
            yield batch

    some = ewc(module).consolidate(batches(), n_samples=10)
    torch.testing.assert_close(
        some.information.diagonal()["weight"], ewc(module).consolidate(X[:10]).information.diagonal()["weight"]
    )
    assert seen == [8, 8]
    assert "n=10" in repr(some)
    assert "n=20" in repr(ewc(module).consolidate(batches(), n_samples=500))
    with pytest.raises(fk.errors.DataError, match="n_samples must be a positive integer; got 0"):
        ewc(module).consolidate(X, n_samples=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_penalty_survives_half_precision(dtype) -> None:
    """An information of 1e-8 and a squared step of 1e-8 are zero in float16."""
    module = linear().to(dtype)
    with torch.no_grad():
        module.bias += torch.tensor([17.0, 0.0, 0.0])
    guard = ewc(module, strength=1e6).consolidate(X.to(dtype))
    before = module.bias.detach().clone()
    with torch.no_grad():
        module.bias -= 0.25
    delta = {"weight": torch.zeros(3, 4).double(), "bias": module.bias.detach().double() - before.double()}
    assert guard.penalty().item() == pytest.approx(0.5e6 * float(guard.information.quadratic(delta)), rel=1e-3)
    assert guard.penalty().item() > 0
    guard.penalty().backward()
    assert module.bias.grad.dtype == dtype
    guard.proximal_step_(1e-3)
    assert module.bias.dtype == dtype


def test_plain_training_forgets_and_ewc_does_not() -> None:
    """Two tasks of scikit-learn's digits, the second with permuted pixels: the demo's own experiment."""
    pytest.importorskip("sklearn")
    from fisherkit.cli import forgetting

    curves = forgetting.curves()
    (plain, plain_second), (kept, kept_second) = curves["plain"], curves["EWC"]
    assert plain[0] == kept[0] > 0.93
    assert plain[-1] < plain[0] - 0.12
    assert kept[-1] > kept[0] - 0.04
    assert kept_second[-1] > 0.87
    assert plain_second[-1] > 0.9

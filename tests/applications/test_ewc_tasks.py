"""Several tasks: the three modes, heads that come, grow and go, and the state on disk."""

from __future__ import annotations

import copy
import pickle

import pytest

import fisherkit as fk

torch = pytest.importorskip("torch")
nn = torch.nn
D = 4
STRUCTURES = ("diagonal", "kfac", "ekfac", "low-rank", "dense")


def rows(n: int, seed: int = 0):
    return torch.randn(n, D, generator=torch.Generator().manual_seed(seed))


def linear(classes: int = 3):
    torch.manual_seed(0)
    return nn.Linear(D, classes)


def guard_of(module, **changes: object) -> fk.applications.EWC:
    return fk.applications.EWC(fk.networks.Model(module, "categorical"), **{"strength": 10.0, **changes})


def information(module, X) -> dict:
    F = fk.expected_information(fk.networks.Model(module, "categorical"), inputs=X, structure="diagonal")
    return {name: value.clone() for name, value in F.diagonal().items()}


def weights(module) -> dict:
    return {name: p.detach().clone().double() for name, p in module.named_parameters()}


def move(module, by: float) -> None:
    with torch.no_grad():
        for p in module.parameters():
            p += by * torch.linspace(-1, 1, p.numel()).reshape(p.shape)


def quadratic(F: dict, module, anchor: dict) -> float:
    own = dict(module.named_parameters())
    return sum(float((F[name] * (own[name].detach().double() - anchor[name]) ** 2).sum()) for name in F)


class Heads(nn.Module):
    """A body, and a head for each task."""

    def __init__(self, *classes: int) -> None:
        super().__init__()
        self.body, self.task = nn.Linear(D, 5), 0
        self.heads = nn.ModuleList([nn.Linear(5, k) for k in classes])

    def forward(self, x):
        return self.heads[self.task](torch.tanh(self.body(x)))


# -- modes


def three_tasks(mode: str, sizes=(20, 30, 10), **changes: object):
    """The guard, the network moved from its last optimum, and each task's own F and weights."""
    module = linear()
    guard = guard_of(module, mode=mode, **changes)
    F, anchors = [], []
    for seed, n in enumerate(sizes):
        move(module, 0.3)
        X = rows(n, seed)
        F.append(information(module, X))
        anchors.append(weights(module))
        guard.consolidate(X)
    move(module, -0.2)
    return guard, module, F, anchors


def test_online_keeps_one_anchor_and_decays() -> None:
    guard, module, F, anchors = three_tasks("online", decay=0.5)
    whole = {name: 0.25 * F[0][name] + 0.5 * F[1][name] + F[2][name] for name in F[0]}
    assert guard.penalty().item() == pytest.approx(5 * quadratic(whole, module, anchors[2]), rel=1e-5)
    torch.testing.assert_close(guard.information.diagonal()["weight"], whole["weight"])
    assert len([key for key in guard.state_dict() if "anchor.weight" in key]) == 1
    assert "mode=online, decay=0.5, structure=diagonal, tasks=3" in repr(guard)


def test_tasks_weigh_the_same_online_and_by_their_sizes_in_a_sum() -> None:
    """A mean over data against a sum over data: by hand, with sizes 20, 30 and 10 whose mean is 20."""
    guard, module, F, anchors = three_tasks("sum")
    whole = {name: 1.0 * F[0][name] + 1.5 * F[1][name] + 0.5 * F[2][name] for name in F[0]}
    assert guard.penalty().item() == pytest.approx(5 * quadratic(whole, module, anchors[2]), rel=1e-5)
    assert "n=20+30+10, scale=per observation, tasks weighed by size" in repr(guard)
    online, module, F, anchors = three_tasks("online")
    whole = {name: F[0][name] + F[1][name] + F[2][name] for name in F[0]}
    assert online.penalty().item() == pytest.approx(5 * quadratic(whole, module, anchors[2]), rel=1e-5)
    equal, same = three_tasks("sum", (20, 20, 20))[0], three_tasks("online", (20, 20, 20))[0]
    assert equal.penalty().item() == pytest.approx(same.penalty().item(), rel=1e-6)


def test_separate_holds_each_task_at_its_own_anchor() -> None:
    """The value with its constant, and the gradient, though a step evaluates one quadratic form."""
    guard, module, F, anchors = three_tasks("separate")
    right = sum(5 * quadratic(f, module, anchor) for f, anchor in zip(F, anchors, strict=True))
    assert guard.penalty().item() == pytest.approx(right, rel=1e-5)
    guard.penalty().backward()
    own = module.weight.detach().double()
    gradient = sum(10 * f["weight"] * (own - anchor["weight"]) for f, anchor in zip(F, anchors, strict=True))
    torch.testing.assert_close(module.weight.grad.double(), gradient, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(guard.information.diagonal()["bias"], F[0]["bias"] + F[1]["bias"] + F[2]["bias"])


def test_a_sum_asks_for_the_size_where_a_loader_is_cut() -> None:
    loader = torch.utils.data.DataLoader(rows(20), batch_size=8)
    with pytest.raises(fk.errors.DataError, match=r"mode='sum' weighs tasks by their sizes.*give size="):
        guard_of(linear(), mode="sum").consolidate(loader, n_samples=5)
    guard = guard_of(linear(), mode="sum").consolidate(rows(20), n_samples=5)  # of tensors it is known
    guard.consolidate(loader, n_samples=5, size=60)
    one = information(linear(), rows(20)[[0, 5, 10, 14, 19]])["weight"], information(linear(), rows(20)[:5])["weight"]
    torch.testing.assert_close(guard.information.diagonal()["weight"], 0.5 * one[0] + 1.5 * one[1])
    assert "n=5+5" in repr(guard)
    with pytest.raises(fk.errors.DataError, match="size is how many examples the task has, the 5 that were used or more; got 3"):
        guard_of(linear(), mode="sum").consolidate(loader, n_samples=5, size=3)


@pytest.mark.parametrize("mode", ["online", "separate", "sum"])
def test_the_proximal_step_is_the_minimum_of_its_objective(mode: str) -> None:
    """Its gradient is zero there: theta' - theta + lr * lambda * sum_t F_t (theta' - theta_t)."""
    guard, module, F, anchors = three_tasks(mode, (20, 20, 20))
    before, lr = weights(module), 0.7
    guard.proximal_step_(lr)
    after = weights(module)
    if mode != "separate":
        F, anchors = [{name: sum(f[name] for f in F) for name in F[0]}], [anchors[2]]
    for name in before:
        pulls = sum(f[name] * (after[name] - anchor[name]) for f, anchor in zip(F, anchors, strict=True))
        gradient = after[name] - before[name] + lr * 10 * pulls
        torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=2e-6)
        assert not torch.equal(after[name], before[name])


@pytest.mark.parametrize("factor", [0.98, 1.02])
def test_plain_descent_diverges_exactly_above_the_largest_stable_step(factor: float) -> None:
    """lr * strength * max F > 2; the proximal step is stable on both sides, and at any strength."""
    module = linear()
    guard = guard_of(module).consolidate(rows(50))
    F, anchor = guard.information.diagonal(), weights(module)
    assert guard.report().largest_stable == 2 / max(float(v.max()) for v in F.values())
    lr = factor * guard.report().largest_stable / guard.strength
    optimizer = torch.optim.SGD(module.parameters(), lr=lr)
    move(module, 0.1)
    start = weights(module)
    for _ in range(300):
        optimizer.zero_grad()
        guard.penalty().backward()
        optimizer.step()
    farthest = max(float((value - anchor[name]).abs().max()) for name, value in weights(module).items())
    assert farthest > 1e3 if factor > 1 else farthest < 0.11
    for strength in (10.0, 1e6, 1e30, 1e300):
        guard.strength = strength
        with torch.no_grad():
            for name, p in module.named_parameters():
                p.copy_(start[name])
        distance = [(start[name] - anchor[name]).abs() for name in anchor]
        for _ in range(3):
            guard.proximal_step_(lr)
            now = [(value - anchor[name]).abs() for name, value in weights(module).items()]
            assert all(bool((a <= b + 1e-7).all()) for a, b in zip(now, distance, strict=True))
            distance = now


def test_the_proximal_step_leaves_free_weights_exactly_where_they_are() -> None:
    module, X = linear(), rows(20)
    X[:, 1] = 0  # a dead pixel
    guard = guard_of(module, strength=1e300).consolidate(X)
    assert guard.report().zeros == 3 / 15
    move(module, 0.3)
    before = module.weight.detach().clone()
    guard.proximal_step_(0.1)
    assert torch.equal(module.weight[:, 1], before[:, 1])
    assert not torch.equal(module.weight[:, 0], before[:, 0])


@pytest.mark.parametrize("mode", ["online", "separate"])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_every_structure_goes_through_the_same_lines(structure: str, mode: str) -> None:
    """Off-diagonal entries count: the penalty is the full quadratic form, and the proximal step solves."""
    module = linear().double()
    guard = guard_of(module, structure=structure, mode=mode)
    F, anchors = [], []
    for seed in range(2):
        move(module, 0.3)
        X = rows(20, seed).double()
        F.append(fk.expected_information(fk.networks.Model(module, "categorical"), inputs=X, structure=structure).dense())
        anchors.append(torch.cat([p.detach().reshape(-1) for p in module.parameters()]))
        guard.consolidate(X)
    if mode == "online":
        F, anchors = [F[0] + F[1]], [anchors[1]]
    move(module, -0.2)
    theta = torch.cat([p.detach().reshape(-1) for p in module.parameters()])
    right = sum(5 * float((theta - a) @ f @ (theta - a)) for f, a in zip(F, anchors, strict=True))
    assert guard.penalty().item() == pytest.approx(right, rel=1e-12)
    guard.penalty().backward()
    gradient = sum(10 * f @ (theta - a) for f, a in zip(F, anchors, strict=True))
    torch.testing.assert_close(torch.cat([p.grad.reshape(-1) for p in module.parameters()]), gradient)
    largest = float(torch.linalg.eigvalsh(sum(F))[-1])
    assert guard.report().largest_stable == pytest.approx(2 / largest)
    guard.proximal_step_(0.3)
    after = torch.cat([p.detach().reshape(-1) for p in module.parameters()])
    residual = after - theta + 3 * sum(f @ (after - a) for f, a in zip(F, anchors, strict=True))
    torch.testing.assert_close(residual, torch.zeros_like(residual), rtol=0, atol=1e-10)
    other = guard_of(module, structure=structure, mode=mode)
    other.load_state_dict(guard.state_dict())
    assert other.penalty().item() == pytest.approx(guard.penalty().item(), rel=1e-12)
    assert repr(other) == repr(guard)
    module.bias.requires_grad_(False)
    before = module.bias.clone()
    guard.proximal_step_(0.3)
    assert torch.equal(module.bias, before)


def test_the_kronecker_penalty_of_one_layer_by_hand() -> None:
    """tr(D' G D A), with A the inputs' second moment and G that of the logits' scores (Ritter et al. 2018)."""
    module, X = linear().double(), rows(20).double()
    guard = guard_of(module, structure="kfac").consolidate(X)
    p = torch.softmax(module(X), dim=1).detach()
    A, G = X.T @ X / 20, (torch.diag_embed(p) - p[:, :, None] * p[:, None, :]).mean(dim=0)
    before = {name: value.detach().clone() for name, value in module.named_parameters()}
    move(module, 0.3)
    D, d = (module.weight - before["weight"]).detach(), (module.bias - before["bias"]).detach()
    assert guard.penalty().item() == pytest.approx(5 * float((D * (G @ D @ A)).sum() + d @ G @ d), rel=1e-12)
    guard.penalty().backward()
    torch.testing.assert_close(module.weight.grad, 10 * G @ D @ A)
    guard.proximal_step_(0.3)
    values, Q = torch.linalg.eigh(G)
    scales, P = torch.linalg.eigh(A)
    share = 1 / (1 + 3 * values[:, None] * scales[None, :])
    torch.testing.assert_close(module.weight.detach() - before["weight"], Q @ (share * (Q.T @ D @ P)) @ P.T)


def test_two_passes_over_a_part_of_a_loader() -> None:
    """Each sees the same examples, and they count once."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv1d(1, 2, 2), nn.Tanh(), nn.Flatten(), nn.Linear(2 * D - 2, 3))
    X = rows(20)[:, None]
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X), batch_size=8)
    part = guard_of(module, structure="ekfac").consolidate(loader, n_samples=10)
    assert "n=10" in repr(part)
    torch.testing.assert_close(
        part.information.dense(), guard_of(module, structure="ekfac").consolidate(X[:10]).information.dense()
    )
    with pytest.raises(fk.errors.DataError, match="passes over the data twice"):
        guard_of(module, structure="ekfac").consolidate(iter(loader))


@pytest.mark.parametrize("structure", STRUCTURES)
def test_every_structure_decays_and_weighs(structure: str) -> None:
    """Products that do not add are scaled each by itself."""
    weights_of = {"online": (0.25, 0.5, 1.0), "sum": (1.0, 1.5, 0.5)}
    for mode, changes in (("online", {"decay": 0.5}), ("sum", {})):
        module = linear().double()
        guard = guard_of(module, structure=structure, mode=mode, **changes)
        whole = torch.zeros(15, 15).double()
        for seed, (n, weight) in enumerate(zip((20, 30, 10), weights_of[mode], strict=True)):
            move(module, 0.3)
            X = rows(n, seed).double()
            net = fk.networks.Model(module, "categorical")
            whole += weight * fk.expected_information(net, inputs=X, structure=structure).dense()
            guard.consolidate(X)
        anchor = torch.cat([p.detach().reshape(-1) for p in module.parameters()])
        move(module, -0.2)
        delta = torch.cat([p.detach().reshape(-1) for p in module.parameters()]) - anchor
        assert guard.penalty().item() == pytest.approx(5 * float(delta @ whole @ delta), rel=1e-11)
        torch.testing.assert_close(guard.information.dense(), whole)
        assert float(guard.report().trace) == pytest.approx(float(whole.trace()))
        assert guard.report().largest_stable == pytest.approx(2 / float(torch.linalg.eigvalsh(whole)[-1]))


@pytest.mark.parametrize("structure", STRUCTURES)
def test_the_penalty_can_be_differentiated_twice(structure: str) -> None:
    """Its Hessian is strength * F."""
    module = linear().double()
    guard = guard_of(module, structure=structure).consolidate(rows(20).double())
    move(module, 0.1)
    (gradient,) = torch.autograd.grad(guard.penalty(), module.weight, create_graph=True)
    (row,) = torch.autograd.grad(gradient[1, 2], module.weight)
    unit = {"weight": torch.zeros(3, D).double(), "bias": torch.zeros(3).double()}
    unit["weight"][1, 2] = 10
    torch.testing.assert_close(row, (guard.information @ unit)["weight"])
    assert torch.autograd.gradcheck(lambda *_: guard.penalty(), tuple(module.parameters()))
    assert torch.autograd.gradgradcheck(lambda *_: guard.penalty(), tuple(module.parameters()))


@pytest.mark.parametrize("structure", STRUCTURES)
def test_the_caller_s_context_does_not_matter(structure: str) -> None:
    """Validation in inference mode comes before a training step in Lightning; autocast would halve the digits of a product."""
    module = linear()
    guard = guard_of(module, structure=structure)
    with torch.inference_mode():
        guard.consolidate(rows(20))
        move(module, 0.1)
        value = guard.penalty().item()
    assert value > 0
    with torch.autocast("cpu"):
        guard.penalty().backward()
        assert guard.penalty().item() == value
    (gradient,) = torch.autograd.grad(guard.penalty(), module.weight, create_graph=True)
    torch.testing.assert_close(gradient, module.weight.grad)
    gradient.sum().backward()
    with torch.autocast("cpu"):
        guard.proximal_step_(0.1)
    assert guard.penalty().item() < value


# -- heads


def test_parameters_that_a_task_did_not_use_get_no_penalty() -> None:
    module = Heads(2, 5)
    guard = guard_of(module).consolidate(rows(20))
    assert float(guard.information.diagonal()["heads.1.weight"].abs().max()) == 0
    before = guard.penalty().item()
    with torch.no_grad():
        module.heads[1].weight += 100
    assert guard.penalty().item() == before == 0
    module.task = 1
    guard.consolidate(rows(20, 1))
    F = guard.information.diagonal()
    assert all(float(F[f"heads.{k}.weight"].max()) > 0 for k in (0, 1))
    with torch.no_grad():
        module.heads[0].weight += 1
    assert guard.penalty().item() > 0


@pytest.mark.parametrize("mode", ["online", "separate", "sum"])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_a_head_for_each_task_in_every_structure(structure: str, mode: str) -> None:
    """The old task's information, over the old names, and the new one's."""
    module = Heads(2)
    guard = guard_of(module, mode=mode, structure=structure).consolidate(rows(20))
    first = guard.information
    module.heads.append(nn.Linear(5, 4))
    module.task = 1
    guard.consolidate(rows(20, 1))
    assert set(guard.information.parameters.names) == {name for name, _ in module.named_parameters()}
    assert not any(key.startswith("0.") and "heads.1" in key for key in guard.state_dict()) or mode != "separate"
    with torch.no_grad():
        module.heads[0].weight[0] += 0.1
    delta = {name: torch.zeros(p.shape) for name, p in module.named_parameters() if "heads.1" not in name}
    delta["heads.0.weight"][0] = 0.1
    assert guard.penalty().item() == pytest.approx(5 * float(first.quadratic(delta)), rel=1e-5)
    assert guard.report().trace > float(first.trace)
    guard.proximal_step_(0.1)
    other = guard_of(module, mode=mode, structure=structure)
    other.load_state_dict(guard.state_dict())
    assert repr(other) == repr(guard)
    assert other.penalty().item() == pytest.approx(guard.penalty().item(), rel=1e-6)
    guard.release("heads.0")
    assert "heads.0.weight" not in guard.information.parameters.names


def test_a_head_replaced_for_the_next_task_is_released() -> None:
    module = Heads(2)
    guard = guard_of(module).consolidate(rows(20))
    move(module.body, 0.1)
    held = guard.penalty().item()
    module.heads[0] = nn.Linear(5, 7)
    with pytest.raises(
        fk.errors.LayoutError, match=r"heads.0.weight was consolidated with shape \(2, 5\) and now has shape \(7, 5\)"
    ):
        guard.penalty()
    guard.release("heads.0")
    assert guard.penalty().item() == held
    guard.consolidate(rows(20, 1))
    assert guard.information.diagonal()["heads.0.weight"].shape == (7, 5)
    guard.release("body", "heads")
    assert guard.penalty().item() == 0
    assert guard.report().trace == 0
    guard.consolidate(rows(20, 2))
    move(module.body, 0.1)
    assert guard.penalty().item() > 0


@pytest.mark.parametrize("mode", ["online", "separate"])
@pytest.mark.parametrize("structure", fk.applications.ewc.consolidation.STRUCTURES)
def test_a_head_that_grew_keeps_what_is_known_of_its_old_rows(structure: str, mode: str) -> None:
    module = Heads(2)
    guard = guard_of(module, mode=mode, structure=structure).consolidate(rows(20))
    F = guard.information.diagonal()["heads.0.weight"].clone()
    delta = {name: torch.zeros(p.shape) for name, p in module.named_parameters()}
    delta["heads.0.weight"][0] = 0.1
    known = 5 * float(guard.information.quadratic(delta))
    old, module.heads[0] = module.heads[0], nn.Linear(5, 3)
    with torch.no_grad():
        module.heads[0].weight[:2] = old.weight + delta["heads.0.weight"]
        module.heads[0].bias[:2] = old.bias
    with pytest.raises(fk.errors.LayoutError, match=r"shape \(3, 5\). To keep what is known of its old entries, call ewc.adopt"):
        guard.penalty()
    assert guard.adopt("heads") is guard
    assert guard.penalty().item() == pytest.approx(known, rel=1e-5)
    grown = guard.information.diagonal()["heads.0.weight"]
    torch.testing.assert_close(grown[:2], F)
    assert not grown[2].any()
    with torch.no_grad():
        module.heads[0].weight[2] += 5
    assert guard.penalty().item() == pytest.approx(known, rel=1e-5)
    guard.consolidate(rows(20, 1))
    assert guard.information.diagonal()["heads.0.weight"][2].min() > 0
    module.heads[0] = nn.Linear(5, 1)
    with pytest.raises(fk.errors.LayoutError, match=r"now has shape \(1, 5\). To let go of it, call ewc.release"):
        guard.adopt()


# -- the network's own objects


def test_a_replaced_parameter_is_refused_and_may_be_adopted() -> None:
    module = nn.Sequential(linear())
    guard = guard_of(module).consolidate(rows(20))
    held = nn.Parameter(module[0].weight.detach() + 0.1)
    module[0].weight = held
    refused = "0.weight was consolidated, and another object of the same shape is in its place now.*ewc.adopt"
    for ask in (
        guard.penalty,
        lambda: guard.proximal_step_(0.1),
        lambda: guard.consolidate(rows(5)),
        lambda: guard.release("0.bias"),
    ):
        with pytest.raises(fk.errors.LayoutError, match=refused):
            ask()
    assert guard.tasks == 1
    assert guard.adopt().penalty().item() == pytest.approx(
        5 * 0.01 * float(guard.information.diagonal()["0.weight"].sum()), rel=1e-5
    )
    module[0] = nn.Identity()
    with pytest.raises(fk.errors.LayoutError, match=r"0.weight was consolidated with shape \(3, 4\) and now is gone"):
        guard.penalty()


def test_moving_and_loading_keep_the_parameters() -> None:
    module = linear()
    guard = guard_of(module).consolidate(rows(20))
    move(module, 0.1)
    right = guard.penalty().item()
    module.to("cpu").double()
    assert guard.penalty().item() == pytest.approx(right, rel=1e-5)
    assert guard.penalty().dtype == torch.float64
    module.half()
    assert guard.penalty().item() == pytest.approx(right, rel=0.05)
    module.float()
    module.load_state_dict(module.state_dict())
    assert guard.penalty().item() == pytest.approx(right, rel=0.05)
    guard.consolidate(rows(20).float())
    assert guard.penalty().item() == 0


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_a_copy_holds_its_own_network(copied) -> None:
    module = linear()
    guard = guard_of(module).consolidate(rows(20))
    guard.penalty()
    other, theirs = copied((guard, module))
    move(theirs, 0.1)
    assert other.penalty().item() > 0
    assert guard.penalty().item() == 0
    assert repr(other) == repr(guard)
    theirs.weight = nn.Parameter(theirs.weight.detach().clone())
    with pytest.raises(fk.errors.LayoutError, match="another object of the same shape"):
        other.penalty()
    module.guard = guard  # a network that carries its own guard
    inner = copied(module)
    move(inner, 0.1)
    assert inner.guard.penalty().item() > 0


# -- files


@pytest.mark.parametrize("mode", ["online", "separate", "sum"])
def test_a_state_on_disk_tells_all(mode: str, tmp_path) -> None:
    """In a fresh network of the same weights: the same penalty, the same repr, and the next task goes on."""
    safetensors = pytest.importorskip("safetensors.torch")
    module = Heads(2)
    guard = guard_of(module, mode=mode).consolidate(rows(20), method=fk.MonteCarlo(2, rng=3))
    module.heads.append(nn.Linear(5, 3))
    module.task = 1
    guard.consolidate((rows(8, 1), torch.arange(8) % 3), labels="data")
    safetensors.save_file(guard.state_dict(), tmp_path / "ewc.safetensors")
    other = Heads(2, 3)
    other.load_state_dict(module.state_dict())
    other.task = 1
    loaded = guard_of(other, mode=mode)
    loaded.load_state_dict(safetensors.load_file(tmp_path / "ewc.safetensors"))
    assert repr(loaded) == repr(guard)
    assert "labels=from the model and from the data, method=MonteCarlo(n=2, rng=3, groups=0), n=20+8" in repr(loaded)
    assert loaded.information.kind == guard.information.kind == "expected+empirical"
    assert loaded.report() == guard.report()
    for one, its in ((module, guard), (other, loaded)):
        move(one, 0.1)
        assert its.penalty().item() > 0
        its.proximal_step_(0.01)
    assert loaded.penalty().item() == guard.penalty().item()
    for its in (guard, loaded):
        its.consolidate(rows(20, 2))
    torch.testing.assert_close(loaded.information.diagonal(), guard.information.diagonal())
    torch.save(guard.state_dict(), tmp_path / "ewc.pt")
    loaded.load_state_dict(torch.load(tmp_path / "ewc.pt", weights_only=True))
    assert repr(loaded) == repr(guard)


def test_a_state_before_the_first_task_is_one_too() -> None:
    guard = guard_of(linear())
    loaded = guard_of(linear()).consolidate(rows(20))
    loaded.load_state_dict(guard.state_dict())
    assert loaded.tasks == 0
    assert loaded.penalty().item() == 0
    assert repr(loaded) == repr(guard) == "EWC(strength=10.0, mode=online, structure=diagonal, tasks=0)"


def test_the_state_of_a_smaller_network_is_taken_only_on_request() -> None:
    module = Heads(2)
    guard = guard_of(module).consolidate(rows(20))
    larger = Heads(3, 2)
    with torch.no_grad():
        for name, p in module.named_parameters():
            dict(larger.named_parameters())[name][tuple(map(slice, p.shape))] = p
    loaded = guard_of(larger)
    with pytest.raises(fk.errors.LayoutError, match=r"missing: heads.1.bias, heads.1.weight; unknown: none.*grown=True"):
        loaded.load_state_dict(guard.state_dict())
    del larger.heads[1]
    with pytest.raises(fk.errors.LayoutError, match=r"shape \(2, 5\) in the state and \(3, 5\) in the network.*grown=True"):
        loaded.load_state_dict(guard.state_dict())
    assert loaded.tasks == 0
    larger.heads.append(nn.Linear(5, 2))
    loaded.load_state_dict(guard.state_dict(), grown=True)
    assert loaded.penalty().item() == 0
    with torch.no_grad():
        larger.heads[0].weight += 0.1
        larger.heads[1].weight += 0.1
    known = 0.01 * float(guard.information.diagonal()["heads.0.weight"].sum())
    assert loaded.penalty().item() == pytest.approx(5 * known, rel=1e-5)
    with pytest.raises(fk.errors.LayoutError, match=r"missing: none; unknown: heads.1.bias, heads.1.weight"):
        guard.load_state_dict(loaded.consolidate(rows(5)).state_dict(), grown=True)

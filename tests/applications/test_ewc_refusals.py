"""Bad input is refused in words, and what was remembered before stays."""

from __future__ import annotations

import pytest

import fisherkit as fk

torch = pytest.importorskip("torch")
nn = torch.nn
errors = fk.errors
D = 4


def rows(n: int):
    return torch.randn(n, D, generator=torch.Generator().manual_seed(0))


def guard_of(module, likelihood: str = "categorical", **changes: object) -> fk.applications.EWC:
    return fk.applications.EWC(fk.networks.Model(module, likelihood), **{"strength": 10.0, **changes})


def linear():
    torch.manual_seed(0)
    return nn.Linear(D, 3)


def loader_that_fails():
    yield rows(4)
    raise RuntimeError("the disk is full")


SOURCES = {
    "no batches": (list, errors.DataError, "no examples"),
    "an empty tensor": (lambda: rows(0), errors.DataError, "no examples"),
    "other shapes": (lambda: rows(6)[:, :3], errors.LayoutError, r"cannot take these inputs, tensors of \(3, 3\)"),
    "other shapes, later": (
        lambda: [(rows(6), 0), (rows(6)[:, :3], 0)],
        errors.LayoutError,
        r"cannot take a batch of the loader, tensors of \(6, 3\) torch.float32, after 6 examples: mat1 and mat2",
    ),
    "other types": (lambda: rows(6).long(), errors.LayoutError, "cannot take these inputs, tensors of .* torch.int64"),
    "no tensors": (lambda: [{1, 2}], errors.LayoutError, "inputs must be a tensor"),
    "a text": (lambda: "digits", errors.LayoutError, "got str"),
    "a number": (lambda: 3, errors.LayoutError, "got int"),
    "not finite": (lambda: rows(6) / 0, errors.DataError, "inputs must be finite"),
    "a loader that fails": (loader_that_fails, RuntimeError, "^the disk is full$"),
}


@pytest.mark.parametrize("source", SOURCES)
def test_sources(source: str) -> None:
    make, error, match = SOURCES[source]
    guard = guard_of(linear()).consolidate(rows(5))
    before = repr(guard)
    with pytest.raises(error, match=match):
        guard.consolidate(make())
    with pytest.raises(error, match=match):
        guard.consolidate(make(), n_samples=20)
    assert repr(guard) == before


def test_labels_that_are_not_those_of_the_inputs() -> None:
    data = rows(20), torch.zeros(30, dtype=torch.long)
    for n_samples in (None, 5):
        with pytest.raises(errors.DataError, match="as many labels as inputs; got 20 and 30"):
            guard_of(linear()).consolidate(data, labels="data", n_samples=n_samples)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), "strong", None])
def test_strengths(value: object) -> None:
    """At construction, and set later."""
    with pytest.raises(errors.DataError, match="strength must be finite and non-negative; got"):
        guard_of(linear(), strength=value)
    guard = guard_of(linear())
    with pytest.raises(errors.DataError, match="strength must be finite and non-negative; got"):
        guard.strength = value
    assert guard.strength == 10.0


def test_a_strength_may_be_set_later() -> None:
    module = linear()
    guard = guard_of(module).consolidate(rows(5))
    with torch.no_grad():
        module.weight += 0.1
    one = guard.penalty().item()
    guard.strength = torch.tensor(20)
    assert guard.penalty().item() == pytest.approx(2 * one)
    guard.strength = 0
    assert guard.penalty().item() == 0
    before = module.weight.detach().clone()
    guard.proximal_step_(0.1)
    assert torch.equal(module.weight, before)


@pytest.mark.parametrize("lr", [0.0, -1.0, float("nan"), float("inf"), None, 1e308])
def test_step_sizes(lr: object) -> None:
    module = linear()
    guard = guard_of(module, strength=1e10).consolidate(rows(5))
    with pytest.raises(errors.DataError, match="lr must be positive and finite"):
        guard.proximal_step_(lr)


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"mode": "both"}, errors.MethodError, "mode must be one of 'online', 'separate', 'sum'; got 'both'"),
        ({"structure": "full"}, errors.MethodError, "structure must be one of 'diagonal', .*'dense'; got 'full'"),
        ({"mode": "sum", "decay": 0.5}, errors.MethodError, "decay=0.5 belongs to mode='online'"),
        ({"decay": -0.1}, errors.DataError, "decay must lie between 0 and 1"),
    ],
)
def test_choices(changes: dict, error: type, match: str) -> None:
    with pytest.raises(error, match=match):
        guard_of(linear(), **changes)


def test_choices_are_made_once() -> None:
    guard = guard_of(linear())
    for name in ("mode", "structure", "decay", "tasks", "information"):
        with pytest.raises(AttributeError):
            setattr(guard, name, None)


def test_what_is_no_network() -> None:
    with pytest.raises(errors.MethodError, match="a network needs a likelihood"):
        fk.applications.EWC(linear(), strength=1.0)
    with pytest.raises(errors.LayoutError, match=r"EWC needs a network.*got Normal"):
        fk.applications.EWC(torch.distributions.Normal(0.0, 1.0), strength=1.0)


@pytest.mark.parametrize(
    ("module", "likelihood", "match"),
    [
        (lambda: nn.Linear(D, 1), "categorical", "two classes at least; got"),
        (lambda: nn.Sequential(nn.Linear(D, 6), nn.Unflatten(1, (2, 3))), "categorical", r"shape \(3, 2, 3\)"),
        (lambda: nn.Flatten(0), "gaussian", "one row per example|requires a gradient"),
    ],
)
def test_a_likelihood_that_does_not_fit_the_output(module, likelihood: str, match: str) -> None:
    with pytest.raises(errors.LayoutError, match=match):
        guard_of(module(), likelihood).consolidate(rows(6))


def test_batch_statistics_in_eval_mode_too() -> None:
    module = nn.Sequential(nn.Linear(D, 3), nn.BatchNorm1d(3, track_running_stats=False))
    with pytest.raises(errors.NetworkStateError, match="BatchNorm1d '1' uses the statistics of the batch"):
        guard_of(module).consolidate(rows(6))
    assert all(part.training for part in module.modules())


def test_dropout_that_does_not_ask_for_the_mode() -> None:
    class Noisy(nn.Linear):
        def forward(self, x):
            return super().forward(nn.functional.dropout(x, 0.5))

    with pytest.raises(errors.NetworkStateError, match="random"):
        guard_of(Noisy(D, 3)).consolidate(rows(6))


def test_names_that_are_not_held() -> None:
    guard = guard_of(linear()).consolidate(rows(6))
    for verb in (guard.release, guard.adopt):
        with pytest.raises(errors.LayoutError, match=r"'wight' is no parameter that is held.*held: weight, bias"):
            verb("wight")
    with pytest.raises(errors.LayoutError, match="release needs the names of parameters"):
        guard.release()


STATES = {
    "empty": (lambda state: {}, errors.LayoutError, "was not written by EWC.state_dict"),
    "a network's own": (lambda state: linear().state_dict(), errors.LayoutError, "has no 'meta' among its 2 keys"),
    "a key is missing": (
        lambda state: state.pop("0.anchor.bias"),
        errors.LayoutError,
        "not whole; missing: 0.anchor.bias; unknown: none",
    ),
    "a key too many": (lambda state: state.update(x=rows(1)), errors.LayoutError, "missing: none; unknown: x"),
    "cut": (lambda state: state.update(meta=state["meta"][:30]), errors.DataError, "damaged: its 'meta' cannot be read"),
    "another version": (
        lambda state: state.update(meta=edited(state["meta"], '"version": 1', '"version": 9')),
        errors.DataError,
        "version 9, and this fisherkit reads version 1",
    ),
    "a task of no examples": (
        lambda state: state.update(meta=edited(state["meta"], '"n": 6', '"n": 0')),
        errors.DataError,
        "a task of labels='model', n=0, size=6",
    ),
    "two memories where there is one": (
        lambda state: state.update(meta=edited(state["meta"], '"memories": [', '"memories": [{}, ')),
        errors.DataError,
        "its 'meta' cannot be read",
    ),
    "another kind": (
        lambda state: state.update(meta=edited(state["meta"], '"expected"', '"estimated"')),
        errors.DataError,
        "kind 'estimated'",
    ),
    "an anchor of another shape": (
        lambda state: state.update({"0.anchor.bias": torch.zeros(2)}),
        errors.DataError,
        r"0.anchor.bias has shape \(2,\), not \(3,\)",
    ),
    "an information of another shape": (
        lambda state: state.update({"0.information.bias": torch.zeros(2)}),
        errors.DataError,
        "damaged: 0.information does not fit",
    ),
}


def edited(meta, old: str, new: str):
    text = bytes(meta.tolist()).decode()
    assert old in text
    return torch.tensor(list(text.replace(old, new).encode()), dtype=torch.uint8)


@pytest.mark.parametrize("damage", STATES)
def test_states(damage: str) -> None:
    change, error, match = STATES[damage]
    guard = guard_of(linear()).consolidate(rows(6))
    before, state = repr(guard), guard.state_dict()
    changed = change(state)
    with pytest.raises(error, match=match):
        guard.load_state_dict(changed if isinstance(changed, dict) else state)
    assert repr(guard) == before
    guard.load_state_dict(guard.state_dict())


@pytest.mark.parametrize("changes", [{"mode": "sum"}, {"structure": "dense"}])
def test_a_state_of_another_kind_of_guard(changes: dict) -> None:
    state = guard_of(linear()).consolidate(rows(6)).state_dict()
    ((what, value),) = changes.items()
    was = {"mode": "online", "structure": "diagonal"}[what]
    with pytest.raises(errors.LayoutError, match=f"the state has {what}='{was}'; this EWC has {what}='{value}'"):
        guard_of(linear(), **changes).load_state_dict(state)

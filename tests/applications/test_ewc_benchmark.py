"""The benchmark of docs/ewc-benchmark.md runs, and what it compares is what it says."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

from tests.benchmarks import continual, ewc, guards  # noqa: E402 needs torch


@pytest.fixture
def task():
    torch.manual_seed(0)
    module = continual.perceptron()
    return module, *continual.permuted_tasks(0)[0].parts[0]


@pytest.mark.parametrize("batch", [16, 1000])
def test_ours_does_not_depend_on_the_batch_size_and_the_batched_formula_does(task, batch: int) -> None:
    module, X, y = task
    traces = {}
    for name, guard in (("ours", guards.Ours), ("batched", guards.BatchedFormula)):
        for size in (1, batch):
            found = guard(module, 1.0, size)
            found.consolidate(X[:200], y[:200])
            traces[name, size] = found.trace()
    assert traces["ours", batch] == pytest.approx(traces["ours", 1], rel=1e-5)
    assert traces["batched", batch] < 0.5 * traces["batched", 1]


@pytest.mark.skipif(not guards.HAS_AVALANCHE, reason="needs avalanche-lib")
def test_the_stand_in_is_avalanches_arithmetic(task) -> None:
    module, X, y = task
    rivals = [guard(module, 7.0, 48) for guard in (guards.Avalanche, guards.BatchedFormula)]
    for rival in rivals:
        rival.consolidate(X, y)
    with torch.no_grad():
        for p in module.parameters():
            p += 0.1
    theirs, by_hand = (rival.penalty().item() for rival in rivals)
    assert by_hand == pytest.approx(theirs, rel=1e-5)


def test_heads_of_split_tasks() -> None:
    own, growing = (continual.convolutional(own_heads=own) for own in (True, False))
    X, y = continual.split_tasks(0, own_heads=False)[3].parts[0]
    assert sorted(y.unique().tolist()) == [6, 7]
    for number in range(4):
        own.enter(number)
        growing.enter(number)
    assert own(X).shape == (len(X), 2)
    assert growing(X).shape == (len(X), 8)


def test_forgetting_is_the_drop_from_the_best() -> None:
    nan = float("nan")
    rows = [[0.9, nan, nan], [0.7, 0.8, nan], [0.5, 0.9, 1.0]]
    outcome = continual.Outcome(torch.tensor([rows] * 3).double().numpy(), 1.0)
    assert outcome.mean(2) == pytest.approx(0.8)
    assert outcome.forgetting(2) == pytest.approx(0.2)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")
def test_the_quick_run(capsys) -> None:
    ewc.main(["--quick"])
    told = capsys.readouterr().out
    assert ("stands in" in told) is not guards.HAS_AVALANCHE
    for head in ("permuted digits", "split digits", "network, batches of 128"):
        assert f"| {head} |" in told
    ours = [line.split("|")[4:] for line in told.splitlines() if line.startswith("| fisherkit |")]
    assert len(ours) == 2
    assert ours[0][0] == ours[1][0]

"""Several processes: the same bits for any number of them, and no process left waiting."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import fisherkit as fk

torch = pytest.importorskip("torch")
if not torch.distributed.is_available():
    pytest.skip("this torch has no torch.distributed", allow_module_level=True)

from tests.networks import processes  # noqa: E402


def run(size: int, folder: Path) -> list[Any]:
    """What each of so many processes found."""
    folder.mkdir()
    root = Path(__file__).parents[2]
    commands = [[sys.executable, "-m", "tests.networks.processes", str(rank), str(size), str(folder)] for rank in range(size)]
    started = [subprocess.Popen(command, cwd=root, stderr=subprocess.PIPE, text=True) for command in commands]
    try:
        for process in started:
            _, errors = process.communicate(timeout=100)
            assert process.returncode == 0, errors
    finally:
        for process in started:
            process.kill()
            process.communicate()
    return [torch.load(folder / f"{rank}.pt") for rank in range(size)]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[Any]]:
    return {size: run(size, tmp_path_factory.mktemp("group") / str(size)) for size in (1, 2)}


def check_equal(reference: dict[str, Any], each: list[Any]) -> None:
    for found in each:
        assert set(found["values"]) == set(reference)
        for name, (value, n, mcse) in found["values"].items():
            assert torch.equal(value, reference[name][0]), name
            assert (n, mcse) == reference[name][1:], name


def test_the_same_bits_in_both_processes(results: dict[int, list[Any]]) -> None:
    check_equal(results[1][0]["values"], results[2])


@pytest.mark.slow
@pytest.mark.parametrize("size", [3, 5])
def test_the_same_bits_for_any_number(results: dict[int, list[Any]], tmp_path: Path, size: int) -> None:
    check_equal(results[1][0]["values"], run(size, tmp_path / "group"))


def test_the_same_as_alone(results: dict[int, list[Any]]) -> None:
    """Bit for bit where nothing is drawn; with draws, other draws of as many."""
    for name, F in processes.informations(None).items():
        value, n, _ = results[2][0]["values"][name]
        assert n == F.n
        if name.startswith("drawn"):
            assert float((value - processes.flat(F)).norm() / processes.flat(F).norm()) < 0.3
        elif F.structure == "ekfac":  # whose eigenvectors depend on the last digits of the factors
            assert float((value - processes.flat(F)).norm() / processes.flat(F).norm()) < 1e-5
        elif F.structure == "diagonal":
            assert torch.equal(value, processes.flat(F)), name
        else:
            torch.testing.assert_close(value, processes.flat(F), rtol=1e-6, atol=1e-9)


def test_a_wrapped_module_is_unwrapped(results: dict[int, list[Any]]) -> None:
    values = results[2][1]["values"]
    assert torch.equal(values["ddp"][0], values["exact diagonal"][0])


@pytest.mark.parametrize("rank", [0, 1])
def test_a_sharded_module_gives_the_bits_of_a_whole_one(results: dict[int, list[Any]], rank: int) -> None:
    """Before a step of training, after it, when FSDP2 holds some of the weights whole, and while the caller does."""
    found = results[2][rank]["fsdp"]
    for state in ("sharded", "again", "one layer whole"):
        for name, value in found[state].items():
            assert torch.equal(value, found["whole"][name]), (state, name)
    assert len(found["sharded"]) > 18


def test_a_sharded_module_trains_on(results: dict[int, list[Any]]) -> None:
    for rank in (0, 1):
        for before, after in zip(*results[2][rank]["fsdp"]["steps"], strict=True):
            assert torch.equal(before, after)


def test_other_ways_of_dealing_weights_are_refused(results: dict[int, list[Any]]) -> None:
    for rank in (0, 1):
        found = results[2][rank]["fsdp"]
        assert "'hidden.weight' is dealt among processes by other means" in found["parallel"]
        assert "shard with torch.distributed.fsdp.fully_shard" in found["flat"]


def test_failures_reach_every_process(results: dict[int, list[Any]]) -> None:
    """No process waits for one that has failed."""
    first, second = (found["refusals"] for found in results[2])
    for told in (first, second):
        assert "need the same inputs, which are dealt here" in told["inputs"]
        assert "need the same weights" in told["weights"]
    assert "another process of the group has failed" in first["labels"]
    assert "outside the 3 classes" in second["labels"]


def test_a_group_must_be_there() -> None:
    net = fk.networks.Model(processes.network(), "categorical", process_group="world")
    with pytest.raises(fk.errors.MethodError, match=r"torch.distributed.init_process_group\(...\) first"):
        fk.expected_information(net, inputs=torch.ones(2, 4))


def test_what_is_not_shared() -> None:
    net = fk.networks.Model(processes.network(), "categorical", process_group="world")
    X, y = torch.ones(2, 4), torch.zeros(2, dtype=torch.long)
    for verb in (
        lambda: fk.score(net, data=(X, y)),
        lambda: fk.observed_information(net, data=(X, y)),
        lambda: fk.expected_information(net, inputs=X, structure="operator"),
        lambda: fk.expected_information(net, inputs=X, structure="low-rank"),
    ):
        with pytest.raises(fk.errors.MethodError, match="is not shared by the processes of a group"):
            verb()

"""The example shows what the paper shows, picks its strengths fairly, and reads the files of MNIST and Fashion-MNIST."""

import gzip
import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
EXAMPLE = Path(__file__).parents[2] / "examples" / "permuted_digits.py"


@pytest.fixture
def example(monkeypatch):
    spec = importlib.util.spec_from_file_location("permuted_digits", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "permuted_digits", module)  # dataclasses look there
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def digits(example):
    pytest.importorskip("sklearn")
    return example.read_images(None)


def learnt(example, digits, name: str, strength: float, seed: int) -> np.ndarray:
    """Accuracy on the three tasks: after the last one, and each at its best."""
    torch.manual_seed(seed)
    network = example.perceptron(64, 400, 10)
    rows = np.array(example.learn(name, strength, network, example.permuted(digits, 3), 8, lambda: None).accuracy)
    return np.array([rows[-1], rows.max(axis=0)])


def write_idx(path: Path, values: np.ndarray) -> None:
    header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
    with (gzip.open if path.suffix == ".gz" else open)(path, "wb") as file:
        file.write(header + values.astype(np.uint8).tobytes())


def test_one_command_writes_one_figure(example, tmp_path, monkeypatch, capsys) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("sys.argv", ["permuted_digits.py", "--epochs", "1", "--output", str(tmp_path / "out.png")])
    example.main()
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    told = capsys.readouterr().out
    assert [line.split()[0] for line in told.splitlines()[3:6]] == ["plain", "L2", "EWC"]
    for name, line in zip(("L2", "EWC"), told.splitlines(), strict=False):
        assert line.startswith(f"{name}: strength ")
        tried = re.findall(r"([\d.]+): [\d.]+", line.split("images (")[1])
        assert [float(strength) for strength in tried] == list(example.STRENGTHS[name])
        assert float(line.split()[2]) in example.STRENGTHS[name]


def test_as_many_trials_for_both(example) -> None:
    assert len(example.STRENGTHS["L2"]) == len(example.STRENGTHS["EWC"]) > 1


def test_strengths_are_picked_without_the_test_images(example, digits, monkeypatch) -> None:
    X, y, X_test, y_test = digits
    seen = []

    def learn(name, strength, network, tasks, epochs, tick):
        seen.append(tasks[0])
        return example.Curves([0.0], [[0.1, 0.2, 0.9 if strength == 100 else 0.3]])

    monkeypatch.setattr(example, "learn", learn)
    strength, means = example.pick("EWC", None, (X, y, torch.full_like(X_test, torch.nan), y_test), 1, lambda: None)
    assert strength == 100
    assert means[100] == pytest.approx(0.4)
    for task in seen:
        assert len(task.X) + len(task.X_judge) == len(X)
        assert torch.equal(torch.cat([task.X, task.X_judge]), X)


@pytest.mark.parametrize("seed", range(3))
def test_ewc_keeps_and_learns_where_plain_training_and_l2_do_not(example, digits, seed: int) -> None:
    """At the strengths that the example picks. Measured: EWC's mean 0.78 to 0.80, plain 0.63 to 0.65, L2 0.66 to 0.67."""
    plain, held, ewc = (
        learnt(example, digits, name, strength, seed) for name, strength in (("plain", 0.0), ("L2", 0.1), ("EWC", 300.0))
    )
    assert plain[0, :2].max() < 0.65  # forgets both earlier tasks
    assert plain[1].min() > 0.9  # that it had learnt
    assert held[0, :2].min() < 0.5  # one of them is lost
    assert ewc[0].min() > 0.65  # all three are known
    assert ewc[0].mean() > max(plain[0].mean(), held[0].mean()) + 0.07


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ewc_keeps_and_learns_where_the_best_l2_does_not(example, digits) -> None:
    """Over the whole grid, three seeds, the strengths picked by each on validation images."""
    for seed in range(3):
        curves = example.compare(digits, seed=seed, epochs=20, widths=(400,), tick=lambda: None)
        last = {name: np.array(found.accuracy[-1]) for name, found in curves.items()}
        assert last["EWC"].mean() > last["L2"].mean() + 0.1 > last["plain"].mean()
        assert last["EWC"].min() > 0.7 > 0.55 > last["L2"].min()
        assert last["plain"][:2].max() < 0.6


def test_idx_files_packed_or_not(example, tmp_path) -> None:
    images, labels = np.arange(5 * 4 * 4).reshape(5, 4, 4), np.arange(5)
    for part, suffix in (("train", ".gz"), ("t10k", "")):
        write_idx(tmp_path / f"{part}-images-idx3-ubyte{suffix}", images)
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte{suffix}", labels)
    X, y, X_test, y_test = example.read_images(tmp_path)
    assert torch.equal(X, torch.arange(80).reshape(5, 16) / 255)
    assert torch.equal(X, X_test)
    assert y.tolist() == y_test.tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(SystemExit, match=r"must hold train-images-idx3-ubyte or train-images-idx3-ubyte\.gz"):
        example.read_images(tmp_path / "nowhere")

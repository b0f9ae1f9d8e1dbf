"""The example runs, and reads the files of MNIST and Fashion-MNIST."""

import gzip
import importlib.util
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
    assert [line.split()[0] for line in told.splitlines()[1:4]] == ["plain", "L2", "EWC"]


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

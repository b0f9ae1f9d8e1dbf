"""Files: everything comes back, a crash leaves the old file, and what is not ours is refused in words."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp

import fisherkit as fk
from fisherkit import storage
from tests.families import no_torch

SIGMA, MU, N = sp.Symbol("sigma", positive=True), sp.Symbol("mu", real=True), sp.Symbol("n", integer=True, positive=True)
PIECES = sp.Piecewise((MU**2 + 1, MU > 0), (sp.exp(MU), sp.And(MU < 0, -sp.S.Half < MU)), (sp.Abs(MU) + sp.pi, True))
FORMULA = sp.Matrix([[sp.polygamma(1, SIGMA) / 3, MU], [MU, PIECES + sp.E + sp.EulerGamma + sp.Float("0.1", 30) * SIGMA]])

SUFFIXES = [
    "npz",
    pytest.param("safetensors", marks=pytest.mark.skipif(not find_spec("safetensors"), reason="needs safetensors")),
]


def _estimate() -> fk.FisherInformation:
    from scipy import stats

    return 5 * fk.expected_information(stats.norm, {"loc": 1.0, "scale": 2.0}, method=fk.MonteCarlo(100, rng=3))


def _tensors() -> fk.FisherInformation:
    import torch

    module = torch.nn.Linear(3, 2)
    net = fk.networks.Model(module, likelihood="categorical")
    method = fk.MonteCarlo(20, rng=0)
    return fk.expected_information(net, inputs=torch.eye(3), structure="diagonal", method=method)


EXAMPLES: dict[str, Callable[[], fk.FisherInformation]] = {
    "numbers": lambda: fk.FisherInformation([[2.0, 0.5], [0.5, 1.0]], parameters=("a", "b"), kind="observed", n=7),
    "point": lambda: fk.FisherInformation(np.eye(2), parameters=(MU, SIGMA), point={"mu": np.float64(0.1), "sigma": 1 / 3}),
    "shapes": lambda: fk.FisherInformation({"weight": np.arange(1.0, 7.0).reshape(2, 3), "bias.0": np.array(0.1)}),
    "expressions": lambda: fk.FisherInformation(FORMULA, parameters=(MU, SIGMA), n=N, method=fk.Exact(), point={"mu": SIGMA + 1}),
    "symbolic diagonal": lambda: fk.FisherInformation({"a": sp.Matrix([SIGMA, 2]), "b": sp.Matrix([1])}),
    "many digits": lambda: fk.FisherInformation([[sp.pi.evalf(50)]], method=fk.Quadrature(digits=50)),
    "replicates": _estimate,
    "tensors": _tensors,
}


def same(a: Any, b: Any) -> None:
    """Bit for bit, in type too."""
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            same(a[key], b[key])
    elif hasattr(a, "numpy") or isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    else:
        assert a == b


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", [pytest.param(name, marks=no_torch() if name == "tensors" else ()) for name in EXAMPLES])
def test_everything_comes_back(name: str, suffix: str, tmp_path: Path) -> None:
    F = EXAMPLES[name]()
    F.save(path := tmp_path / f"F.{suffix}")
    G = fk.load(path)
    assert repr(G) == repr(F)
    assert G.parameters == F.parameters
    same(G._kept(), F._kept())
    for known in ("kind", "n", "method", "structure", "error_bound", "mcse"):
        same(getattr(G, known), getattr(F, known))
    assert G.point == F.point
    assert os.listdir(tmp_path) == [path.name]


def test_symbols_come_back_with_their_assumptions(tmp_path: Path) -> None:
    F = EXAMPLES["expressions"]()
    F.save(tmp_path / "F.npz")
    G = fk.load(tmp_path / "F.npz")
    assert G.dense().free_symbols == {SIGMA, MU}
    assert G.at(mu=1, sigma=2, n=3).dense() == F.at(mu=1, sigma=2, n=3).dense()
    with pytest.raises(fk.errors.DataError, match="declared positive"):
        G.at(sigma=-1)


def test_what_a_loaded_one_can_do(tmp_path: Path) -> None:
    """The error of a function that was not thought of when it was saved."""
    F = _estimate()
    F.save(str(tmp_path / "F.npz"))  # names as text too
    assert fk.load(tmp_path / "F.npz").mcse_of(lambda G: G.logdet) == F.mcse_of(lambda G: G.logdet)


# -- nothing half-written


@pytest.mark.parametrize("where", ["fsync", "replace"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_crash_leaves_the_old_file(suffix: str, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"F.{suffix}"
    EXAMPLES["numbers"]().save(path)
    before = path.read_bytes()

    def crash(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, where, crash)
    with pytest.raises(KeyboardInterrupt):
        _estimate().save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]


def test_what_cannot_be_saved_leaves_nothing(tmp_path: Path) -> None:
    class Strange(sp.Function):
        pass

    with pytest.raises(fk.errors.StorageError, match=r"an expression with Strange cannot be saved: .* Put numbers with F.at"):
        fk.FisherInformation([[Strange(SIGMA)]]).save(tmp_path / "F.npz")
    with pytest.raises(fk.errors.StorageError, match=r"object .* cannot be saved"):
        fk.FisherInformation([[1.0]], point={"a": object()}).save(tmp_path / "F.npz")
    assert os.listdir(tmp_path) == []


def test_a_link_is_replaced_and_its_target_left(tmp_path: Path) -> None:
    (tmp_path / "precious.npz").write_bytes(b"precious")
    (link := tmp_path / "F.npz").symlink_to("precious.npz")
    EXAMPLES["numbers"]().save(link)
    assert (tmp_path / "precious.npz").read_bytes() == b"precious"
    assert not link.is_symlink()


def test_others_may_read_it_as_the_umask_says(tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        EXAMPLES["numbers"]().save(tmp_path / "F.npz")
    finally:
        os.umask(old)
    assert (tmp_path / "F.npz").stat().st_mode & 0o777 == 0o644


# -- what is refused


@pytest.mark.parametrize("name", ["F.pkl", "F.pt", "F"])
def test_other_formats_are_refused(name: str, tmp_path: Path) -> None:
    for act in (EXAMPLES["numbers"]().save, fk.load):
        with pytest.raises(fk.errors.StorageError, match=r"must end in .safetensors or .npz"):
            act(tmp_path / name)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kept", [0, 1, 40, -200, -1])
def test_a_truncated_file_is_refused(suffix: str, kept: int, tmp_path: Path) -> None:
    path = tmp_path / f"F.{suffix}"
    EXAMPLES["numbers"]().save(path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(fk.errors.StorageError, match="was not written by fisherkit, or is damaged"):
        fk.load(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_flipped_bit_is_refused_or_harmless(suffix: str, tmp_path: Path) -> None:
    """Whatever a damaged file holds, loading it ends in our own error or in a FisherInformation."""
    path = tmp_path / f"F.{suffix}"
    EXAMPLES["expressions"]().save(path)
    whole = path.read_bytes()
    rng, refused = np.random.default_rng(0), 0
    for position in rng.integers(len(whole), size=150):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x10]) + whole[position + 1 :])
        try:
            assert isinstance(fk.load(path), fk.FisherInformation)
        except fk.errors.FisherkitError:
            refused += 1
    assert refused > 20


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.npz")
    (tmp_path / "folder.npz").mkdir()
    for name in ("fifo.npz", "folder.npz"):
        with pytest.raises(fk.errors.StorageError, match="is not a regular file"):
            fk.load(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        fk.load(tmp_path / "nothing.npz")


def rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """The same file with other metadata."""
    with np.load(path) as archive:
        arrays = dict(archive)
    content = json.loads(arrays.pop(storage.META).tobytes())
    change(content)
    np.savez(path, **{storage.META: np.frombuffer(json.dumps(content).encode(), dtype=np.uint8)}, **arrays)


META: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "another version": (lambda c: c.update(version=99), "has format version 99; this fisherkit reads version 1"),
    "no version": (lambda c: c.pop("version"), "damaged: KeyError: 'version'"),
    "no names": (lambda c: c["meta"].pop("names"), "damaged: KeyError: 'names'"),
    "unknown structure": (lambda c: c["meta"].update(structure="banana"), "damaged: KeyError: 'banana'"),
    "unknown head": (
        lambda c: c["formulas"].update({"0.0": [[1, 1], [{"expression": ["lambdify", ["rational", "1", "1"]]}]]}),
        "holds 'lambdify', which is not an expression that fisherkit writes",
    ),
    "code for a head": (
        lambda c: c["formulas"].update({"0.0": [[1, 1], [{"expression": ["__import__('os').getcwd", ["rational", "1", "1"]]}]]}),
        "which is not an expression that fisherkit writes",
    ),
    "text for an expression": (
        lambda c: c["formulas"].update({"0.0": [[1, 1], [{"expression": "__import__('os').getcwd()"}]]}),
        "which is not an expression that fisherkit writes",
    ),
}


@pytest.mark.parametrize("case", META)
def test_metadata_that_is_not_ours(case: str, tmp_path: Path) -> None:
    change, message = META[case]
    EXAMPLES["numbers"]().save(path := tmp_path / "F.npz")
    rewrite(path, lambda content: None)
    fk.load(path)  # the rewriting itself does no harm
    rewrite(path, change)
    with pytest.raises(fk.errors.StorageError, match=message):
        fk.load(path)


def test_pickle_is_never_loaded(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (os.mkdir, (str(tmp_path / "owned"),))

    np.savez(tmp_path / "evil.npz", evil=np.array([Evil()], dtype=object), allow_pickle=True)
    with pytest.raises(fk.errors.StorageError, match=r"claims .* of object"):
        fk.load(tmp_path / "evil.npz")
    assert not (tmp_path / "owned").exists()


def test_someone_elses_arrays_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", matrix=np.eye(2))
    with pytest.raises(fk.errors.StorageError, match="was not written by fisherkit, or is damaged: KeyError: 'fisherkit'"):
        fk.load(tmp_path / "other.npz")


# -- bombs


def test_more_than_the_budget_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compressed file of 100 kB may declare 100 MB: it is the declared size that counts."""
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, zeros=np.zeros(12_500_000))
    assert path.stat().st_size < 200_000
    monkeypatch.setenv("FISHERKIT_MEMORY", "1e6")
    with pytest.raises(fk.errors.StorageError, match="declares 100000128 bytes, more than the memory budget of 1000000"):
        fk.load(path)


@pytest.mark.skipif(not find_spec("safetensors"), reason="needs safetensors")
def test_a_large_safetensors_file_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fk.FisherInformation({"a": np.zeros(1000)}).save(path := tmp_path / "F.safetensors")
    monkeypatch.setenv("FISHERKIT_MEMORY", "4000")
    with pytest.raises(fk.errors.StorageError, match="more than the memory budget of 4000"):
        fk.load(path)


def test_an_array_that_claims_more_than_it_holds(tmp_path: Path) -> None:
    """NumPy would allocate what the header says, here 8 TB, before reading a byte."""
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }"
    header += b" " * (117 - len(header)) + b"\n"
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(fk.errors.StorageError, match=r"a.npy claims \(1000000000000,\) entries of float64 in 128 bytes"):
        fk.load(tmp_path / "bomb.npz")


# -- optional libraries


def test_npz_needs_no_safetensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "find_spec", lambda name: None)
    F = EXAMPLES["numbers"]()
    F.save(tmp_path / "F.npz")
    assert repr(fk.load(tmp_path / "F.npz")) == repr(F)
    for act in (F.save, fk.load):
        with pytest.raises(fk.errors.MissingDependencyError, match=r"needs safetensors: pip install 'fisherkit\[torch\]'"):
            act(tmp_path / "F.safetensors")


def test_tensors_need_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    _tensors().save(tmp_path / "F.npz")
    import sys

    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(fk.errors.MissingDependencyError, match="the file holds tensors: pip install"):
        fk.load(tmp_path / "F.npz")

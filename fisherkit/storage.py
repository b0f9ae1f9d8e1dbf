"""Files: safetensors or npz, never pickle, written to a temporary name and moved."""

from __future__ import annotations

import json
import math
import os
import secrets
import stat
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import numpy as np

from . import limits
from .arrays import Array, family, is_expression, memory_budget
from .errors import FisherkitError, MissingDependencyError, StorageError

VERSION = 1
META = "fisherkit"


def write(path: str | os.PathLike[str], arrays: Mapping[str, Array], meta: Mapping[str, Any]) -> None:
    """Arrays of any family and plain metadata, all or nothing: a crash leaves the old file."""
    target = _checked(path)
    families = {key: family(array) for key, array in arrays.items()}
    numbers = {key: _to_numpy(array) for key, array in arrays.items() if families[key] != "sympy"}
    formulas = {key: [list(a.shape), [_encode(v) for v in a.flat]] for key, a in arrays.items() if key not in numbers}
    text = json.dumps({"version": VERSION, "families": families, "formulas": formulas, "meta": meta}, default=_encode)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        with open(temporary, "xb") as file:
            if target.suffix == ".npz":
                np.savez(file, **{META: np.frombuffer(text.encode(), dtype=np.uint8)}, **numbers)  # type: ignore[arg-type]
            else:
                from safetensors.numpy import save

                file.write(save(numbers, metadata={META: text}))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Array], dict[str, Any]]:
    """What `write` wrote, checked before anything large is allocated."""
    source = _checked(path)
    if not stat.S_ISREG(os.stat(source).st_mode):
        raise StorageError(f"{source} is not a regular file.")
    source.open("rb").close()  # what the system refuses is told as it is
    with damage(source):
        numbers, text = _read_npz(source) if source.suffix == ".npz" else _read_safetensors(source)
        content = json.loads(text)
        if content["version"] != VERSION:
            raise StorageError(f"{source} has format version {content['version']}; this fisherkit reads version {VERSION}.")
        families, formulas = content["families"], content["formulas"]
        arrays = {key: _from_numpy(array, families[key]) for key, array in numbers.items()}
        return _within_time(source, arrays, formulas, content["meta"])


def _within_time(
    source: Path, arrays: dict[str, Array], formulas: Mapping[str, Any], meta: Any
) -> tuple[dict[str, Array], dict[str, Any]]:
    """With the expressions that the file holds, built before a deadline."""
    if not formulas and '"expression"' not in json.dumps(meta):
        return arrays, meta
    from .deadline import within

    def build() -> tuple[dict[str, Array], dict[str, Any]]:
        return arrays | {key: _formulas(shape, data) for key, (shape, data) in formulas.items()}, _decode_all(meta)

    if (built := within(limits.SECONDS, build)) is None:
        raise StorageError(f"{source} holds expressions that take longer than {limits.SECONDS:g} seconds to build.")
    return built


@contextmanager
def damage(path: str | os.PathLike[str]) -> Iterator[None]:
    """Whatever goes wrong while reading is told as a damaged file."""
    try:
        yield
    except FisherkitError:
        raise
    except Exception as error:
        raise StorageError(f"{path} was not written by fisherkit, or is damaged: {type(error).__name__}: {error}.") from error


def _read_npz(source: Path) -> tuple[dict[str, np.ndarray], str]:
    with zipfile.ZipFile(source) as archive:
        _check_size(source, sum(member.file_size for member in archive.infolist()))
        for member in archive.infolist():
            with archive.open(member) as file:
                _check_header(file, member)
    with np.load(source, allow_pickle=False) as archive:
        arrays = {key: archive[key] for key in archive.files}
    return arrays, arrays.pop(META).tobytes().decode()


def _check_header(file: IO[bytes], member: zipfile.ZipInfo) -> None:
    """NumPy allocates what the header of an array claims before it reads: refuse a claim larger than the member."""
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError(f"{member.filename} is of another format")
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize > member.file_size:
        raise ValueError(f"{member.filename} claims {shape} entries of {dtype} in {member.file_size} bytes")


def _read_safetensors(source: Path) -> tuple[dict[str, np.ndarray], str]:
    from safetensors import safe_open

    _check_size(source, source.stat().st_size)
    with safe_open(source, framework="numpy") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()[META]  # noqa: SIM118 not a mapping


def _check_size(source: Path, declared: int) -> None:
    if declared > memory_budget():
        raise StorageError(f"{source} declares {declared} bytes, more than the memory budget of {memory_budget()}.")


def _checked(path: str | os.PathLike[str]) -> Path:
    target = Path(path)
    if target.suffix not in (".npz", ".safetensors"):
        raise StorageError(f"a file name must end in .safetensors or .npz; got {target.name!r}.")
    if target.suffix == ".safetensors" and find_spec("safetensors") is None:
        raise MissingDependencyError("'.safetensors' needs safetensors: pip install 'fisherkit[torch]', or use '.npz'.")
    return target


def _to_numpy(array: Array) -> np.ndarray:
    return np.ascontiguousarray(array.cpu().numpy() if family(array) == "torch" else array)


def _from_numpy(array: np.ndarray, kind: str) -> Array:
    if kind != "torch":
        return array
    try:
        import torch
    except ImportError:
        raise MissingDependencyError("the file holds tensors: pip install 'fisherkit[torch]' to read it.") from None
    return torch.from_numpy(array)


def _encode(value: Any) -> Any:
    """Expressions and NumPy numbers among plain metadata."""
    if is_expression(value):
        from .expressions import encode

        return {"expression": encode(value)}
    if hasattr(value, "tolist"):  # NumPy numbers and arrays, tensors
        return value.tolist()
    raise StorageError(f"{type(value).__name__} {value!r} cannot be saved.")


def _decode_all(value: Any) -> Any:
    from .expressions import decode

    if isinstance(value, dict):
        return decode(value["expression"]) if set(value) == {"expression"} else {k: _decode_all(v) for k, v in value.items()}
    return [_decode_all(v) for v in value] if isinstance(value, list) else value


def _formulas(shape: list[int], data: list[Any]) -> np.ndarray:
    out = np.empty(len(data), dtype=object)
    out[:] = [_decode_all(value) for value in data]
    return out.reshape(shape)

"""The example runs, and tells what it is meant to show."""

import importlib.util
import re
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
EXAMPLE = Path(__file__).parents[2] / "examples" / "merge_and_prune.py"


def test_one_command_writes_one_figure(tmp_path, monkeypatch, capsys) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    spec = importlib.util.spec_from_file_location("merge_and_prune", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    monkeypatch.setattr("sys.argv", ["merge_and_prune.py", "--output", str(tmp_path / "out.png")])
    example.main()
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    told = [[float(number) for number in re.findall(r"\d\.\d{3}", line)] for line in capsys.readouterr().out.splitlines()]
    mean, merged = told[0][2:]
    fisher, _, at_random = told[1:4]
    assert merged > mean
    assert fisher[1] > at_random[1] + 0.2  # with 60 % of the weights gone

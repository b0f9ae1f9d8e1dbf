"""The recipes of docs/ewc.md for trainers, where these are installed; its other blocks run with every page's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("torch")
PAGE = Path(__file__).parents[2] / "docs" / "ewc.md"


@pytest.mark.filterwarnings("default")  # theirs
@pytest.mark.parametrize("library", ["lightning", "transformers"])
def test_recipes_run(library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (recipe,) = re.findall(rf"^```python {library}\n(.*?)^```", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    compile(recipe, str(PAGE), "exec")
    pytest.importorskip(library)
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "recipe"}
    exec(compile(recipe, str(PAGE), "exec"), names)
    ewc = names["ewc"]
    assert ewc.tasks == 2
    assert ewc.report().trace > 0
    assert ewc.penalty() == 0

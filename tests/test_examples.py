"""Every Python block of README.md and docs/*.md runs, page by page from top to bottom; docstrings run as doctests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NEEDS = {"torch": r"\btorch\b|fk\.networks|fk\.applications", "matplotlib": r"fk\.plots"}


def blocks(page: Path) -> Iterator[tuple[int, str]]:
    """Line number and text of each fenced block of Python; one headed ``python torch`` only where torch is."""
    text = page.read_text()
    for block in re.finditer(r"^```python( torch)?\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        if not block[1] or find_spec("torch"):
            yield text[: block.start(2)].count("\n"), block[2]


def run(page: Path) -> dict[str, Any]:
    """The names that a page leaves. Line numbers in tracebacks are those of the page."""
    namespace: dict[str, Any] = {"__name__": page.stem}
    for line, code in blocks(page):
        exec(compile("\n" * line + code, str(page), "exec"), namespace)
    return namespace


def skip_without_libraries(page: Path) -> None:
    code = "".join(code for _, code in blocks(page))
    for library, sign in NEEDS.items():
        if re.search(sign, code) and not find_spec(library):
            pytest.skip(f"needs {library}")


@pytest.mark.parametrize("page", [page for page in PAGES if any(blocks(page))], ids=lambda page: page.name)
def test_the_blocks_of_a_page_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    skip_without_libraries(page)
    monkeypatch.chdir(tmp_path)  # a page may write files
    run(page)


def test_a_page_that_is_wrong_would_be_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Title\n\n```python\na = 1\n```\n\ntext\n\n```bash\nfalse\n```\n\n```python\nassert a == 2\n```\n")
    assert [line for line, _ in blocks(page)] == [3, 13]
    with pytest.raises(AssertionError) as error:
        run(page)
    assert error.traceback[-1].lineno == 13  # counted from 0: line 14 of the page


def test_the_readme_shows_what_is_printed() -> None:
    skip_without_libraries(ROOT / "README.md")
    text = (ROOT / "README.md").read_text()
    shown = {re.sub(r"error_bound=[^,)]*", "error_bound", line) for line in re.findall(r"FisherInformation\(.*\)", text)}
    names = run(ROOT / "README.md")
    printed = {re.sub(r"error_bound=[^,)]*", "error_bound", repr(value)) for value in names.values()}
    assert shown
    assert all(any(one.startswith(other) for other in printed) for one in shown)


def test_the_readme_starts_with_the_two_commands() -> None:
    """CI runs them as they stand."""
    screen = (ROOT / "README.md").read_text().splitlines()[:25]
    commands = [line for line in screen if line.startswith("python -m pip install")]
    assert [command.split(" && ")[1] for command in commands] == ["python -m fisherkit demo", "python -m pytest"]

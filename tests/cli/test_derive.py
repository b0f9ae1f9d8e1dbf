"""``fisherkit derive``: an answer on stdout and 0, or words on stderr and 2; never a traceback, never half an answer."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import pytest

from fisherkit.cli import derivation, derive, main

EXPONENTIAL = ["--data", "x", "--support", "0,oo", "--parameters", "s:positive"]


def here(*arguments: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> tuple[int, str, str]:
    """The work of the command, without a process of its own."""
    monkeypatch.setattr(derivation, "_limit_resources", lambda seconds: None)
    code = derivation.answer(derive.joined(arguments))
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda *arguments: here(*arguments, capsys=capsys, monkeypatch=monkeypatch)


# -- as users call it


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "fisherkit", "derive", *arguments], capture_output=True, text=True, check=False)


def test_the_normal_family() -> None:
    done = run("normal(mu, sigma)", "--ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Fisher information of one observation in (mu, sigma)\n\n  where    mu real, sigma positive\n")
    assert "found by gaussian" in done.stdout
    assert "[sigma " in done.stdout


def test_it_ends_when_the_time_is_over() -> None:
    start = time.perf_counter()
    done = run("normal(mu, sigma)", "--seconds", "0.3", "--json")
    assert done.returncode == 2
    assert done.stdout == ""
    assert json.loads(done.stderr)["error"] == "Deadline"
    assert time.perf_counter() - start < 5


def test_a_refusal_from_the_process_comes_through(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["derive", "uniform(0, theta)"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("fisherkit: RegularityError (support_depends_on_parameter, theta): the density jumps")
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "one of the arguments family --density --log-density is required"),
        (["normal(m, s)", "--density", "x"], "not allowed with"),
        (["normal(m, s)", "--latex", "--json"], "not allowed with"),
        (["normal(m, s)", "--seconds", "nan"], "a time between 0 and 86400"),
        (["normal(m, s)", "--digits", "x"], "invalid int value"),
    ],
)
def test_wrong_options(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    for form in ([], ["--json"]):
        if "--json" in arguments and form:
            continue
        with pytest.raises(SystemExit) as end:
            main(["derive", *arguments, *form])
        out, err = capsys.readouterr()
        assert (end.value.code, out) == (2, "")
        assert message in (json.loads(err)["message"] if form else err)


# -- what it says


def test_a_record_for_programs(ask: Any) -> None:
    code, out, err = ask("gamma(k, theta)", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "parameters": ["k", "theta"],
        "assumptions": {"k": "positive", "theta": "positive"},
        "information": [["polygamma(1, k)", "1/theta"], ["1/theta", "k/theta**2"]],
        "conditions": [],
        "kind": "expected",
        "n": 1,
        "method": "Exact()",
        "tier": "linear system",
        "at": None,
        "error_bound": None,
    }


def test_conditions_stand_beside_the_entries(ask: Any) -> None:
    code, out, _ = ask("exponential_power(mu, a, b)", "--json")
    record = json.loads(out)
    assert code == 0
    assert record["conditions"] == ["1/b < 2"]
    assert "Piecewise" not in out
    assert record["tier"] == "kernels"


def test_certified_numbers(ask: Any) -> None:
    _, out, _ = ask("gamma(k, theta)", "--at", "k=2.5, theta=1/3", "--digits", "30", "--json")
    record = json.loads(out)
    assert record["information"][0][0] == "0.490357756100234864972801055494"  # trigamma(5/2) = pi^2/2 - 40/9
    assert record["at"] == {"k": "5/2", "theta": "1/3"}
    assert record["method"] == "Quadrature(digits=30)"
    assert 0 < record["error_bound"] < 1e-30
    assert record["tier"] is None
    _, out, _ = ask("gamma(k, theta)", "--at", "k=2.5, theta=1/3", "--digits", "30")
    assert "error    at most" in out
    assert "0.49035775610023486497280105549" in out


def test_numbers_from_the_formula(ask: Any) -> None:
    code, out, _ = ask("--log-density", "-x/s - log(s)", *EXPONENTIAL, "--at", "s=2", "--json")
    record = json.loads(out)
    assert code == 0
    assert record["method"] == "Exact()"
    assert float(record["information"][0][0]) == 0.25


def test_for_a_paper(ask: Any) -> None:
    code, out, _ = ask("--density", "exp(-x/s)/s", *EXPONENTIAL, "--latex")
    assert (code, out) == (0, "\\begin{pmatrix}\\frac{1}{s^{2}}\\end{pmatrix}\n")


def test_ends_that_start_with_a_sign(ask: Any) -> None:
    density = ["--log-density", "-(x-m)^2/2-log(2*pi)/2", "--data", "x", "--parameters", "m"]
    assert ask(*density, "--support", "-oo,oo", "--at", "m=-1", "--json")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "error", "details"),
    [
        (["norml(mu, s)"], "TextError", {"column": 0}),
        (["normal(mu, 2s)"], "TextError", {"column": 12}),
        (["9**9**9"], "TextError", {}),
        (["binomial(n, p)"], "RegularityError", {"condition": "integer_parameter", "parameter": "n"}),
        (["pareto(xm, alpha)"], "RegularityError", {"condition": "support_depends_on_parameter", "parameter": "xm"}),
        (["--density", "exp(-x/s)", *EXPONENTIAL], "RegularityError", {"condition": "not_normalised"}),
        (["normal(mu, s)", "--at", "mu=0"], "LayoutError", {}),
        (["normal(mu, s)", "--at", "mu=0, s=-1"], "DataError", {}),
        (["normal(mu, s)", "--digits", "30"], "MethodError", {}),
        (["normal(mu, s)", "--at", "mu=0, s=1", "--digits", "0"], "MethodError", {}),
        (["yule_simon(rho)"], "MethodError", {}),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_refusals(arguments: list[str], error: str, details: dict[str, Any], ask: Any) -> None:
    code, out, err = ask(*arguments, "--json")
    record = json.loads(err)
    assert (code, out, record["error"]) == (2, "", error)
    assert details.items() <= record.items()
    code, out, err = ask(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"fisherkit: {error}")
    assert "Traceback" not in err


def test_a_caret_shows_the_place(ask: Any) -> None:
    _, _, err = ask("normal(mu, 2sigma)")
    assert err.splitlines()[-2:] == ["  normal(mu, 2sigma)", "              ^"]


def test_an_error_that_is_not_ours_is_told_in_words(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise NotImplementedError("inside SymPy")

    monkeypatch.setattr("fisherkit.symbolic.parse_model", broken)
    code, out, err = ask("normal(mu, sigma)")
    assert (code, out) == (2, "")
    assert err == "fisherkit: the formula could not be worked out (NotImplementedError: inside SymPy).\n"


def test_where_lines_cannot_be_drawn() -> None:
    assert derive._draws("utf-8")
    assert not derive._draws("ascii")
    assert not derive._draws(None)

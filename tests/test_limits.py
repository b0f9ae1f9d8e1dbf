"""A hostile file: what would make SymPy compute for long is refused before it does."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import sympy as sp

import fisherkit as fk
from fisherkit import limits
from fisherkit.expressions import decode, encode

X = ["symbol", "x", {"positive": True}]
THIRD = ["rational", "1", "3"]


def number(value: int) -> list[Any]:
    return ["rational", str(value), "1"]


def nested(head: str, inner: Any, depth: int) -> Any:
    for _ in range(depth):
        inner = [head, inner]
    return inner


HOSTILE: dict[str, Any] = {
    "tower of integers": ["Pow", number(9), ["Pow", number(9), number(9)]],
    "huge power": ["Pow", number(2), number(10**9)],
    "huge root": ["Pow", number(2), ["rational", str(10**9), "7"]],
    "huge power of a symbol": ["Pow", X, number(10**9)],
    "powers of powers": ["Pow", ["Pow", ["Pow", number(7), number(900)], number(900)], number(900)],
    "factorial": ["factorial", number(10**9)],
    "gamma": ["gamma", number(10**8)],
    "loggamma": ["loggamma", number(10**8)],
    "digamma": ["digamma", number(10**8)],
    "binomial": ["binomial", number(10**9), number(5 * 10**8)],
    "zeta": ["zeta", number(-(10**7))],
    "shifted zeta": ["zeta", X, number(10**8)],
    "polygamma": ["polygamma", number(10**6), THIRD],
    "shifted polygamma": ["polygamma", number(1), ["Add", X, number(10**8)]],
    "lower gamma": ["lowergamma", number(10**7), X],
    "exponential integral": ["expint", number(-(10**7)), X],
    "floor of a tower": ["floor", nested("exp", number(9), 4)],
    "sign of a tower": ["sign", ["Add", nested("exp", number(9), 4), number(-1)]],
    "tower in a symbol": nested("exp", X, 4),
    "tower of powers": ["Pow", X, ["Pow", X, ["Pow", X, ["Pow", X, X]]]],
    "long float": ["float", ["0", str((1 << 4999) + 1), "0", "5000"], 5000],
    "float of a huge exponent": ["float", ["0", "1", str(10**12), "1"], 53],
    "float of a huge precision": ["float", ["0", "1", "0", "1"], 10**10],
    "wrong float": ["float", ["0", "1", "0", "7"], 53],
    "deep": nested("sin", X, 500),
    "long": ["Add", *[["Mul", X, ["symbol", f"y{k}", {}]] for k in range(40_000)]],
    "high derivative": ["Derivative", ["zeta", X], ["Tuple", X, number(10**6)]],
    "value of a special function inside another": ["exp", ["hyper", ["Tuple", THIRD], ["Tuple", THIRD], number(20)]],
    "assumptions that are none": ["symbol", "x", {"cls": True}],
    "assumptions that are no flags": ["symbol", "x", {"positive": "yes"}],
    "a name of a megabyte": ["symbol", "x" * 10**6, {}],
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_expression_is_refused_at_once(name: str) -> None:
    start = time.perf_counter()
    with pytest.raises(fk.errors.StorageError, match=r"too large to be read|fisherkit does not write|no floating-point number"):
        decode(HOSTILE[name])
    assert time.perf_counter() - start < 5


def test_a_hostile_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    F = fk.FisherInformation([[sp.Symbol("x", positive=True)]], parameters=("x",))
    monkeypatch.setattr("fisherkit.expressions.encode", lambda value: HOSTILE["factorial"])
    F.save(tmp_path / "F.npz")
    with pytest.raises(fk.errors.StorageError, match="factorial of a number larger than 300"):
        fk.load(tmp_path / "F.npz")


def test_what_fisherkit_writes_can_be_read() -> None:
    """The largest that a user meets: a thousand digits, a binomial of 200, a meijerg."""
    k = sp.Symbol("k", positive=True)
    for value in [
        sp.pi.evalf(1005),
        sp.binomial(200, 100) * k**200 * (1 - k) ** 99,
        sp.exp(k) * sp.meijerg([[], [1, 1]], [[0, 0, 0], []], k),
        sp.exp(-sp.exp(-sp.exp(k))),
        sp.diff(sp.log(sp.zeta(k)), k, 2),
        sp.Piecewise((sp.polygamma(300, k + 299), k > 10**7), (0, True)),
        sp.Float("1e-3000", 50),
    ]:
        assert decode(json.loads(json.dumps(encode(value)))) == value


def test_numbers_stay_small_on_the_way() -> None:
    with pytest.raises(limits.TooLarge, match="more than 4096 bits"):
        limits.apply("Mul", sp.Mul, [sp.Integer(2) ** 3000, sp.Integer(3) ** 2000])
    assert limits.magnitude(sp.exp(10)) == pytest.approx(22026.4657948)
    assert limits.magnitude(sp.Integer(10) ** 400) == float("inf")

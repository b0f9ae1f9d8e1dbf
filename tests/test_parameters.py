"""Names and shapes: what goes in comes out in the same form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp

import fisherkit as fk
from fisherkit.parameters import Parameters

NET = Parameters.of({"weight": (2, 3), "bias": (2,), "scale": ()})


def test_what_may_name_them() -> None:
    mu, sigma = sp.symbols("mu sigma")
    for spec in (("mu", "sigma"), ["mu", "sigma"], (mu, sigma), {"mu": (), "sigma": ()}, Parameters(("mu", "sigma"), ((), ()))):
        assert Parameters.of(spec) == Parameters(("mu", "sigma"), ((), ()))
    assert Parameters.of("mu").names == ("mu",)
    assert Parameters.of(None, size=2).names == ("theta_0", "theta_1")


def test_sizes_and_labels() -> None:
    assert (NET.size, NET.sizes, NET.is_flat) == (9, (6, 2, 1), False)
    assert NET.labels == (*(f"weight[{i},{j}]" for i in range(2) for j in range(3)), "bias[0]", "bias[1]", "scale")
    assert tuple(map(NET.label, range(9))) == NET.labels
    with pytest.raises(IndexError):
        NET.label(9)


def test_positions_follow_the_order_asked_for() -> None:
    assert NET.positions(["scale", "bias"]) == [8, 6, 7]
    assert NET.select(["scale", "weight"]) == Parameters(("scale", "weight"), ((), (2, 3)))
    assert NET.without(["bias"]) == ("weight", "scale")


@pytest.mark.parametrize("columns", [(), (4,)])
def test_a_flat_vector_splits_and_joins(columns: tuple[int, ...]) -> None:
    vector = np.arange(9.0 * (columns or (1,))[0]).reshape(9, *columns)
    leaves = NET.split(vector)
    assert [leaf.shape for leaf in leaves] == [(size, *columns) for size in NET.sizes]
    np.testing.assert_array_equal(NET.join(leaves, like=vector), vector)


def test_a_mapping_splits_and_joins_in_any_order() -> None:
    given: dict[str, Any] = {"scale": 8.0, "bias": [6.0, 7.0], "weight": np.arange(6.0).reshape(2, 3)}
    leaves = NET.split(given)
    np.testing.assert_array_equal(np.concatenate(leaves), np.arange(9.0))
    back = NET.join(leaves, like=given)
    assert list(back) == ["weight", "bias", "scale"]
    assert {name: np.shape(value) for name, value in back.items()} == {"weight": (2, 3), "bias": (2,), "scale": ()}


def test_rename() -> None:
    assert NET.rename({"bias": "b"}).names == ("weight", "b", "scale")


def test_long_lists_are_cut_in_the_middle() -> None:
    assert str(NET) == "(weight[2, 3], bias[2], scale)"
    assert str(Parameters.of([f"p{i}" for i in range(20)])) == "(p0, p1, p2, ... 14 more ..., p17, p18, p19)"


REFUSED = {
    "none": (lambda: Parameters.of(()), "at least one parameter; found none"),
    "twice": (lambda: Parameters.of(("a", "b", "a")), "must differ; found a more than once"),
    "shapes missing": (lambda: Parameters(("a", "b"), ((),)), "2 names need as many shapes; found 1"),
    "size": (lambda: Parameters.of("a", size=2), r"\(a\) are 1 parameters; the values have 2"),
    "unknown": (lambda: NET.select(["gain"]), "unknown parameter gain; the parameters are "),
    "selected twice": (lambda: NET.select(["bias", "bias"]), "must differ; found bias"),
    "all gone": (lambda: NET.without(["weight", "bias", "scale"]), "leaves no parameter"),
    "nothing renamed": (lambda: NET.rename({"gain": "g"}), "unknown parameter gain"),
    "renamed to one that is there": (lambda: NET.rename({"bias": "scale"}), "must differ; found scale"),
    "flat size": (lambda: NET.split(np.ones(8)), r"v must have shape \(9,\) or \(9, k\) for .*; got shape \(8,\)"),
    "three axes": (lambda: NET.split(np.ones((9, 1, 1))), r"got shape \(9, 1, 1\)"),
    "missing": (lambda: NET.split({"weight": 1.0}), "missing: bias, scale; unknown: none"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    act, message = REFUSED[case]
    with pytest.raises(fk.errors.LayoutError, match=message):
        act()

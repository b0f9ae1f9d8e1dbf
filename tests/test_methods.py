"""Methods are frozen descriptions: they say what they are, compute nothing, and refuse what makes no sense."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest

import fisherkit as fk
from fisherkit.methods import from_dict, require, seed_sequence, to_dict


def test_the_repr_tells_what_differs_from_the_default() -> None:
    assert repr(fk.Exact()) == "Exact()"
    assert repr(fk.Quadrature()) == "Quadrature()"
    assert repr(fk.Quadrature(digits=30)) == "Quadrature(digits=30)"
    assert repr(fk.MonteCarlo(1000, rng=0)) == "MonteCarlo(n=1000, rng=0)"


def test_they_are_frozen_and_equal_by_value() -> None:
    method = fk.MonteCarlo(10, rng=1, workers=4)
    with pytest.raises(FrozenInstanceError):
        method.n = 20  # type: ignore[misc]
    assert method == fk.MonteCarlo(10, rng=1)  # workers do not change the result
    assert method != fk.MonteCarlo(10, rng=2)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "no draws": (lambda: fk.MonteCarlo(0), r"MonteCarlo\(n=\) must be a positive integer; got 0"),
    "half a draw": (lambda: fk.MonteCarlo(0.5), r"MonteCarlo\(n=\) must be a positive integer; got 0.5"),
    "true draws": (lambda: fk.MonteCarlo(True), r"MonteCarlo\(n=\) must be a positive integer; got True"),
    "one group": (lambda: fk.MonteCarlo(10, groups=1), r"groups=\) must be 0 or at least 2; got 1"),
    "no workers": (lambda: fk.MonteCarlo(10, workers=0), r"workers=\) must be a positive integer or an Executor; got 0"),
    "old random state": (
        lambda: fk.MonteCarlo(10, rng=np.random.RandomState(0)),
        "got RandomState",
    ),
    "negative seed": (lambda: fk.MonteCarlo(10, rng=-1), "must be None, a non-negative int"),
    "text seed": (lambda: fk.MonteCarlo(10, rng="0"), "must be None, a non-negative int"),
    "no digits": (lambda: fk.Quadrature(digits=0), r"Quadrature\(digits=\) must be an integer from 1 to 1000; got 0"),
    "half a digit": (lambda: fk.Quadrature(digits=1.5), r"Quadrature\(digits=\) must be an integer"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    make, message = REFUSED[case]
    with pytest.raises(fk.errors.MethodError, match=message):
        make()


def test_require_names_what_is_taken() -> None:
    require(fk.Exact(), (fk.Exact, fk.MonteCarlo), what="a network")
    with pytest.raises(fk.errors.MethodError, match=r"a network takes method=Exact or MonteCarlo; got Quadrature\(\)"):
        require(fk.Quadrature(), (fk.Exact, fk.MonteCarlo), what="a network")


def numbers(rng: Any) -> list[int]:
    return [int(seed.generate_state(1)[0]) for seed in fk.MonteCarlo(10, rng=rng).seeds(3)]


def test_seeds_are_distinct_and_repeat() -> None:
    assert len(set(numbers(0))) == 3
    assert numbers(0) == numbers(0) == numbers(np.int64(0)) == numbers(np.random.SeedSequence(0))
    assert numbers(0) != numbers(1)
    assert numbers(None) != numbers(None)


def test_a_generator_moves_on_when_drawn_from_and_only_then() -> None:
    generator = np.random.default_rng(0)
    before = generator.bit_generator.state
    method = fk.MonteCarlo(10, rng=generator)
    assert generator.bit_generator.state == before
    assert [seed.entropy for seed in method.seeds(1)] != [seed.entropy for seed in method.seeds(1)]


def test_a_callers_seed_sequence_is_not_advanced() -> None:
    seeds = np.random.SeedSequence(5)
    seed_sequence(seeds).spawn(3)
    assert seeds.n_children_spawned == 0


def test_the_global_random_state_is_left_alone() -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002 the legacy state is what must not change
    fk.MonteCarlo(10).seeds(2)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002 as above


@pytest.mark.parametrize("method", [fk.Exact(), fk.Quadrature(digits=30), fk.MonteCarlo(100, rng=3, groups=5), None])
def test_plain_values_and_back(method: Any) -> None:
    assert from_dict(to_dict(method)) == method


def test_what_is_no_plain_value_is_not_kept() -> None:
    with ThreadPoolExecutor(1) as executor:
        kept = to_dict(fk.MonteCarlo(100, rng=np.random.default_rng(0), workers=executor))
    assert from_dict(kept) == fk.MonteCarlo(100)

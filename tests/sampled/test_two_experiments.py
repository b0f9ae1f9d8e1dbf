"""The forecast of `examples/two_experiments.py`, beside plain differences in NumPy."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

import fisherkit as fk

PATH = Path(__file__).parents[2] / "examples" / "two_experiments.py"
EXAMPLE = runpy.run_path(str(PATH))


def by_hand(mean: object, covariance: object, at: np.ndarray) -> np.ndarray:
    """The forecaster's formula with the inverse formed and central differences: as in a first script."""
    steps = 1e-4 * np.maximum(abs(at), 0.1) * np.eye(len(at))
    inverse = np.linalg.inv(covariance(at))
    D = [(mean(at + h) - mean(at - h)) / (2 * h.sum()) for h in steps]
    C = [inverse @ (covariance(at + h) - covariance(at - h)) / (2 * h.sum()) for h in steps]
    pairs = list(zip(D, C, strict=True))
    return np.array([[a @ inverse @ b + np.trace(A @ B) / 2 for b, B in pairs] for a, A in pairs])


def scaled(F: np.ndarray, exact: np.ndarray) -> float:
    root = np.sqrt(np.diagonal(exact))
    return float(np.abs((F - exact) / np.outer(root, root)).max())


def test_each_experiment_agrees_with_the_formula_by_hand() -> None:
    C = EXAMPLE["CORRELATIONS"] * np.outer(EXAMPLE["ERRORS"], EXAMPLE["ERRORS"])
    covariances = {"SUPERNOVAE": EXAMPLE["magnitude_covariance"], "BACKGROUND": lambda t: C}
    for model, mean in (("SUPERNOVAE", "magnitudes"), ("BACKGROUND", "background")):
        own = EXAMPLE[model]
        at = np.array([EXAMPLE["TRUTH"][name] for name in own.parameters.names])
        exact = by_hand(EXAMPLE[mean], covariances[model], at)
        assert scaled(fk.expected_information(own, at).dense(), exact) < 1e-5


def test_together_they_tell_more_and_order_does_not_matter() -> None:
    """Summed by name over all parameters, or by + over those that both name: the same; and at one point."""
    supernovae, background = (EXAMPLE["information"](EXAMPLE[name]) for name in ("SUPERNOVAE", "BACKGROUND"))
    with pytest.raises(fk.errors.SingularInformationError, match="H0"):
        background.inverse()
    whole = supernovae.join(background.with_prior(H0=1.0))
    summed = supernovae.marginalize("M", "scatter") + background.with_prior(H0=1.0).marginalize("H0", "ombh2")
    assert summed.dense() == pytest.approx(whole.marginalize("M", "scatter", "H0", "ombh2").dense(), rel=1e-6)
    assert dict(whole.point) == EXAMPLE["TRUTH"]
    assert (summed.point["Om"], summed.point["w"]) == (0.31, -1.0)
    assert (whole.standard_errors()[:2] < supernovae.standard_errors()[:2]).all()
    assert whole.fix("w").standard_errors()[0] < whole.standard_errors()[0]


def test_the_script_runs_and_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(sys, "argv", [str(PATH), "--output", str(tmp_path / "out.png")])
    EXAMPLE["main"]()
    assert (tmp_path / "out.png").stat().st_size > 5000
    assert "the microwave background alone says nothing along Om" in capsys.readouterr().out

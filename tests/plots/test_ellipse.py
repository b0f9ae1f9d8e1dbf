"""Ellipses hold what they say."""

import numpy as np
import pytest

import fisherkit as fk

pytest.importorskip("matplotlib").use("agg")
F = 40 * fk.FisherInformation([[4.0, 1.0, 0.5], [1.0, 8.0, 2.0], [0.5, 2.0, 3.0]], parameters=("a", "b", "c"))


@pytest.mark.parametrize("level", [0.3935, 0.683, 0.954])
def test_an_ellipse_holds_its_probability(level: float) -> None:
    """39 % within one standard error: the trap of two dimensions. Draws are counted inside the outline."""
    from matplotlib.path import Path

    from fisherkit.plots.ellipse import outlines

    covariance = np.linalg.inv(np.asarray(F))[:2, :2]
    draws = np.random.default_rng(0).multivariate_normal([0, 0], covariance, 40_000)
    (outline,) = outlines(F, "a", "b", [level])
    assert abs(Path(outline.T).contains_points(draws).mean() - level) < 0.012


def test_axes_are_taken_labelled_and_returned() -> None:
    import matplotlib.pyplot as plt

    _, ax = plt.subplots()
    assert fk.plots.ellipse(F, "b", "a", center={"a": 1.0, "b": 2.0}, ax=ax) is ax
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("b", "a")
    x, y = ax.lines[0].get_data()
    assert (x.mean(), y.mean()) == pytest.approx((2.0, 1.0), abs=0.01)
    plt.close("all")


def test_what_cannot_be_drawn() -> None:
    with pytest.raises(fk.errors.LayoutError, match="two different parameters"):
        fk.plots.ellipse(F, "a", "a")
    with pytest.raises(fk.errors.LayoutError, match="unknown parameter z"):
        fk.plots.ellipse(F, "a", "z")
    with pytest.raises(fk.errors.DataError, match="probabilities between 0 and 1"):
        fk.plots.ellipse(F, "a", "b", levels=(68,))
    with pytest.raises(fk.errors.LayoutError, match="center must name b"):
        fk.plots.ellipse(F, "a", "b", center={"a": 1.0})
    singular = fk.FisherInformation([[1.0, 1.0], [1.0, 1.0]], parameters=("a", "b"))
    with pytest.raises(fk.errors.SingularInformationError, match="no information along"):
        fk.plots.ellipse(singular, "a", "b")

"""Each figure shows the numbers it says: data, labels and levels are read back from what was drawn."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
import scipy.stats
import sympy as sp

import fisherkit as fk

pytest.importorskip("matplotlib").use("agg")
plt = pytest.importorskip("matplotlib.pyplot")

MATRIX = np.array([[4.0, 1.0, 0.5], [1.0, 8.0, 2.0], [0.5, 2.0, 3.0]])
F = 40 * fk.FisherInformation(MATRIX, parameters=("a", "b", "c"), point={"a": 1.0, "b": 2.0, "c": 3.0})
SINGULAR = fk.FisherInformation([[1.0, 1.0], [1.0, 1.0]], parameters=("a", "b"))


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


def rendered(ax: Any) -> Any:
    ax.figure.canvas.draw()
    return ax


SINGLE: dict[str, Callable[..., Any]] = {
    "ellipse": lambda F, **k: fk.plots.ellipse(F, "a", "b", **k),
    "spectrum": fk.plots.spectrum,
    "heatmap": fk.plots.heatmap,
    "standard_errors": fk.plots.standard_errors,
    "bound_vs_n": lambda F, **k: fk.plots.bound_vs_n(F, "a", [10, 100], **k),
}


@pytest.mark.parametrize("name", SINGLE)
def test_axes_are_taken_and_returned(name: str) -> None:
    _, (first, second) = plt.subplots(1, 2)
    assert rendered(SINGLE[name](F, ax=first)) is first
    assert not second.lines
    assert SINGLE[name](F) is plt.gca()


@pytest.mark.parametrize("name", [*SINGLE, "triangle"])
def test_symbols_need_numbers(name: str) -> None:
    s = sp.Symbol("s", positive=True)
    formula = fk.FisherInformation(sp.diag(1 / s, 2 / s), parameters=("a", "b"))
    with pytest.raises(fk.errors.EntriesError, match=r"Call F.at\(s=...\) first"):
        {**SINGLE, "triangle": fk.plots.triangle}[name](formula)


def test_triangle_levels_are_those_of_two_dimensions() -> None:
    axes = fk.plots.triangle(F)
    rendered(axes[0, 0])
    C = np.linalg.inv(np.asarray(F))
    for i, j in ((1, 0), (2, 0), (2, 1)):
        chi2 = []
        for line in axes[i, j].lines[:2]:
            d = np.stack(line.get_data()) - [[1.0 + j], [1.0 + i]]
            inverse = np.linalg.inv(C[np.ix_([j, i], [j, i])])
            values = np.einsum("it,ij,jt->t", d, inverse, d)
            assert np.ptp(values) < 1e-9
            chi2.append(values.mean())
        assert chi2 == pytest.approx([2.30, 6.18], abs=5e-3)
    for k in range(3):
        x, y = axes[k, k].lines[0].get_data()
        assert x[y.argmax()] == pytest.approx(k + 1)
        half = x[y > np.exp(-0.5)]
        assert (half[-1] - half[0]) / 2 == pytest.approx(np.sqrt(C[k, k]), rel=0.05)


def test_triangle_labels_and_several() -> None:
    G = F.with_prior(a=0.01)
    axes = fk.plots.triangle({"alone": F, "prior": G}, ("c", "a"))
    assert (axes[1, 0].get_xlabel(), axes[1, 0].get_ylabel(), axes[1, 1].get_xlabel()) == ("c", "a", "a")
    assert not axes[0, 1].axison
    (legend,) = axes[0, 0].figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["alone", "prior"]
    figure = plt.figure()
    assert fk.plots.triangle(F, ("a", "b"), figure=figure)[0, 0].figure is figure
    own = plt.subplots(2, 2)[1]
    assert fk.plots.triangle(F, ("a", "b"), figure=own) is own
    with pytest.raises(fk.errors.LayoutError, match=r"axes of shape \(3, 3\)"):
        fk.plots.triangle(F, figure=own)
    with pytest.raises(fk.errors.LayoutError, match="unknown parameter z"):
        fk.plots.triangle(F, ("a", "z"))
    with pytest.raises(fk.errors.LayoutError, match="at least one"):
        fk.plots.triangle({})
    with pytest.raises(fk.errors.SingularInformationError, match="no information along"):
        fk.plots.triangle(SINGULAR)


def test_spectrum() -> None:
    ax = rendered(fk.plots.spectrum(F))
    root = np.sqrt(np.diag(MATRIX))
    np.testing.assert_allclose(ax.lines[0].get_ydata(), np.linalg.eigvalsh(MATRIX / np.outer(root, root))[::-1])
    raw = fk.plots.spectrum(F, scaled=False, ax=plt.subplots()[1])
    np.testing.assert_allclose(raw.lines[0].get_ydata(), F.eigenvalues()[::-1])
    null = fk.plots.spectrum(SINGULAR, ax=plt.subplots()[1])
    assert [len(line.get_xdata()) for line in null.lines] == [1, 1]
    assert null.lines[1].get_label() == "no information"


def test_heatmap() -> None:
    ax = rendered(fk.plots.heatmap(F))
    C = np.linalg.inv(MATRIX)
    expected = C / np.sqrt(np.outer(np.diag(C), np.diag(C)))
    np.testing.assert_allclose(ax.images[0].get_array(), expected)
    assert ax.images[0].get_clim() == (-1, 1)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["a", "b", "c"]
    assert [float(text.get_text()) for text in ax.texts] == pytest.approx(expected.ravel().round(2).tolist())
    scaled = fk.plots.heatmap(SINGULAR, show="information", ax=plt.subplots()[1])
    np.testing.assert_allclose(scaled.images[0].get_array(), np.ones((2, 2)))
    with pytest.raises(fk.errors.SingularInformationError, match="no information along"):
        fk.plots.heatmap(SINGULAR)
    with pytest.raises(fk.errors.MethodError, match="'correlation' or 'information'"):
        fk.plots.heatmap(F, show="covariance")


def test_standard_errors() -> None:
    ax = rendered(fk.plots.standard_errors(F))
    np.testing.assert_allclose(ax.lines[0].get_xdata(), F.standard_errors())
    np.testing.assert_allclose(ax.lines[1].get_xdata(), 1 / np.sqrt(np.diag(40 * MATRIX)))
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["a", "b", "c"]
    with pytest.raises(fk.errors.SingularInformationError, match="no information along"):
        fk.plots.standard_errors(SINGULAR)


def test_bound_and_estimator_by_sample_size() -> None:
    """The median of normal samples stays above the bound by the root of pi / 2."""
    one = fk.FisherInformation(np.diag([1.0, 2.0]), parameters=("mu", "sigma"))
    rng = np.random.default_rng(0)
    ax = fk.plots.bound_vs_n(7 * one, "mu", [25, 400], estimates=lambda n: np.median(rng.normal(size=(4000, n)), axis=1))
    rendered(ax)
    n, bound = ax.lines[0].get_data()
    np.testing.assert_allclose(bound, 1 / np.sqrt(n))
    (points, _, (bars,)) = ax.containers[0]
    np.testing.assert_allclose(points.get_ydata(), np.sqrt(np.pi / 2 / np.array([25, 400])), rtol=0.04)
    heights = [np.ptp(segment[:, 1]) for segment in bars.get_segments()]
    np.testing.assert_allclose(heights, 4 * points.get_ydata() / np.sqrt(2 * 4000), rtol=0.1)
    assert (ax.get_ylabel(), ax.get_xscale(), ax.get_yscale()) == ("standard error of mu", "log", "log")
    with pytest.raises(fk.errors.DataError, match="sizes must be positive"):
        fk.plots.bound_vs_n(one, "mu", [0, 10])
    with pytest.raises(fk.errors.DataError, match="two or more finite numbers"):
        fk.plots.bound_vs_n(one, "mu", [10], estimates=lambda n: [1.0])
    with pytest.raises(fk.errors.LayoutError, match="unknown parameter tau"):
        fk.plots.bound_vs_n(one, "tau", [10])


def test_score_and_its_slope() -> None:
    """The score of a normal mean is a straight line: it is its own tangent."""
    x = np.array([0.0, 1.0, 5.0])
    theta = {"loc": 2.0, "scale": 1.5}
    ax = rendered(fk.plots.score_and_curvature(scipy.stats.norm, theta, data=x, name="loc"))
    zero, score, tangent = ax.lines[:3]
    del zero
    at, values = score.get_data()
    np.testing.assert_allclose(values, (x.sum() - 3 * at) / 1.5**2, atol=1e-6)
    np.testing.assert_allclose(tangent.get_ydata(), values, atol=1e-4)
    assert ax.get_xlabel() == "loc"
    curved = fk.plots.score_and_curvature(scipy.stats.norm, theta, data=x, name="scale", width=1.5, ax=plt.subplots()[1])
    assert abs(curved.lines[1].get_ydata() - curved.lines[2].get_ydata()).max() > 0.1
    with pytest.raises(fk.errors.LayoutError, match="name= says which"):
        fk.plots.score_and_curvature(scipy.stats.norm, theta, data=x)
    with pytest.raises(fk.errors.DataError, match="not concave in scale"):
        fk.plots.score_and_curvature(scipy.stats.norm, {"loc": 2.0, "scale": 30.0}, data=x, name="scale")


def test_the_gallery_is_drawn() -> None:
    """Page by page what the documentation's builder runs: each block leaves a figure with something in it."""
    pytest.importorskip("statsmodels")
    text = (Path(__file__).parents[2] / "docs" / "gallery.md").read_text()
    block = r"^.. plot::\n   :context: close-figs\n   :filename-prefix: \w+\n(.*?)^```"
    drawn = re.findall(block, text, flags=re.MULTILINE | re.DOTALL)
    assert len(drawn) == text.count(".. plot::") == 6
    names: dict[str, Any] = {}
    for code in drawn:
        exec(compile(dedent(code), "gallery.md", "exec"), names)
        figure = plt.gcf()
        figure.canvas.draw()
        assert any(ax.lines or ax.images for ax in figure.axes)
        plt.close("all")

"""Figures of an information. Each takes an ``ax`` and returns it; matplotlib is loaded on use."""

from .bars import heatmap, spectrum, standard_errors
from .curves import bound_vs_n, score_and_curvature
from .ellipse import ellipse
from .triangle import triangle

__all__ = ["bound_vs_n", "ellipse", "heatmap", "score_and_curvature", "spectrum", "standard_errors", "triangle"]

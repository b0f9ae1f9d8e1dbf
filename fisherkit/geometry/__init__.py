"""The Riemannian geometry that has the Fisher information as its metric (Rao 1945)."""

from .connection import christoffel
from .curvature import scalar_curvature, sectional_curvature
from .distance import Distance, covariance_distance, distance
from .geodesics import Geodesic, geodesic
from .local import jeffreys_prior, kullback_leibler, natural_gradient

__all__ = [
    "Distance",
    "Geodesic",
    "christoffel",
    "covariance_distance",
    "distance",
    "geodesic",
    "jeffreys_prior",
    "kullback_leibler",
    "natural_gradient",
    "scalar_curvature",
    "sectional_curvature",
]

"""Lower bounds on the error of estimators."""

from .bayesian import hybrid_bound, van_trees_bound
from .bhattacharyya import bhattacharyya_bound
from .bound import Bound
from .constrained import constrained_bound
from .cramer_rao import cramer_rao_bound, efficiency
from .efficient import efficient_estimator
from .misspecified import misspecified_bound
from .steps import barankin_bound, chapman_robbins_bound

__all__ = [
    "Bound",
    "barankin_bound",
    "bhattacharyya_bound",
    "chapman_robbins_bound",
    "constrained_bound",
    "cramer_rao_bound",
    "efficiency",
    "efficient_estimator",
    "hybrid_bound",
    "misspecified_bound",
    "van_trees_bound",
]

"""Estimates and what is known of them: maximum likelihood, standard errors, tests, intervals, identifiability."""

from .covariance import Covariance, sandwich
from .hypotheses import HypothesisTest, likelihood_ratio_test, score_test, wald_test
from .identifiability import Identifiability, identifiability
from .intervals import Intervals, confidence_intervals
from .least_squares import LeastSquares, RoundingWarning, nonlinear_least_squares
from .profiles import profile_intervals
from .scoring import ConvergenceWarning, Estimate, fisher_scoring

__all__ = [
    "ConvergenceWarning",
    "Covariance",
    "Estimate",
    "HypothesisTest",
    "Identifiability",
    "Intervals",
    "LeastSquares",
    "RoundingWarning",
    "confidence_intervals",
    "fisher_scoring",
    "identifiability",
    "likelihood_ratio_test",
    "nonlinear_least_squares",
    "profile_intervals",
    "sandwich",
    "score_test",
    "wald_test",
]

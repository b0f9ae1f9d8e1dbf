"""Where to observe: criteria, optimal designs with a certificate, exact and sequential ones."""

from .criteria import (
    a_criterion,
    a_gradient,
    c_criterion,
    c_gradient,
    d_criterion,
    d_gradient,
    e_criterion,
    e_gradient,
    i_criterion,
    i_gradient,
    t_criterion,
    t_gradient,
)
from .exact import NextObservation, exact, next_observation
from .optimal import Design, evaluate, optimal

__all__ = [
    "Design",
    "NextObservation",
    "a_criterion",
    "a_gradient",
    "c_criterion",
    "c_gradient",
    "d_criterion",
    "d_gradient",
    "e_criterion",
    "e_gradient",
    "evaluate",
    "exact",
    "i_criterion",
    "i_gradient",
    "next_observation",
    "optimal",
    "t_criterion",
    "t_gradient",
]

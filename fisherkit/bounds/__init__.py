"""Lower bounds on the error of estimators."""

from .cramer_rao import Bound, cramer_rao_bound

__all__ = ["Bound", "cramer_rao_bound"]

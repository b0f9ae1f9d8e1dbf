"""The deadline of symbolic work; see `fisherkit.deadline`."""

from ..deadline import Expired, within

__all__ = ["Expired", "within"]

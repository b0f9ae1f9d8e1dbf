"""The deadline of symbolic work; see `fisherkit.deadline`."""

from ..deadline import Expired, deadline

__all__ = ["Expired", "deadline"]

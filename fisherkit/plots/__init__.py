"""Figures of an information. Each takes an ``ax`` and returns it; matplotlib is loaded on use."""

from .ellipse import ellipse

__all__ = ["ellipse"]

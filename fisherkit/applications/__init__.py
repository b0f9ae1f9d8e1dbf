"""What an information is good for downstream."""

from .ewc import EWC

__all__ = ["EWC"]

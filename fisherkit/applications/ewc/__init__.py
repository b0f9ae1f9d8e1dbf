"""Elastic Weight Consolidation: learn a new task without forgetting the old ones."""

from __future__ import annotations

from .consolidation import EWC
from .report import Report, VanishedInformationWarning

__all__ = ["EWC", "Report", "VanishedInformationWarning"]

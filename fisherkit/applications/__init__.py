"""What an information is good for downstream."""

from ..optional import require

require("torch", extra="torch", what="fisherkit.applications")

from . import merging, sensitivity  # noqa: E402 only once torch is there
from .ewc import EWC, VanishedInformationWarning  # noqa: E402 only once torch is there

__all__ = ["EWC", "VanishedInformationWarning", "merging", "sensitivity"]

"""Fisher information: symbolic, sampled, and of neural networks.

A source gives a Fisher information; a use takes one. Names are loaded when first used, so importing this package
costs little more than importing NumPy.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

#: public name -> the module that defines it; None for a module itself
_PUBLIC = {
    "FisherInformation": "information",
    "load": "information",
    "Parameters": "parameters",
    "Exact": "methods",
    "Quadrature": "methods",
    "MonteCarlo": "methods",
    "score": "verbs",
    "expected_information": "verbs",
    "observed_information": "verbs",
    "empirical_information": "verbs",
    "cramer_rao_bound": "bounds",
    "van_trees_bound": "bounds",
    "bhattacharyya_bound": "bounds",
    "chapman_robbins_bound": "bounds",
    "constrained_bound": "bounds",
    "misspecified_bound": "bounds",
    "symbolic": None,
    "sampled": None,
    "networks": None,
    "bounds": None,
    "estimation": None,
    "design": None,
    "geometry": None,
    "forecast": None,
    "applications": None,
    "spectra": None,
    "plots": None,
    "checks": None,
    "errors": None,
}

__all__ = [*_PUBLIC, "__version__"]  # pyright: ignore


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'fisherkit' has no attribute {name!r}")
    module = _PUBLIC[name]
    value = import_module(f"fisherkit.{name}") if module is None else getattr(import_module(f"fisherkit.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

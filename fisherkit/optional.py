"""Libraries that are not always there, asked for in words."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from .errors import MissingDependencyError


def require(library: str, *, extra: str, what: str) -> Any:
    """The module, or a sentence that says what to install.

    Raises
    ------
    MissingDependencyError
    """
    try:
        return import_module(library)
    except ImportError as error:
        raise MissingDependencyError(f"{what} needs {library}: pip install 'fisherkit[{extra}]'.") from error


def if_loaded(package: str, name: str) -> tuple[type, ...]:
    """A class, for `isinstance`, of a package that was imported; none else, as no object can be one."""
    source = sys.modules.get(package)
    return () if source is None else (getattr(source, name),)

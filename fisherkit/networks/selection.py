"""Which parameters of a network are the model's: by name, by pattern, or by a rule."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from fnmatch import fnmatchcase

from torch import nn

from ..errors import LayoutError, NetworkStateError

Choice = str | Iterable[str] | Callable[[str, nn.Parameter], bool] | None


def selected(module: nn.Module, choice: Choice) -> dict[str, nn.Parameter]:
    """The chosen parameters in the module's order, tied ones once and under their first name.

    Parameters
    ----------
    choice : str, iterable of str, callable, or None
        Names, or patterns such as ``"encoder.*.weight"``, which choose frozen parameters too; a rule
        ``(name, parameter) -> bool``; or None for those that require a gradient.

    Raises
    ------
    LayoutError
        When a name or a pattern fits no parameter (near names are given), nothing is left, or one is complex.
    NetworkStateError
        When one has no numbers yet.
    """
    every = dict(module.named_parameters(remove_duplicate=False))
    wanted = {id(every[name]) for name in _names(every, choice)}
    chosen = {name: p for name, p in module.named_parameters() if id(p) in wanted}
    for name, p in chosen.items():
        check_real(name, p)
    if chosen:
        return chosen
    if choice is None:
        raise LayoutError("no parameter of the network requires a gradient: there is nothing to be informed about.")
    raise LayoutError(f"params={choice!r} leaves no parameter of the network: there is nothing to be informed about.")


def check_real(name: str, p: nn.Parameter) -> None:
    """Refuse a parameter that a score cannot be of."""
    check_there(name, p)
    if not p.is_floating_point():
        raise LayoutError(
            f"parameter {name!r} is {p.dtype}, and scores are of real floating-point parameters: leave it out with params=, or "
            "hold the real and imaginary parts of a complex one (torch.view_as_complex)."
        )


def check_there(name: str, p: nn.Parameter) -> None:
    """Refuse a parameter that has no numbers."""
    if isinstance(p, nn.parameter.UninitializedParameter):
        raise NetworkStateError(f"parameter {name!r} of a lazy layer has no shape yet: run the module on one batch first.")
    if p.is_meta:
        raise NetworkStateError(f"parameter {name!r} is on the meta device, which holds no numbers: load the weights first.")


def _names(every: dict[str, nn.Parameter], choice: Choice) -> Iterable[str]:
    if choice is None:
        return [name for name, p in every.items() if p.requires_grad]
    if callable(choice):
        return [name for name, p in every.items() if choice(name, p)]
    patterns = [choice] if isinstance(choice, str) else list(choice) if isinstance(choice, Iterable) else [choice]
    if not all(isinstance(pattern, str) for pattern in patterns):
        raise LayoutError(f"params= takes names, patterns or a rule (name, parameter) -> bool; got {patterns!r}.")
    return [name for pattern in patterns for name in _fitting(every, pattern)]


def _fitting(every: dict[str, nn.Parameter], pattern: str) -> list[str]:
    if pattern in every:
        return [pattern]
    if found := [name for name in every if fnmatchcase(name, pattern)]:
        return found
    near = get_close_matches(pattern, every, n=5, cutoff=0.4) or list(every)[:5]
    raise LayoutError(f"params={pattern!r} fits no parameter of the network; near names are {', '.join(near)}.")

"""Which of a network's parameters are held: the same objects, under the same names, in the same shapes."""

from __future__ import annotations

import weakref
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from torch import nn

from ...errors import LayoutError
from .growth import Shapes

Parameters = Mapping[str, nn.Parameter]
Shape = tuple[int, ...]


class Binding:
    """The objects that were consolidated, known by weak references, so that a replaced one is noticed.

    ``module.to(...)``, ``.half()`` and ``.load_state_dict(...)`` keep them. A copy of a binding takes the objects of its own
    network at its first use.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self._objects: dict[str, weakref.ref[nn.Parameter]] | None = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"module": self.module, "_objects": None}

    def named(self) -> dict[str, nn.Parameter]:
        """All parameters, under every name that they have."""
        return dict(self.module.named_parameters(remove_duplicate=False))

    def hold(self, names: Iterable[str]) -> None:
        """From now on these are the objects that count."""
        every = self.named()
        self._objects = {name: weakref.ref(every[name]) for name in names if name in every}

    def own(self, held: Shapes, *, but: Iterable[str] = ()) -> dict[str, nn.Parameter]:
        """The held parameters, except ``but``; refused when one is no longer what was consolidated."""
        every, left = self.named(), set(but)
        names = [name for name in held if name not in left]
        for name in names:
            check_shape(name, held[name], every)
        if self._objects is None:
            self.hold(held)
        assert self._objects is not None
        for name in names:
            if self._objects[name]() is not every[name]:
                raise LayoutError(
                    f"parameter {name} was consolidated, and another object of the same shape is in its place now. If its "
                    f"entries still mean the same, call ewc.adopt({name!r}); to let go of it, ewc.release({name!r})."
                )
        return {name: every[name] for name in names}


def check_shape(name: str, shape: Shape, every: Parameters, *, grown: bool = False) -> None:
    """Refuse a parameter that is gone, or of another shape; a larger one may hold what is known of a smaller."""
    if name not in every:
        raise LayoutError(
            f"parameter {name} was consolidated with shape {shape} and now is gone; to let go of it, call ewc.release({name!r})."
        )
    now = tuple(every[name].shape)
    if now == shape or (grown and _holds(now, shape)):
        return
    cure = (
        "To keep what is known of its old entries, call ewc.adopt" if _holds(now, shape) else "To let go of it, call ewc.release"
    )
    raise LayoutError(f"parameter {name} was consolidated with shape {shape} and now has shape {now}. {cure}({name!r}).")


def check_loaded(name: str, shape: Shape, every: Parameters, *, grown: bool) -> None:
    """The same for a state from elsewhere."""
    now = tuple(every[name].shape)
    if now == shape or (grown and _holds(now, shape)):
        return
    cure = " load_state_dict(state, grown=True) takes it, knowing nothing of the new entries." if _holds(now, shape) else ""
    raise LayoutError(f"parameter {name} has shape {shape} in the state and {now} in the network.{cure}")


def _holds(now: Shape, shape: Shape) -> bool:
    return len(now) == len(shape) and all(a >= b for a, b in zip(now, shape, strict=True))


def check_names(found: Collection[str], every: Collection[str], wanted: Iterable[str]) -> None:
    """Refuse a state that knows others than the network's, or not those that it should know."""
    missing, unknown = sorted(set(wanted) - set(found)), sorted(set(found) - set(every))
    if missing or unknown:
        cure = "" if unknown else " load_state_dict(state, grown=True) takes it, knowing nothing of those that are missing."
        told = f"missing: {', '.join(missing) or 'none'}; unknown: {', '.join(unknown) or 'none'}."
        raise LayoutError(f"the state does not fit the network; {told}{cure}")


def below(names: Iterable[str], held: Iterable[str]) -> list[str]:
    """The held parameters of these names, or inside modules of these names."""
    names, held = list(names), list(held)
    for name in names:
        if not any(_is_inside(own, name) for own in held):
            raise LayoutError(f"{name!r} is no parameter that is held, nor a module with one; held: {', '.join(held) or 'none'}.")
    return [own for own in held if any(_is_inside(own, name) for name in names)]


def _is_inside(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")

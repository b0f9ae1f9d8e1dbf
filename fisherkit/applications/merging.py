"""Fisher-weighted averaging of models: each parameter from the model that knows it."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..arrays import as_float64, machine_epsilon
from ..errors import DataError, LayoutError, MethodError
from ..information import FisherInformation
from ..networks import Model
from ..networks.network import unwrap
from ..parameters import concatenate
from ..structures.inversion import refuse_negative, scaled_eigh

ROUNDING = 1e-6  # of the entries of an information that a network in float32 gave, after scaling to unit diagonal


def merge(
    models: Sequence[Any],
    informations: Sequence[Any],
    *,
    weights: Sequence[float] | None = None,
    damping: float = 0.0,
    copy_from: int = 0,
) -> dict[str, Tensor]:
    r"""The weights that lose least over all models, each judged by its own information.

    :math:`\theta = (\sum_k w_k F_k)^{-1} \sum_k w_k F_k \theta_k`, the minimum of
    :math:`\sum_k w_k\, (\theta - \theta_k)^\top F_k\, (\theta - \theta_k)`: the mean of Gaussian posteriors multiplied.
    Where no model has any information it is the mean :math:`\sum_k w_k \theta_k / \sum_k w_k`.

    Parameters
    ----------
    models : sequence of modules, networks.Model or state dicts
        With the same keys and shapes; left as they are.
    informations : sequence of FisherInformation, or of mappings from name to a diagonal
        One for each model, all over the same parameters, taken as they stand: per observation (n = 1) every model counts
        alike, however little it has seen; as totals (``F.total(n)``, or an empirical information) it counts by its data.
    weights : sequence of float, optional
        The mixture coefficients :math:`w_k`, not negative; equal by default. Only their ratios matter without damping.
    damping : float
        In units of the weighted sum of informations, weights summing to 1: added to its diagonal, it pulls to the mean.
    copy_from : int
        The model whose other entries are copied: buffers such as the statistics and the counter of BatchNorm, and
        parameters that the informations do not name. The first by default.

    Returns
    -------
    dict of str to Tensor
        For ``module.load_state_dict``, in the dtypes and on the devices of ``models[copy_from]``; computed in float64.

    Raises
    ------
    LayoutError
        When keys, shapes, names or the number of informations do not fit.
    DataError
        When a tensor, a weight or the damping is not finite, or a weight is negative.
    IndefiniteInformationError
        When an information is negative somewhere, as an observed one may be.
    MethodError
        When some informations are per observation and others totals.

    Notes
    -----
    O(p) for diagonals. Dense informations are solved exactly, O(p^3); of the minima along null directions the nearest to the
    mean is taken. Other structures go through ``F.solve``, which may refuse null directions unless there is damping. Tied
    weights stay tied. The statistics of BatchNorm belong to the model that they came from: pass some data through the merged
    network in train mode. Networks merge well only when they share a start.

    References
    ----------
    Matena & Raffel (2022), Merging models with Fisher-weighted averaging, NeurIPS, arXiv 2111.09832.

    Examples
    --------
    >>> one, two = {"w": torch.tensor([0.0, 0.0])}, {"w": torch.tensor([4.0, 2.0])}
    >>> F, G = {"w": torch.tensor([3.0, 0.0])}, {"w": torch.tensor([1.0, 0.0])}
    >>> fk.applications.merging.merge([one, two], [F, G])
    {'w': tensor([1., 1.])}
    """
    states = [_state(model) for model in models]
    found = [F if isinstance(F, FisherInformation) else FisherInformation(F) for F in informations]
    found = [FisherInformation.of(F._structure, F._provenance) for F in found]  # without the replicates of a Monte Carlo error
    shares = _shares(weights, len(states))
    _check(states, found, copy_from)
    kept, merged = states[copy_from], {}
    for names in _together(found):
        thetas = [{name: state[name].detach().double() for name in names} for state in states]
        for name, value in _merged([F[names] for F in found], thetas, shares, damping).items():
            merged[_place(kept[name])] = value.to(kept[name])
    return {
        key: merged[_place(value)].clone() if _place(value) in merged else copy.deepcopy(value) for key, value in kept.items()
    }


def _together(informations: list[FisherInformation]) -> list[tuple[str, ...]]:
    """Which parameters have to be merged at once: of diagonals one by one, so that little memory is needed."""
    names = informations[0].parameters.names
    return [(name,) for name in names] if all(F.structure == "diagonal" for F in informations) else [names]


def _merged(
    informations: list[FisherInformation], thetas: list[dict[str, Tensor]], shares: list[float], damping: float
) -> dict[str, Tensor]:
    """The mean and, from there, the step to the minimum."""
    mean = _mean(thetas, shares)
    scaled = [w * F for w, F in zip(shares, informations, strict=True)]
    pulls = [F @ {name: theta[name] - mean[name] for name in mean} for F, theta in zip(scaled, thetas, strict=True)]
    pull = {name: sum(one[name] for one in pulls) for name in mean}
    move = _solve(sum(scaled[1:], start=scaled[0]), pull, damping)
    return {name: value + move[name] for name, value in mean.items()}


def _solve(total: FisherInformation, pull: dict[str, Tensor], damping: float) -> dict[str, Tensor]:
    """(F + damping I)^-1 pull, or its limit where F is singular: the pull has no part there, and nor has the answer."""
    if damping or total.structure not in ("diagonal", "dense"):
        solved: dict[str, Tensor] = total.solve(pull, damping=damping)
        return solved
    if total.structure == "diagonal":
        every = total.parameters.as_mapping(total._structure.diagonal())
        return {name: torch.where(value > 0, pull[name] / value, 0.0) for name, value in every.items()}
    root, values, vectors = scaled_eigh(total.dense(), total.parameters)
    if values[0] < -ROUNDING * values[-1]:
        total.logdet  # noqa: B018 refuses, and says why
    noise = max(10 * len(values) * machine_epsilon() * values[-1], -10 * values[0])  # a sum of squares is negative by rounding
    along = vectors.T @ (concatenate(total.parameters.split(pull)) / root)
    step = vectors @ torch.where(values > noise, along / values, 0.0) / root
    null = vectors[:, values <= noise] / root[:, None]
    step = step - null @ torch.linalg.lstsq(null, step[:, None]).solution[:, 0]  # of all minima the nearest to the mean
    return total.parameters.as_mapping(total.parameters.split(step))


def _mean(thetas: list[dict[str, Tensor]], shares: list[float]) -> dict[str, Tensor]:
    """Around the first, so that equal entries stay equal to the last bit."""
    moves = list(zip(shares[1:], thetas[1:], strict=True))
    return {name: value + sum(w * (theta[name] - value) for w, theta in moves) for name, value in thetas[0].items()}


def _shares(weights: Sequence[float] | None, count: int) -> list[float]:
    """The mixture coefficients, summing to 1."""
    chosen = [1.0] * count if weights is None else [float(w) for w in weights]
    if len(chosen) != count:
        raise LayoutError(f"{count} models need as many weights; got {len(chosen)}.")
    if not all(math.isfinite(w) and w >= 0 for w in chosen) or (weights is not None and not sum(chosen)):
        raise DataError(f"weights must be finite, non-negative and not all 0; got {chosen}.")
    return [w / sum(chosen) for w in chosen]


def _state(model: Any) -> Mapping[str, Tensor]:
    module = unwrap(model.module if isinstance(model, Model) else model)
    state: Mapping[str, Tensor] = module.state_dict() if isinstance(module, nn.Module) else module
    return state


def _place(tensor: Any) -> tuple[Any, ...]:
    """The same for tied tensors, which are one in memory; nothing for what a module keeps beside tensors."""
    return (
        () if not isinstance(tensor, Tensor) else (tensor.data_ptr(), tensor.device, tensor.dtype, tensor.shape, tensor.stride())
    )


def _is_real(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _check(states: list[Mapping[str, Tensor]], informations: list[FisherInformation], copy_from: int) -> None:
    if len(states) < 2 or len(states) != len(informations):
        raise LayoutError(f"merge takes two models or more, with an information each; got {len(states)} and {len(informations)}.")
    if not 0 <= copy_from < len(states):
        raise LayoutError(f"copy_from must be one of the models 0 to {len(states) - 1}; got {copy_from}.")
    shapes = [{name: tuple(getattr(value, "shape", ())) for name, value in state.items()} for state in states]
    for k, found in enumerate(shapes):
        if wrong := sorted(name for name in {**shapes[0], **found} if shapes[0].get(name) != found.get(name)):
            told = "; ".join(f"{name}: {shapes[0].get(name, 'missing')} and {found.get(name, 'missing')}" for name in wrong[:5])
            raise LayoutError(f"models[0] and models[{k}] must have the same keys and shapes; {len(wrong)} differ: {told}.")
    for k, (F, state) in enumerate(zip(informations, states, strict=True)):
        if wrong := sorted(set(F.parameters.names) ^ set(informations[0].parameters.names)):
            raise LayoutError(
                f"only one of informations[0] and informations[{k}] has {', '.join(wrong)}; use F[...] or F.fix(...)."
            )
        if unknown := [name for name in F.parameters.names if name not in state or not _is_real(state[name])]:
            raise LayoutError(f"informations[{k}] is not of this model, which has no real tensor {', '.join(unknown)}.")
        F.parameters.split({name: state[name] for name in F.parameters.names}, name=f"models[{k}]")
        for name, leaf in zip(F.parameters.names, F._structure.diagonal(), strict=True):
            refuse_negative(as_float64(leaf, verb="merge"), F.parameters.select((name,)))
    scales = [F.n for F in informations]
    if 1 in scales and any(n != 1 for n in scales):
        raise MethodError(
            f"informations must all be per observation, or all totals; they stand for n = {', '.join(map(str, scales))}. "
            "Use F.per_observation() or F.total(n)."
        )

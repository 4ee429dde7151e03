"""Module-wise aggregation: each module is averaged over the sub-models that hold it, by normalised importance.

``w_i' = sum_k Importance(w_i | D_k) w_ik / sum_k Importance(w_i | D_k)`` over the k that hold i (Nebula, section
5.2). What the paper leaves open are parameters: shared parts, batch-norm statistics, the selector.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from edgesim.models import Architecture, State

from .architectures import Held
from .layers import BYPASS
from .parts import SELECTOR, STATISTICS, held_names, places

Importance = tuple[tuple[float, ...], ...]
"""For each module layer, the importance of each of its modules; sums to 1 in each layer."""


def aggregate(
    cloud: State,
    updates: Sequence[State],
    *,
    architecture: Architecture,
    held: Sequence[Held],
    importance: Sequence[Importance],
    samples: Sequence[int],
    shared: Literal["average", "keep"] = "average",
    statistics: Literal["average", "keep"] = "average",
    selector: Literal["average", "keep"] = "keep",
    mixing: float | None = None,
) -> State:
    """Give the cloud's modular network what sub-models have learned.

    Parameters
    ----------
    cloud
        Weights of the network with all modules; not changed.
    updates
        Weights of trained sub-models.
    architecture
        Of ``cloud``.
    held, importance, samples
        Of each update: its modules, how important each is to its device (missing modules are not read), and how many
        samples it was trained on.
    shared
        What every sub-model has: ``average``, weighted by samples (FedAvg), or ``keep`` the cloud's.
    statistics
        Running statistics of batch norms: like the weights next to them, or ``keep`` the cloud's.
    selector
        ``average``, weighted by samples, where devices trained it; or ``keep`` the cloud's.
    mixing
        None where a round is aggregated: all the way from the cloud's weights to the average. For updates that come
        one by one, how far, more than 0 and at most 1: so far for what every sub-model has, and for a module times the
        importance that it has for these devices over an even share, at most 1.

    Returns
    -------
    dict
        Modules that no update holds stay, to the bit; identical updates give themselves, to the bit.
    """
    if not len(updates) == len(held) == len(importance) == len(samples):
        raise ValueError("each update has its modules, its importance and its number of samples")
    if mixing is not None and not 0 < mixing <= 1:
        raise ValueError(f"mixing is more than 0 and at most 1, not {mixing}")
    of_modules = places(architecture)
    fixed = {*held_names(architecture)}
    merged = dict(cloud)
    for name, old in cloud.items():
        if name in fixed or not old.is_floating_point():
            continue
        if statistics == "keep" and name.endswith(STATISTICS):
            continue
        place = of_modules.get(name)
        mean: Tensor | None
        if place is not None and place.slot is not None:
            dim, width = place.slot.dim, place.slot.width
            mean = _mean_of_modules(old, name, place.layer, dim, width, updates, held, importance)
            if mixing is not None:
                steps = mixing * _matters(place.layer, held, importance)[BYPASS + 1 :]
                moved = _apart(old, dim, width), _apart(mean, dim, width)
                mean = _together(torch.lerp(*moved, steps.to(mean.dtype).reshape(-1, *[1] * mean.dim())), dim)
            merged[name] = mean
            continue
        step = mixing
        if place is not None:
            having = [k for k, modules in enumerate(held) if BYPASS in modules[place.layer]]
            shares = [importance[k][place.layer][BYPASS] for k in having]
            mean = _mean([updates[k][name] for k in having], shares)
            step = None if mixing is None else mixing * float(_matters(place.layer, held, importance)[BYPASS])
        elif name.startswith(SELECTOR):
            having = [] if selector == "keep" else [k for k, update in enumerate(updates) if name in update]
            mean = _mean([updates[k][name] for k in having], [samples[k] for k in having])
        else:
            mean = None if shared == "keep" else _mean([update[name] for update in updates], samples)
        if mean is not None:
            merged[name] = mean if step is None else torch.lerp(old, mean, step)
    return merged


def _matters(layer: int, held: Sequence[Held], importance: Sequence[Importance]) -> Tensor:
    """How much each module of a layer matters to those who hold it: 1 from an even share of importance on. (module,)"""
    total = torch.zeros(max((len(of[layer]) for of in importance), default=0), dtype=torch.float64)
    for modules, of in zip(held, importance, strict=True):
        for module in modules[layer]:
            total[module] += of[layer][module]
    return (total * len(total)).clamp(max=1)


def _mean_of_modules(
    old: Tensor,
    name: str,
    layer: int,
    dim: int,
    width: int,
    updates: Sequence[State],
    held: Sequence[Held],
    importance: Sequence[Importance],
) -> Tensor:
    """Average one tensor module by module; a running mean, as in ``average``."""
    modules = old.shape[dim] // width  # shrunk ones: module m has the m-th place, counted from 1
    mean = _apart(old, dim, width).clone()  # (module, ...)
    so_far = [0.0] * (modules + 1)
    shares = [_usable([of[layer][m] for of in importance]) for m in range(modules + 1)]
    for k, update in enumerate(updates):
        mine = [module for module in held[k][layer] if module != BYPASS]
        if not mine:
            continue
        steps = []
        for module in mine:
            so_far[module] += shares[module][k]
            steps.append(shares[module][k] / so_far[module])
        rows = torch.tensor(mine) - 1
        weight = torch.tensor(steps, dtype=mean.dtype).reshape(-1, *[1] * (mean.dim() - 1))
        given = _apart(update[name], dim, width)
        # The first update replaces what is there: a step of 1.
        mean[rows] = torch.where(weight == 1, given, torch.lerp(mean[rows], given, weight))
    return _together(mean, dim)


def _usable(importance: Sequence[float]) -> list[float]:
    """Importance that can be normalised: a module that is important to nobody is averaged plainly."""
    smallest = 1e-12  # so that nobody who holds a module is left out by rounding
    return [max(value, smallest) for value in importance]


def _mean(tensors: Sequence[Tensor], shares: Sequence[float]) -> Tensor | None:
    """A running mean; None without tensors."""
    mean: Tensor | None = None
    so_far = 0.0
    for tensor, share in zip(tensors, _usable(shares), strict=True):
        so_far += share
        mean = tensor if mean is None else torch.lerp(mean, tensor, share / so_far)
    return mean


def _apart(tensor: Tensor, dim: int, width: int) -> Tensor:
    """(module, ..., width, ...): one row a module."""
    shape = tensor.shape
    return tensor.reshape(*shape[:dim], -1, width, *shape[dim + 1 :]).movedim(dim, 0)


def _together(tensor: Tensor, dim: int) -> Tensor:
    return tensor.movedim(0, dim).flatten(dim, dim + 1).contiguous()

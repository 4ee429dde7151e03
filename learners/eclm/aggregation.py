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
from .parts import SELECTOR, held_names, places

Importance = tuple[tuple[float, ...], ...]
"""For each module layer, the importance of each of its modules; sums to 1 in each layer."""

_STATISTICS = ("running_mean", "running_var")


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
    mixing: float = 1.0,
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
        How far to go from the cloud's weights to the average, more than 0 and at most 1: all the way when a round is
        aggregated, less for single updates that come one by one.

    Returns
    -------
    dict
        Modules that no update holds stay, to the bit; identical updates give themselves, to the bit.
    """
    if not len(updates) == len(held) == len(importance) == len(samples):
        raise ValueError("each update has its modules, its importance and its number of samples")
    if not 0 < mixing <= 1:
        raise ValueError(f"mixing is more than 0 and at most 1, not {mixing}")
    of_modules = places(architecture)
    fixed = {*held_names(architecture)}
    merged = dict(cloud)
    for name, old in cloud.items():
        if name in fixed or not old.is_floating_point():
            continue
        if statistics == "keep" and name.endswith(_STATISTICS):
            continue
        place = of_modules.get(name)
        mean: Tensor | None
        if place is not None and place.slot is not None:
            mean = _mean_of_modules(old, name, place.layer, place.slot.dim, place.slot.width, updates, held, importance)
        elif place is not None:
            having = [k for k, modules in enumerate(held) if BYPASS in modules[place.layer]]
            shares = [importance[k][place.layer][BYPASS] for k in having]
            mean = _mean([updates[k][name] for k in having], shares)
        elif name.startswith(SELECTOR):
            having = [] if selector == "keep" else [k for k, update in enumerate(updates) if name in update]
            mean = _mean([updates[k][name] for k in having], [samples[k] for k in having])
        else:
            mean = None if shared == "keep" else _mean([update[name] for update in updates], samples)
        if mean is not None:
            merged[name] = mean if mixing == 1 else torch.lerp(old, mean, mixing)
    return merged


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

"""HeteroFL's arithmetic as jobs: slices of a network, masked training, element-wise merging, static statistics."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from edgesim import job
from edgesim.jobs.arithmetic import PLAIN, Batch, Recipe, Trained, bench, fit
from edgesim.models import Architecture, State

from . import network

_CODE = ("learners.heterofl",)

STATISTICS_BATCH = 64
"""Samples at a time when running statistics are worked out; a last batch of one is left out."""


@job(depends=_CODE)
def take(state: State | Trained, *views: Batch, target: Architecture) -> State:
    """Take a narrow network out of a wider one; with samples, work out its batch norms' statistics on them."""
    part = network.sliced(state.state if isinstance(state, Trained) else state, target)
    return with_statistics(part, *views, architecture=target) if views else part


def with_statistics(state: State, *views: Batch, architecture: Architecture) -> State:
    """Running means and variances of batch norms, as plain means over batches of samples."""
    tool = bench(architecture)
    tool.load(state)
    norms = [layer for layer in tool.module.modules() if isinstance(layer, _BatchNorm)]
    if not norms:
        return state
    tool.evaluate()
    kept = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch: a cumulative mean
        norm.train()
    try:
        with torch.inference_mode():
            for x, _ in views:
                for start in range(0, len(x), STATISTICS_BATCH):
                    if len(part := x[start : start + STATISTICS_BATCH]) > 1:
                        tool.module(tool.put(part))
    finally:
        for norm, momentum in zip(norms, kept, strict=True):
            norm.momentum = momentum
            norm.eval()  # the bench goes on being in the mode that it believes to be in
    return tool.state()


@job(depends=_CODE)
def train_masked(
    state: State,
    *views: Batch,
    architecture: Architecture,
    epochs: int,
    batch_size: int,
    accumulate: int,
    learning_rate: float,
    optimizer: str,
    masked: bool,
    recipe: Recipe = PLAIN,
    seed: int,
) -> Trained:
    """Train by cross-entropy in which the logits of classes that the samples do not have are 0 (``masked``).

    Not minus infinity: that is what the paper's code does. The other parameters are those of
    ``edgesim.jobs.arithmetic.train``.
    """
    present = torch.zeros(architecture.classes, dtype=torch.bool)
    for _, labels in views:
        present[labels] = True
    present = bench(architecture).put(present)

    def loss(module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        logits = module(x)
        return functional.cross_entropy(torch.where(present, logits, 0.0) if masked else logits, y)

    return fit(
        state,
        views,
        architecture=architecture,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        optimizer=optimizer,
        accumulate=accumulate,
        recipe=recipe,
        seed=seed,
        loss=loss,
    )


@job(depends=_CODE)
def merge(server: State | Trained, *updates_and_views: State | Trained | Batch, base: Architecture) -> State:
    """Average element by element over the updates that own an element; what nobody owns stays.

    A row of the last layer is owned by those only whose samples have its class.

    Parameters
    ----------
    server
        Weights of the full width.
    updates_and_views
        Weights of narrow networks, then for each the samples that it was trained on.
    base
        The full network.
    """
    count = len(updates_and_views) // 2
    updates = [update.state if isinstance(update, Trained) else update for update in updates_and_views[:count]]
    labels = [view[1] for view in updates_and_views[count:]]  # type: ignore[index]  # the second half are batches
    old = server.state if isinstance(server, Trained) else server
    return merged(old, updates, labels, head=network.head_of(base))  # type: ignore[arg-type]  # the first half are states


def merged(server: State, updates: Sequence[State], labels: Sequence[Tensor], head: str) -> State:
    """See :func:`merge`; ``labels`` are those of each update's samples, ``head`` the path of the last layer."""
    result: State = {}
    for name, old in server.items():
        if not old.is_floating_point() or not old.dim():
            result[name] = old
            continue
        total, owners = torch.zeros_like(old), torch.zeros_like(old)
        for update, of_device in zip(updates, labels, strict=True):
            where = tuple(slice(size) for size in update[name].shape)
            mine = torch.ones_like(update[name])
            if name.rpartition(".")[0] == head:
                has = torch.zeros(len(old), dtype=old.dtype)
                has[of_device] = 1
                mine *= has.reshape(-1, *[1] * (old.dim() - 1))
            total[where] += update[name] * mine
            owners[where] += mine
        result[name] = torch.where(owners > 0, total / owners.clamp(min=1), old)
    return result

"""FedProx's arithmetic: training with a proximal term."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgesim import job
from edgesim.jobs.arithmetic import Batch, Trained, bench, descend, make_optimizer
from edgesim.models import Architecture, State


@job(depends=("edgesim.jobs.arithmetic", "edgesim.models", "edgesim.data"))
def train_near(
    state: State,
    *views: Batch,
    architecture: Architecture,
    epochs: int,
    batch_size: int,
    accumulate: int,
    learning_rate: float,
    optimizer: str,
    mu: float,
    seed: int,
) -> Trained:
    """Minimise the cross-entropy plus ``mu / 2`` times the squared distance from ``state``, over the parameters.

    The other parameters are those of ``edgesim.jobs.arithmetic.train``. With ``mu`` 0 it does what that does.
    """
    x, y = (torch.cat(parts) for parts in zip(*views, strict=True))
    if not len(x) or not epochs:
        return Trained(state, float("nan"), 0)
    tool = bench(architecture)
    tool.load(state)
    parameters = tool.train()
    anchors = [parameter.detach().clone() for parameter in parameters]

    def loss(module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        apart = torch.stack([(now - then).square().sum() for now, then in zip(parameters, anchors, strict=True)])
        return functional.cross_entropy(module(x), y) + mu / 2 * apart.sum()

    mover = make_optimizer(optimizer, parameters, learning_rate=learning_rate)
    return descend(
        tool,
        parameters,
        mover.step,
        x,
        y,
        epochs=epochs,
        batch_size=batch_size,
        accumulate=accumulate,
        seed=seed,
        loss=loss,
    )

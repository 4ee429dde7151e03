"""FedProx's arithmetic: training with a proximal term."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgesim import job
from edgesim.jobs.arithmetic import PLAIN, Batch, Recipe, Trained, bench, fit
from edgesim.models import Architecture, State


@job
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
    recipe: Recipe = PLAIN,
    seed: int,
) -> Trained:
    """Minimise the cross-entropy plus ``mu / 2`` times the squared distance from ``state``, over the parameters.

    The other parameters are those of ``edgesim.jobs.arithmetic.train``. With ``mu`` 0 it does what that does.
    """

    put = bench(architecture).put
    start = {name: put(tensor) for name, tensor in state.items()}

    def loss(module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        apart = [(now - start[name]).square().sum() for name, now in module.named_parameters()]
        return functional.cross_entropy(module(x), y) + mu / 2 * torch.stack(apart).sum()

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

"""AdaptiveNet's arithmetic as jobs: distilling branches block by block, training paths, cutting them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgesim import job
from edgesim.jobs.arithmetic import PLAIN, Batch, Recipe, Trained, fit
from edgesim.models import Architecture, State, layout
from edgesim.seeds import stream_seed

from ..eclm.network import blocks_of
from .architectures import Choice
from .network import Supernet

_CODE = ("learners.adaptive_net", "learners.eclm")
_BACKBONE = "backbone."


@job(depends=_CODE)
def with_backbone(fresh: State | Trained, backbone: State | Trained) -> State:
    """Put a trained backbone into a supernet whose branches are fresh."""
    weights = {_BACKBONE + name: tensor for name, tensor in _weights(backbone).items()}
    return {**_weights(fresh), **weights}


@job(depends=_CODE)
def distil(
    state: State | Trained,
    *views: Batch,
    architecture: Architecture,
    epochs: int,
    batch_size: int,
    accumulate: int,
    learning_rate: float,
    optimizer: str,
    recipe: Recipe = PLAIN,
    seed: int,
) -> Trained:
    """Train the branches of a supernet to do what the backbone's blocks do, each on its own; labels are not read.

    The parameters are those of ``edgesim.jobs.arithmetic.train``.
    """

    def loss(module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        assert isinstance(module, Supernet)
        return module.distance(x)

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
def train_paths(
    state: State | Trained,
    *views: Batch,
    architecture: Architecture,
    epochs: int,
    batch_size: int,
    accumulate: int,
    learning_rate: float,
    optimizer: str,
    recipe: Recipe = PLAIN,
    seed: int,
) -> Trained:
    """Train the branches of a supernet by labels, each batch along a path drawn at random; the backbone stays frozen.

    A path takes at least one branch. The parameters are those of ``edgesim.jobs.arithmetic.train``.
    """
    random = torch.Generator().manual_seed(stream_seed(seed, "paths"))

    def loss(module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        assert isinstance(module, Supernet)
        return functional.cross_entropy(module.along(x, _drawn(module, random)), y)

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


def _drawn(supernet: Supernet, random: torch.Generator) -> Choice:
    """A path that takes at least one branch."""
    while True:
        choice = tuple(
            int(torch.randint(len(branches) + 1, (), generator=random))
            for branches in supernet.branches
            if isinstance(branches, nn.ModuleList)
        )
        if any(choice):
            return choice


@job(depends=_CODE)
def take_path(state: State | Trained, *, base: Architecture, target: Architecture, choice: Choice) -> State:
    """Cut a path out of a supernet."""
    weights = _weights(state)
    branches = {}
    for place, (block, chosen) in enumerate(zip(blocks_of(base), choice, strict=True)):
        if chosen:
            branches[f"{block.path}."] = f"branches.{place}.{chosen - 1}."
    taken: State = {}
    for spec in layout(target):
        start = next((start for start in branches if spec.name.startswith(start)), None)
        source = _BACKBONE + spec.name if start is None else branches[start] + spec.name.removeprefix(start)
        taken[spec.name] = weights[source]
    return taken


def _weights(state: State | Trained) -> State:
    return state.state if isinstance(state, Trained) else state

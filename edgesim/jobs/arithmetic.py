"""The arithmetic that learners share, as jobs: initialise, train, evaluate, average, transcode.

Pure functions of weights, samples and a seed; they know nothing of devices or time and are tested without a
world. A learner with arithmetic of its own writes its own job, most likely around :func:`fit`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite, nan

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import UserError
from ..models import Architecture, SavedWeights, State, initial_state, seeded_torch
from ..seeds import stream_seed
from . import stacked_evaluation, stacked_training
from .batching import batches, micro_batch
from .bench import Batch, bench, is_finite
from .function import COMPUTING, Fused, job
from .members import common_stack, one_by_one
from .optimizers import optimizer as make_optimizer
from .recipe import PLAIN, Recipe
from .shapes import EVALUATION_ROWS, evaluation_is_light, evaluation_path, training_is_light, training_path
from .trained import Evaluation, Trained
from .trained import weights as weights_of

__all__ = [
    "PLAIN",
    "Batch",
    "BatchLoss",
    "Evaluation",
    "Recipe",
    "Trained",
    "average",
    "bench",
    "cross_entropy",
    "evaluate",
    "fit",
    "initialise",
    "train",
    "transcode",
    "transcode_some",
]

_DATA = "edgesim.data"

BatchLoss = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""The mean loss of a network on a batch: ``loss(module, x, y)``."""


@job(depends=COMPUTING)
def initialise(*, architecture: Architecture, seed: int) -> State:
    """Draw the initial weights of a network."""
    return initial_state(architecture, seed)


@job(depends=COMPUTING)
def start_from(drawn: State, *, saved: SavedWeights) -> State:
    """Put saved weights into a network: those of a tensor's name and shape; the others stay as they were drawn."""
    found = saved.read()
    taken = {name for name, tensor in drawn.items() if name in found and found[name].shape == tensor.shape}
    return {
        name: found[name].to(tensor.dtype).contiguous() if name in taken else tensor for name, tensor in drawn.items()
    }


@job(depends=(*COMPUTING, _DATA), fused=Fused(training_path, stacked_training.train, training_is_light))
def train(
    state: State | Trained,
    *views: Batch,
    architecture: Architecture,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    optimizer: str = "sgd",
    weight_decay: float = 0.0,
    accumulate: int = 1,
    trainable: Sequence[str] | None = None,
    recipe: Recipe = PLAIN,
    seed: int,
) -> Trained:
    """Train a network on the samples of all views together, by cross-entropy.

    Parameters
    ----------
    state
        Weights to start from; not changed.
    views
        Samples; shuffled together, anew for each epoch. None, or only empty ones: nothing is trained.
    architecture
        The network.
    epochs
        Passes over the samples, at least 0.
    batch_size
        Samples per optimizer step; a last batch of one joins the one before it (see ``batches``).
    learning_rate
        At least 0.
    optimizer
        ``sgd``, ``momentum`` (0.9) or ``adam``; starts without a history.
    weight_decay
        L2 penalty, at least 0.
    accumulate
        Do each step in so many parts, for small memories. The same step but for rounding and for batch norm,
        which normalises by each part.
    trainable
        Parameters or modules to train, by name; None for all (see ``set_trainable``).
    recipe
        How the step size goes and how images are varied.
    seed
        Of the shuffling, of dropout and of what is varied.
    """
    return fit(
        state,
        views,
        architecture=architecture,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        optimizer=optimizer,
        weight_decay=weight_decay,
        accumulate=accumulate,
        trainable=trainable,
        recipe=recipe,
        seed=seed,
    )


def cross_entropy(module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return the mean cross-entropy of a network on a batch."""
    return functional.cross_entropy(module(x), y)


def fit(
    state: State | Trained,
    views: Sequence[Batch],
    *,
    architecture: Architecture,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    optimizer: str = "sgd",
    weight_decay: float = 0.0,
    accumulate: int = 1,
    trainable: Sequence[str] | None = None,
    recipe: Recipe = PLAIN,
    seed: int,
    loss: BatchLoss = cross_entropy,
) -> Trained:
    """Train a network: the loop that every kind of training shares.

    Parameters
    ----------
    loss
        Mean loss of a batch. A parameter that has no part in it gets a gradient of zero.
    state, views, architecture, epochs, batch_size, learning_rate, optimizer, weight_decay, accumulate, trainable, \
    recipe, seed
        See :func:`train`.
    """
    filled = [view for view in views if view[0].shape[0]]
    if not filled or epochs == 0:
        return Trained(weights_of(state), nan, 0)
    x, y = filled[0] if len(filled) == 1 else tuple(map(torch.cat, zip(*filled, strict=True)))
    tool = bench(architecture)
    tool.load(weights_of(state))
    parameters = tool.train(trainable)
    mover = make_optimizer(optimizer, parameters, learning_rate=learning_rate, weight_decay=weight_decay)
    x, y = tool.put(x), tool.put(y)
    shuffler = torch.Generator().manual_seed(seed)  # on the CPU, so that every device shuffles alike
    variation = torch.Generator().manual_seed(stream_seed(seed, "augment"))
    norms = tool.moving_norms()
    micro = micro_batch(batch_size, accumulate)
    samples = x.shape[0]
    cut = batches(samples, batch_size)
    steps, total = 0, 0.0
    with torch.enable_grad(), seeded_torch(stream_seed(seed, "dropout"), tool.device):
        for _ in range(epochs):
            total = 0.0
            order = tool.put(torch.randperm(samples, generator=shuffler))
            for start, stop in cut:
                chosen = order[start:stop]
                given = recipe.varied(x[chosen], variation)
                gradients, batch_loss = _gradients(tool.module, norms, parameters, given, y[chosen], micro, loss)
                if not isfinite(batch_loss):
                    return Trained(tool.state(), nan, steps, diverged=True)
                mover.step(gradients, recipe.pace(steps, epochs * len(cut)))
                steps += 1
                total += batch_loss * (stop - start)
    weights = tool.state()
    return Trained(weights, total / samples, steps, diverged=not is_finite(list(weights.values())))


def _gradients(
    module: nn.Module,
    norms: Sequence[nn.Module],
    parameters: Sequence[Tensor],
    x: Tensor,
    y: Tensor,
    micro: int,
    loss: BatchLoss,
) -> tuple[list[Tensor], float]:
    """Return the gradients of the mean loss over a batch, and that loss, in parts of about ``micro``
    samples."""
    samples = x.shape[0]
    parts = batches(samples, micro)
    if len(parts) == 1:
        value = _part_loss(module, norms, x, y, loss)
        return _gradients_of(value, parameters), value.item()
    summed: list[Tensor] = []
    total = 0.0
    for start, stop in parts:
        share = (stop - start) / samples
        value = _part_loss(module, norms, x[start:stop], y[start:stop], loss) * share
        gradients = _gradients_of(value, parameters)
        if summed:
            torch._foreach_add_(summed, gradients)
        else:
            summed = gradients
        total += value.item()
    return summed, total


def _gradients_of(value: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
    return list(torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True))


def _part_loss(module: nn.Module, norms: Sequence[nn.Module], x: Tensor, y: Tensor, loss: BatchLoss) -> Tensor:
    if not norms or x.shape[0] > 1:
        return loss(module, x, y)
    # A single sample has no statistics: it is normalised by the running ones, which do not move.
    for layer in norms:
        layer.eval()
    try:
        return loss(module, x, y)
    finally:
        for layer in norms:
            layer.train()


@job(depends=(*COMPUTING, _DATA), fused=Fused(evaluation_path, stacked_evaluation.evaluate, evaluation_is_light))
def evaluate(state: State | Trained, *views: Batch, architecture: Architecture) -> Evaluation:
    """Count on the samples of all views how often a network is right, and sum its cross-entropy."""
    tool = bench(architecture)
    tool.load(weights_of(state))
    tool.evaluate()
    correct, samples = 0, 0
    loss_sum = 0.0
    with torch.inference_mode(), seeded_torch(0, tool.device):  # it draws nothing; a user's network might
        for x, y in views:
            for start in range(0, len(x), EVALUATION_ROWS):
                labels = tool.put(y[start : start + EVALUATION_ROWS])
                logits = tool.module(tool.put(x[start : start + EVALUATION_ROWS]))  # (sample, class)
                loss_sum += functional.cross_entropy(logits, labels, reduction="sum").item()
                correct += int((logits.argmax(1) == labels).sum())
                samples += len(labels)
    return Evaluation(correct, loss_sum, samples)


@job(depends=("edgesim.jobs.members", "edgesim.jobs.trained"), light=True, stacks=True)
def average(*states: State | Trained, weights: Sequence[float] | None = None) -> State:
    """Average weights: parameters and float buffers; whole numbers (a count of batches) are those of the
    first.

    Parameters
    ----------
    states
        At least one; of one network.
    weights
        One for each, at least 0, not all 0; normalised here. None: all the same.

    Notes
    -----
    A running mean: identical weights average to themselves, bit for bit.
    """
    shares = [1.0] * len(states) if weights is None else list(weights)
    if not states or len(shares) != len(states):
        raise ValueError(f"{len(states)} states and {len(shares)} weights: one for each, at least one")
    if min(shares) < 0 or not 0 < sum(shares) < float("inf"):
        raise ValueError(f"weights must be at least 0, not all 0, and finite: {shares}")
    given = [weights_of(state) for state in states]
    first = given[0]
    if common_stack(given) is None and any(state.keys() != first.keys() for state in given[1:]):
        raise ValueError("states to average must be of one network")
    names = [name for name, tensor in first.items() if tensor.is_floating_point()]
    mean: list[Tensor] = []
    so_far = 0.0
    for tensors, share in zip(one_by_one(given, names), shares, strict=True):
        if not share:
            continue
        so_far += share
        if mean:
            torch._foreach_lerp_(mean, tensors, share / so_far)
        else:
            mean = [tensor.clone() for tensor in tensors]
    return {**first, **dict(zip(names, mean, strict=True))}


@job(depends=("edgesim.jobs.trained",), light=True)
def transcode(state: State | Trained, *, codec: str) -> State:
    """What arrives when weights are sent: packed with ``codec`` (``fp32``, ``fp16``) and unpacked again."""
    return {name: _transcoded(tensor, codec) for name, tensor in weights_of(state).items()}


@job(depends=("edgesim.jobs.trained",), light=True)
def transcode_some(state: State | Trained, *, codec: str, names: Sequence[str]) -> State:
    """What is there when only the tensors called ``names`` are sent, as in ``transcode``: the others are untouched."""
    sent = set(names)
    return {name: _transcoded(tensor, codec) if name in sent else tensor for name, tensor in weights_of(state).items()}


def _transcoded(tensor: Tensor, codec: str) -> Tensor:
    narrow = {"fp32": torch.float32, "fp16": torch.float16}.get(codec)
    if narrow is None:
        raise UserError(f"codec: there is no codec {codec!r}")
    return tensor.to(narrow).to(tensor.dtype) if tensor.is_floating_point() else tensor

"""ECLM's arithmetic as jobs: pure functions of weights, samples and a seed. Imported by the protocol when it runs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgesim import job
from edgesim.jobs.arithmetic import PLAIN, Batch, Recipe, Trained, bench, fit
from edgesim.models import Architecture, State

from . import aggregation, inheritance, parts
from .aggregation import Importance
from .architectures import Held
from .assignment import assign, load_entropy, targets
from .balance import Balance, balance_loss
from .network import ModularNetwork

_CODE = ("learners.eclm",)

SCORING_BATCH = 256
"""Samples that the selector scores at a time."""


@job(depends=_CODE)
def train_end_to_end(
    state: State | Trained,
    *views: Batch,
    architecture: Architecture,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    optimizer: str,
    balance: Balance,
    balance_weight: float,
    accumulate: int = 1,
    recipe: Recipe = PLAIN,
    seed: int,
) -> Trained:
    """Train a modular network and its selector together: ``CrossEntropy + balance_weight * LoadBalance``.

    Gates are noisy top-k (Shazeer et al. 2017): the noise's size is learned, the noise is drawn from ``seed``. The
    balance loss is the mean over the module layers.
    """

    def loss(module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        assert isinstance(module, ModularNetwork)
        clean, deviation = module.selector.with_noise(x)
        noisy = clean + deviation * torch.randn_like(clean)
        error = functional.cross_entropy(module.run(x, noisy), y)
        cut = module.selector.by_layer
        uneven = torch.stack(
            [
                balance_loss(balance, *layer, k=module.k)
                for layer in zip(cut(clean), cut(deviation), cut(noisy), strict=True)
            ]
        )
        return error + balance_weight * uneven.mean()

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


@dataclass(frozen=True, slots=True)
class Enhancement:
    """What the selector is to say of each sub-task, and how it came about.

    Attributes
    ----------
    targets
        P of each layer, (sub-task, module).
    entropy
        Of each layer's load before, from 0 (collapsed) to 1 (even).
    kappa1
        The most sub-tasks a module was allowed, for each layer.
    raised
        Whether ``kappa1`` had to be raised for every sub-task to have a module.
    """

    targets: tuple[Tensor, ...]
    entropy: tuple[float, ...]
    kappa1: tuple[int, ...]
    raised: bool


@job(depends=_CODE)
def plan_enhancement(
    state: State,
    view: Batch,
    *,
    architecture: Architecture,
    modules_per_layer: Sequence[int],
    tasks: Sequence[int],
    of_samples: bool,
    kappa1: int,
    kappa2: int,
) -> Enhancement:
    """Measure the load of modules under sub-tasks and assign sub-tasks to modules.

    Parameters
    ----------
    state, architecture, modules_per_layer
        Of the selector alone, and how its logits are cut.
    tasks
        The sub-task of each class, or with ``of_samples`` of each sample; numbered from 0.
    kappa1, kappa2
        Most sub-tasks a module, most modules a sub-task.
    """
    x, y = view
    task = torch.tensor(tasks) if of_samples else torch.tensor(tasks)[y]
    probabilities = _probabilities(state, architecture, modules_per_layer, x)
    loads = [load_of_tasks(layer, task, max(tasks) + 1) for layer in probabilities]
    assigned = [assign(load, kappa1, kappa2) for load in loads]
    return Enhancement(
        tuple(torch.from_numpy(targets(load, a.mask)).float() for load, a in zip(loads, assigned, strict=True)),
        tuple(load_entropy(load) for load in loads),
        tuple(a.kappa1 for a in assigned),
        any(a.raised for a in assigned),
    )


def load_of_tasks(probabilities: Tensor, task: Tensor, tasks: int) -> np.ndarray:
    """H: the mean probability of each module over the samples of each sub-task; even for a sub-task without any.

    Parameters
    ----------
    probabilities
        (sample, module)
    task
        (sample,)
    """
    member = functional.one_hot(task, tasks).to(torch.float64)  # (sample, task)
    counts = member.sum(0).unsqueeze(1)
    sums = member.T @ probabilities.to(torch.float64)
    even = torch.full_like(sums, 1 / probabilities.shape[1])
    return torch.where(counts > 0, sums / counts.clamp(min=1), even).numpy()


@job(depends=_CODE)
def enhance(
    state: State | Trained,
    plan: Enhancement,
    view: Batch,
    *,
    architecture: Architecture,
    tasks: Sequence[int],
    of_samples: bool,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    optimizer: str,
    weight: float,
    accumulate: int = 1,
    recipe: Recipe = PLAIN,
    seed: int,
) -> Trained:
    """Fine-tune so that modules grow able at their sub-tasks: ``CrossEntropy + weight * KL(g_label || g)``.

    The target of a sample is its sub-task's row of P. The divergence is taken from the target, not to it: P has zeros,
    for which the other direction is infinite. Mean over the module layers; gates without noise.
    """
    x, y = view
    classes = architecture.classes
    task = torch.tensor(tasks) if of_samples else torch.tensor(tasks)[y]
    tool = bench(architecture)
    of_layers = [tool.put(target) for target in plan.targets]

    def loss(module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        assert isinstance(module, ModularNetwork)
        scores = module.selector(x)
        error = functional.cross_entropy(module.run(x, scores), y % classes)
        apart = [
            functional.kl_div(of_layer.log_softmax(1), target[y // classes], reduction="batchmean")
            for of_layer, target in zip(module.selector.by_layer(scores), of_layers, strict=True)
        ]
        return error + weight * torch.stack(apart).mean()

    return fit(
        state,
        [(x, y + classes * task)],  # the sub-task travels with the label
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


@job(depends=_CODE, finite=True)
def importance(state: State, *views: Batch, architecture: Architecture, modules_per_layer: Sequence[int]) -> Importance:
    """Mean probability that the selector gives each module over some samples; sums to 1 in each layer.

    Parameters
    ----------
    state, architecture
        Of the selector alone.
    modules_per_layer
        How its logits are cut.
    """
    x, _ = _joined(views)
    layers = _probabilities(state, architecture, modules_per_layer, x)
    means = [layer.sum(0, dtype=torch.float64) / max(len(x), 1) for layer in layers]
    return tuple(tuple(layer.tolist()) for layer in means)


@job(depends=_CODE)
def inherit(fresh: State | Trained, base: State | Trained, *, full: Architecture, seed: int) -> State:
    """Start a modular network from a trained base network; see ``inheritance.inherit``."""
    return inheritance.inherit(_weights(fresh), _weights(base), full, seed)


@job(depends=_CODE)
def extract(state: State | Trained, *, have: Held, want: Held, target: Architecture) -> State:
    """Take a sub-model out of a modular network; see ``parts.extract``."""
    return parts.extract(_weights(state), _held(have), _held(want), target)


@job(depends=_CODE)
def keep_shared(state: State | Trained, own: State | Trained, *, target: Architecture) -> State:
    """Put a device's own shared parts into a sub-model that it got; see ``parts.keep_shared``."""
    return parts.keep_shared(_weights(state), _weights(own), target)


@job(depends=_CODE)
def take_selector(state: State | Trained, *, selector: Architecture) -> State:
    """Take the selector out of a modular network."""
    return parts.selector_state(_weights(state), selector)


@job(depends=_CODE)
def aggregate(
    cloud: State | Trained,
    *updates: State | Trained,
    full: Architecture,
    held: Sequence[Held],
    importance: Sequence[Importance],
    samples: Sequence[int],
    shared: Literal["average", "keep"],
    statistics: Literal["average", "keep"],
    selector: Literal["average", "keep"],
    mixing: float | None,
) -> State:
    """Give the cloud's network what sub-models have learned; see ``aggregation.aggregate``."""
    return aggregation.aggregate(
        _weights(cloud),
        [_weights(update) for update in updates],
        architecture=full,
        held=[_held(modules) for modules in held],
        importance=importance,
        samples=samples,
        shared=shared,
        statistics=statistics,
        selector=selector,
        mixing=mixing,
    )


def _probabilities(
    state: State, architecture: Architecture, modules_per_layer: Sequence[int], x: Tensor
) -> list[Tensor]:
    """What the selector says of samples, without noise: for each layer (sample, module)."""
    tool = bench(architecture)
    tool.load(state)
    tool.evaluate()
    with torch.inference_mode():
        batches = (x[start : start + SCORING_BATCH] for start in range(0, len(x), SCORING_BATCH))
        cut = [tool.module(tool.put(batch)) for batch in batches]
        logits = torch.cat(cut).cpu() if cut else torch.zeros(0, sum(modules_per_layer))
        bounds = [0, *itertools.accumulate(modules_per_layer)]
        return [logits[:, start:stop].softmax(1) for start, stop in itertools.pairwise(bounds)]


def _joined(views: Sequence[Batch]) -> Batch:
    if len(views) == 1:
        return views[0]
    return torch.cat([x for x, _ in views]), torch.cat([y for _, y in views])


def _weights(state: State | Trained) -> State:
    return state.state if isinstance(state, Trained) else state


def _held(value: Sequence[Sequence[int]]) -> Held:
    return tuple(tuple(int(module) for module in layer) for layer in value)

"""Fully connected networks side by side: one batched matrix product a layer trains or evaluates all of them.

Every network is an element of a stack; ``torch.bmm`` computes each with the arithmetic that it would use for it alone.
A batch of samples is filled up with rows of zeros to a multiple of ``ROWS``, which depends on its own number of samples
and on nothing else. So the bits of an element depend on that element: not on what stands beside it, nor on how many.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from math import isfinite, nan, prod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..models import Architecture, State, build
from .batching import batches
from .bench import Batch
from .function import Element
from .placement import current, put
from .shapes import EVALUATION_ROWS
from .stacked_optimizers import StackedOptimizer, stacked_optimizer
from .trained import Evaluation, Trained, weights

ROWS = 8
"""Samples are filled up to a multiple of so many: more jobs have batches of one size, at the cost of a few zeros."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A network of linear layers: the names and shapes of its weights (outgoing, incoming) and biases, in order."""

    weights: tuple[str, ...]
    biases: tuple[str, ...]
    shapes: tuple[tuple[int, int], ...]
    names: tuple[str, ...]

    @property
    def features(self) -> int:
        """Numbers in a sample."""
        return self.shapes[0][1]

    @property
    def classes(self) -> int:
        """Logits of a sample."""
        return self.shapes[-1][0]

    def wrong_weights(self, state: State) -> ValueError | None:
        """What is wrong with weights that are not of this network."""
        if tuple(state) != self.names and state.keys() != set(self.names):
            strange = sorted(state.keys() ^ set(self.names))
            return ValueError(f"these weights are not of this network: {', '.join(strange[:3])}, {len(strange)} in all")
        for name, shape in zip(self.weights, self.shapes, strict=True):
            if state[name].shape != shape:
                return ValueError(f"these weights are not of this network: {name} is {tuple(state[name].shape)}")
        return None

    def wrong_samples(self, batches: Sequence[Batch]) -> ValueError | None:
        """What is wrong with samples that are not for this network; labels are looked at by ``strange``."""
        for x, _ in batches:
            if (x.size(1) if x.dim() == 2 else prod(x.shape[1:])) != self.features:
                return ValueError(f"a sample has {prod(x.shape[1:])} numbers, and the network takes {self.features}")
        return None

    def strange(self, labels: Tensor) -> ValueError | None:
        """What is wrong with labels that the network does not know."""
        numbers = labels.numpy()
        low, high = int(numbers.min()), int(numbers.max())
        if low >= 0 and high < self.classes:
            return None
        return ValueError(f"labels go from {low} to {high}, and there are {self.classes} classes")


@lru_cache(maxsize=64)
def layout(architecture: Architecture) -> Layout:
    """The layout of a network of linear layers with ReLU between them."""
    layers = [(name, layer) for name, layer in build(architecture).named_modules() if isinstance(layer, nn.Linear)]
    weights = tuple(f"{name}.weight" for name, _ in layers)
    biases = tuple(f"{name}.bias" for name, _ in layers)
    shapes = tuple((layer.out_features, layer.in_features) for _, layer in layers)
    return Layout(weights, biases, shapes, tuple(name for pair in zip(weights, biases, strict=True) for name in pair))


@dataclass(frozen=True, slots=True)
class _Given:
    """An element: where in the batch it stands, and what is computed of what."""

    place: int
    state: State
    samples: list[Batch]  # none of them empty
    seed: int | None


def _checked(shape: Layout, elements: Sequence[Element], results: list[Any]) -> list[_Given]:
    """The elements that can be computed; of the others, ``results`` takes what is wrong."""
    given = []
    sound: State | None = None  # found to be of this network: jobs often start from the same weights
    for place, ((start, *views), seed) in enumerate(elements):
        state, samples = weights(start), [view for view in views if view[1].size(0)]
        mistake = None if state is sound else shape.wrong_weights(state)
        mistake = mistake or shape.wrong_samples(samples)
        if mistake is None:
            given.append(_Given(place, state, samples, seed))
            sound = state
        else:
            results[place] = mistake
    labels = [y for element in given for _, y in element.samples]
    if not labels or shape.strange(torch.cat(labels)) is None:
        return given
    for element in given:
        mistakes = [mistake for _, y in element.samples if (mistake := shape.strange(y)) is not None]
        if mistakes:
            results[element.place] = mistakes[0]
    return [element for element in given if not isinstance(results[element.place], ValueError)]


# Training -----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Job:
    """An element of a stack that is trained."""

    place: int
    state: State
    x: Tensor  # (sample, feature)
    y: Tensor  # (sample,)
    cut: tuple[tuple[int, int], ...]
    seed: int
    loss: float = 0.0
    diverged: Trained | None = None


def train(
    elements: Sequence[Element],
    *,
    architecture: Architecture,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    optimizer: str = "sgd",
    weight_decay: float = 0.0,
    accumulate: int = 1,
    trainable: None = None,
    recipe: None = None,
) -> list[Trained | Exception]:
    """Train networks side by side; see ``arithmetic.train``, whose results these are but for rounding.

    Raises
    ------
    ValueError
        Accumulation, only some of the parameters, or a recipe: such jobs are not fused.
    """
    if accumulate != 1 or trainable is not None or recipe is not None:
        raise ValueError("networks side by side are trained as wholes, without accumulation and without a recipe")
    shape = layout(architecture)
    results: list[Trained | Exception] = [Trained({}, nan, 0)] * len(elements)
    jobs: list[_Job] = []
    for given in _checked(shape, elements, results):
        if not given.samples or epochs == 0:
            results[given.place] = Trained(given.state, nan, 0)
            continue
        xs, ys = zip(*given.samples, strict=True)
        x, y = (xs[0], ys[0]) if len(xs) == 1 else (torch.cat(xs), torch.cat(ys))
        assert given.seed is not None
        x = x if x.dim() == 2 else x.flatten(1)
        jobs.append(_Job(given.place, given.state, x, y, batches(y.size(0), batch_size), given.seed))
    jobs.sort(key=lambda job: -job.y.size(0))  # whose batches are of one size stand together, at every step
    if jobs:
        with torch.no_grad():
            stack = _Stack(shape, jobs, stacked_optimizer(optimizer, learning_rate, weight_decay), epochs)
            for epoch in range(epochs):
                stack.train_epoch(epoch)
            for job, result in zip(jobs, stack.results(epochs), strict=True):
                results[job.place] = result
    return results


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """Neighbours in a stack whose batches fill up to the same number of rows at one step: views of the stack."""

    jobs: slice
    weights: list[Tensor]  # (job, out, in)
    transposed: list[Tensor]  # (job, in, out)
    biases: list[Tensor]  # (job, 1, out)
    rows: Tensor  # (job, row): of the samples, as they are shuffled
    shares: Tensor  # (job, 1, row): of a row in the mean loss
    minus_one: Tensor  # (job, 1, row)


class _Stack:
    """Networks that are trained together, those with the most samples first."""

    def __init__(self, shape: Layout, jobs: Sequence[_Job], mover: StackedOptimizer, epochs: int) -> None:
        self._shape = shape
        self._jobs = jobs
        self._mover = mover
        self._weights = [_stacked([job.state[name] for job in jobs]) for name in shape.weights]  # (job, out, in)
        self._biases = [_stacked([job.state[name] for job in jobs]).unsqueeze(1) for name in shape.biases]
        mover.begin([*self._weights, *self._biases], [len(job.cut) for job in jobs])
        zeros = torch.zeros(1, shape.features), torch.zeros(1, dtype=torch.int64)
        self._x = put(torch.cat([*(job.x for job in jobs), zeros[0]]))  # the last row fills up batches
        self._y = put(torch.cat([*(job.y for job in jobs), zeros[1]]))
        sizes = np.zeros((len(jobs), len(jobs[0].cut)), np.int64)
        for place, job in enumerate(jobs):
            sizes[place, : len(job.cut)] = [stop - start for start, stop in job.cut]
        self._sizes = sizes  # (job, step)
        within = np.arange(_filled(int(sizes.max()))) < sizes[:, :, None]
        shares = put(torch.from_numpy((within / np.maximum(sizes, 1)[:, :, None]).astype(np.float32)))
        self._orders = _orders(jobs, epochs)
        self._shuffled = np.full(within.shape, self._x.size(0) - 1)  # rows of samples: (job, step, row)
        self._rows = put(torch.from_numpy(self._shuffled))
        self._runs = [
            [self._run(slice(first, last), step, filled, shares) for first, last, filled in _runs(sizes[:, step])]
            for step in range(sizes.shape[1])
        ]

    def train_epoch(self, epoch: int) -> None:
        """Train every network on all of its samples once."""
        self._shuffle(epoch)
        losses = np.zeros(self._sizes.shape, np.float32)
        for step, runs in enumerate(self._runs):
            for run in runs:
                losses[run.jobs, step] = self._step(run, epoch, step)
        means = (losses.astype(np.float64) * self._sizes).sum(1)
        for job, total in zip(self._jobs, means.tolist(), strict=True):
            job.loss = total / job.y.size(0)

    def results(self, epochs: int) -> Iterator[Trained]:
        """What each network has become."""
        layers = zip(self._weights, self._biases, strict=True)
        stacks = [stack.cpu() for weight, bias in layers for stack in (weight, bias.squeeze(1))]
        finite = isfinite(sum([float(stack.sum()) for stack in stacks]))
        for job, tensors in zip(self._jobs, zip(*map(torch.unbind_copy, stacks), strict=True), strict=True):
            if job.diverged is not None:
                yield job.diverged
                continue
            state = dict(zip(self._shape.names, tensors, strict=True))
            sound = finite or all(bool(tensor.isfinite().all()) for tensor in state.values())
            yield Trained(state, job.loss, epochs * len(job.cut), diverged=not sound)

    def _run(self, jobs: slice, step: int, rows: int, shares: Tensor) -> _Run:
        weights = [weight[jobs] for weight in self._weights]
        own = shares[jobs, step, :rows].unsqueeze(1)
        return _Run(
            jobs,
            weights,
            [weight.transpose(1, 2) for weight in weights],
            [bias[jobs] for bias in self._biases],
            self._rows[jobs, step, :rows],
            own,
            torch.full_like(own, -1.0),
        )

    def _shuffle(self, epoch: int) -> None:
        """Put the rows of each job's batches in the order of an epoch; where a batch is filled up, the row of zeros
        stays."""
        begin = 0
        for place, job in enumerate(self._jobs):
            order = self._orders[place][epoch] + begin
            for step, (start, stop) in enumerate(job.cut):
                self._shuffled[place, step, : stop - start] = order[start:stop]
            begin += order.shape[0]
        if self._rows.device.type != "cpu":  # there they are not the same memory
            self._rows.copy_(torch.from_numpy(self._shuffled))

    def _step(self, run: _Run, epoch: int, step: int) -> npt.NDArray[np.float32]:
        """One optimizer step of the jobs of a run; their mean losses."""
        weights, biases, shares = run.weights, run.biases, run.shares
        chosen = run.rows.reshape(-1)
        x = self._x[chosen].view(*run.rows.shape, -1)
        y = self._y[chosen].view(shares.shape)
        activations = [x]  # (job, row, feature)
        for transposed, bias in zip(run.transposed[:-1], biases[:-1], strict=True):
            activations.append(torch.baddbmm(bias, activations[-1], transposed).relu_())
        # (job, class, row): over rows that lie side by side the softmax takes a tenth of the time.
        logits = torch.baddbmm(biases[-1].transpose(1, 2), weights[-1], activations[-1].transpose(1, 2))
        log_probabilities = logits.log_softmax(1)
        picked = log_probabilities.gather(1, y)
        losses: npt.NDArray[np.float32] = -(picked * shares).squeeze(1).cpu().numpy().sum(1)
        if not np.isfinite(losses).all():
            self._stop(run.jobs, losses, epoch, step)
        slope = log_probabilities.exp_()  # of the mean loss by the logits
        slope.scatter_add_(1, y, run.minus_one)
        slope *= shares
        self._mover.next(run.jobs, epoch, step)
        slope = slope.transpose(1, 2)  # (job, row, class)
        for place in range(len(weights) - 1, -1, -1):
            below = None
            if place:
                below = torch.bmm(slope, weights[place])
                below *= activations[place] > 0
            self._mover.move_by_product(place, slope.transpose(1, 2), activations[place])
            self._mover.move(len(weights) + place, slope.sum(1, keepdim=True))
            if below is not None:
                slope = below
        return losses

    def _stop(self, run: slice, losses: npt.NDArray[np.float32], epoch: int, step: int) -> None:
        """Keep what jobs were before a loss that is no number; what becomes of their places in the stack is of no
        interest."""
        for offset in np.flatnonzero(~np.isfinite(losses)).tolist():
            job = self._jobs[run.start + offset]
            if job.diverged is None:
                steps = epoch * len(job.cut) + step
                job.diverged = Trained(self._state(run.start + offset), nan, steps, diverged=True)

    def _state(self, place: int) -> State:
        state: State = {}
        for number, (weight, bias) in enumerate(zip(self._shape.weights, self._shape.biases, strict=True)):
            state[weight] = self._weights[number][place].to("cpu", copy=True)
            state[bias] = self._biases[number][place, 0].to("cpu", copy=True)
        return state


def _orders(jobs: Sequence[_Job], epochs: int) -> list[list[npt.NDArray[np.int64]]]:
    """In which order each job takes its samples in each epoch."""
    shuffler = torch.Generator()
    orders = []
    for job in jobs:
        shuffler.manual_seed(job.seed)
        samples = job.y.size(0)
        orders.append([torch.randperm(samples, generator=shuffler).numpy() for _ in range(epochs)])
    return orders


def _stacked(tensors: Sequence[Tensor]) -> Tensor:
    if all(tensor is tensors[0] for tensor in tensors):
        return put(tensors[0]).expand(len(tensors), *tensors[0].shape).clone()
    return put(torch.stack(list(tensors)))


def _filled(rows: int) -> int:
    return -(-rows // ROWS) * ROWS


def _runs(sizes: npt.NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
    """Neighbours whose batches fill up to the same number of rows: ``(first, last + 1, rows)``."""
    first = 0
    for filled, same in groupby(_filled(size) for size in sizes.tolist()):
        last = first + len(list(same))
        if filled:
            yield first, last, filled
        first = last


# Evaluation ---------------------------------------------------------------------------------------------------------

_ROWS_AT_A_TIME = {"cpu": 2048, "cuda": 65536}
"""Samples that go through networks side by side at a time: on a CPU so that they stay in its caches, on CUDA so that
they fit into its memory."""


@dataclass(slots=True)
class _Part:
    """Some samples of an element."""

    place: int
    state: State
    x: Tensor  # (sample, feature)
    y: Tensor  # (sample,)


def evaluate(elements: Sequence[Element], *, architecture: Architecture) -> list[Evaluation | Exception]:
    """Evaluate networks side by side, or one on many views; see ``arithmetic.evaluate``."""
    shape = layout(architecture)
    results: list[Evaluation | Exception] = [Evaluation(0, 0.0, 0)] * len(elements)
    parts: dict[int, list[_Part]] = {}
    for given in _checked(shape, elements, results):
        for x, y in given.samples:
            flat = x if x.dim() == 2 else x.flatten(1)
            for start in range(0, y.size(0), EVALUATION_ROWS):
                rows = slice(start, start + EVALUATION_ROWS)
                part = _Part(given.place, given.state, flat[rows], y[rows])
                parts.setdefault(_filled(part.y.size(0)), []).append(part)
    with torch.inference_mode():
        rows_at_a_time = _ROWS_AT_A_TIME.get(current().type, 1)
        for filled, alike in parts.items():
            at_a_time = max(1, rows_at_a_time // filled)
            for first in range(0, len(alike), at_a_time):
                some = alike[first : first + at_a_time]
                for part, correct, loss_sum in zip(some, *_scores(shape, some, filled), strict=True):
                    before = results[part.place]
                    assert isinstance(before, Evaluation)
                    results[part.place] = Evaluation(
                        before.correct + correct, before.loss_sum + loss_sum, before.samples + part.y.size(0)
                    )
    return results


def _scores(shape: Layout, parts: Sequence[_Part], rows: int) -> tuple[list[int], list[float]]:
    """How many samples of each part are right, and their summed cross-entropy."""
    zeros, none = torch.zeros(rows, shape.features), torch.full((rows,), -1)
    xs, ys = [], []
    for part in parts:
        xs.append(part.x)
        ys.append(part.y)
        if missing := rows - part.y.size(0):
            xs.append(zeros[:missing])
            ys.append(none[:missing])
    x, y = put(torch.cat(xs)).view(len(parts), rows, -1), put(torch.cat(ys)).view(len(parts), rows)
    for name, bias in zip(shape.weights[:-1], shape.biases[:-1], strict=True):
        weight = _side_by_side(parts, name)
        x = torch.baddbmm(_side_by_side(parts, bias).unsqueeze(1), x, weight.transpose(1, 2)).relu_()
    weight, offset = _side_by_side(parts, shape.weights[-1]), _side_by_side(parts, shape.biases[-1])
    logits = torch.baddbmm(offset.unsqueeze(2), weight, x.transpose(1, 2))  # (part, class, row), as in training
    correct = (logits.transpose(1, 2).contiguous().argmax(2) == y).sum(1)
    losses = logits.log_softmax(1).gather(1, y.clamp(min=0).unsqueeze(1)).squeeze(1)
    sums = -np.where((y >= 0).cpu().numpy(), losses.cpu().numpy(), 0.0).sum(1, dtype=np.float64)
    return correct.cpu().tolist(), sums.tolist()


def _side_by_side(parts: Sequence[_Part], name: str) -> Tensor:
    first = parts[0].state[name]
    if all(part.state[name] is first for part in parts):
        return put(first).expand(len(parts), *first.shape)
    return put(torch.stack([part.state[name] for part in parts]))

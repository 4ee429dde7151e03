"""Fully connected networks trained side by side: one batched matrix product a layer moves all of them.

Every network is an element of a stack; ``torch.bmm`` computes each with the arithmetic that it would use for it alone.
A batch of samples is filled up with rows of zeros, as many as its own number of samples asks for. So the bits of an
element depend on that element: not on what stands beside it, nor on how many.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from math import isfinite, nan
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..models import Architecture, State
from .batching import batches
from .filled import Filled, filled_up, joined
from .function import Element
from .layout import Layout, layout, sound
from .members import Stack, Weights
from .placement import current, put
from .stacked_optimizers import StackedOptimizer, stacked_optimizer
from .trained import Trained

_threshold_backward = torch.ops.aten.threshold_backward.default  # what autograd calls for ReLU


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

    Where all samples of a job are one batch, their order makes no difference but for rounding: they are not shuffled.

    Raises
    ------
    ValueError
        Accumulation, only some of the parameters, or a recipe: such jobs are not fused.
    """
    if accumulate != 1 or trainable is not None or recipe is not None:
        raise ValueError("networks side by side are trained as wholes, without accumulation and without a recipe")
    shape = layout(architecture)
    mover = stacked_optimizer(optimizer, learning_rate, weight_decay)
    results: list[Trained | Exception] = [Trained({}, nan, 0)] * len(elements)
    jobs: list[_Job] = []
    for given in sound(shape, elements, results):
        if given.views and epochs:
            assert given.seed is not None
            jobs.append(_Job(given.place, given.state, joined(given.views), given.seed))
        else:
            results[given.place] = Trained(cast("State", given.state), nan, 0)
    if jobs:
        jobs.sort(key=lambda job: -job.rows.samples)  # whose batches are of one size stand together, at every step
        plan = _plan(tuple([job.rows.samples for job in jobs]), batch_size, str(current()))
        with torch.inference_mode():
            stack = _Stack(shape, jobs, plan, mover)
            for epoch in range(epochs):
                stack.train_epoch(epoch)
        for job, result in zip(jobs, stack.results(epochs), strict=True):
            results[job.place] = result
    return results


class _Job(NamedTuple):
    """An element of a stack that is trained."""

    place: int
    state: Weights
    rows: Filled
    seed: int


# What is computed when, which follows from the numbers of samples --------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """Neighbours in a stack whose batches fill up to the same number of rows at one step.

    Attributes
    ----------
    jobs
        Their places in the stack.
    rows
        How many rows a batch has.
    shares
        (job, 1, row): of a row in the mean loss; 0 where it is filled up.
    minus_one
        (job, 1, row).
    first
        The row of all samples where theirs begin, which lie one after the other; None where some job is shuffled.
    """

    jobs: slice
    rows: int
    shares: Tensor
    minus_one: Tensor
    first: int | None


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """Steps of an epoch of jobs with so many samples each.

    Attributes
    ----------
    steps
        What is computed at each step.
    counts
        How many steps each job has.
    shares
        (job, step): of a batch in its job's samples.
    shuffled
        Jobs that have more than one batch: where order matters.
    rows
        (job, step, row): for each row of a batch the row of all samples that it is, unless it is shuffled. All samples
        stand one after the other as they are filled up, and a row of zeros after them.
    places
        Of the samples of shuffled jobs in ``rows``, flat.
    begins
        For each of them the row of all samples where its job's begin.
    """

    steps: tuple[tuple[_Run, ...], ...]
    counts: list[int]
    shares: npt.NDArray[np.float64]
    shuffled: tuple[int, ...]
    rows: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]
    begins: npt.NDArray[np.int64]


@lru_cache(maxsize=16)
def _plan(counts: tuple[int, ...], batch_size: int, device: str) -> _Plan:
    """Plan an epoch of jobs with so many samples each, falling; tensors are put on the device of the job."""
    cuts = [batches(count, batch_size) for count in counts]
    sizes = np.zeros((len(counts), len(cuts[0])), np.int64)
    begins = np.cumsum([0, *map(filled_up, counts)])
    widest = filled_up(max(stop - start for cut in cuts for start, stop in cut))
    rows = np.full((*sizes.shape, widest), begins[-1])
    places: list[npt.NDArray[np.int64]] = []
    shuffled = tuple(job for job, cut in enumerate(cuts) if len(cut) > 1)
    for job, cut in enumerate(cuts):
        for step, (start, stop) in enumerate(cut):
            sizes[job, step] = stop - start
            rows[job, step, : stop - start] = np.arange(begins[job] + start, begins[job] + stop)
            if len(cut) > 1:
                first = (job * sizes.shape[1] + step) * widest
                places.append(np.arange(first, first + stop - start))
    steps = tuple(tuple(_runs(sizes[:, step], begins, len(shuffled))) for step in range(sizes.shape[1]))
    return _Plan(
        steps,
        [len(cut) for cut in cuts],
        sizes / np.array(counts)[:, None],
        shuffled,
        rows,
        np.concatenate(places) if places else np.empty(0, np.int64),
        np.repeat(begins[:-1][list(shuffled)], [counts[job] for job in shuffled]),
    )


def _runs(sizes: npt.NDArray[np.int64], begins: npt.NDArray[np.int64], shuffled: int) -> Iterator[_Run]:
    """The runs of a step, of which each job has a batch of some size; the first jobs are shuffled."""
    first = 0
    for rows, same in groupby(filled_up(size) for size in sizes.tolist()):
        last = first + len(list(same))
        if rows:
            own = sizes[first:last, None, None]
            shares = put(torch.from_numpy(((np.arange(rows) < own) / own).astype(np.float32)))
            begin = None if first < shuffled else int(begins[first])
            yield _Run(slice(first, last), rows, shares, torch.full_like(shares, -1.0), begin)
        first = last


# The arithmetic -----------------------------------------------------------------------------------------------------


class _Now(NamedTuple):
    """A run and the parts of a stack that it is about."""

    run: _Run
    weights: list[Tensor]  # (job, out, in)
    transposed: list[Tensor]  # (job, in, out)
    biases: list[Tensor]  # (job, 1, out)


class _Stack:
    """Networks that are trained together, those with the most samples first."""

    def __init__(self, shape: Layout, jobs: Sequence[_Job], plan: _Plan, mover: StackedOptimizer) -> None:
        self._shape = shape
        self._jobs = jobs
        self._plan = plan
        self._mover = mover
        self._stacks = shape.stacked([job.state for job in jobs], own=True)
        self._losses = np.zeros(plan.shares.shape)  # (job, step), of the last epoch
        self._diverged: dict[int, Trained] = {}
        xs, ys = [job.rows.x for job in jobs], [job.rows.y for job in jobs]
        if plan.shuffled:
            self._shufflers = [torch.Generator().manual_seed(jobs[place].seed) for place in plan.shuffled]
            self._rows = plan.rows.copy()
            xs.append(xs[0].new_zeros(1, shape.features))
            ys.append(ys[0].new_zeros(1))
        self._x = put(torch.cat(xs))  # (row of all samples, feature)
        self._y = put(torch.cat(ys))
        self._steps = [[self._now(run) for run in runs] for runs in plan.steps]
        mover.begin(self._stacks, plan.counts)

    def train_epoch(self, epoch: int) -> None:
        """Train every network on all of its samples once."""
        plan = self._plan
        if plan.shuffled:
            drawn = zip(plan.shuffled, self._shufflers, strict=True)
            orders = [torch.randperm(self._jobs[place].rows.samples, generator=lots).numpy() for place, lots in drawn]
            self._rows.reshape(-1)[plan.places] = np.concatenate(orders) + plan.begins
        for step, runs in enumerate(self._steps):
            for now in runs:
                jobs = now.run.jobs
                self._losses[jobs, step] = self._step(now, epoch, step)

    def results(self, epochs: int) -> Iterator[Trained]:
        """What each network has become."""
        tensors = [tensor.cpu() for tensor in self._stacks]
        tensors[1::2] = [bias.squeeze(1) for bias in tensors[1::2]]
        finite = isfinite(sum([float(tensor.sum()) for tensor in tensors]))
        stack = Stack(dict(zip(self._shape.names, tensors, strict=True)))
        # One after the other: sums of NumPy's depend in their last bits on how many zeros follow.
        losses = ((self._losses * self._plan.shares).cumsum(1)[:, -1] + 0.0).tolist()  # -0.0 becomes 0.0
        for place, loss in enumerate(losses):
            if (stopped := self._diverged.get(place)) is not None:
                # Out of inference mode a copy is a tensor that autograd takes, as are the copies of a member.
                yield replace(stopped, state={name: tensor.clone() for name, tensor in stopped.state.items()})
                continue
            state = cast("State", stack.member(place))  # it is read like one
            sound = finite or all(bool(tensor.isfinite().all()) for tensor in state.values())
            yield Trained(state, loss, epochs * self._plan.counts[place], diverged=not sound)

    def _now(self, run: _Run) -> _Now:
        stacks = self._stacks
        if run.jobs.stop - run.jobs.start < len(self._jobs):
            stacks = [stack[run.jobs] for stack in stacks]
        weights = stacks[::2]
        return _Now(run, weights, [weight.transpose(1, 2) for weight in weights], stacks[1::2])

    def _samples(self, run: _Run, step: int) -> tuple[Tensor, Tensor]:
        """Samples (job, row, feature) and labels (job, 1, row) of the batches of a run."""
        jobs = run.jobs.stop - run.jobs.start
        if run.first is None:
            rows = self._rows[run.jobs, step, : run.rows].reshape(-1)
            chosen = put(torch.from_numpy(rows))
            x, y = self._x.index_select(0, chosen), self._y.index_select(0, chosen)
        else:
            x, y = (rows.narrow(0, run.first, jobs * run.rows) for rows in (self._x, self._y))
        return x.view(jobs, run.rows, -1), y.view(jobs, 1, run.rows)

    def _step(self, now: _Now, epoch: int, step: int) -> npt.NDArray[np.float32]:
        """One optimizer step of the jobs of a run; their mean losses."""
        run, weights, transposed, biases = now
        x, y = self._samples(run, step)
        activations = [x]  # (job, row, feature)
        for weight, bias in zip(transposed[:-1], biases[:-1], strict=True):
            activations.append(torch.baddbmm(bias, activations[-1], weight).relu_())
        # (job, class, row): over rows that lie side by side the softmax takes a tenth of the time.
        logits = torch.baddbmm(biases[-1].transpose(1, 2), weights[-1], activations[-1].transpose(1, 2))
        log_probabilities = logits.log_softmax(1)
        picked = log_probabilities.gather(1, y)
        losses: npt.NDArray[np.float32] = -(picked * run.shares).squeeze(1).cpu().numpy().sum(1)
        if not isfinite(losses.sum()):
            self._stop(run.jobs, losses, epoch, step)
        slope = log_probabilities.exp_()  # of the mean loss by the logits
        slope.scatter_add_(1, y, run.minus_one)
        slope *= run.shares
        mover = self._mover
        mover.next(run.jobs, epoch, step)
        slope = slope.transpose(1, 2)  # (job, row, class)
        for layer in range(len(weights) - 1, -1, -1):
            below = None
            if layer:
                below = _threshold_backward(torch.bmm(slope, weights[layer]), activations[layer], 0)
            mover.move_by_product(2 * layer, slope.transpose(1, 2), activations[layer])
            mover.move(2 * layer + 1, slope.sum(1, keepdim=True))
            if below is not None:
                slope = below
        return losses

    def _stop(self, run: slice, losses: npt.NDArray[np.float32], epoch: int, step: int) -> None:
        """Keep what jobs were before a loss that is no number; what becomes of their places in the stack is of no
        interest."""
        for offset in np.flatnonzero(~np.isfinite(losses)).tolist():
            place = run.start + offset
            if place not in self._diverged:
                steps = epoch * self._plan.counts[place] + step
                self._diverged[place] = Trained(self._state(place), nan, steps, diverged=True)

    def _state(self, place: int) -> State:
        tensors = [stack[place].to("cpu", copy=True) for stack in self._stacks]
        tensors[1::2] = [bias.squeeze(0) for bias in tensors[1::2]]
        return dict(zip(self._shape.names, tensors, strict=True))

"""SGD, momentum and Adam for networks side by side: the formulas of ``optimizers``, element by element of a stack."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from math import sqrt
from typing import final

import torch
from torch import Tensor

from .optimizers import ADAM_BETAS, ADAM_EPSILON, MOMENTUM
from .placement import put


class StackedOptimizer(abc.ABC):
    """Moves stacked parameters (job, ...), a run of jobs at a time. Without autograd."""

    @abc.abstractmethod
    def begin(self, parameters: Sequence[Tensor], steps: Sequence[int]) -> None:
        """Start without a history: the parameters to move, and how many steps an epoch has for each job."""

    @abc.abstractmethod
    def next(self, run: slice, epoch: int, step: int) -> None:
        """What follows is a step of these jobs, of that number in that epoch."""

    @abc.abstractmethod
    def move(self, place: int, gradient: Tensor) -> None:
        """Move the parameter at a place by its gradient."""

    @abc.abstractmethod
    def move_by_product(self, place: int, left: Tensor, right: Tensor) -> None:
        """Move the parameter at a place by a gradient that is a batched matrix product."""


def stacked_optimizer(name: str, learning_rate: float, weight_decay: float) -> StackedOptimizer:
    """Make an optimizer for networks side by side; see ``optimizers.optimizer``."""
    if not learning_rate >= 0 or not weight_decay >= 0:
        raise ValueError(f"learning rate {learning_rate} and weight decay {weight_decay} must be at least 0")
    match name:
        case "sgd":
            return _SGD(learning_rate, weight_decay, momentum=0.0)
        case "momentum":
            return _SGD(learning_rate, weight_decay, momentum=MOMENTUM)
        case "adam":
            return _Adam(learning_rate, weight_decay)
    raise ValueError(f"there is no optimizer {name!r}; known: sgd, momentum, adam")


@final
class _Runs:
    """Stacked tensors, and their parts for each run of jobs, which come back at every epoch."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tensors = tensors
        self._parts: dict[tuple[int, int], list[Tensor]] = {}

    def of(self, run: slice) -> list[Tensor]:
        """The part of each tensor."""
        key = run.start, run.stop
        if key not in self._parts:
            self._parts[key] = [tensor[run] for tensor in self._tensors]
        return self._parts[key]


@final
class _SGD(StackedOptimizer):
    def __init__(self, learning_rate: float, weight_decay: float, momentum: float) -> None:
        self._learning_rate = learning_rate
        self._weight_decay = weight_decay
        self._momentum = momentum

    def begin(self, parameters: Sequence[Tensor], steps: Sequence[int]) -> None:
        self._parameters = _Runs(parameters)
        self._velocity = _Runs([torch.zeros_like(parameter) for parameter in parameters] if self._momentum else [])

    def next(self, run: slice, epoch: int, step: int) -> None:
        self._now = self._parameters.of(run)
        self._velocity_now = self._velocity.of(run)

    def move(self, place: int, gradient: Tensor) -> None:
        parameter = self._now[place]
        if self._weight_decay:
            gradient = gradient.add(parameter, alpha=self._weight_decay)
        if self._momentum:
            gradient = self._velocity_now[place].mul_(self._momentum).add_(gradient)
        parameter.add_(gradient, alpha=-self._learning_rate)

    def move_by_product(self, place: int, left: Tensor, right: Tensor) -> None:
        if self._momentum or self._weight_decay:
            self.move(place, torch.bmm(left, right))
        else:  # plain: the product is added where it is made
            self._now[place].baddbmm_(left, right, alpha=-self._learning_rate)


@final
class _Adam(StackedOptimizer):
    def __init__(self, learning_rate: float, weight_decay: float) -> None:
        self._learning_rate = learning_rate
        self._weight_decay = weight_decay

    def begin(self, parameters: Sequence[Tensor], steps: Sequence[int]) -> None:
        self._parameters = _Runs(parameters)
        self._steps = steps
        self._mean = _Runs([torch.zeros_like(parameter) for parameter in parameters])
        self._square = _Runs([torch.zeros_like(parameter) for parameter in parameters])

    def next(self, run: slice, epoch: int, step: int) -> None:
        self._now, self._mean_now, self._square_now = self._parameters.of(run), self._mean.of(run), self._square.of(run)
        first, second = ADAM_BETAS
        done = [epoch * steps + step + 1 for steps in self._steps[run]]  # jobs with fewer samples have made fewer
        self._scale = put(torch.tensor([sqrt(1 - second**count) for count in done]))[:, None, None]
        self._rate = put(torch.tensor([-self._learning_rate / (1 - first**count) for count in done]))[:, None, None]

    def move(self, place: int, gradient: Tensor) -> None:
        parameter = self._now[place]
        if self._weight_decay:
            gradient = gradient.add(parameter, alpha=self._weight_decay)
        first, second = ADAM_BETAS
        mean, square = self._mean_now[place], self._square_now[place]
        mean.lerp_(gradient, 1 - first)
        square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        scale = square.sqrt().div_(self._scale).add_(ADAM_EPSILON)
        parameter.addcdiv_(mean * self._rate, scale)

    def move_by_product(self, place: int, left: Tensor, right: Tensor) -> None:
        self.move(place, torch.bmm(left, right))

"""SGD, momentum and Adam as functions of lists of tensors: the formulas of ``torch.optim``.

Not ``torch.optim`` itself: making its first optimizer takes a second, because it imports torch's compiler.
"""

from __future__ import annotations

from math import sqrt
from typing import Protocol, final

import torch
from torch import Tensor

MOMENTUM = 0.9
ADAM_BETAS = (0.9, 0.999)  # Kingma and Ba 2015, the defaults of torch.optim.Adam
ADAM_EPSILON = 1e-8


class Optimizer(Protocol):
    """Changes parameters in place, one step at a time."""

    def step(self, gradients: list[Tensor], pace: float = 1.0) -> None:
        """Move the parameters by these gradients, one for each, of the same shape. Without autograd.

        ``pace`` is the step size of this step over the one that the optimizer was made with.
        """


def optimizer(name: str, parameters: list[Tensor], *, learning_rate: float, weight_decay: float = 0.0) -> Optimizer:
    """Make an optimizer that moves ``parameters``.

    Parameters
    ----------
    name
        ``sgd``, ``momentum`` (0.9) or ``adam``.
    parameters
        Tensors; changed by each step.
    learning_rate
        At least 0.
    weight_decay
        What of a parameter is added to its gradient, at least 0 (an L2 penalty, as in ``torch.optim``).

    Raises
    ------
    ValueError
        There is no such optimizer, or a number is negative.
    """
    if not learning_rate >= 0 or not weight_decay >= 0:
        raise ValueError(f"learning rate {learning_rate} and weight decay {weight_decay} must be at least 0")
    match name:
        case "sgd":
            return _SGD(parameters, learning_rate, weight_decay, momentum=0.0)
        case "momentum":
            return _SGD(parameters, learning_rate, weight_decay, momentum=MOMENTUM)
        case "adam":
            return _Adam(parameters, learning_rate, weight_decay)
    raise ValueError(f"there is no optimizer {name!r}; known: sgd, momentum, adam")


@final
class _SGD:
    def __init__(self, parameters: list[Tensor], learning_rate: float, weight_decay: float, momentum: float) -> None:
        self._parameters = parameters
        self._learning_rate = learning_rate
        self._weight_decay = weight_decay
        self._momentum = momentum
        self._velocity: list[Tensor] = []

    @torch.no_grad()
    def step(self, gradients: list[Tensor], pace: float = 1.0) -> None:
        direction = _decayed(gradients, self._parameters, self._weight_decay)
        if self._momentum:
            if self._velocity:
                torch._foreach_mul_(self._velocity, self._momentum)
                torch._foreach_add_(self._velocity, direction)
            else:
                self._velocity = [gradient.clone() for gradient in direction]
            direction = self._velocity
        torch._foreach_add_(self._parameters, direction, alpha=-self._learning_rate * pace)


@final
class _Adam:
    def __init__(self, parameters: list[Tensor], learning_rate: float, weight_decay: float) -> None:
        self._parameters = parameters
        self._learning_rate = learning_rate
        self._weight_decay = weight_decay
        self._steps = 0
        self._mean = [torch.zeros_like(parameter) for parameter in parameters]
        self._square = [torch.zeros_like(parameter) for parameter in parameters]

    @torch.no_grad()
    def step(self, gradients: list[Tensor], pace: float = 1.0) -> None:
        gradients = _decayed(gradients, self._parameters, self._weight_decay)
        self._steps += 1
        first, second = ADAM_BETAS
        torch._foreach_lerp_(self._mean, gradients, 1 - first)
        torch._foreach_mul_(self._square, second)
        torch._foreach_addcmul_(self._square, gradients, gradients, 1 - second)
        scale = torch._foreach_sqrt(self._square)
        torch._foreach_div_(scale, sqrt(1 - second**self._steps))
        torch._foreach_add_(scale, ADAM_EPSILON)
        step = -self._learning_rate * pace / (1 - first**self._steps)
        torch._foreach_addcdiv_(self._parameters, self._mean, scale, step)


def _decayed(gradients: list[Tensor], parameters: list[Tensor], weight_decay: float) -> list[Tensor]:
    return list(torch._foreach_add(gradients, parameters, alpha=weight_decay)) if weight_decay else gradients

"""What training and evaluation give."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import ClassVar

from ..models import State


@dataclass(frozen=True, slots=True)
class Trained:
    """What training gives.

    Attributes
    ----------
    state
        The weights.
    loss
        Mean loss over the samples of the last epoch, while they were trained on; NaN without samples or
        epochs, and where training diverged.
    steps
        Optimizer steps made.
    diverged
        Whether the loss or a weight became infinite or NaN. Training stops at the first such loss.
    """

    state: State
    loss: float
    steps: int
    diverged: bool = False

    @property
    def outcome(self) -> tuple[float, bool]:
        """What tables tell of it: ``loss`` and ``diverged``."""
        return self.loss, self.diverged


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How good a model is on some samples: sums, so that several can be added up.

    Attributes
    ----------
    correct
        Samples whose class got the largest logit.
    loss_sum
        Cross-entropy, summed over the samples.
    samples
        How many there were.
    """

    nbytes: ClassVar[int] = 0
    """Of tensors and arrays."""

    correct: int
    loss_sum: float
    samples: int

    @property
    def accuracy(self) -> float:
        """Share of correct samples; NaN without samples."""
        return self.correct / self.samples if self.samples else nan

    @property
    def loss(self) -> float:
        """Mean cross-entropy; NaN without samples."""
        return self.loss_sum / self.samples if self.samples else nan


def weights(state: State | Trained) -> State:
    """The weights, of themselves or of what training gave."""
    return state.state if isinstance(state, Trained) else state

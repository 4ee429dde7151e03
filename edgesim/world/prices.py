"""What models and trainings cost in one world: looked up, since every device asks for the same again and again.

By identity: an architecture and its settings are worked out once, and hashing them would cost as much as an event.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from .. import models
from ..jobs import steps

if TYPE_CHECKING:
    from ..jobs import Kind
    from ..models import Architecture
    from ..models.costs import Cost
    from .training import Training

MOST = 4096
"""Of each kind that are remembered, then all are forgotten: a learner may ask for ever new ones."""


class ModelPrice(NamedTuple):
    """What a model costs.

    Attributes
    ----------
    architecture
        The model's.
    cost
        To compute with.
    wire_bytes
        On the wire, as the scenario's codec packs it.
    """

    architecture: Architecture
    cost: Cost
    wire_bytes: int


@dataclass(slots=True, eq=False)
class TrainingPrice:
    """What a training costs on any device.

    Attributes
    ----------
    architecture, how
        Of which model, and how.
    flops
        Of all epochs.
    memory_bytes
        The framework's own not among them.
    steps
        Of the optimizer, each counted as often as it is cut into smaller batches.
    batch_size
        Samples that go through the network at a time.
    kind
        Of the jobs of plain training; worked out with the first of them.
    """

    architecture: Architecture
    how: Training
    flops: float
    memory_bytes: int
    steps: int
    batch_size: int
    kind: Kind | None = None


class Prices:
    """Looks up costs.

    Parameters
    ----------
    codec
        Of weights on the wire.
    """

    __slots__ = ("_codec", "_models", "_trainings")

    def __init__(self, codec: str) -> None:
        self._codec = codec
        self._models: dict[int, ModelPrice] = {}  # what is in them is kept, so its id stays its own
        self._trainings: dict[tuple[int, int, int], TrainingPrice] = {}

    def model(self, architecture: Architecture) -> ModelPrice:
        """What a model costs."""
        price = self._models.get(id(architecture))
        if price is None:
            if len(self._models) >= MOST:
                self._models.clear()
            wire_bytes = models.weight_bytes(architecture, self._codec)
            price = ModelPrice(architecture, models.cost(architecture), wire_bytes)
            self._models[id(architecture)] = price
        return price

    def training(self, architecture: Architecture, how: Training, samples: int) -> TrainingPrice:
        """What it costs to train a model on so many samples."""
        key = (id(architecture), id(how), samples)
        price = self._trainings.get(key)
        if price is None:
            if len(self._trainings) >= MOST:
                self._trainings.clear()
            cost = self.model(architecture).cost
            price = self._trainings[key] = TrainingPrice(
                architecture,
                how,
                how.epochs * samples * cost.train_flops_per_sample,
                cost.training_memory_bytes(how.largest_of(samples), how.optimizer),
                steps(samples, how.batch_size, how.epochs, how.accumulate),
                how.micro_batch_size,
            )
        return price

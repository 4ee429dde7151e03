"""On-device adaptation: each device fine-tunes its own model on its own data and sends nothing."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from edgesim import Learner, TrainingParams, Trigger, VerbFailure, minutes
from edgesim.scenario import Seconds

if TYPE_CHECKING:
    from edgesim import Device, Event, Model, Samples, World


class OnDevice(Learner):
    """Each device fine-tunes its own model on the labelled samples in its buffer; no bytes leave it."""

    class Params(TrainingParams):
        """What can be chosen."""

        trigger: Trigger = Field(
            Trigger(every=minutes(5)),
            description="When a device adapts: {every: 5 min}, {detector: adwin}, or `drift`, the true instant.",
        )
        collect: Seconds = Field(0.0, description="Wait after the trigger, to collect samples first.")
        epochs: int = Field(5, ge=1, description="Passes over the samples in the buffer.")
        start_from: Literal["current", "pretrained"] = Field(
            "current", description="Fine-tune the model that serves now, or the pretrained one."
        )

    params: Params

    @property
    def oracle(self) -> bool:
        """Whether devices are woken at the true instant of a drift."""
        return self.params.trigger.oracle

    @property
    def needs_values(self) -> bool:
        """Whether a detector reads the models' errors."""
        return self.params.trigger.needs_values

    def run(self, world: World) -> Generator[Event, Any, None]:
        """Every device lives on its own."""
        trigger, collect_s = self.params.trigger, self.params.collect
        yield world.gather(
            world.process(
                trigger.act(world, device, partial(self._adapt, world, device, device.model), collect_s=collect_s)
            )
            for device in world.devices
        )

    def _adapt(self, world: World, device: Device, pretrained: Model) -> Generator[Event, Any, bool]:
        samples = device.samples()
        if not len(samples):
            return False
        start = device.model if self.params.start_from == "current" else pretrained
        try:
            yield from fine_tune(world, device, start, samples, self.params.epochs)
        except VerbFailure:
            return False  # its row says what happened; the device goes on serving what it has
        return True


def fine_tune(
    world: World, device: Device, start: Model, samples: Samples, epochs: int
) -> Generator[Event, Any, Model]:
    """Train a model on a device, in batches that fit into its memory, and serve with the result."""
    accumulate = fitting_accumulation(device, start, world.training.batch_size)
    model: Model = yield device.train(start, samples, epochs=epochs, accumulate=accumulate)
    yield device.deploy(model)
    return model


def fitting_accumulation(device: Device, model: Model, batch_size: int) -> int:
    """How many smaller batches make one step that fits into the device's memory now: 1, 2, 4, ..., ``batch_size``.

    Where not even single samples fit, training is tried with single samples and refused by the device.
    """
    free_bytes = device.free_memory_bytes

    def fits(accumulate: int) -> bool:
        return device.training_memory_bytes(model, accumulate=accumulate) <= free_bytes

    return least_accumulation(fits, batch_size)


def least_accumulation(fits: Callable[[int], bool], batch_size: int) -> int:
    """The first of 1, 2, 4, ..., ``batch_size`` smaller batches a step that fits; ``batch_size`` where none does."""
    accumulate = 1
    while accumulate < batch_size and not fits(accumulate):
        accumulate = min(2 * accumulate, batch_size)
    return accumulate

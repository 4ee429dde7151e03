"""Cloud-only adaptation: raw samples go up, the cloud retrains, and fresh weights come down or serve from there."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from edgesim import Disconnected, Learner, TrainingParams, Trigger, VerbFailure, minutes
from edgesim.scenario import PositiveSeconds, Seconds
from edgesim.scenario.findings import wrong

if TYPE_CHECKING:
    from edgesim import Device, Event, Model, Samples, World


class CloudOnly(Learner):
    """Raw samples go up at their real size, the cloud retrains one model on them, fresh weights come down.

    With ``serve: cloud`` no weights come down: every inference request goes up instead, and its answer comes back.
    """

    class Params(TrainingParams):
        """What can be chosen."""

        period: PositiveSeconds = Field(minutes(5), description="Time between two rounds of collecting and retraining.")
        trigger: Trigger | None = Field(
            None, description="Start a round when any device's trigger fires, instead of every `period`."
        )
        collect: Seconds = Field(0.0, description="Wait after a trigger, to collect samples first.")
        epochs: int = Field(3, ge=1, description="Passes over the collected samples, a round.")
        keep: Literal["all", "latest"] = Field(
            "all",
            description="Train on all samples collected so far, or on each device's latest upload only.",
        )
        deadline: PositiveSeconds | None = Field(
            None,
            description="How long a round waits for uploads and downloads; late ones go on. By default the period.",
        )
        serve: Literal["device", "cloud"] = Field("device", description="Where inference requests are answered.")

        @model_validator(mode="after")
        def _a_model_to_watch(self) -> Self:
            if self.serve == "cloud" and self.trigger is not None and self.trigger.detector is not None:
                raise wrong(
                    "a detector watches the model on the device; with `serve: cloud` there is none", ("trigger",)
                )
            return self

    params: Params

    @property
    def oracle(self) -> bool:
        """Whether rounds start at the true instant of a drift."""
        return self.params.trigger is not None and self.params.trigger.oracle

    @property
    def needs_values(self) -> bool:
        """Whether detectors read the models' errors."""
        return self.params.trigger is not None and self.params.trigger.needs_values

    def run(self, world: World) -> Generator[Event, Any, None]:
        """Collect, retrain, distribute, for ever."""
        deadline_s = self.params.deadline or self.params.period
        cloud = _Cloud(world.initial, world.initial)
        if self.params.serve == "cloud":
            world.cloud.serve(cloud.model)
        alarms = None if self.params.trigger is None else self.params.trigger.watch_all(world)
        failures = 0
        while True:
            if alarms is None:
                yield world.sleep_to_multiple(self.params.period)
            else:
                yield alarms.next(failures)
                yield world.sleep(self.params.collect)
                alarms.forget()  # this round is about them
            free = [device for device in world.devices if device not in cloud.busy]
            yield world.gather(
                (world.process(self._collect(world, device, cloud)) for device in free), deadline_s=deadline_s
            )
            trained = yield from self._train(world, cloud)
            failures = 0 if trained else failures + 1
            if self.params.serve == "cloud":
                continue
            free = [device for device in world.devices if device not in cloud.busy]
            if not trained:  # whoever missed the model before
                free = [device for device in free if device.online and cloud.lacks(device)]
            if free:
                yield world.gather(
                    (world.process(self._update(device, cloud)) for device in free), deadline_s=deadline_s
                )

    def _collect(self, world: World, device: Device, cloud: _Cloud) -> Generator[Event, Any, None]:
        """Upload what is new."""
        samples = device.new_samples()
        if not len(samples):
            return
        before = cloud.model
        cloud.busy.add(device)
        try:
            yield device.upload(samples)
            has_arrived = True
        except Disconnected:
            has_arrived = False  # they are still new next time
        cloud.busy.discard(device)
        if cloud.model is not before and self.params.serve == "device":
            world.process(self._update(device, cloud))  # it was at work when all others got it
        if not has_arrived:
            return
        if self.params.keep == "latest":
            cloud.received[device.name] = []
        cloud.received.setdefault(device.name, []).append(samples)
        cloud.has_new = True

    def _train(self, world: World, cloud: _Cloud) -> Generator[Event, Any, bool]:
        """Retrain where samples have come since the last time, late ones of earlier rounds too; whether it did."""
        if not cloud.has_new:
            return False
        samples = [part for uploads in cloud.received.values() for part in uploads]
        cloud.has_new = False
        try:
            cloud.model = yield world.cloud.train(cloud.model, samples, epochs=self.params.epochs)
        except VerbFailure:
            cloud.has_new = True
            return False
        if self.params.serve == "cloud":
            world.cloud.serve(cloud.model)
        return True

    def _update(self, device: Device, cloud: _Cloud) -> Generator[Event, Any, None]:
        model = cloud.model
        cloud.busy.add(device)
        try:
            yield device.download(model).then(device.deploy)
            cloud.holds[device] = model
        except VerbFailure:
            pass  # it keeps the model that it has
        finally:
            cloud.busy.discard(device)


@dataclass(slots=True)
class _Cloud:
    """What the cloud has and knows.

    Attributes
    ----------
    first
        The model that is everywhere at the start.
    model
        Its model now.
    received
        What each device has sent, by name.
    has_new
        Whether something has come since the last training.
    holds
        The model that it has brought to each device.
    busy
        Devices that are sending or receiving.
    """

    first: Model
    model: Model
    received: dict[str, list[Samples]] = field(default_factory=dict)
    has_new: bool = False
    holds: dict[Device, Model] = field(default_factory=dict)
    busy: set[Device] = field(default_factory=set)

    def lacks(self, device: Device) -> bool:
        """Whether a device has not got the cloud's model."""
        return self.holds.get(device, self.first) is not self.model

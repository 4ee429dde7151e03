"""Cloud-only adaptation: raw samples go up, the cloud retrains, and fresh weights come down or serve from there."""

from __future__ import annotations

from collections.abc import Generator
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
        received: dict[str, list[Samples]] = {}
        busy: set[Device] = set()
        model = world.initial
        if self.params.serve == "cloud":
            world.cloud.serve(model)
        alarms = None if self.params.trigger is None else self.params.trigger.watch_all(world)
        while True:
            if alarms is None:
                yield world.sleep_to_multiple(self.params.period)
            else:
                yield alarms.next()
                yield world.sleep(self.params.collect)
                alarms.forget()  # this round is about them
            free = [device for device in world.devices if device not in busy]
            arrived = yield world.gather(
                (world.process(self._collect(device, received, busy)) for device in free),
                deadline_s=deadline_s,
            )
            if not any(arrived):
                continue
            fresh = [samples for uploads in received.values() for samples in uploads]
            try:
                model = yield world.cloud.train(model, fresh, epochs=self.params.epochs)
            except VerbFailure:
                continue
            if self.params.serve == "cloud":
                world.cloud.serve(model)
                continue
            free = [device for device in world.devices if device not in busy]
            yield world.gather(
                (world.process(self._update(device, model, busy)) for device in free), deadline_s=deadline_s
            )

    def _collect(
        self, device: Device, received: dict[str, list[Samples]], busy: set[Device]
    ) -> Generator[Event, Any, int]:
        """Upload what is new; returns how many samples that were."""
        samples = device.new_samples()
        if not len(samples):
            return 0
        busy.add(device)
        try:
            yield device.upload(samples)
        except Disconnected:
            return 0  # they are still new next time
        finally:
            busy.discard(device)
        if self.params.keep == "latest":
            received[device.name] = []
        received.setdefault(device.name, []).append(samples)
        return len(samples)

    def _update(self, device: Device, model: Model, busy: set[Device]) -> Generator[Event, Any, None]:
        busy.add(device)
        try:
            yield device.download(model).then(device.deploy)
        except VerbFailure:
            pass  # it keeps the model that it has
        finally:
            busy.discard(device)

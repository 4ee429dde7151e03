"""Ideal: centralised retraining at no cost at the very instant of each drift. The upper bound that reports show.

Source: the cumulative, joint-training bound of continual learning (e.g. Lomonaco et al., Avalanche, CVPRW 2021), with
what an edge device's distribution adds to it: after training on everybody's samples together, a copy is fine-tuned for
each device on samples of its own present distribution. A bound for the scenario's model and this training, not a
theorem: more epochs or a larger model may beat it.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, final

from pydantic import Field

from edgesim import Device, Event, Learner, Model, TrainingParams, Trigger, World


@final
class Ideal(Learner):
    """Centralised retraining at no cost at the very instant of each drift, on fresh samples of every device."""

    class Params(TrainingParams):
        """What can be chosen."""

        samples: int = Field(200, ge=1, description="Fresh samples of each device's present distribution.")
        epochs: int = Field(3, ge=0, description="Passes over all devices' samples together.")
        own_epochs: int = Field(
            5, ge=0, description="Then passes over its own samples, for each device; 0: one model for all."
        )
        at_start: bool = Field(True, description="Do it at time 0 as well.")

    params: Params

    @property
    def oracle(self) -> bool:
        """It knows when drifts happen, and what to."""
        return True

    @property
    def ideal(self) -> bool:
        """Nothing that it does costs anything."""
        return True

    def run(self, world: World) -> Generator[Event, Any, None]:
        """Retrain and redistribute whenever anything drifts."""
        ideal = world.ideal
        known = {device: ideal.phase(device) for device in world.devices}
        drifts = Trigger.model_validate("drift").watch_all(world)
        everybody = self._retrain(world, world.initial, world.devices) if self.params.at_start else world.initial
        while True:
            yield drifts.next()
            yield world.sleep(0)  # for all that drift at this instant
            drifts.forget()
            drifted = [device for device in world.devices if ideal.phase(device) > known[device]]
            known.update({device: ideal.phase(device) for device in drifted})
            everybody = self._retrain(world, everybody, drifted)

    def _retrain(self, world: World, model: Model, served: Sequence[Device]) -> Model:
        """Train on everybody's samples, then for each device to serve on its own; gives the common model."""
        ideal = world.ideal
        fresh = {device: ideal.samples(device, self.params.samples) for device in world.devices}
        everybody = ideal.train(model, list(fresh.values()), epochs=self.params.epochs)
        for device in served:
            own = everybody
            if self.params.own_epochs:
                own = ideal.train(everybody, [fresh[device]], epochs=self.params.own_epochs)
            ideal.give(device, own)
        return everybody

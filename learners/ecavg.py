"""ECAvg: edge models are averaged in the cloud and fine-tuned there on the combined data.

Source: Edge-Cloud Averaging, arXiv 2310.03823 (ICCE 2024). The paper's five steps are the five lines of ``_round``;
what it does not state (epochs, optimizer, split) is a parameter here or in the scenario.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

import edgesim
from edgesim import Learner, TrainingParams, Trigger, VerbFailure
from edgesim.scenario import PositiveSeconds, Seconds
from edgesim.scenario.findings import wrong

from .on_device import fitting_accumulation

if TYPE_CHECKING:
    from edgesim import Device, Event, Model, Offline, Samples, World


class ECAvg(Learner):
    """Devices train on their own data; the cloud averages their models and fine-tunes on the combined data.

    1. each edge e trains a local model on its own data D_e; 2. it sends its weights w_e and D_e up;
    3. the cloud averages, w = (1/E) sum_e w_e; 4. it fine-tunes w on the union of the D_e;
    5. the edges replace their weights with the result.
    """

    class Params(TrainingParams):
        """What can be chosen."""

        edge_epochs: int = Field(3, ge=0, description="Passes over its own data on each device (step 1).")
        server_epochs: int = Field(3, ge=0, description="Passes over the combined data in the cloud (step 4).")
        init: Literal["average", "pretrained"] = Field(
            "average",
            description="What the cloud fine-tunes: the average of the edges, or the pretrained model (comparison).",
        )
        edge_start: Literal["pretrained", "shared", "separate"] = Field(
            "pretrained",
            description="What the edges start from: the pretrained model, one random model, or one each.",
        )
        at: Seconds = Field(0.0, description="When the (first) round starts.")
        every: PositiveSeconds | None = Field(None, description="Repeat after this time; by default one shot.")
        trigger: Trigger | None = Field(
            None, description="Repeat when any device's trigger fires, instead of `every` so often."
        )
        collect: Seconds = Field(0.0, description="Wait after a trigger, to collect samples first.")
        deadline: PositiveSeconds | None = Field(
            None,
            description="How long the cloud waits for the edges of a round; of later ones the data counts in the next "
            "round, the model does not. By default for all of them.",
        )

        @model_validator(mode="after")
        def _one_reason(self) -> Self:
            if self.every is not None and self.trigger is not None:
                raise wrong("`trigger` already says when to repeat; leave one of them out", ("every",))
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

    def prepare(self, offline: Offline) -> Model:
        """Serve the pretrained model at first, or an untrained one where the edges start from random weights."""
        if self.params.edge_start == "pretrained":
            return offline.pretrained()
        return offline.untrained()

    def run(self, world: World) -> Generator[Event, Any, None]:
        """One round, or one every so often; the server keeps the data that it has been sent."""
        yield world.sleep(self.params.at)
        combined: list[Samples] = []
        arrived: list[tuple[int, Samples]] = []
        edges = [_Edge(device, self._start(world, device)) for device in world.devices]
        alarms = None if self.params.trigger is None else self.params.trigger.watch_all(world)
        failures = 0
        for number in itertools.count(1):
            made = yield from self._round(world, number, edges, arrived, combined)
            failures = 0 if made else failures + 1
            if alarms is not None:
                yield alarms.next(failures)
                yield world.sleep(self.params.collect)
                alarms.forget()  # the next round is about them
            elif self.params.every is not None:
                yield world.sleep_to_multiple(self.params.every, offset_s=self.params.at)
            else:
                return

    def _round(
        self,
        world: World,
        number: int,
        edges: list[_Edge],
        arrived: list[tuple[int, Samples]],
        combined: list[Samples],
    ) -> Generator[Event, Any, bool]:
        """The five steps; whether the cloud has made a model."""
        sent = yield world.gather(
            (
                world.process(self._edge(world, edge, number, arrived))
                for edge in edges
                if not edge.busy and len(edge.device.samples())
            ),
            deadline_s=self.params.deadline,
        )
        combined += [samples for _, samples in sorted(arrived, key=operator.itemgetter(0))]
        arrived.clear()
        if not sent:
            return False
        try:
            if self.params.init == "average":
                server = yield world.cloud.average(sent)
            else:
                server = world.initial
            server = yield world.cloud.train(server, combined, epochs=self.params.server_epochs)
        except VerbFailure:
            return False
        yield world.gather(
            (world.process(self._replace(edge, server, number)) for edge in edges if not edge.receiving),
            deadline_s=self.params.deadline,
        )
        return True

    def _start(self, world: World, device: Device) -> Model:
        if self.params.edge_start == "separate":
            return world.untrained(device.name)
        return world.initial

    def _edge(
        self, world: World, edge: _Edge, number: int, arrived: list[tuple[int, Samples]]
    ) -> Generator[Event, Any, Model]:
        """Steps 1 and 2. What fails escapes; where the cloud waits no longer, the data arrives all the same."""
        device = edge.device
        samples = device.new_samples()
        edge.training = True
        try:
            accumulate = fitting_accumulation(device, edge.start, world.training.batch_size)
            model = yield device.train(edge.start, epochs=self.params.edge_epochs, accumulate=accumulate)
            if edge.replaced < number:
                yield device.deploy(model)
            bundle = yield device.upload(edgesim.Bundle((model, samples)))
        finally:
            edge.training = False
        model, samples = bundle.parts
        arrived.append((device.index, samples))
        return model  # type: ignore[no-any-return]  # a bundle's parts are what they were

    def _replace(self, edge: _Edge, server: Model, number: int) -> Generator[Event, Any, None]:
        """Step 5; also where the device's own work of this round is late: then it serves the server's model."""
        edge.receiving = True
        try:
            edge.start = yield edge.device.download(server).then(edge.device.deploy)
            edge.replaced = number
        except VerbFailure:
            return
        finally:
            edge.receiving = False


@dataclass(slots=True, eq=False)
class _Edge:
    """A device, and what it is at.

    Attributes
    ----------
    device
        The device.
    start
        What its next training starts from.
    replaced
        The round whose result it got last.
    training, receiving
        Whether it is at work for a round, its upload included, and whether a result is on its way.
    """

    device: Device
    start: Model
    replaced: int = 0
    training: bool = False
    receiving: bool = False

    @property
    def busy(self) -> bool:
        """Whether it is still at an earlier round."""
        return self.training or self.receiving

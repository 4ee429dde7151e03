"""Federated rounds: what FedAvg and its relatives share. The cloud samples devices, they train, the cloud merges.

Owns the protocol and its parameters; a paradigm adds what a device is given, how it trains and how updates are merged.
"""

from __future__ import annotations

import abc
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, final

from pydantic import Field

from edgesim import (
    Device,
    Event,
    Learner,
    Method,
    Model,
    Samples,
    TrainingParams,
    Trigger,
    Verb,
    VerbFailure,
    World,
    minutes,
)
from edgesim.scenario import PositiveSeconds, Seconds

from .on_device import fitting_accumulation


class FederatedParams(TrainingParams):
    """What can be chosen in every federated paradigm."""

    period: PositiveSeconds = Field(minutes(5), description="Time between the starts of two rounds.")
    trigger: Trigger | None = Field(
        None, description="Start when any device's trigger fires, instead of every `period`."
    )
    collect: Seconds = Field(0.0, description="Wait after a trigger, to collect samples first.")
    rounds: int = Field(1, ge=1, description="Rounds at each start, one after the other.")
    participants: int | None = Field(
        None,
        ge=1,
        description="Devices sampled a round, among those that are online, free and have labelled samples; by default "
        "all.",
    )
    epochs: int = Field(3, ge=1, description="Passes over its samples on each participant.")
    deadline: PositiveSeconds | None = Field(
        None,
        description="How long a round waits for updates, later ones are lost, and then for the new model to arrive. By "
        "default for all updates, and for the new model as long as `period`.",
    )
    quorum: int | None = Field(
        None, ge=1, description="Go on as soon as so many updates have come; later ones are lost."
    )
    distribute: Literal["all", "participants"] = Field(
        "all",
        description="Send each new model to all devices at once, or to participants only, when they are sampled.",
    )
    serve: Literal["global", "local"] = Field(
        "global", description="What a device serves: the cloud's model, or what it has trained itself."
    )


@final
@dataclass(frozen=True, slots=True)
class Update:
    """What a participant sent back.

    Attributes
    ----------
    device
        Who.
    model
        What it has trained.
    samples
        On what.
    """

    device: Device
    model: Model
    samples: Samples


class Federated(Learner):
    """Rounds of local training and merging in the cloud."""

    params: Any

    @property
    def oracle(self) -> bool:
        """Whether rounds start at the true instant of a drift."""
        return self.params.trigger is not None and bool(self.params.trigger.oracle)

    @property
    def needs_values(self) -> bool:
        """Whether detectors read the models' errors."""
        return self.params.trigger is not None and bool(self.params.trigger.needs_values)

    @abc.abstractmethod
    def give(
        self, world: World, device: Device, server: Model, made: dict[Any, Verb[Model]]
    ) -> Generator[Event, Any, Model]:
        """What ``device`` gets of the cloud's model: the steps that make it, if any, in the cloud.

        ``made`` is for what several devices get of one model: it is emptied when the cloud has the next one.
        """

    def suits(self, world: World, device: Device, held: Model) -> bool:
        """Whether what ``device`` holds of the cloud's model is still what it is to train."""
        return True

    @abc.abstractmethod
    def method(self, given: Model) -> Method | None:
        """How a device trains what it was given; None for plain training."""

    @abc.abstractmethod
    def merge(self, world: World, server: Model, updates: Sequence[Update]) -> Verb[Model]:
        """The cloud's next model."""

    def run(self, world: World) -> Generator[Event, Any, None]:
        """Rounds, for ever."""
        server = world.initial
        held = {device: (server, device.model) for device in world.devices if device.model is not server}
        fleet = _Fleet(server, held)  # the rest serve the cloud's own
        alarms = None if self.params.trigger is None else self.params.trigger.watch_all(world)
        number = failures = 0
        while True:
            if alarms is None:
                yield world.sleep_to_multiple(self.params.period)
            else:
                yield alarms.next(failures)
                yield world.sleep(self.params.collect)
                alarms.forget()  # these rounds are about them
            before = fleet.server
            for _ in range(self.params.rounds):
                number += 1
                yield from self._round(world, fleet, number)
            failures = failures + 1 if fleet.server is before else 0

    def _round(self, world: World, fleet: _Fleet, number: int) -> Generator[Event, Any, None]:
        sent = yield world.gather(
            (world.process(self._participate(world, device, fleet)) for device in self._sample(world, fleet, number)),
            deadline_s=self.params.deadline,
            quorum=self.params.quorum,
        )
        updates = [update for update in sent if update is not None]
        if not updates:
            return
        try:
            fleet.server = yield self.merge(world, fleet.server, updates)
        except VerbFailure:
            return
        fleet.made.clear()
        if self.params.distribute == "all":
            free = [device for device in world.devices if device not in fleet.busy]
            yield world.gather(
                (world.process(self._receive(world, device, fleet)) for device in free),
                deadline_s=self.params.deadline or self.params.period,
            )

    def _sample(self, world: World, fleet: _Fleet, number: int) -> list[Device]:
        """Devices for a round. Who is online and has samples is known: a device that wants to take part says so."""
        free = [device for device in world.devices if device.online and device not in fleet.busy]
        free = [device for device in free if len(device.samples())]
        wanted = self.params.participants
        if wanted is None or wanted >= len(free):
            return free
        drawn = world.rng("participants", number).choice(len(free), size=wanted, replace=False)
        return [free[int(place)] for place in sorted(drawn)]

    def _participate(self, world: World, device: Device, fleet: _Fleet) -> Generator[Event, Any, Update | None]:
        """Get, train, send. What fails escapes: a quorum is of updates that have come."""
        server = fleet.server
        fleet.busy.add(device)
        try:
            update = yield from self._work(world, device, server, fleet)
        except VerbFailure:
            self._leave(world, device, server, fleet)
            raise
        self._leave(world, device, server, fleet)
        return update

    def _work(self, world: World, device: Device, server: Model, fleet: _Fleet) -> Generator[Event, Any, Update | None]:
        given = yield from self._fetch(world, device, server, fleet)
        samples = device.samples()  # after the download, which takes time
        if not len(samples):
            return None
        accumulate = fitting_accumulation(device, given, world.training.batch_size)
        trained: Model = yield device.train(
            given, samples, epochs=self.params.epochs, accumulate=accumulate, method=self.method(given)
        )
        if self.params.serve == "local":
            yield device.deploy(trained)
        arrived: Model = yield device.upload(trained)
        return Update(device, arrived, samples)

    def _leave(self, world: World, device: Device, server: Model, fleet: _Fleet) -> None:
        """A device's work for a round is over, in whatever way; what all others got meanwhile it gets now."""
        fleet.busy.discard(device)
        if fleet.server is not server and self.params.distribute == "all":
            world.process(self._receive(world, device, fleet))

    def _receive(self, world: World, device: Device, fleet: _Fleet) -> Generator[Event, Any, None]:
        fleet.busy.add(device)
        try:
            yield from self._fetch(world, device, fleet.server, fleet)
        except VerbFailure:
            pass  # it keeps what it has, and fetches when it is sampled
        finally:
            fleet.busy.discard(device)

    def _fetch(self, world: World, device: Device, server: Model, fleet: _Fleet) -> Generator[Event, Any, Model]:
        """Get the device's part of the cloud's model, unless it is there, and serve it."""
        held = fleet.holds.get(device)
        if held is not None and held[0] is server and self.suits(world, device, held[1]):
            return held[1]
        offered = yield from self.give(world, device, server, fleet.made)
        if offered is world.initial:
            given = offered  # installed before the start
        else:
            given = yield device.download(offered)
        if self.params.serve == "global":
            yield device.deploy(given)
        fleet.holds[device] = (server, given)
        return given


@final
@dataclass(slots=True)
class _Fleet:
    """The cloud's model, and what the cloud knows of devices.

    Attributes
    ----------
    server
        The cloud's model.
    holds
        The model that each has got, as (the cloud's, its own).
    busy
        Who is at work.
    made
        What has been made of the cloud's model for several devices.
    """

    server: Model
    holds: dict[Device, tuple[Model, Model]]
    busy: set[Device] = field(default_factory=set)
    made: dict[Any, Verb[Model]] = field(default_factory=dict)

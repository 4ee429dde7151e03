"""What runs beside a learner to tell it when to act: one device's trigger, or all devices' for the cloud.

A device scores the model that serves it on its freshly labelled samples, which costs what scoring costs; the errors go
to its detector, in the order in which the labels came. What a detector itself computes is next to nothing and is not
charged.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from simpy.events import Event

from .detectors import Detector, make_detector
from .errors import VerbFailure

if TYPE_CHECKING:
    from .trigger import Trigger
    from .world import Device, Model, World

ALARM_BYTES = 64
"""What a device sends to the cloud when its detector strikes: who and when. Our own choice."""

RETRY_S = 30.0
"""How long after an attempt that failed the next one is made; then twice as long each time. Our own choice."""


Attempt = Callable[[], Generator[Event, Any, bool]]
"""Adapts once; returns whether that came about."""


def retry_after_s(failures: int) -> float:
    """How long after so many attempts that failed in a row the next one is made.

    A detector that has struck does not strike again over the same drift, nor does a drift come twice: without another
    attempt nobody would ever adapt to it. Whoever acts at intervals waits for the next one.
    """
    return RETRY_S * 2.0 ** (failures - 1)


class Watch:
    """Tells when a trigger fires for one device.

    A detector runs from now on, whether anybody waits or not.
    """

    def __init__(self, trigger: Trigger, world: World, device: Device) -> None:
        self._trigger = trigger
        self._world = world
        self._device = device
        self._waiting: Event | None = None
        if trigger.detector is not None:
            world.process(self._detect(trigger.detector))

    def next(self) -> Event:
        """The event of the next time it fires, counted from now."""
        if self._trigger.every is not None:
            return self._world.sleep(self._trigger.every)
        if self._trigger.oracle:
            return self._device.wait_for_drift()
        if self._waiting is None:
            self._waiting = Event(self._world.env)
        return self._waiting

    def act(self, attempt: Attempt, collect_s: float) -> Generator[Event, Any, None]:
        """See ``Trigger.act``."""
        world, device = self._world, self._device
        failures = 0
        due = self.next()
        while True:
            yield due
            due = self.next()  # asked for before the work starts: a drift meanwhile is not missed
            if collect_s:
                yield world.sleep(collect_s)
            if not device.online:
                yield device.wait_until_online()
                if due.processed:
                    due = self.next()  # what came meanwhile is this attempt's, too
            failures = 0 if (yield from attempt()) else failures + 1
            if failures and self._trigger.every is None:
                due |= world.sleep(retry_after_s(failures))

    def _detect(self, name: str) -> Generator[Event, Any, None]:
        """Run a detector for ever.

        It knows one model's errors: when another model serves the device, a fresh one begins. Samples that could not
        be scored (no memory, the device left) are scored at the next check. While the cloud serves the device there
        is no model here to watch, and nothing is read.
        """
        from .jobs.scoring import mistakes

        world, device = self._world, self._device
        period_s = self._trigger.check_every
        assert period_s is not None
        seeds = world.rng("detector", device.name)
        world.detector_armed(device, name)
        read_until_s = world.now
        watched: Model | None = None
        detector: Detector | None = None
        seen, phase = 0, 0
        while True:
            yield world.sleep_to_multiple(period_s)
            yield device.wait_until_online()
            now_s = world.now
            if device.serving != "device":
                read_until_s = now_s
                continue
            samples = device.labelled_since(read_until_s)
            if not len(samples):
                continue
            model = device.model
            try:
                errors = yield device.score(model, mistakes, samples)
            except VerbFailure:
                continue
            read_until_s = now_s
            if detector is None or model is not watched:
                watched = model
                detector = make_detector(name, self._trigger.parameters, int(seeds.integers(2**31)))
            seen += len(samples)
            phase = max(phase, samples.phase)
            if _strikes(detector, errors.value()):
                world.alarm(device, name, samples=seen, phase=phase, model=model)
                self._fire()

    def _fire(self) -> None:
        if self._waiting is not None:
            self._waiting.succeed()
            self._waiting = None


def _strikes(detector: Detector, values: list[bool]) -> bool:
    """Whether a detector that reads these values finds a drift at any of them."""
    found = False
    for value in values:
        detector.update(value)
        found = found or detector.drift_detected
    return found


class FleetWatch:
    """Tells the cloud when a trigger fires for any device.

    A detector's alarm is a message of ``ALARM_BYTES`` that has to arrive first; one that is cut is sent again.
    """

    def __init__(self, trigger: Trigger, world: World) -> None:
        self._trigger = trigger
        self._world = world
        self._heard = False
        self._waiting: Event | None = None
        for device in world.devices:
            world.process(self._listen(trigger, device))

    def next(self, failures: int = 0) -> Event:
        """The event of the next alarm; at once, where one has come since the last call of this or of ``forget``.

        Or of the next attempt, after so many that failed in a row.
        """
        event = Event(self._world.env)
        if self._heard:
            self._heard = False
            return event.succeed()
        self._waiting = event
        if not failures or self._trigger.every is not None:
            return event
        return event | self._world.sleep(retry_after_s(failures))

    def forget(self) -> None:
        """Let the alarms that have come so far count as acted upon."""
        self._heard = False

    def _listen(self, trigger: Trigger, device: Device) -> Generator[Event, Any, None]:
        watch = trigger.watch(self._world, device)
        while True:
            yield watch.next()
            if trigger.detector is not None:
                yield from self._send_alarm(device)
            if self._waiting is None:
                self._heard = True
            else:
                self._waiting.succeed()
                self._waiting = None

    def _send_alarm(self, device: Device) -> Generator[Event, Any, None]:
        from .world import Message

        while True:
            yield device.wait_until_online()
            try:
                yield device.upload(Message(ALARM_BYTES, "alarm"))
            except VerbFailure:
                continue
            return

"""One world: one learner under one seed, living in the environment of that seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from simpy.events import Event, Process

from ..errors import UserError
from ..jobs import Kind, Label, Plane
from ..models import Architecture, TensorSpec, payload_bytes
from ..tables import WorldTables
from . import offers
from .battery import Battery, Store
from .cloud import Cloud
from .device import Device
from .drift import Strike
from .environment import Environment
from .gateway import Gateway
from .ideal import Ideal
from .names import Names
from .network import Network
from .offline import Offline
from .payload import Bundle, Lineage, Model, Part, Patch, Payload
from .presence import Comings, together
from .prices import MOST, Prices
from .priorities import ENVIRONMENT, LEARNER
from .recorder import Recorder
from .schedule import Clock, call_at, wake_at
from .serving import Serving
from .verbs import Gather

if TYPE_CHECKING:
    from ..data import View
    from .training import Training


class World:
    """What a learner lives in: devices, a cloud, and virtual time.

    Attributes
    ----------
    devices
        All devices, in the order of the scenario.
    cloud
        The cloud.
    gateways
        Gateways by name.
    training
        How models are trained where a verb does not say otherwise: as the learner's parameters say, or the scenario.
    horizon_s
        When the simulation ends.
    seed
        The world's seed.
    initial
        The model that every device serves at time 0.
    """

    def __init__(
        self,
        environment: Environment,
        plane: Plane,
        tables: WorldTables,
        *,
        label: str,
        oracle: bool,
        model: Model,
        offline: Offline,
        training: Mapping[str, Any] | None = None,
        start: Callable[[Offline, World], Mapping[Device, Model]] | None = None,
    ) -> None:
        self.environment = environment
        self.plane = plane
        self.label = label
        self.seed = environment.seed
        self.horizon_s = environment.scenario.horizon
        self.training = environment.training.but(**(training or {}))
        self.env = Clock()
        self.names = Names(environment.seed)
        self.network = Network(self.env)
        self.recorder = Recorder(self.env, tables, _cells)
        self.initial = model
        self._offline = offline
        self._oracle = oracle
        self._codec = environment.scenario.training.codec
        self.packs = self._codec != "fp32"  # what arrives is not what was sent
        self.prices = Prices(self._codec)
        self._hows: dict[tuple[object, ...], Training] = {}
        self._forgetting_views = environment.scenario.evaluation.forgetting_views
        self._test_samples = environment.scenario.data.test_samples
        self._evaluation_kind: Kind | None = None  # of the architecture that was evaluated last
        self._evaluates = plane.computes and self._test_samples > 0
        self._struck: dict[str, list[tuple[int, Strike]]] = {}  # device -> (its data phase from then on, strike)
        self._detected: dict[int, str] = {}  # device -> the latest drift that an alarm was credited to
        # (map of a lineage, cohort, step) -> that map, and whether one of its devices has met that step
        self._informed: dict[tuple[int, str, int], tuple[object, bool]] = {}
        self.cloud = Cloud(self, environment.cloud)
        self.gateways = {name: Gateway(self.network, name, hardware) for name, hardware in environment.gateways.items()}
        behind = {
            group.name: None if group.gateway is None else self.gateways[group.gateway]
            for group in environment.scenario.devices
        }
        self.devices: Sequence[Device] = [
            Device(self, index, name, group, hardware, behind[group], model)
            for index, (name, group, hardware) in enumerate(environment.devices())
        ]
        for device, own in (start(offline, self) if start is not None else {}).items():
            device.model = own
        for work in offline.work:
            self.recorder.offline(work)
        if environment.scenario.record.environment:
            found = offers.offers(environment.cloud, environment.gateways, self.devices)
            offers.record(self.recorder, found, self.horizon_s)
        self._comings = Comings(self.env, self.horizon_s, self._come_or_go)
        for index, parts in environment.presences():
            there, cause, changes = together(parts, self.horizon_s)
            if not there:
                self.devices[index].start_away(cause)
            self._comings.add(index, changes)
        self.recorder.start(self.devices, self.prices)
        self._serving = Serving(self)
        for device in self.devices:
            self.observe(device, "start")
        self._schedule()

    # The verbs of the world -----------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """Virtual time in seconds."""
        return self.env._now

    def sleep(self, duration_s: float) -> Event:
        """Wait for ``duration_s`` seconds, at least 0; wakes after all that completes at that instant."""
        if duration_s < 0:
            raise ValueError(f"cannot sleep for {duration_s} s")
        return wake_at(self.env, self.now + duration_s, LEARNER)

    def sleep_to_multiple(self, period_s: float, *, offset_s: float = 0.0) -> Event:
        """Wait for the next of the times ``offset_s + k * period_s``: rounds that are late skip, they do not shift."""
        if period_s <= 0:
            raise ValueError(f"a period of {period_s} s")
        number = math.floor((self.now - offset_s) / period_s) + 1
        due_s = offset_s + number * period_s
        if due_s <= self.now:  # the division rounded down
            due_s = offset_s + (number + 1) * period_s
        return wake_at(self.env, due_s, LEARNER)

    def gather(
        self, verbs: Iterable[Event], *, deadline_s: float | None = None, quorum: int | None = None
    ) -> Gather[Any]:
        """Wait for many verbs; see ``Gather``. One that fails lets the rest go on."""
        return Gather(self.env, verbs, deadline_s=deadline_s, quorum=quorum)

    def process(self, steps: Generator[Event, Any, Any]) -> Process:
        """Let a generator over verbs run beside this one, e.g. one a device; what it lets through stops the run."""
        return self.env.process(steps)

    def rng(self, *name: str | int) -> np.random.Generator:
        """The learner's own random stream called ``name``, e.g. ``world.rng("clients", round)``. Each name once."""
        from ..seeds import stream

        self.names.claim("/".join(map(str, ("rng", *name))))
        return stream(self.seed, "learner", *name)

    def untrained(self, tag: str | int) -> Model:
        """A freshly initialised model of the scenario's architecture; each tag draws other weights. Takes no time."""
        return self._offline.untrained(tag=tag)

    @property
    def ideal(self) -> Ideal:
        """What costs nothing, for upper bounds: only an oracle has it."""
        self.require_oracle()
        return Ideal(self)

    # What the nodes need of it --------------------------------------------------------------------------------------

    def how(
        self,
        epochs: int | None = None,
        batch_size: int | None = None,
        accumulate: int | None = None,
        learning_rate: float | None = None,
        optimizer: str | None = None,
    ) -> Training:
        """``training`` with some settings replaced: the same object for the same settings."""
        given = (epochs, batch_size, accumulate, learning_rate, optimizer)
        how = self._hows.get(given)
        if how is None:
            if len(self._hows) >= MOST:
                self._hows.clear()
            how = self._hows[given] = self.training.but(
                epochs=epochs,
                batch_size=batch_size,
                accumulate=accumulate,
                learning_rate=learning_rate,
                optimizer=optimizer,
            )
        return how

    def tensor_bytes(self, tensors: Iterable[TensorSpec]) -> int:
        """Bytes of some tensors on the wire, as a file of their own."""
        return payload_bytes(tensors, self._codec)

    def unpacked(self, payload: Payload, device: str) -> Payload:
        """What arrives when ``payload`` was sent: the same, or what the scenario's codec leaves of its weights."""
        if not self.packs:
            return payload
        if isinstance(payload, Bundle):
            return Bundle(tuple(self._unpacked(part, device) for part in payload.parts))
        return self._unpacked(payload, device)

    def _unpacked(self, payload: Part, device: str) -> Part:
        model = payload.model if isinstance(payload, Patch) else payload
        if not isinstance(model, Model):
            return payload
        from ..jobs.arithmetic import transcode, transcode_some

        label = Label(self.label, device, self.env.now, f"unpack {model.id}", "unpack")
        if not isinstance(payload, Patch):
            return replace(model, state=self.plane.submit(transcode, model.state, label=label, codec=self._codec))
        names = tuple(spec.name for spec in payload.tensors)
        state = self.plane.submit(transcode_some, model.state, label=label, codec=self._codec, names=names)
        return replace(payload, model=replace(model, state=state))

    def require_oracle(self) -> None:
        """Refuse the true instants of drifts to a learner that has not said that it uses them."""
        if not self._oracle:
            raise UserError(f"learner {self.label!r} waits for the true instant of a drift: its `oracle` must say so")

    def observe(self, device: Device, cause: str) -> None:
        """The observer's evaluation of what serves ``device`` on its data now: no time, no bytes, no energy."""
        computes = self._evaluates
        self._evaluate(device, cause, "current", device.data.test_view() if computes else None)
        struck = self._struck.get(device.name)
        if struck is None or not self._forgetting_views:
            return
        before = [phase - 1 for phase, strike in struck if strike.opens_episode and strike.kind != "replacement"]
        for back, phase in enumerate(before[: -self._forgetting_views - 1 : -1], start=1):
            self._evaluate(device, cause, f"previous-{back}", device.data.test_view(phase) if computes else None)

    def record_deployment(self, device: Device, cause: str) -> None:
        """Record what serves ``device`` from now on, and which of its drifts that model knows of."""
        model = device.model
        informed_by = cohort_informed_by = score_informed_by = ""
        if device.name in self._struck:
            informed_by = self._informed_by(device, model.lineage)
            cohort_informed_by = self._cohort_informed_by(device, model)
            score_informed_by = self._informed_by(device, model.scored)
        size_bytes = self.prices.model(model.architecture).wire_bytes
        self.recorder.deployment(
            device.name, cause, device.serving, model, size_bytes, informed_by, cohort_informed_by, score_informed_by
        )

    def detector_armed(self, device: Device, detector: str) -> None:
        """Record that a drift detector watches ``device`` from now on."""
        self.recorder.detection(device.name, detector, "armed", "", None, 0, device.model.id)

    def alarm(self, device: Device, detector: str, *, samples: int, phase: int, model: Model) -> None:
        """Record an alarm of a detector, and which drift of the device it is credited to: the world knows the truth.

        That is the latest drift of the distribution of which the detector has read a sample, where ``phase`` is the
        highest data phase among the ``samples`` that it has read. Only the first alarm after it is a detection.
        """
        opened = (
            strike
            for first, strike in reversed(self._struck.get(device.name, ()))
            if first <= phase and strike.opens_episode and strike.kind != "replacement"
        )
        latest = next(opened, None)
        if latest is None:
            self.recorder.detection(device.name, detector, "false_alarm", "", None, samples, model.id)
            return
        drift_id = latest.drift_id(device.name)
        event = "repeat" if self._detected.get(device.index) == drift_id else "detection"
        self._detected[device.index] = drift_id
        delay_s = self.now - latest.time_s
        self.recorder.detection(device.name, detector, event, drift_id, delay_s, samples, model.id)

    def serving_changed(self, device: Device) -> None:
        """What answers a device's requests, or whether anything can, is about to change."""
        self._serving.changing(device, self.env.now)

    def close(self) -> None:
        """Record what is unfinished at the horizon, and the totals."""
        self._serving.close(self.env.now)
        for device in self.devices:
            device.close()
        self.cloud.close()
        self.recorder.energy(self.devices)

    # Its own ------------------------------------------------------------------------------------------------------

    def _evaluate(self, device: Device, cause: str, name: str, view: View | None) -> None:
        handle, model = None, device.model
        if view is not None:
            label = Label(self.label, device.name, self.env._now, "evaluate", "evaluate")
            handle = self.plane.submit_one(self._evaluating(model.architecture), (model.state, view), label, 0)
        self.recorder.accuracy(device.name, cause, name, device.serving, model.id, self._test_samples, handle)

    def _evaluating(self, architecture: Architecture) -> Kind:
        kind = self._evaluation_kind
        if kind is None or kind.params["architecture"] is not architecture:
            from ..jobs.arithmetic import evaluate

            kind = self._evaluation_kind = self.plane.kind(evaluate, architecture=architecture)
        return kind

    def _schedule(self) -> None:
        for strike in self.environment.strikes:
            call_at(self.env, strike.time_s, ENVIRONMENT, partial(self._strike, strike))
        self._comings.start()
        for device in self.devices:
            if device.hardware.battery is not None:
                self._connect_battery(device, device.hardware.battery)

    def _come_or_go(self, index: int, there: bool, cause: str) -> None:
        device = self.devices[index]
        if there:
            device.join(cause)
        else:
            device.leave(cause)

    def _connect_battery(self, device: Device, store: Store) -> None:
        def tell(empty: bool) -> None:
            if empty:
                device.leave("battery")
            else:
                device.join("charged")

        power = device.hardware.power
        assert power is not None, "the scenario has checked that a battery feeds something"
        device.meter.battery = Battery(self.env, store, power, partial(self.recorder.battery, device.name), tell)
        device.meter.battery.start(device.online)

    def _strike(self, strike: Strike) -> None:
        for index in strike.devices:
            device = self.devices[index]
            self.serving_changed(device)
            replaced = device.data.change(self.env.now, strike.change(device.data))
            phase = device.data.phase
            self._struck.setdefault(device.name, []).append((phase, strike))
            self.recorder.drift(strike, device.name, phase, replaced)
            if strike.kind == "replacement":
                cause = "replacement"
            else:
                cause = "drift" if strike.opens_episode else "step"
            self.observe(device, cause)
            device.drifted()

    def _informed_by(self, device: Device, lineage: Lineage) -> str:
        known = lineage.phase_of(device.name)
        for phase, strike in reversed(self._struck.get(device.name, ())):
            if phase <= known:
                return strike.drift_id(device.name)
        return ""

    def _cohort_informed_by(self, device: Device, model: Model) -> str:
        for _, strike in reversed(self._struck.get(device.name, ())):
            if any(self._reaches(part, strike) for part in model.lineage.maps()):
                return strike.drift_id(device.name)
        return ""

    def _reaches(self, phases: Mapping[str, int], strike: Strike) -> bool:
        """Whether one of the devices has a phase from this step of this drift on; asked once a shared map."""
        key = (id(phases), strike.cohort_id, strike.step)
        if key not in self._informed:
            reached = any(self._has_met(name, phase, strike) for name, phase in phases.items())
            if len(phases) < 8:
                return reached
            self._informed[key] = (phases, reached)  # the map is kept, so its id stays its own
        return self._informed[key][1]

    def _has_met(self, device: str, phase: int, strike: Strike) -> bool:
        """Whether a device's data of a phase came after this step, which may have struck it at another time."""
        met = (other for first, other in self._struck.get(device, ()) if first <= phase)
        return any(other is strike or other.is_same_step(strike) for other in met)


def _cells(evaluation: Any) -> tuple[int, float | None, float | None]:
    """``(correct, accuracy, loss)`` of an ``Evaluation``."""
    samples = evaluation.samples
    if samples == 0:
        return 0, None, None
    return evaluation.correct, evaluation.correct / samples, evaluation.loss_sum / samples

"""A device: its verbs, what it serves, what data it has, and what happens to it when it leaves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, final

from simpy.events import Event

from ..data import Samples
from ..errors import Killed
from .energy import EnergyMeter
from .hardware import Hardware
from .payload import Bundle, Message, Model, Patch, Payload
from .radio import Radio, Shipment
from .training import Method, Workshop
from .verbs import Verb
from .worker import Worker

if TYPE_CHECKING:
    from ..data import DataStream, View
    from ..jobs import Handle
    from ..models import Architecture
    from .gateway import Gateway
    from .network import Link
    from .selection import Selection
    from .world import World


_SCHEDULED, _EMPTY = 1, 2
_REASONS = {"battery": _EMPTY, "charged": _EMPTY}
"""A device is away while any reason says so; every cause that is not listed is of the scenario's schedule."""


class Device:
    """One edge device, as a learner sees it.

    Every verb returns a ``Verb``: a SimPy event whose value is the verb's result. Verbs fail with ``OutOfMemory``,
    ``Disconnected`` or ``Killed``, the way the real thing fails, and write their own rows.

    Attributes
    ----------
    name
        ``GROUP-NUMBER``.
    group
        The name of its group in the scenario.
    index
        Its position among all devices.
    model
        The model that serves its requests now.
    serving
        Where that model runs: ``device`` or ``cloud``.
    gateway
        The gateway that it is behind, if any.
    latency_s
        One way to the cloud, its gateway's included.
    online
        Whether it is there now.
    """

    __slots__ = (
        "_absent",
        "_away_cause",
        "_came_s",
        "_data",
        "_downlinks",
        "_meter",
        "_online_s",
        "_radio",
        "_scheduled_cause",
        "_sent",
        "_uplinks",
        "_waiting_for_drift",
        "_waiting_until_online",
        "_workshop",
        "_world",
        "gateway",
        "group",
        "hardware",
        "index",
        "latency_s",
        "model",
        "name",
        "online",
        "serving",
    )

    def __init__(
        self,
        world: World,
        index: int,
        name: str,
        group: str,
        hardware: Hardware,
        gateway: Gateway | None,
        model: Model,
    ) -> None:
        self._world = world
        self.index = index
        self.name = name
        self.group = group
        self.hardware = hardware
        self.gateway = gateway
        self.latency_s = hardware.latency_s + (0.0 if gateway is None else gateway.hardware.latency_s)
        self.online = True
        self.model = model
        self.serving = "device"
        self._away_cause = ""
        self._absent = 0  # reasons to be away, of those in _REASONS
        self._scheduled_cause = ""  # of the scenario's schedule, the cause that it told last
        self._came_s = 0.0
        self._online_s = 0.0
        self._meter: EnergyMeter | None = None
        self._data: DataStream | None = None
        self._radio: Radio | None = None
        self._workshop: Workshop | None = None
        self._uplinks: tuple[Link, ...] | None = None  # the way to the cloud
        self._downlinks: tuple[Link, ...] | None = None  # and back
        self._sent: tuple[float, int] | None = None  # when, and at which data phase, the samples sent last were read
        self._waiting_for_drift: Event | None = None
        self._waiting_until_online: Event | None = None

    def __repr__(self) -> str:
        return f"<Device {self.name}>"

    # What it knows about itself -----------------------------------------------------------------------------------

    @property
    def away_cause(self) -> str:
        """Why it is away now: as in the table ``availability``; empty while it is there."""
        return self._away_cause

    @property
    def free_memory_bytes(self) -> int:
        """Bytes that a job starting now could take, the framework's overhead included."""
        return (self._workshop or self._shop).worker.memory.free_bytes

    @property
    def compute_flops_per_s(self) -> float:
        """Its speed now."""
        return self.hardware.compute.value(self._world.now)

    @property
    def uplink_bytes_per_s(self) -> float:
        """The capacity of its uplink now."""
        return self.hardware.uplink.value(self._world.now)

    @property
    def downlink_bytes_per_s(self) -> float:
        """The capacity of its downlink now."""
        return self.hardware.downlink.value(self._world.now)

    def training_memory_bytes(self, model: Model, **settings: Any) -> int:
        """What ``train`` with these settings (see there) would need at most, on however many samples."""
        world = self._world
        how, costs = world.how(**settings), world.prices.model(model.architecture).cost
        return costs.training_memory_bytes(how.largest_batch, how.optimizer) + self.hardware.memory_overhead_bytes

    # Its data -----------------------------------------------------------------------------------------------------

    def samples(self) -> Samples:
        """The labelled samples in its buffer now."""
        return self.data.samples(self._world.env._now)

    def new_samples(self) -> Samples:
        """The labelled samples in its buffer whose labels came after the last successful upload of samples."""
        if self._sent is None:
            return self.samples()
        return self.data.samples(self._world.now, since_s=self._sent[0], since_phase=self._sent[1])

    def labelled_since(self, start_s: float) -> Samples:
        """Its labelled stream: samples whose labels came after ``start_s``, in that order, evicted meanwhile or not."""
        return self.data.labelled_between(start_s, self._world.now)

    @property
    def data(self) -> DataStream:
        """Its stream of samples (the engine's; learners use ``samples`` and ``new_samples``)."""
        if self._data is None:
            self._data = self._world.environment.data_stream(self.index, self.name)
        return self._data

    # Its verbs ----------------------------------------------------------------------------------------------------

    def train(
        self,
        model: Model,
        on: Samples | None = None,
        *,
        epochs: int | None = None,
        batch_size: int | None = None,
        accumulate: int | None = None,
        learning_rate: float | None = None,
        optimizer: str | None = None,
        method: Method | None = None,
        tag: str | int | None = None,
    ) -> Verb[Model]:
        """Train ``model`` here; the verb's value is the new model.

        Parameters
        ----------
        model
            Where to start from.
        on
            Samples that are here; by default all labelled ones in the buffer now.
        epochs, batch_size, accumulate, learning_rate, optimizer
            See ``Training``; what is not given is the scenario's ``training``.
        method
            The learner's own way to train; by default by cross-entropy.
        tag
            Names the job and its random stream, e.g. the round; by default the device's jobs are counted.

        Raises
        ------
        OutOfMemory, Killed
            As the value of the failed verb.
        """
        how = self._world.how(epochs, batch_size, accumulate, learning_rate, optimizer)
        data = (self.samples() if on is None else on,)
        return (self._workshop or self._shop).train(model, data, how, method, tag, self._world.env._now)

    def score(
        self,
        model: Model,
        function: Callable[..., Any],
        on: Samples | None = None,
        *,
        tag: str | int | None = None,
        **parameters: Any,
    ) -> Verb[Handle]:
        """Run ``model`` forward over samples; the verb's value is the handle of what ``function`` returns.

        ``function`` is a job ``f(state, *views, architecture, seed, **parameters)`` (see ``edgesim.jobs.job``).
        """
        data = [self.samples() if on is None else on]
        return self._shop.score(model, data, function, parameters, tag, self._world.env._now)

    def derive(
        self,
        sources: Sequence[Model],
        function: Callable[..., Any],
        architecture: Architecture,
        *,
        inputs: Sequence[Handle | View] = (),
        flops: float = 0.0,
        scored: Sequence[Samples] = (),
        tag: str | int | None = None,
        **parameters: Any,
    ) -> Verb[Model]:
        """Make a model out of models that are here; see ``Cloud.derive``."""
        return self._shop.derive(
            sources, function, architecture, inputs, flops, scored, parameters, tag, self._world.now
        )

    def upload(self, payload: Payload) -> Verb[Any]:
        """Send a model, a patch, samples, a message or a bundle to the cloud; the value is what arrives there."""
        receive = None if type(payload) is Model and not self._world.packs else self._uploaded
        radio, links = self._radio or self._the_radio, self._uplinks or self._way_up
        return radio.carry(payload, _shipments(self, "cloud", "up", payload), links, self.latency_s, receive)

    def download(self, payload: Payload) -> Verb[Any]:
        """Fetch a model, a patch, a message or a bundle from the cloud; the value is what arrives here."""
        receive = self._received if self._world.packs else None
        radio, links = self._radio or self._the_radio, self._downlinks or self._way_down
        return radio.carry(payload, _shipments(self, "cloud", "down", payload), links, self.latency_s, receive)

    def send(self, peer: Device, payload: Payload) -> Verb[Any]:
        """Send a payload to another device over its uplink and the peer's downlink; the value is the payload, there.

        Behind different gateways the way leads over both of them as well, but not through the cloud.
        """
        if peer is self:
            raise ValueError(f"{self.name} sends to itself")
        links, latency_s = [self._way_up[0]], self.hardware.latency_s + peer.hardware.latency_s
        if self.gateway is not peer.gateway:
            latency_s = self.latency_s + peer.latency_s
            links += [self.gateway.uplink] if self.gateway is not None else []
            links += [peer.gateway.downlink] if peer.gateway is not None else []
        shipments = _shipments(self, peer.name, "peer", payload)
        links.append(peer._way_down[-1])
        receive = self._received if self._world.packs else None
        return self._the_radio.carry(payload, shipments, tuple(links), latency_s, receive, peer._the_radio)

    def deploy(self, model: Model, *, selection: Selection | None = None) -> Verb[Model]:
        """Let a model that is here serve the requests from now on. Takes no time; away, it fails with ``Killed``.

        Parameters
        ----------
        model
            The model.
        selection
            Of a modular model, the modules that it has, where they are others than before: for the table
            ``selections``.
        """
        return Deployment(self, model, selection)

    def wait_for_drift(self) -> Event:
        """Wake at the true instant of this device's next drift, and learn nothing else.

        Only an oracle has this: a learner that uses it says so (``Learner.oracle``) and is marked in every table.
        """
        self._world.require_oracle()
        if self._waiting_for_drift is None:
            self._waiting_for_drift = Event(self._world.env)
        return self._waiting_for_drift

    def wait_until_online(self) -> Event:
        """Wake when the device is there: at once, or when it comes back."""
        if self.online:
            return Event(self._world.env).succeed()
        if self._waiting_until_online is None:
            self._waiting_until_online = Event(self._world.env)
        return self._waiting_until_online

    def _uploaded(self, payload: Payload) -> Payload:
        for part in payload.parts if isinstance(payload, Bundle) else (payload,):
            if isinstance(part, Samples) and part.device == self.name:
                as_of = (part.as_of_s, part.as_of_phase)
                self._sent = as_of if self._sent is None else max(as_of, self._sent)
        return self._received(payload)

    def _received(self, payload: Payload) -> Payload:
        return self._world.unpacked(payload, self.name)

    # What the engine does to it -----------------------------------------------------------------------------------

    def serve(self, model: Model, where: str, cause: str) -> None:
        """Switch what answers its requests, and record it (the engine's; learners use ``deploy``)."""
        if self.hardware.requests is not None:
            self._world.serving_changed(self)
        self.model = model
        self.serving = where
        self._world.record_deployment(self, cause)
        self._world.observe(self, "deployment")

    def drifted(self) -> None:
        """Wake who waits for this device's drift."""
        if self._waiting_for_drift is not None:
            self._waiting_for_drift.succeed()
            self._waiting_for_drift = None

    def start_away(self, cause: str) -> None:
        """Be away at time 0; before anything else happens to it."""
        self._note(cause)
        self._away_cause = cause
        self.online = False

    def leave(self, cause: str) -> None:
        """Go away: running jobs are killed, open transfers are cut. Away already, it has one reason more or another."""
        self._note(cause)
        if self._away_cause:
            self._tell_why()
            return
        self._world.serving_changed(self)
        self._away_cause = cause
        self.online = False
        self._online_s += self._world.now - self._came_s
        if self._meter is not None:
            self._meter.online(False)
        self._world.recorder.availability(self.name, "offline", cause)
        if self._workshop is not None:
            self._worker.away_cause = cause
            self._worker.kill_all(cause)
        if self._radio is not None:
            self._radio.away_cause = cause
            self._radio.cut_all(cause)

    def join(self, cause: str) -> None:
        """Come back, unless there is another reason to be away."""
        self._absent &= ~_REASONS.get(cause, _SCHEDULED)
        if not self._away_cause:
            return
        if self._absent:
            self._tell_why()
            return
        self._world.serving_changed(self)
        self._away_cause = ""
        self.online = True
        self._came_s = self._world.now
        if self._meter is not None:
            self._meter.online(True)
        if self._workshop is not None:
            self._worker.away_cause = ""
        if self._radio is not None:
            self._radio.away_cause = ""
        self._world.recorder.availability(self.name, "online", cause)
        if self._waiting_until_online is not None:
            self._waiting_until_online.succeed()
            self._waiting_until_online = None

    def _note(self, cause: str) -> None:
        reason = _REASONS.get(cause, _SCHEDULED)
        self._absent |= reason
        if reason == _SCHEDULED:
            self._scheduled_cause = cause

    def _tell_why(self) -> None:
        """It is still away; where the reason told is none any more, tell the one that is."""
        causes = [self._scheduled_cause] if self._absent & _SCHEDULED else []
        causes += ["battery"] if self._absent & _EMPTY else []
        if self._away_cause in causes:
            return
        self._away_cause = cause = causes[0]
        if self._workshop is not None:
            self._worker.away_cause = cause
        if self._radio is not None:
            self._radio.away_cause = cause
        self._world.recorder.availability(self.name, "offline", cause)

    def close(self) -> None:
        """Record what is unfinished when the simulation ends."""
        if self._workshop is not None:
            self._worker.close()
        if self._radio is not None:
            self._radio.close()
        if self._meter is not None:
            self._meter.close()

    @property
    def online_s(self) -> float:
        """How long it has been there, in seconds."""
        return self._online_s + (self._world.now - self._came_s if self.online else 0.0)

    @property
    def spent_j(self) -> tuple[float, float, float] | None:
        """Joules that it has spent idling, computing and on the radio; None where its power is not known."""
        return None if self.hardware.power is None else self.meter.totals_j(self.online_s)

    # Parts that are built when first used: a million idle devices stay small ---------------------------------------

    @property
    def meter(self) -> EnergyMeter:
        """What counts its joules."""
        if self._meter is None:
            self._meter = EnergyMeter(self.hardware.power)
        return self._meter

    @property
    def _way_up(self) -> tuple[Link, ...]:
        if self._uplinks is None:
            uplink = self._world.network.link(f"{self.name}/up", self.hardware.uplink)
            near = (uplink,) if self.gateway is None else (uplink, self.gateway.uplink)
            self._uplinks = (*near, self._world.cloud.ingress)
        return self._uplinks

    @property
    def _way_down(self) -> tuple[Link, ...]:
        if self._downlinks is None:
            downlink = self._world.network.link(f"{self.name}/down", self.hardware.downlink)
            near = (downlink,) if self.gateway is None else (self.gateway.downlink, downlink)
            self._downlinks = (self._world.cloud.egress, *near)
        return self._downlinks

    @property
    def _the_radio(self) -> Radio:
        if self._radio is None:
            world = self._world
            self._radio = Radio(world.env, world.network, self.meter, world.recorder)
            self._radio.away_cause = self._away_cause
        return self._radio

    @property
    def _shop(self) -> Workshop:
        if self._workshop is None:
            world, hardware = self._world, self.hardware
            worker = Worker(world.env, self.name, hardware.compute, hardware.memory, self.meter, world.recorder)
            worker.away_cause = self._away_cause
            self._workshop = Workshop(
                self.name,
                worker,
                world.plane,
                world.names,
                world.prices,
                world.label,
                hardware.step_overhead_s,
                hardware.memory_overhead_bytes,
            )
        return self._workshop

    @property
    def _worker(self) -> Worker:
        return self._shop.worker


@final
class Deployment(Verb[Model]):
    """A verb that lets a model serve, at once; see ``Device.deploy``."""

    def __init__(self, device: Device, model: Model, selection: Selection | None) -> None:
        world = device._world
        super().__init__(world.env)
        if device._away_cause:
            self.fail(Killed(device._away_cause, 0.0, 0.0))
            return
        device.serve(model, "device", "deploy")
        if selection is not None:
            world.recorder.selection(device.name, model, selection)
        self.give(model)

    def abort(self, cause: str) -> None:
        """See ``Verb``; it never is under way."""


def _shipments(device: Device, peer: str, direction: str, payload: Payload) -> list[Shipment]:
    """One row's worth of facts for each part of ``payload``."""
    world = device._world
    if isinstance(payload, Bundle):
        return [shipment for part in payload.parts for shipment in _shipments(device, peer, direction, part)]
    transfer_id = world.names.new(direction, device.name, None)
    if isinstance(payload, Model):
        size_bytes = world.prices.model(payload.architecture).wire_bytes
        return [Shipment(transfer_id, device.name, peer, direction, "weights", size_bytes, payload.id)]
    if isinstance(payload, Patch):
        size_bytes = world.tensor_bytes(payload.tensors)
        return [Shipment(transfer_id, device.name, peer, direction, "weights", size_bytes, payload.model.id)]
    if isinstance(payload, Message):
        return [Shipment(transfer_id, device.name, peer, direction, "control", payload.size_bytes)]
    taken = len(payload.view) > 0
    return [
        Shipment(
            transfer_id,
            device.name,
            peer,
            direction,
            "data",
            payload.size_bytes,
            data_device=payload.device,
            data_from_s=payload.from_s if taken else None,
            data_to_s=payload.to_s if taken else None,
            data_phase=payload.phase if taken else None,
        )
    ]

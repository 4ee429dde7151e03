"""What sends and receives in a device: transfers over its access links, cut when it leaves, each with its row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, final

from simpy import Environment
from simpy.events import PENDING, Event

from ..errors import Disconnected
from ..records import record
from .energy import EnergyMeter
from .network import Link, Network, Transfer
from .verbs import Verb

if TYPE_CHECKING:
    from .payload import Payload
    from .recorder import Recorder

Receive = Callable[["Payload"], "Payload"] | None
"""What happens to a payload when it has arrived: gives what the verb gives. None: the payload itself."""


@record
class Shipment:
    """One transfer as its row tells it.

    Attributes
    ----------
    transfer_id
        Readable, unique within a world.
    device, peer
        The device that is charged, and the other end (``cloud`` or a device).
    direction
        ``up``, ``down`` or ``peer``.
    kind
        ``weights``, ``data`` or ``control``.
    size_bytes
        At least 0.
    model_id, data_device, data_from_s, data_to_s, data_phase
        What is inside, where that applies.
    """

    transfer_id: str
    device: str
    peer: str
    direction: str
    kind: str
    size_bytes: int
    model_id: str = ""
    data_device: str = ""
    data_from_s: float | None = None
    data_to_s: float | None = None
    data_phase: int | None = None


@final
class Carriage(Verb[Any], Transfer):
    """A verb that sends one shipment.

    Parameters
    ----------
    radio
        Of the device that is charged.
    peer
        Of the other end, where that is a device.
    shipment
        What is sent.
    links, latency_s
        The way.
    payload, receive
        What arrives, and what happens to it then.
    """

    def __init__(
        self,
        radio: Radio,
        peer: Radio | None,
        shipment: Shipment,
        links: tuple[Link, ...],
        latency_s: float,
        payload: Payload,
        receive: Receive,
    ) -> None:
        Transfer.__init__(self, radio.network, links, shipment.size_bytes, latency_s)
        self.shipment = shipment
        self.radio = radio
        self.peer = peer
        self.entered = self.peer_entered = 0.0  # what the ends' share clocks read when it began
        self._payload = payload
        self._receive = receive

    def delivered(self) -> None:
        """See ``Transfer``."""
        self.radio.end(self, self.size_bytes, "delivered", "")
        self.give(self._payload if self._receive is None else self._receive(self._payload))

    def abort(self, cause: str) -> None:
        """See ``Verb``."""
        sent_bytes = self.stop()
        self.radio.end(self, sent_bytes, "cut", cause)
        self.fail(Disconnected(int(sent_bytes), self.shipment.size_bytes))


@final
class Convoy(Verb[Any]):
    """A verb that sends shipments one after the other over one connection: the latency is paid once.

    Without shipments there is no connection, and it is over at once.

    Parameters
    ----------
    env
        The SimPy environment.
    shipments
        In their order.
    send
        Sends one of them, after a latency.
    latency_s
        Before the first.
    """

    def __init__(
        self,
        env: Environment,
        shipments: Sequence[Shipment],
        send: Callable[[Shipment, float], Carriage],
        latency_s: float,
        payload: Payload,
        receive: Receive,
    ) -> None:
        super().__init__(env)
        self._waiting = list(shipments)
        self._send = send
        self._payload = payload
        self._receive = receive
        if shipments:
            self._under_way = self._next(latency_s)
        else:
            self._arrive()

    def abort(self, cause: str) -> None:
        """See ``Verb``; what has arrived as a whole stays so."""
        under_way = self._under_way
        if under_way._value is PENDING:
            under_way.abort(cause)
        if not under_way.ok:  # by now, or cut at this very instant
            self.fail(under_way._value)
        elif self._waiting:  # between two shipments
            self.fail(Disconnected(0, sum(shipment.size_bytes for shipment in self._waiting)))

    def _next(self, latency_s: float) -> Carriage:
        carriage = self._send(self._waiting.pop(0), latency_s)
        carriage.callbacks.append(self._go_on)
        return carriage

    def _go_on(self, carriage: Event) -> None:
        if self._value is not PENDING:
            return
        if not carriage.ok:
            self.fail(carriage._value)
        elif self._waiting:
            self._under_way = self._next(0.0)
        else:
            self._arrive()

    def _arrive(self) -> None:
        self.give(self._payload if self._receive is None else self._receive(self._payload))


class Radio:
    """Carries a device's transfers.

    Parameters
    ----------
    env
        The SimPy environment.
    network
        The links' network.
    meter
        Where joules are counted.
    recorder
        Where rows go.
    """

    __slots__ = ("_meter", "_open", "_recorder", "away_cause", "env", "network")

    def __init__(self, env: Environment, network: Network, meter: EnergyMeter, recorder: Recorder) -> None:
        self.env = env
        self.network = network
        self._meter = meter
        self._recorder = recorder
        self._open: dict[Carriage, None] = {}
        self.away_cause = ""
        """Why the device is away now; empty while it is there."""

    def carry(
        self,
        payload: Payload,
        shipments: Sequence[Shipment],
        links: tuple[Link, ...],
        latency_s: float,
        receive: Receive,
        peer: Radio | None = None,
    ) -> Verb[Any]:
        """Send all of it; one row in ``transfers`` a shipment whatever happens. A link at zero makes it wait.

        ``peer`` is the radio of the other end where that is a device: it spends energy too, and its leaving cuts.

        Raises
        ------
        Disconnected
            As the value of the failed verb: an end is away or leaves, or it is cancelled; what was sent is wasted.
        """
        if len(shipments) == 1:
            carriage = Carriage(self, peer, shipments[0], links, latency_s, payload, receive)
            self._begin(carriage)
            return carriage

        def send(shipment: Shipment, latency_s: float) -> Carriage:
            carriage = Carriage(self, peer, shipment, links, latency_s, payload, None)
            self._begin(carriage)
            return carriage

        return Convoy(self.env, shipments, send, latency_s, payload, receive)

    def cut_all(self, cause: str) -> None:
        """Cut every open transfer, e.g. because the device leaves."""
        for carriage in tuple(self._open):
            carriage.abort(cause)

    def close(self) -> None:
        """Record the transfers that are under way when the simulation ends."""
        for carriage in tuple(self._open):
            carriage.radio.end(carriage, carriage.stop(), "in_flight", "")

    def end(self, carriage: Carriage, sent_bytes: float, status: str, cause: str) -> None:
        """A carriage that this radio is charged with is over, or still under way at the horizon."""
        peer = carriage.peer
        energy_j = self._leave(carriage, carriage.entered, sent_bytes)
        if peer is not None:
            peer_j = peer._leave(carriage, carriage.peer_entered, sent_bytes)
            energy_j = None if energy_j is None or peer_j is None else energy_j + peer_j
        self._recorder.transfer(carriage.shipment, carriage.start_s, sent_bytes, status, cause, energy_j)

    def _begin(self, carriage: Carriage) -> None:
        peer, away_cause = carriage.peer, self.away_cause
        if peer is not None:
            away_cause = away_cause or peer.away_cause
        if away_cause:
            is_unknown = self._meter.power is None or (peer is not None and peer._meter.power is None)
            energy_j = None if is_unknown else 0.0
            self._recorder.transfer(carriage.shipment, carriage.start_s, 0.0, "cut", away_cause, energy_j)
            carriage.fail(Disconnected(0, carriage.shipment.size_bytes))
            return
        self.network.start(carriage)
        self._open[carriage] = None
        if self._meter.power is not None:
            carriage.entered = self._meter.opened(carriage)
        if peer is not None:
            peer._open[carriage] = None
            carriage.peer_entered = peer._meter.opened(carriage)

    def _leave(self, carriage: Carriage, entered: float, sent_bytes: float) -> float | None:
        """One end of a carriage that is over; the joules that it has spent."""
        del self._open[carriage]
        if self._meter.power is None:
            return None
        return self._meter.closed(carriage, sent_bytes, self.env._now, entered)

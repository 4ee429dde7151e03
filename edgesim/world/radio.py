"""What sends and receives in a device: transfers over its access links, cut when it leaves, each with its row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simpy import Environment
from simpy.events import Process
from simpy.exceptions import Interrupt

from ..errors import Disconnected
from .energy import EnergyMeter
from .network import Link, Network
from .verbs import Steps

if TYPE_CHECKING:
    from .network import Transfer
    from .recorder import Recorder


@dataclass(frozen=True, slots=True)
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


@dataclass(slots=True)
class _Open:
    shipment: Shipment
    process: Process
    transfer: Transfer
    start_s: float
    ends: tuple[tuple[Radio, float], ...]  # each radio in use, and its share clock's reading at the start


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

    __slots__ = ("_env", "_meter", "_network", "_open", "_recorder", "away_cause")

    def __init__(self, env: Environment, network: Network, meter: EnergyMeter, recorder: Recorder) -> None:
        self._env = env
        self._network = network
        self._meter = meter
        self._recorder = recorder
        self._open: dict[str, _Open] = {}
        self.away_cause = ""
        """Why the device is away now; empty while it is there."""

    def carry(
        self, shipment: Shipment, links: Sequence[Link], latency_s: float, *, peer: Radio | None = None
    ) -> Steps[None]:
        """Send all of it; one row in ``transfers`` whatever happens. A link at zero makes it wait.

        ``peer`` is the radio of the other end where that is a device: it spends energy too, and its leaving cuts.

        Raises
        ------
        Disconnected
            An end is away or leaves, or the transfer is cancelled; what was sent is wasted.
        """
        env = self._env
        radios = (self,) if peer is None else (self, peer)
        away_cause = next((radio.away_cause for radio in radios if radio.away_cause), "")
        if away_cause:
            self._recorder.transfer(shipment, env.now, 0.0, "cut", away_cause, 0.0)
            raise Disconnected(0, shipment.size_bytes)
        process = env.active_process
        assert process is not None, "carry() runs inside a verb"
        ends = tuple((radio, radio._meter.radio.enter(env.now)) for radio in radios)
        transfer = self._network.transfer(links, size_bytes=shipment.size_bytes, latency_s=latency_s)
        opened = _Open(shipment, process, transfer, env.now, ends)
        for radio in radios:
            radio._open[shipment.transfer_id] = opened
            radio._meter.opened(transfer)
        try:
            yield transfer
        except Interrupt as interruption:
            sent_bytes = transfer.cancel()
            self._end(opened, sent_bytes, "cut", str(interruption.cause))
            raise Disconnected(int(sent_bytes), shipment.size_bytes) from None
        self._end(opened, shipment.size_bytes, "delivered", "")

    def cut_all(self, cause: str) -> None:
        """Cut every open transfer, e.g. because the device leaves."""
        for opened in tuple(self._open.values()):
            opened.process.interrupt(cause)

    def close(self) -> None:
        """Record the transfers that are under way when the simulation ends."""
        for opened in tuple(self._open.values()):
            self._end(opened, opened.transfer.cancel(), "in_flight", "")

    def _end(self, opened: _Open, sent_bytes: float, status: str, cause: str) -> None:
        shipment = opened.shipment
        joules: list[float | None] = []
        for radio, entered in opened.ends:
            del radio._open[shipment.transfer_id]
            radio._meter.closed(opened.transfer, sent_bytes)
            radio_s = radio._meter.radio.leave(self._env.now, entered)
            joules.append(radio._meter.transferred(radio_s, sent_bytes))
        measured = [spent for spent in joules if spent is not None]
        energy_j = sum(measured) if len(measured) == len(joules) else None
        self._recorder.transfer(shipment, opened.start_s, sent_bytes, status, cause, energy_j)

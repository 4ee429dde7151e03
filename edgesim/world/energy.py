"""Energy of a device, metered where it is spent: idling, computing, and the radio.

Power is shared out so that it adds up: while n jobs run, each is charged 1/n of the compute power; while n transfers
are open, each is charged 1/n of the radio power, plus its own bytes. A device's total is the sum of its jobs, its
transfers and its idle power over the time it was there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .battery import Battery
    from .network import Transfer


@dataclass(frozen=True, slots=True)
class Power:
    """What a device draws.

    Attributes
    ----------
    idle_w
        While the device is there, whatever it does, in watts.
    compute_w
        On top of idle while at least one job runs, in watts.
    radio_w
        On top of idle while at least one transfer is open, in watts.
    radio_j_per_byte
        Per byte sent or received, in joules.
    """

    idle_w: float = 0.0
    compute_w: float = 0.0
    radio_w: float = 0.0
    radio_j_per_byte: float = 0.0


class ShareClock:
    """Shares time equally among whoever is in: the integral of 1/n(t) dt, in seconds, in O(1) a change."""

    __slots__ = ("_clock_s", "_last_s", "_n")

    def __init__(self) -> None:
        self._n = 0
        self._clock_s = 0.0
        self._last_s = 0.0

    def reading(self, now_s: float) -> float:
        """The clock now: the difference of two readings is one member's share of the time between them."""
        if self._n:
            self._clock_s += (now_s - self._last_s) / self._n
        self._last_s = now_s
        return self._clock_s

    def enter(self, now_s: float) -> float:
        """One more is in; returns the reading to be taken off at the end."""
        reading = self.reading(now_s)
        self._n += 1
        return reading

    def leave(self, now_s: float, entered: float) -> float:
        """One is out; returns its share in seconds."""
        share_s = self.reading(now_s) - entered
        self._n -= 1
        return share_s


class EnergyMeter:
    """Adds up what a device spends, in joules; without a ``power`` nothing is measured and all joules are ``None``.

    Attributes
    ----------
    power
        What the device draws.
    battery
        What it draws it from, if not from the mains: told at once what the books learn when a job or transfer ends.
    radio
        Shares the time of the radio among open transfers.
    """

    __slots__ = ("_compute_j", "_radio_j", "battery", "power", "radio")

    def __init__(self, power: Power | None) -> None:
        self.power = power
        self.battery: Battery | None = None
        self.radio = ShareClock()
        self._compute_j = 0.0
        self._radio_j = 0.0

    def online(self, there: bool) -> None:
        """The device comes or goes."""
        if self.battery is not None:
            self.battery.online(there)

    def computing(self, busy: bool) -> None:
        """Whether any job runs from now on, in FLOPs or in the overhead of its steps."""
        if self.battery is not None:
            self.battery.computing(busy)

    def opened(self, transfer: Transfer) -> float:
        """A transfer has begun; the reading of the radio's clock, to be given at its end."""
        if self.power is None:
            return 0.0
        reading = self.radio.enter(transfer.start_s)
        if self.battery is not None:
            self.battery.opened(transfer)
        return reading

    def closed(self, transfer: Transfer, sent_bytes: float, now_s: float, entered: float) -> float | None:
        """A transfer is over, after ``sent_bytes``: charge it with its radio time and bytes; its joules."""
        if self.power is None:
            return None
        if self.battery is not None:
            self.battery.closed(transfer, sent_bytes)
        radio_s = self.radio.leave(now_s, entered)
        joules = self.power.radio_w * radio_s + self.power.radio_j_per_byte * sent_bytes
        self._radio_j += joules
        return joules

    def close(self) -> None:
        """The simulation ends."""
        if self.battery is not None:
            self.battery.close()

    def computed(self, busy_s: float) -> float | None:
        """Charge a job with its share of busy time; returns its joules."""
        if self.power is None:
            return None
        joules = self.power.compute_w * busy_s
        self._compute_j += joules
        return joules

    def totals_j(self, online_s: float) -> tuple[float, float, float] | None:
        """Joules of idling for ``online_s`` seconds, of computing and of the radio."""
        if self.power is None:
            return None
        return self.power.idle_w * online_s, self._compute_j, self._radio_j

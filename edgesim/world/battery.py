"""A battery: a level that falls with everything a device spends, rises while it is charged, and may reach zero.

The draw is piecewise constant, so the instant at which the battery is empty is computed, not looked for: one wake-up
is armed for it, and armed again when the draw changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simpy import Environment
from simpy.events import Event

from ..signals import Signal
from .network.alarm import Alarm
from .priorities import ENVIRONMENT

if TYPE_CHECKING:
    from .energy import Power
    from .network import Network, Transfer

_NOTHING = 1e-9
"""Share of the capacity that counts as nothing: where bytes cost energy, the wake-ups creep up on the end."""

_NEARLY_FULL = 0.99
"""Share of the capacity from which on the level is watched where bytes cost energy: with 1 it would creep up on it."""

_LOOK_AHEAD = 64
"""Steps of the charging power that are looked at to find the end; it is looked for again after them."""


@dataclass(frozen=True, slots=True)
class Store:
    """What a battery is made of.

    Attributes
    ----------
    capacity_j
        What it holds when full, more than 0.
    initial_j
        What it holds at time 0.
    charging_w
        Power that it is charged with, over time, whether the device is there or not; what does not fit is lost.
    restart_j
        An empty one has to hold this much before its device comes back.
    """

    capacity_j: float
    initial_j: float
    charging_w: Signal
    restart_j: float


class Battery:
    """The level of one device's battery.

    Parameters
    ----------
    env
        The SimPy environment.
    store
        What it is made of.
    power
        What the device draws.
    record
        Called with what happened: ``start``, ``change`` (of what is drawn), ``empty``, ``charged`` or ``end``.
    tell
        Called with True when the battery is empty, with False when it is charged again.

    Attributes
    ----------
    level_j, charged_j, spent_j
        What it holds, and what has gone in and out since time 0, up to the last change.
    draw_w
        What the device draws now, energy of bytes not among it.
    """

    __slots__ = (
        "_alarm",
        "_alarm_s",
        "_at_s",
        "_bytes",
        "_computing",
        "_env",
        "_online",
        "_power",
        "_radios",
        "_record",
        "_store",
        "_tell",
        "_watched",
        "charged_j",
        "draw_w",
        "empty",
        "level_j",
        "spent_j",
    )

    def __init__(
        self,
        env: Environment,
        store: Store,
        power: Power,
        record: Callable[[str, Battery], None],
        tell: Callable[[bool], None],
    ) -> None:
        self._env = env
        self._store = store
        self._power = power
        self._record = record
        self._tell = tell
        self._alarm: Event | None = None
        self._alarm_s = math.inf
        self._at_s = float(env.now)
        self._bytes: dict[Transfer, tuple[float, float]] = {}  # open ones: bytes accounted for, bytes/s at most
        self._watched: Network | None = None  # while it tells when what the bytes draw may change
        self._computing = False
        self._radios = 0
        self._online = False
        self.level_j = store.initial_j
        self.charged_j = 0.0
        self.spent_j = 0.0
        self.draw_w = 0.0
        self.empty = False

    @property
    def capacity_j(self) -> float:
        """What it holds when full."""
        return self._store.capacity_j

    # What the device does ---------------------------------------------------------------------------------------------

    def start(self, online: bool) -> None:
        """Begin, with the device there or not."""
        self._online = online
        self.draw_w = self._watts()
        self._record("start", self)
        self._arm()

    def online(self, there: bool) -> None:
        """The device comes or goes; what is away draws nothing."""
        if there != self._online:
            self._online = there
            self._changed()

    def computing(self, busy: bool) -> None:
        """Whether any job runs from now on."""
        if busy != self._computing:
            self._computing = busy
            self._changed()

    def opened(self, transfer: Transfer) -> None:
        """A transfer begins."""
        self._radios += 1
        if self._power.radio_j_per_byte:
            self._settle()
            self._bytes[transfer] = transfer.sent_bytes, min(link.capacity.highest for link in transfer.links)
        self._changed()

    def closed(self, transfer: Transfer, sent_bytes: float) -> None:
        """A transfer is over, after ``sent_bytes``."""
        self._radios -= 1
        known, _ = self._bytes.pop(transfer, (sent_bytes, 0.0))
        self._settle(max(0.0, sent_bytes - known))
        self._changed()

    def close(self) -> None:
        """Account for everything until now, which is the end."""
        self._settle()
        self._record("end", self)

    # Its level --------------------------------------------------------------------------------------------------------

    @property
    def charging_w(self) -> float:
        """Power that it is charged with now."""
        return self._store.charging_w.value(self._env.now)

    def _watts(self) -> float:
        if not self._online:
            return 0.0
        power = self._power
        computing_w = power.compute_w if self._computing else 0.0
        return power.idle_w + computing_w + (power.radio_w if self._radios else 0.0)

    def _changed(self) -> None:
        watts = self._watts()
        self._settle()
        if watts != self.draw_w:
            self.draw_w = watts
            self._record("change", self)
        self._arm()

    def _settle(self, more_bytes: float = 0.0) -> None:
        """Bring the level up to now; ``more_bytes`` were sent by a transfer that is no longer open."""
        now = float(self._env.now)
        for transfer, (known, fastest) in self._bytes.items():
            sent_bytes = transfer.sent_bytes
            more_bytes += sent_bytes - known
            self._bytes[transfer] = sent_bytes, fastest
        bytes_j = more_bytes * self._power.radio_j_per_byte
        elapsed_s = now - self._at_s
        if elapsed_s > 0.0:
            draw_w = self.draw_w + bytes_j / elapsed_s
            for start_s, end_s, charging_w in self._store.charging_w.pieces(self._at_s, now):
                self._pass(end_s - start_s, draw_w, charging_w)
            self._at_s = now
        else:
            self.level_j -= bytes_j
            self.spent_j += bytes_j

    def _pass(self, duration_s: float, draw_w: float, charging_w: float) -> None:
        spent_j, offered_j = draw_w * duration_s, charging_w * duration_s
        level_j = self.level_j + offered_j - spent_j
        accepted_j = offered_j - max(0.0, level_j - self._store.capacity_j)
        self.level_j = min(level_j, self._store.capacity_j)
        self.charged_j += accepted_j
        self.spent_j += spent_j

    # Its end ----------------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        due_s = self._when_due()
        if self._bytes or self._watched:
            due_s = min(due_s, self._when_to_look())
        if due_s < self._alarm_s:  # one that rings too early arms the next: most changes of the draw need none
            self._alarm_s = due_s
            self._alarm = Alarm(self._env, due_s, ENVIRONMENT, self._ring)

    def _when_due(self) -> float:
        """When the battery is empty, or charged again: never later than that, perhaps earlier."""
        level_j, draw_w = self.level_j, self.draw_w
        for _, fastest in self._bytes.values():
            draw_w += fastest * self._power.radio_j_per_byte
        wanted_j = self._store.restart_j if self.empty else 0.0
        for looked, (start_s, end_s, charging_w) in enumerate(self._store.charging_w.pieces(self._at_s, math.inf)):
            if looked == _LOOK_AHEAD:
                return start_s
            rise_w = charging_w - draw_w
            if rise_w > 0.0 if self.empty else rise_w < 0.0:
                due_s = start_s + max(0.0, (wanted_j - level_j) / rise_w)
                if due_s <= end_s:
                    return due_s
            level_j = min(level_j + rise_w * (end_s - start_s), self._store.capacity_j) if rise_w else level_j
        return math.inf

    def _when_to_look(self) -> float:
        """When the level has to be brought up to date although nothing happens to the device.

        Of what bytes draw, only the sum since the last time is known. That is enough, unless the battery is full for
        a part of the time: then it matters when they were sent. So it looks when it may be full, and while it nearly is
        and bytes decide whether it stays so, whenever their rate may change.
        """
        charging, level_j, draw_w = self._store.charging_w, self.level_j, self.draw_w
        bytes_w = sum(fastest for _, fastest in self._bytes.values()) * self._power.radio_j_per_byte  # at most
        look_s, bytes_decide = math.inf, False
        if bytes_w and charging.highest > draw_w:
            for looked, (start_s, end_s, charging_w) in enumerate(charging.pieces(self._at_s, math.inf)):
                look_s = start_s
                if looked == _LOOK_AHEAD:
                    break
                rise_w = charging_w - draw_w  # at most
                look_s = start_s + max(0.0, (self.capacity_j - level_j) / rise_w) if rise_w > 0.0 else math.inf
                if not looked and rise_w > 0.0 and level_j >= _NEARLY_FULL * self.capacity_j:
                    bytes_decide = charging_w < draw_w + bytes_w
                    look_s = self._next_rate_s() if bytes_decide else end_s
                    break
                if look_s <= end_s:
                    break
                level_j = min(level_j + rise_w * (end_s - start_s), self.capacity_j) if rise_w else level_j
        self._watch(next(iter(self._bytes)).network if bytes_decide else None)
        return look_s

    def _next_rate_s(self) -> float:
        """When the rate of an open transfer changes next, whatever others send."""
        now, next_s = self._at_s, math.inf
        for transfer in self._bytes:
            next_s = min([next_s, *(link.capacity.next_change(now) for link in transfer.links)])
            flows_s = transfer.start_s + transfer.latency_s
            if flows_s > now:
                next_s = min(next_s, flows_s)
        return next_s

    def _watch(self, network: Network | None) -> None:
        """Look also when others may have changed a rate, or no longer."""
        if network is not self._watched:
            if self._watched is not None:
                self._watched.unwatch(self._look)
            if network is not None:
                network.watch(self._look)
            self._watched = network

    def _look(self) -> None:
        self._settle()
        self._arm()

    def _ring(self, alarm: Event) -> None:
        if alarm is not self._alarm:
            return
        self._alarm, self._alarm_s = None, math.inf
        self._settle()
        if not self._is_due():
            self._arm()
            return
        self.empty = not self.empty
        self._record("empty" if self.empty else "charged", self)
        self._tell(self.empty)
        self._arm()

    def _is_due(self) -> bool:
        nothing_j = _NOTHING * self._store.capacity_j
        if self.empty:
            return self.level_j >= self._store.restart_j - nothing_j
        return self.level_j <= nothing_j

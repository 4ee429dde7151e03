"""What devices are made of and when they are there: what the scenario says, and a seed, for each device.

The same whoever asks: every number that differs from device to device comes from a stream of the environment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from typing import TYPE_CHECKING

from ..scenario.availability import DailyAvailability, OnOffAvailability, RecordedAvailability
from ..scenario.distributions import OwnQuantity, own
from ..scenario.signal_specs import Own, SignalSpec
from ..seeds import stream, stream_seed
from ..signals import Deferred, Signal
from .battery import Store
from .energy import Power
from .presence import Part, absent, daily, joining, leaving, on_off, recorded

if TYPE_CHECKING:
    from ..scenario.background import Background
    from ..scenario.devices import Cloud, DeviceGroup
    from ..scenario.power import Battery
    from ..scenario.windows import Window

SIGNALS = ("compute", "memory", "uplink", "downlink", "requests")


@dataclass(frozen=True, slots=True)
class Hardware:
    """What one device is made of; signals are functions of virtual time.

    Attributes
    ----------
    compute
        Effective training throughput in FLOP/s that other applications leave.
    memory
        Bytes available for jobs.
    uplink, downlink
        Capacities of its access links in bytes per second; outages are zeros in them.
    latency_s
        One way, at least 0.
    step_overhead_s
        Added per training step, at least 0.
    memory_overhead_bytes
        Needed by a training job on top of the model's own.
    power
        What it draws; None where nobody knows.
    battery
        Where that comes from; None for the mains.
    requests
        Inference requests per second; None where there are none.
    """

    compute: Signal
    memory: Signal
    uplink: Signal
    downlink: Signal
    latency_s: float = 0.0
    step_overhead_s: float = 0.0
    memory_overhead_bytes: int = 0
    power: Power | None = None
    battery: Store | None = None
    requests: Signal | None = None


class Fleet:
    """The devices of one group.

    Parameters
    ----------
    group
        What the scenario says of them.
    seed
        Of the environment.
    horizon_s
        Nothing after this matters.
    """

    def __init__(self, group: DeviceGroup, seed: int, horizon_s: float) -> None:
        self.group = group
        self._seed = seed
        self._horizon_s = horizon_s
        self._numbers: dict[str, Sequence[float]] = {}
        self._made: dict[int, Hardware] = {}
        self._common: Hardware | None = None if self._individual else self._make(0)

    def hardware(self, member: int) -> Hardware:
        """The hardware of one device; the same object for all where they do not differ."""
        if self._common is not None:
            return self._common
        if member not in self._made:
            self._made[member] = self._make(member)
        return self._made[member]

    def presence(self, member: int) -> list[Part]:
        """What makes one device come and go; nothing for one that is always there."""
        group, name = self.group, self._name(member)
        parts = [self._away] if self._away is not None else []
        match group.availability:
            case OnOffAvailability(on_off=how):
                parts.append(on_off(how, stream_seed(self._seed, "availability", name)))
            case DailyAvailability(diurnal=day):
                parts.append(daily(day, stream_seed(self._seed, "availability", name), self._horizon_s))
            case RecordedAvailability() as recording:
                spans = self._recorded[self._row(recording.sample, "availability", member, len(self._recorded))]
                start_s = self._number("start", member) * (recording.repeat or 0.0) if recording.random_start else 0.0
                parts.append(recorded(spans, recording.repeat, start_s))
        if group.joins is not None:
            parts.append(joining(self._own(group.joins, "joins", member)))
        if group.leaves is not None:
            parts.append(leaving(self._own(group.leaves, "leaves", member)))
        return parts

    @property
    def comes_and_goes(self) -> bool:
        """Whether any of them is ever away by the scenario's will."""
        group = self.group
        return bool(group.away) or any(how is not None for how in (group.availability, group.joins, group.leaves))

    # What differs from device to device -------------------------------------------------------------------------------

    @property
    def _individual(self) -> bool:
        group = self.group
        return (
            any(getattr(group, name).individual for name in SIGNALS)
            or not isinstance(group.latency, float)
            or group.population is not None
            or any(other.on_off is not None for other in group.background)
            or (group.battery is not None and not isinstance(group.battery.initial, float))
            or (group.battery is not None and group.battery.charging.individual)
        )

    def _name(self, member: int) -> str:
        return f"{self.group.name}-{member}"

    def _number(self, quantity: str, member: int) -> float:
        """The device's uniform number for a quantity: number ``member`` of the group's stream."""
        if quantity not in self._numbers:
            drawn = stream(self._seed, "population", self.group.name, quantity).random(self.group.count)
            self._numbers[quantity] = drawn.tolist()
        return self._numbers[quantity][member]

    def _own(self, value: OwnQuantity, quantity: str, member: int) -> float:
        return value if isinstance(value, float) else own(value, self._number(quantity, member))

    def _row(self, sample: str, table: str, member: int, rows: int) -> int:
        return member if sample == "in_order" else int(self._number(table, member) * rows)

    @cached_property
    def _table(self) -> Mapping[str, Sequence[float]]:
        return {} if self.group.population is None else self.group.population.rows()

    @cached_property
    def _recorded(self) -> Sequence[Sequence[tuple[float, float]]]:
        assert isinstance(self.group.availability, RecordedAvailability)
        return self.group.availability.spans()

    @cached_property
    def _away(self) -> Part | None:
        spans = merged(self.group.away, self._horizon_s)
        return absent(spans) if spans else None

    def _cell(self, quantity: str, member: int) -> float | None:
        """What the table of the population says, if anything."""
        if quantity not in self._table:
            return None
        assert self.group.population is not None
        column = self._table[quantity]
        return column[self._row(self.group.population.sample, "population", member, len(column))]

    # Making one -------------------------------------------------------------------------------------------------------

    @cached_property
    def _makers(self) -> Mapping[str, Callable[[Own], Signal]]:
        """What makes each signal; files are read here, once."""
        makers = {name: getattr(self.group, name).maker() for name in SIGNALS}
        if self.group.battery is not None:
            makers["charging"] = self.group.battery.charging.maker()
        return makers

    @cached_property
    def _open(self) -> Signal | None:
        return open_outside(merged(self.group.outages, self._horizon_s))

    def _signal(self, name: str, member: int) -> Signal:
        spec: SignalSpec | None = getattr(self.group, name, None)
        drawn = spec is None or spec.individual
        return self._makers[name](
            Own(
                device=self._name(member),
                quantity=name,
                seed=self._seed,
                horizon_s=self._horizon_s,
                number=self._number(name, member) if drawn else 0.0,
                start=self._number("start", member) if drawn else 0.0,
                file=self._number("file", member) if drawn else 0.0,
                cell=self._cell(name, member),
            )
        )

    def _make(self, member: int) -> Hardware:
        group, open_ = self.group, self._open
        compute, memory = self._signal("compute", member), self._signal("memory", member)
        if group.background:
            compute, memory = self._beside_others(compute, memory, member)
        requests = self._signal("requests", member)
        never = not group.requests.individual and not requests.highest
        latency_s = self._cell("latency", member)
        power = group.power
        return Hardware(
            compute=compute,
            memory=memory,
            uplink=_where(open_, self._signal("uplink", member)),
            downlink=_where(open_, self._signal("downlink", member)),
            latency_s=self._own(group.latency, "latency", member) if latency_s is None else latency_s,
            step_overhead_s=group.step_overhead,
            memory_overhead_bytes=int(group.memory_overhead),
            power=None if power is None else Power(power.idle, power.compute, power.radio, power.per_byte),
            battery=None if group.battery is None else self._battery(group.battery, member),
            requests=None if never else requests,
        )

    def _battery(self, battery: Battery, member: int) -> Store:
        return Store(
            capacity_j=battery.capacity,
            initial_j=battery.capacity * self._own(battery.initial, "initial", member),
            charging_w=self._signal("charging", member),
            restart_j=battery.capacity * battery.restart,
        )

    def _beside_others(self, compute: Signal, memory: Signal, member: int) -> tuple[Signal, Signal]:
        """What the applications in the background leave; each takes processor and memory at the same times."""
        busy = [self._busy(other, number, member) for number, other in enumerate(self.group.background)]

        def taken(amounts: Sequence[float]) -> list[Signal]:
            return [when.scaled(amount) for when, amount in zip(busy, amounts, strict=True) if amount]

        def free_compute() -> Signal:
            left = Signal.difference(Signal.constant(1.0), *taken([other.cpu for other in self.group.background]))
            return self._listed(Signal.product(compute, left))

        def free_memory() -> Signal:
            return self._listed(Signal.difference(memory, *taken([other.memory for other in self.group.background])))

        return Deferred(free_compute), Deferred(free_memory)

    def _listed(self, signal: Signal) -> Signal:
        """The same signal up to the horizon as a list of steps: what never happens must not be looked for for ever."""
        pieces = list(signal.pieces(0.0, self._horizon_s))
        return Signal.steps([start_s for start_s, _, _ in pieces], [value for _, _, value in pieces])

    def _busy(self, other: Background, number: int, member: int) -> Signal:
        """1 while the application runs, 0 while it does not."""
        if other.on_off is None:
            spans = merged(other.windows, self._horizon_s)
            return Signal.difference(Signal.constant(1.0), open_outside(spans) or Signal.constant(1.0))
        how, seed = other.on_off, stream_seed(self._seed, "background", self._name(member), other.name, number)

        def make() -> Signal:
            part = on_off(how, seed)
            times = [0.0, *takewhile(lambda time_s: time_s < self._horizon_s, part.changes())]
            knots = {time_s: float(part.there == (index % 2 == 0)) for index, time_s in enumerate(times)}
            # With the period of other random signals, so that they can be merged; the horizon comes first.
            return Signal.steps(tuple(knots), tuple(knots.values()), self._horizon_s)

        return Deferred(make)


def cloud_signals(cloud: Cloud, seed: int, horizon_s: float) -> dict[str, Signal]:
    """The cloud's signals by name."""
    signals = {}
    for name in ("compute", "memory", "ingress", "egress"):
        number, start, file = stream(seed, "population of the cloud", name).random(3).tolist()
        signals[name] = getattr(cloud, name).maker()(Own("cloud", name, seed, horizon_s, number, start, file))
    return signals


def _where(open_: Signal | None, link: Signal) -> Signal:
    """A link with its outages; made when it is first looked at, because a link may take long to make."""
    return link if open_ is None else Deferred(lambda: Signal.product(link, open_))


def merged(windows: Sequence[Window], horizon_s: float) -> tuple[tuple[float, float], ...]:
    """All spans of the windows before the horizon, in order, touching ones joined."""
    joined: list[tuple[float, float]] = []
    for start_s, end_s in sorted(span for window in windows for span in window.spans(horizon_s)):
        if joined and start_s <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end_s, joined[-1][1]))
        else:
            joined.append((start_s, end_s))
    return tuple(joined)


def open_outside(spans: Sequence[tuple[float, float]]) -> Signal | None:
    """1 outside the spans, 0 inside; None where there are none."""
    if not spans:
        return None
    knots: dict[float, float] = {0.0: 1.0}
    for start_s, end_s in spans:
        knots[start_s] = 0.0
        knots[end_s] = 1.0
    return Signal.steps(tuple(knots), tuple(knots.values()))

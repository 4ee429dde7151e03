"""When each device is there: changes drawn lazily, a device at a time, and one wake-up for all devices together.

What makes a device come and go are its parts: absences at given times, a random process, a recording, the times at
which it joins and leaves for good. It is there while all of them say so.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

from simpy import Environment
from simpy.events import Event

from ..seeds import Numbers
from .network.alarm import Alarm
from .priorities import ENVIRONMENT

if TYPE_CHECKING:
    from ..scenario.availability import Daily, OnOff

Spans = Sequence[tuple[float, float]]
"""Stretches of time in order, apart: (start, end) in seconds."""


@dataclass(frozen=True, slots=True)
class Part:
    """One reason to come and go.

    Attributes
    ----------
    cause
        What the table ``availability`` calls it.
    there
        Whether the device is there at time 0, for all that this part says.
    changes
        Makes the increasing times, after 0, at which that turns into its opposite.
    """

    cause: str
    there: bool
    changes: Callable[[], Iterator[float]]


Change = tuple[float, bool, str]
"""When, whether the device is there from then on, and what caused it; while it is away, also what keeps it away now."""


def absent(spans: Spans, cause: str = "schedule") -> Part:
    """Away during ``spans``."""
    away_at_first = bool(spans) and spans[0][0] <= 0.0
    times = tuple(time for span in spans for time in span if time > 0.0)
    return Part(cause, not away_at_first, lambda: iter(times))


def joining(time_s: float) -> Part:
    """There from ``time_s`` on."""
    return Part("joins", time_s <= 0.0, lambda: iter((time_s,) if time_s > 0.0 else ()))


def leaving(time_s: float) -> Part:
    """There until ``time_s``."""
    return Part("leaves", time_s > 0.0, lambda: iter((time_s,) if time_s > 0.0 else ()))


def on_off(how: OnOff, seed: int) -> Part:
    """There and away for exponentially distributed times; at time 0 in the long run's proportion."""
    there = Numbers(seed).uniform() < how.on_ratio

    def changes() -> Iterator[float]:
        numbers = Numbers(seed)
        numbers.uniform()  # that was the state at time 0
        time_s, on = 0.0, there
        while True:
            time_s += numbers.exponential(how.mean_on if on else how.mean_off)
            on = not on
            yield time_s

    return Part("availability", there, changes)


def daily(how: Daily, seed: int, horizon_s: float) -> Part:
    """Drawn again at exponentially distributed times: there with the share of that time of the day."""

    def share(time_s: float) -> float:
        wave = math.cos(2.0 * math.pi * (time_s - how.peak) / how.period)
        return how.low + (how.high - how.low) * 0.5 * (1.0 + wave)

    there = Numbers(seed).uniform() < share(0.0)

    def changes() -> Iterator[float]:
        numbers = Numbers(seed)
        numbers.uniform()
        time_s, on = 0.0, there
        while time_s < horizon_s:  # it may never change
            time_s += numbers.exponential(how.redraw)
            drawn = numbers.uniform() < share(time_s)
            if drawn != on:
                on = drawn
                yield time_s

    return Part("availability", there, changes)


def recorded(spans: Spans, period_s: float | None, start_s: float = 0.0) -> Part:
    """There during ``spans``, which lie within the period if they repeat; time 0 is ``start_s`` in the recording."""
    times = [time for span in spans for time in span]
    if period_s is not None and times[0] == 0.0 and times[-1] == period_s:
        times = times[1:-1]  # from one turn into the next, the device stays
    first = bisect_right(times, start_s)

    def changes() -> Iterator[float]:
        for turn in count():
            for time in times[first:] if turn == 0 else times:
                yield turn * (period_s or 0.0) + time - start_s
            if period_s is None or not times:
                return

    return Part("availability", any(begin <= start_s < end for begin, end in spans), changes)


def together(parts: Sequence[Part], horizon_s: float) -> tuple[bool, str, Iterator[Change]]:
    """Whether a device is there at time 0, what keeps it away if not, and its changes after that, to the horizon.

    It is there while every part says so. Of parts that change at one instant, the first counts.
    """
    if len(parts) == 1:
        part = parts[0]
        return part.there, "" if part.there else part.cause, _alone(part)
    away = next((part.cause for part in parts if not part.there), "")
    return not away, away, _merged(parts, horizon_s)


def _alone(part: Part) -> Iterator[Change]:
    there = part.there
    for time_s in part.changes():
        there = not there
        yield time_s, there, part.cause


def _merged(parts: Sequence[Part], horizon_s: float) -> Iterator[Change]:
    states = [part.there for part in parts]
    changes = [part.changes() for part in parts]
    upcoming = [(time_s, number) for number, times in enumerate(changes) if (time_s := next(times, None)) is not None]
    heapify(upcoming)
    there = all(states)
    told = -1 if there else states.index(False)  # the part that is said to keep it away
    while upcoming and upcoming[0][0] < horizon_s:  # what has left for good may go on flickering underneath
        time_s = upcoming[0][0]
        changed = []
        while upcoming and upcoming[0][0] == time_s:
            _, number = heappop(upcoming)
            states[number] = not states[number]
            changed.append(number)
            following_s = next(changes[number], None)
            if following_s is not None:
                heappush(upcoming, (following_s, number))
        if all(states):
            if not there:
                there = True
                yield time_s, True, next(parts[number].cause for number in changed if states[number])
        elif there or states[told]:
            before = "" if there else parts[told].cause
            gone = [number for number in changed if not states[number]]
            there, told = False, gone[0] if gone else states.index(False)
            if parts[told].cause != before:
                yield time_s, False, parts[told].cause


class Comings:
    """Tells devices when they come and go: one heap entry a device, one armed wake-up for all.

    Parameters
    ----------
    env
        The SimPy environment.
    horizon_s
        Nothing after this matters.
    tell
        Called with a device's index, whether it is there from now on, and the cause.
    """

    __slots__ = ("_env", "_heap", "_horizon_s", "_tell")

    def __init__(self, env: Environment, horizon_s: float, tell: Callable[[int, bool, str], None]) -> None:
        self._env = env
        self._horizon_s = horizon_s
        self._tell = tell
        self._heap: list[tuple[float, int, bool, str, Iterator[Change]]] = []

    def add(self, index: int, changes: Iterator[Change]) -> None:
        """Follow the changes of one device; before :meth:`start`."""
        change = next(changes, None)
        if change is not None and change[0] < self._horizon_s:
            self._heap.append((change[0], index, change[1], change[2], changes))

    def start(self) -> None:
        """Begin."""
        heapify(self._heap)
        self._arm()

    def _arm(self) -> None:
        if self._heap:
            Alarm(self._env, self._heap[0][0], ENVIRONMENT, self._ring)

    def _ring(self, alarm: Event) -> None:
        heap, now = self._heap, self._env.now
        while heap and heap[0][0] <= now:
            _, index, there, cause, changes = heappop(heap)
            self._tell(index, there, cause)
            change = next(changes, None)
            if change is not None and change[0] < self._horizon_s:
                heappush(heap, (change[0], index, change[1], change[2], changes))
        self._arm()

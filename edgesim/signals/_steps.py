"""Signals with a list of knots: a constant has one, steps have several and perhaps a period."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable

from .signal import Signal

_BLOCK = 128  # knots per block when searching for a level: of 1e5 knots, about a thousand are looked at


class Constant(Signal):
    __slots__ = ("highest", "lowest")

    highest: float
    lowest: float

    def __init__(self, value: float) -> None:
        self.lowest = self.highest = float(value)
        if not self.lowest >= 0.0:
            raise ValueError(f"a signal is never negative, found {value!r}")

    times_s = property(lambda self: (0.0,))
    values = property(lambda self: (self.lowest,))
    period_s = property(lambda self: None)

    def value(self, time_s: float) -> float:
        return self.lowest

    def integral(self, from_s: float, to_s: float) -> float:
        return self.lowest * (to_s - from_s) if to_s > from_s else 0.0

    def when_integral(self, start_s: float, amount: float) -> float:
        if amount <= 0.0:
            return start_s
        return start_s + amount / self.lowest if self.lowest else math.inf

    def next_change(self, time_s: float) -> float:
        return math.inf

    def shifted(self, by_s: float) -> Signal:
        return self

    def _content(self) -> tuple[object, ...]:
        return (self.lowest,)

    def __repr__(self) -> str:
        return f"Signal.constant({self.lowest!r})"


class Steps(Signal):
    """At least two knots. In turn ``k``, knot ``i`` lies at the double ``k * period + times[i]``, always."""

    __slots__ = ("_blocks", "_period", "_sums", "_times", "_values", "highest", "lowest")

    highest: float
    lowest: float

    def __init__(self, times: tuple[float, ...], values: tuple[float, ...], period: float | None) -> None:
        self._times = times
        self._values = values
        self._period = period
        self._sums: list[float] | None = None
        self._blocks: list[tuple[float, float]] | None = None
        self.highest = max(values)
        self.lowest = min(values)

    times_s = property(lambda self: self._times)
    values = property(lambda self: self._values)
    period_s = property(lambda self: self._period)

    def _locate(self, time_s: float) -> tuple[int, int]:
        """Turn and knot whose piece holds ``time_s``."""
        if time_s < 0.0:
            raise ValueError(f"a signal starts at time 0, asked for {time_s!r}")
        times, period = self._times, self._period
        if period is None:
            return 0, bisect_right(times, time_s) - 1
        turn = int(time_s // period)
        if turn * period > time_s:  # rounding of the product, not of the quotient
            turn -= 1
        elif (turn + 1) * period <= time_s:
            turn += 1
        start_s = turn * period
        knot = max(0, bisect_right(times, time_s - start_s) - 1)
        while knot and start_s + times[knot] > time_s:
            knot -= 1
        while knot + 1 < len(times) and start_s + times[knot + 1] <= time_s:
            knot += 1
        return turn, knot

    def _knot_s(self, turn: int, knot: int) -> float:
        period = self._period
        if period is None:
            return self._times[knot] if knot < len(self._times) else math.inf
        return turn * period + self._times[knot] if knot < len(self._times) else (turn + 1) * period

    def _cumulative(self) -> list[float]:
        """The integral from the start of a turn to each knot, and to its end where it has one."""
        if self._sums is None:
            ends = self._times[1:] + (() if self._period is None else (self._period,))
            total, lost = 0.0, 0.0  # Neumaier's sum: 1e5 steps must not lose digits
            sums = [0.0]
            for start_s, end_s, value in zip(self._times, ends, self._values, strict=False):
                term = value * (end_s - start_s)
                grown = total + term
                lost += (total - grown) + term if total >= term else (term - grown) + total
                total = grown
                sums.append(total + lost)
            self._sums = sums
        return self._sums

    def value(self, time_s: float) -> float:
        if self._period is None and time_s >= 0.0:
            return self._values[bisect_right(self._times, time_s) - 1]
        return self._values[self._locate(time_s)[1]]

    def integral(self, from_s: float, to_s: float) -> float:
        turn, knot = self._locate(from_s)
        if to_s <= self._knot_s(turn, knot + 1):
            return self._values[knot] * (to_s - from_s) if to_s > from_s else 0.0
        last_turn, last_knot = self._locate(to_s)
        sums = self._cumulative()
        head = self._values[knot] * (self._knot_s(turn, knot + 1) - from_s)
        tail = self._values[last_knot] * (to_s - self._knot_s(last_turn, last_knot))
        middle = sums[last_knot] - sums[knot + 1]
        if last_turn != turn:
            middle = (sums[-1] - sums[knot + 1]) + (last_turn - turn - 1) * sums[-1] + sums[last_knot]
        return head + middle + tail

    def when_integral(self, start_s: float, amount: float) -> float:
        if amount <= 0.0:
            return start_s
        turn, knot = self._locate(start_s)
        value = self._values[knot]
        end_s = self._knot_s(turn, knot + 1)
        head = value * (end_s - start_s) if value else 0.0
        if amount <= head:
            return min(start_s + amount / value, end_s)
        sums = self._cumulative()
        target = sums[min(knot + 1, len(sums) - 1)] + (amount - head)  # from the start of this turn
        if self._period is None:
            if target <= sums[-1]:
                return max(end_s, self._inside(turn, target))
            last = self._values[-1]
            return self._times[-1] + (target - sums[-1]) / last if last else math.inf
        if target > sums[-1]:
            if not sums[-1] or math.isinf(target):
                return math.inf
            turns = max(0, math.ceil(target / sums[-1]) - 1)
            turn += turns
            target = min(max(target - turns * sums[-1], 0.0), sums[-1])
        return max(end_s, self._inside(turn, target))

    def _inside(self, turn: int, target: float) -> float:
        """When the integral from the start of ``turn`` reaches ``target``, which it does within it."""
        sums = self._cumulative()
        knot = max(0, bisect_left(sums, target) - 1)
        start_s = self._knot_s(turn, knot)
        value = self._values[knot]
        if not value:
            return start_s
        return min(start_s + (target - sums[knot]) / value, self._knot_s(turn, knot + 1))

    def next_change(self, time_s: float) -> float:
        turn, knot = self._locate(time_s)
        return self._knot_s(turn, knot + 1)

    def shifted(self, by_s: float) -> Signal:
        times, values, period = self._times, self._values, self._period
        if period is None and by_s >= 0.0:
            return from_knots((0.0, *(time + by_s for time in times[1:])), values, None)
        cut_s = -by_s if period is None else -by_s % period
        if cut_s == period:  # the remainder of a tiny negative number rounds up to the period
            cut_s = 0.0
        knot = self._locate(cut_s)[1]
        kept = [(0.0, values[knot]), *((times[i] - cut_s, values[i]) for i in range(knot + 1, len(times)))]
        if period is not None:
            kept += [(times[i] - cut_s + period, values[i]) for i in range(knot + 1)]
        knots = dict(kept)  # by time: of two knots that rounding made one, the later counts
        if period is not None:
            knots.pop(period, None)
        return from_knots(tuple(knots), tuple(knots.values()), period)

    def _first(self, start_s: float, wanted: Callable[[float], bool], possible: bool) -> float:
        if not possible:
            return math.inf
        turn, knot = self._locate(start_s)
        if wanted(self._values[knot]):
            return start_s
        found = self._search(knot + 1, wanted)
        if found == len(self._values):
            if self._period is None:
                return math.inf
            turn, found = turn + 1, self._search(0, wanted)
        return self._knot_s(turn, found)

    def _search(self, knot: int, wanted: Callable[[float], bool]) -> int:
        """The first knot from ``knot`` on that is ``wanted`` (a monotone test), or the number of knots."""
        values = self._values
        if self._blocks is None:
            blocks = [values[i : i + _BLOCK] for i in range(0, len(values), _BLOCK)]
            self._blocks = [(min(block), max(block)) for block in blocks]
        while knot < len(values):
            low, high = self._blocks[knot // _BLOCK]
            if not (wanted(low) or wanted(high)):
                knot = (knot // _BLOCK + 1) * _BLOCK
            elif wanted(values[knot]):
                return knot
            else:
                knot += 1
        return len(values)

    def _content(self) -> tuple[object, ...]:
        return self._times, self._values, self._period

    def __repr__(self) -> str:
        if len(self._times) > 8:
            return f"<Signal of {len(self._times)} steps, period_s={self._period}>"
        return f"Signal.steps({self._times}, {self._values}, period_s={self._period})"


def check_knots(times: tuple[float, ...], values: tuple[float, ...], period_s: float | None) -> None:
    if len(times) != len(values) or not times:
        counts = f"{len(values)} and {len(times)}"
        raise ValueError(f"a signal has as many values as times, at least one; found {counts}")
    if times[0] != 0.0:
        raise ValueError(f"the first step of a signal is at time 0, found {times[0]!r}")
    for index, (time, value) in enumerate(zip(times, values, strict=True)):
        if not (value >= 0.0 and math.isfinite(value)):
            raise ValueError(f"values are finite and never negative, found {value!r} at step {index}")
        if index and not (times[index - 1] < time < math.inf):
            raise ValueError(f"times increase, found {times[index - 1]!r} then {time!r} at step {index}")
    if period_s is not None and not times[-1] < period_s < math.inf:
        raise ValueError(f"the period comes after the last step at {times[-1]!r}, found {period_s!r}")


def from_knots(times: tuple[float, ...], values: tuple[float, ...], period: float | None) -> Signal:
    """Merge neighbouring equal values: a knot is where the value changes."""
    kept = [i for i in range(len(values)) if not i or values[i] != values[i - 1]]
    if len(kept) == 1:
        return Constant(values[0])
    if len(kept) < len(values):
        times, values = tuple(times[i] for i in kept), tuple(values[i] for i in kept)
    return Steps(times, values, period)

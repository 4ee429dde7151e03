"""Piecewise-constant functions of time: value, integral, and the inverse of the integral.

A bandwidth, a compute speed, free memory: each is a :class:`Signal`. Asking when an amount is reached is one
search, never one event per step. Trace files are read in :mod:`edgesim.traces`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from os import PathLike

_BLOCK = 128  # knots per block when searching for a level: of 1e5 knots, about a thousand are looked at
_FEW = 64  # knots up to which a combination is merged at once
_WALK = 256  # pieces after which a walk through a combination is worth a merge
_PATIENCE = 2_000_000  # pieces after which a walk through a combination of unlike periods is given up


class Signal(ABC):
    """An immutable, never negative, piecewise-constant function of time on ``[0, inf)``.

    Made by :meth:`constant`, :meth:`steps`, :meth:`csv`, :meth:`minimum` or :meth:`product`. Two signals are
    equal when their knots are: neighbouring steps of the same value are merged.

    Examples
    --------
    >>> uplink = Signal.steps([0, 4, 9], [10, 0, 10])  # bytes/s, with an outage
    >>> uplink.value(5), uplink.integral(0, 10)
    (0.0, 50.0)
    >>> uplink.when_integral(0, 100)  # 100 bytes sent from t = 0 have arrived at
    15.0
    """

    __slots__ = ()

    @staticmethod
    def constant(value: float) -> Signal:
        """The same value at all times; ``inf`` is allowed here ("never a bottleneck").

        Raises
        ------
        ValueError
            Negative or not a number.
        """
        return _Constant(value)

    @staticmethod
    def steps(times_s: Iterable[float], values: Iterable[float], period_s: float | None = None) -> Signal:
        """``values[i]`` from ``times_s[i]`` on; the last one holds, or everything repeats every ``period_s``.

        Parameters
        ----------
        times_s
            Seconds, strictly increasing, the first one 0.
        values
            As many, finite, at least 0.
        period_s
            More than the last time.

        Raises
        ------
        ValueError
            Says which knot is wrong.
        """
        times = tuple(float(time) for time in times_s)
        levels = tuple(float(value) for value in values)
        _check_knots(times, levels, period_s)
        return _from_knots(times, levels, None if period_s is None else float(period_s))

    @staticmethod
    def csv(
        path: str | PathLike[str],
        *,
        time: str,
        value: str,
        time_unit: float = 1.0,
        value_unit: float = 1.0,
        period_s: float | None = None,
    ) -> Signal:
        """Two named columns of a CSV file with a header; see :func:`edgesim.traces.read_csv`.

        ``time_unit`` and ``value_unit`` are the sizes of the columns' units in SI (0.001 for milliseconds).
        """
        from .traces import read_csv

        trace = read_csv(path, time=time, value=value, time_unit=time_unit, value_unit=value_unit)
        return trace.signal(period_s)

    @staticmethod
    def minimum(*signals: Signal) -> Signal:
        """The lowest of the given signals at each time."""
        return _combine("minimum", signals)

    @staticmethod
    def product(*signals: Signal) -> Signal:
        """The product of the given signals at each time (a trace times an on/off signal)."""
        if any(math.isinf(signal.highest) for signal in signals):
            raise ValueError("a product with an infinite signal is not defined")
        return _combine("product", signals)

    @property
    @abstractmethod
    def times_s(self) -> tuple[float, ...]:
        """Where the knots are (within one period), the first one 0.

        Raises ``ValueError`` for a combination of unlike periods: it has no finite list of knots.
        """

    @property
    @abstractmethod
    def values(self) -> tuple[float, ...]:
        """The value from each knot on."""

    @property
    @abstractmethod
    def period_s(self) -> float | None:
        """After how many seconds everything repeats; ``None`` where the last value holds."""

    @property
    @abstractmethod
    def lowest(self) -> float:
        """No value is below this (for a combination it may be reached nowhere)."""

    @property
    @abstractmethod
    def highest(self) -> float:
        """No value is above this (for a combination it may be reached nowhere)."""

    @abstractmethod
    def value(self, time_s: float) -> float:
        """The value at ``time_s``, which is at least 0; at a knot, the value from there on."""

    @abstractmethod
    def integral(self, from_s: float, to_s: float) -> float:
        """The integral over ``[from_s, to_s]``, with ``to_s >= from_s``."""

    @abstractmethod
    def when_integral(self, start_s: float, amount: float) -> float:
        """When the integral from ``start_s`` first reaches ``amount``; ``inf`` if it never does."""

    @abstractmethod
    def next_change(self, time_s: float) -> float:
        """The first knot strictly after ``time_s``, ``inf`` if there is none."""

    def pieces(self, from_s: float, to_s: float) -> Iterator[tuple[float, float, float]]:
        """``(start_s, end_s, value)`` from ``from_s`` to ``to_s`` (which may be ``inf``), in order."""
        while from_s < to_s:
            end_s = min(self.next_change(from_s), to_s)
            yield from_s, end_s, self.value(from_s)
            from_s = end_s

    def first_below(self, level: float, start_s: float) -> float:
        """The first time from ``start_s`` on at which the value is less than ``level``, ``inf`` if never."""
        return self._first(start_s, lambda value: value < level, self.lowest < level)

    def first_at_least(self, level: float, start_s: float) -> float:
        """The first time from ``start_s`` on at which the value is ``level`` or more, ``inf`` if never."""
        return self._first(start_s, lambda value: value >= level, self.highest >= level)

    def scaled(self, factor: float) -> Signal:
        """Every value times ``factor``, which is at least 0."""
        return Signal.product(self, _Constant(factor))

    def clipped(self, low: float = 0.0, high: float = math.inf) -> Signal:
        """Every value raised to ``low`` where it is less and lowered to ``high`` where it is more."""
        if low > high:
            raise ValueError(f"cannot clip to at least {low!r} and at most {high!r}")
        return _combine("minimum", (_combine("maximum", (self, _Constant(low))), _Constant(high)))

    @abstractmethod
    def shifted(self, by_s: float) -> Signal:
        """The same signal ``by_s`` later (earlier where negative).

        A periodic signal rotates. Of any other, the first value also fills the ``by_s`` seconds before it,
        and what falls before time 0 is cut off.
        """

    def _first(self, start_s: float, wanted: Callable[[float], bool], possible: bool) -> float:
        """The first time from ``start_s`` on whose value is ``wanted``, if bounds say it is ``possible``."""
        if possible:
            for walked, (piece_s, _, value) in enumerate(self.pieces(start_s, math.inf)):
                if wanted(value):
                    return piece_s
                if walked == _PATIENCE:
                    raise _gave_up("reaches the level", piece_s)
        return math.inf

    @abstractmethod
    def _content(self) -> tuple[object, ...]: ...

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Signal) and self._content() == other._content())

    def __hash__(self) -> int:
        return hash(self._content())


class _Constant(Signal):
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


class _Steps(Signal):
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
            return _from_knots((0.0, *(time + by_s for time in times[1:])), values, None)
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
        return _from_knots(tuple(knots), tuple(knots.values()), period)

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


_OPERATIONS: dict[str, Callable[[Sequence[float]], float]] = {
    "minimum": min,
    "maximum": max,
    "product": math.prod,
}


class _Combined(Signal):
    """A combination that walks its parts, because its own knots are many or (with unlike periods) endless."""

    __slots__ = ("_apply", "_knots", "_name", "_parts", "highest", "lowest")

    highest: float
    lowest: float

    def __init__(self, name: str, parts: tuple[Signal, ...]) -> None:
        self._name = name
        self._apply = _OPERATIONS[name]
        self._parts = parts
        self._knots: Signal | None = None
        self.lowest = self._apply([part.lowest for part in parts])
        self.highest = self._apply([part.highest for part in parts])

    def _with_knots(self) -> Signal | None:
        """The same signal as a list of knots, made once, ``None`` if there is no such list."""
        if self._knots is None and _have_one_period(self._parts):
            self._knots = _merge(self._apply, self._parts)
        return self._knots

    def _listed(self) -> Signal:
        listed = self._with_knots()
        if listed is None:
            raise ValueError(f"{self!r} combines unlike periods and has no finite list of knots")
        return listed

    times_s = property(lambda self: self._listed().times_s)
    values = property(lambda self: self._listed().values)
    period_s = property(lambda self: self._listed().period_s)

    def value(self, time_s: float) -> float:
        return self._apply([part.value(time_s) for part in self._parts])

    def integral(self, from_s: float, to_s: float) -> float:
        return math.fsum(value * (end_s - start_s) for start_s, end_s, value in self.pieces(from_s, to_s))

    def when_integral(self, start_s: float, amount: float) -> float:
        if amount <= 0.0:
            return start_s
        for walked, (piece_s, end_s, value) in enumerate(self.pieces(start_s, math.inf)):
            if walked == _WALK and (listed := self._with_knots()) is not None:
                return listed.when_integral(piece_s, amount)
            if walked == _PATIENCE:
                raise _gave_up("reaches the amount", piece_s)
            if value:
                room = value * (end_s - piece_s)
                if amount <= room:
                    return min(piece_s + amount / value, end_s)
                amount -= room
        return math.inf

    def next_change(self, time_s: float) -> float:
        return min([part.next_change(time_s) for part in self._parts])

    def shifted(self, by_s: float) -> Signal:
        return _combine(self._name, tuple(part.shifted(by_s) for part in self._parts))

    def _content(self) -> tuple[object, ...]:
        listed = self._with_knots()
        return (self._name, self._parts) if listed is None else listed._content()

    def __repr__(self) -> str:
        return f"<{self._name} of {len(self._parts)} signals>"


def _check_knots(times: tuple[float, ...], values: tuple[float, ...], period_s: float | None) -> None:
    if len(times) != len(values) or not times:
        raise ValueError(f"a signal has as many values as times, at least one; found {len(values)} and {len(times)}")
    if times[0] != 0.0:
        raise ValueError(f"the first step of a signal is at time 0, found {times[0]!r}")
    for index, (time, value) in enumerate(zip(times, values, strict=True)):
        if not (value >= 0.0 and math.isfinite(value)):
            raise ValueError(f"values are finite and never negative, found {value!r} at step {index}")
        if index and not (times[index - 1] < time < math.inf):
            raise ValueError(f"times increase, found {times[index - 1]!r} then {time!r} at step {index}")
    if period_s is not None and not times[-1] < period_s < math.inf:
        raise ValueError(f"the period comes after the last step at {times[-1]!r}, found {period_s!r}")


def _from_knots(times: tuple[float, ...], values: tuple[float, ...], period: float | None) -> Signal:
    """Merge neighbouring equal values: a knot is where the value changes."""
    kept = [i for i in range(len(values)) if not i or values[i] != values[i - 1]]
    if len(kept) == 1:
        return _Constant(values[0])
    if len(kept) < len(values):
        times, values = tuple(times[i] for i in kept), tuple(values[i] for i in kept)
    return _Steps(times, values, period)


def _combine(name: str, signals: tuple[Signal, ...]) -> Signal:
    if not signals:
        raise ValueError(f"the {name} of no signals is not defined")
    if len(signals) == 1:
        return signals[0]
    apply = _OPERATIONS[name]
    if all(type(signal) is _Constant for signal in signals):
        return _Constant(apply([signal.lowest for signal in signals]))
    if name == "minimum":  # what is never below the highest value of another is never the lowest
        bounding = min(signals, key=lambda signal: signal.highest)
        signals = tuple([s for s in signals if s is bounding or s.lowest < bounding.highest])
        if len(signals) == 1:
            return bounding
    knots = sum([_FEW if type(signal) is _Combined else len(signal.times_s) for signal in signals])
    if knots < _FEW and _have_one_period(signals):
        return _merge(apply, signals)
    return _Combined(name, signals)


def _have_one_period(signals: tuple[Signal, ...]) -> bool:
    """Tell whether all signals that change have knots, with the same period."""
    periods = set()
    for signal in signals:
        if isinstance(signal, _Combined):
            signal = signal._with_knots() or signal
            if isinstance(signal, _Combined):
                return False
        if not isinstance(signal, _Constant):
            periods.add(signal.period_s)
    return len(periods) <= 1


def _merge(apply: Callable[[Sequence[float]], float], signals: tuple[Signal, ...]) -> Signal:
    changing = [signal for signal in signals if len(signal.times_s) > 1]
    times = tuple(sorted({time for signal in signals for time in signal.times_s}))
    values = tuple(apply([signal.value(time) for signal in signals]) for time in times)
    return _from_knots(times, values, changing[0].period_s if changing else None)


def _gave_up(what: str, time_s: float) -> ValueError:
    return ValueError(f"a combination of unlike periods has not yet at {time_s:g} s: it never {what}, it seems")

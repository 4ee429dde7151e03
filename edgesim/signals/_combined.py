"""Signals made of others: the lowest, the highest, the product or the difference of several at each time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ._steps import Constant, Steps, from_knots
from .signal import PATIENCE, GaveUp, Signal

_FEW = 64  # knots up to which a combination is merged at once

_OPERATIONS: dict[str, Callable[[Sequence[float]], float]] = {
    "minimum": min,
    "maximum": max,
    "product": math.prod,
    "difference": lambda values: max(0.0, values[0] - math.fsum(values[1:])),
}


class NoKnots(ValueError):
    """A combination of signals with unlike periods was asked for its knots: there is no finite list of them."""


class Combined(Signal):
    """A combination that walks its parts, because its own knots are many or (with unlike periods) endless."""

    __slots__ = ("_apply", "_knots", "_name", "_parts", "_worth_merging", "highest", "lowest")

    highest: float
    lowest: float

    def __init__(self, name: str, parts: tuple[Signal, ...]) -> None:
        self._name = name
        self._apply = _OPERATIONS[name]
        self._parts = parts
        self._knots: Signal | None = None
        self._worth_merging = sum([len(part._times) for part in parts if isinstance(part, Steps)])  # pieces walked
        low, high = [part.lowest for part in parts], [part.highest for part in parts]
        taken = 1 if name == "difference" else len(parts)  # what is taken off is at its highest where it is lowest
        self.lowest = self._apply([*low[:taken], *high[taken:]])
        self.highest = self._apply([*high[:taken], *low[taken:]])

    def _with_knots(self) -> Signal | None:
        """The same signal as a list of knots, made once, ``None`` if there is no such list."""
        if self._knots is None and _have_one_period(self._parts):
            self._knots = _merge(self._apply, self._parts)
        return self._knots

    def _listed(self) -> Signal:
        listed = self._with_knots()
        if listed is None:
            raise NoKnots(f"{self!r} combines unlike periods and has no finite list of knots")
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
        idle = 0
        for walked, (piece_s, end_s, value) in enumerate(self.pieces(start_s, math.inf)):
            if walked == self._worth_merging and (listed := self._with_knots()) is not None:
                return listed.when_integral(piece_s, amount)
            if value:
                room = value * (end_s - piece_s)
                if amount <= room:
                    return min(piece_s + amount / value, end_s)
                amount -= room
                idle = 0
            else:
                idle += 1
                if idle == PATIENCE:
                    raise GaveUp("reaches the amount", piece_s)
        return math.inf

    def next_change(self, time_s: float) -> float:
        return min([part.next_change(time_s) for part in self._parts])

    def shifted(self, by_s: float) -> Signal:
        return combine(self._name, tuple(part.shifted(by_s) for part in self._parts))

    def _content(self) -> tuple[object, ...]:
        listed = self._with_knots()
        return (self._name, self._parts) if listed is None else listed._content()

    def __repr__(self) -> str:
        return f"<{self._name} of {len(self._parts)} signals>"


class Scaled(Signal):
    """A signal times a positive factor, sharing its knots."""

    __slots__ = ("_base", "_factor", "highest", "lowest")

    highest: float
    lowest: float

    def __init__(self, base: Signal, factor: float) -> None:
        self._base = base
        self._factor = factor
        self.lowest = base.lowest * factor
        self.highest = base.highest * factor

    times_s = property(lambda self: self._base.times_s)
    values = property(lambda self: tuple(value * self._factor for value in self._base.values))
    period_s = property(lambda self: self._base.period_s)

    def value(self, time_s: float) -> float:
        return self._base.value(time_s) * self._factor

    def integral(self, from_s: float, to_s: float) -> float:
        return self._base.integral(from_s, to_s) * self._factor

    def when_integral(self, start_s: float, amount: float) -> float:
        return self._base.when_integral(start_s, amount / self._factor)

    def next_change(self, time_s: float) -> float:
        return self._base.next_change(time_s)

    def shifted(self, by_s: float) -> Signal:
        return combine("product", (self._base.shifted(by_s), Constant(self._factor)))

    def _content(self) -> tuple[object, ...]:
        return from_knots(self.times_s, self.values, self.period_s)._content()

    def __repr__(self) -> str:
        return f"<{self._factor!r} times {self._base!r}>"


def combine(name: str, signals: tuple[Signal, ...]) -> Signal:
    """The ``minimum``, ``maximum``, ``product`` or ``difference`` of signals; costs little however long they are."""
    if not signals:
        raise ValueError(f"the {name} of no signals is not defined")
    if len(signals) == 1:
        return signals[0]
    apply = _OPERATIONS[name]
    if all(type(signal) is Constant for signal in signals):
        return Constant(apply([signal.lowest for signal in signals]))
    if name == "minimum":  # what is never below the highest value of another is never the lowest
        bounding = min(signals, key=lambda signal: signal.highest)
        signals = tuple([s for s in signals if s is bounding or s.lowest < bounding.highest])
        if len(signals) == 1:
            return bounding
    if sum([_knots(signal) for signal in signals]) < _FEW and _have_one_period(signals):
        return _merge(apply, signals)
    if name == "product":
        changing = [signal for signal in signals if type(signal) is not Constant]
        factor = math.prod([signal.lowest for signal in signals if type(signal) is Constant])
        if not factor:
            return Constant(0.0)
        if len(changing) == 1 and type(changing[0]) is not Combined:
            return changing[0] if factor == 1.0 else Scaled(changing[0], factor)
    return Combined(name, signals)


def _knots(signal: Signal) -> int:
    """How many knots a signal has, or ``_FEW`` where counting them could mean making them."""
    if type(signal) is Constant:
        return 1
    return len(signal.times_s) if type(signal) is Steps else _FEW


def _have_one_period(signals: tuple[Signal, ...]) -> bool:
    """Tell whether all signals that change have knots, with the same period."""
    periods = set()
    for signal in signals:
        try:
            if len(signal.times_s) > 1:
                periods.add(signal.period_s)
        except NoKnots:
            return False
    return len(periods) <= 1


def _merge(apply: Callable[[Sequence[float]], float], signals: tuple[Signal, ...]) -> Signal:
    changing = [signal for signal in signals if len(signal.times_s) > 1]
    times = tuple(sorted({time for signal in signals for time in signal.times_s}))
    values = tuple(apply([signal.value(time) for signal in signals]) for time in times)
    return from_knots(times, values, changing[0].period_s if changing else None)

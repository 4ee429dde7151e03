"""Signals that many devices share, each from its own point on, and signals that are made when first looked at."""

from __future__ import annotations

from collections.abc import Callable

from ._steps import Steps
from .signal import Signal


def rotated(signal: Signal, start_s: float) -> Signal:
    """The periodic ``signal`` as if time 0 were ``start_s``, at least 0: a view, however many steps there are.

    Any other signal is cut off before ``start_s``.

    >>> list(rotated(Signal.steps([0, 2], [5, 7], period_s=3), 1).pieces(0, 3))
    [(0, 1.0, 5.0), (1.0, 2.0, 7.0), (2.0, 3, 5.0)]
    """
    if isinstance(signal, Steps) and signal.period_s is not None:
        start_s %= signal.period_s
        return _Rotated(signal, start_s) if start_s else signal
    return signal.shifted(-start_s)


class _Rotated(Steps):
    """Shares the knots of ``base``. In turn ``k``, knot ``i`` lies at ``(k * period + times[i]) - start``, always."""

    __slots__ = ("_base", "_start_s")

    def __init__(self, base: Steps, start_s: float) -> None:
        self._base = base
        self._start_s = start_s
        self._times = base._times
        self._values = base._values
        self._period = base._period
        self._sums = None
        self._blocks = None
        self.highest = base.highest
        self.lowest = base.lowest

    times_s = property(lambda self: self._listed().times_s)
    values = property(lambda self: self._listed().values)

    def _listed(self) -> Signal:
        return self._base.shifted(-self._start_s)

    def _knot_s(self, turn: int, knot: int) -> float:
        return self._base._knot_s(turn, knot) - self._start_s

    def _locate(self, time_s: float) -> tuple[int, int]:
        if time_s < 0.0:
            raise ValueError(f"a signal starts at time 0, asked for {time_s!r}")
        last = len(self._times) - 1
        turn, knot = self._base._locate(time_s + self._start_s)
        while self._knot_s(turn, knot) > time_s:  # only rounding of the sum or the difference: a knot or two
            turn, knot = (turn, knot - 1) if knot else (turn - 1, last)
        while self._knot_s(turn, knot + 1) <= time_s:
            turn, knot = (turn, knot + 1) if knot < last else (turn + 1, 0)
        return turn, knot

    def _cumulative(self) -> list[float]:
        return self._base._cumulative()

    def _search(self, knot: int, wanted: Callable[[float], bool]) -> int:
        return self._base._search(knot, wanted)

    def shifted(self, by_s: float) -> Signal:
        return self._listed().shifted(by_s)

    def _content(self) -> tuple[object, ...]:
        return self._listed()._content()


class Deferred(Signal):
    """A signal that ``make`` makes when it is first looked at: of a million devices, most never are.

    Parameters
    ----------
    make
        Called at most once.
    """

    __slots__ = ("_made", "_make")

    def __init__(self, make: Callable[[], Signal]) -> None:
        self._make: Callable[[], Signal] | None = make
        self._made: Signal | None = None

    @property
    def _signal(self) -> Signal:
        if self._made is None:
            assert self._make is not None
            self._made = self._make()
            self._make = None
        return self._made

    times_s = property(lambda self: self._signal.times_s)
    values = property(lambda self: self._signal.values)
    period_s = property(lambda self: self._signal.period_s)
    lowest = property(lambda self: self._signal.lowest)
    highest = property(lambda self: self._signal.highest)

    def value(self, time_s: float) -> float:
        return self._signal.value(time_s)

    def integral(self, from_s: float, to_s: float) -> float:
        return self._signal.integral(from_s, to_s)

    def when_integral(self, start_s: float, amount: float) -> float:
        return self._signal.when_integral(start_s, amount)

    def next_change(self, time_s: float) -> float:
        return self._signal.next_change(time_s)

    def shifted(self, by_s: float) -> Signal:
        return self._signal.shifted(by_s)

    def _first(self, start_s: float, wanted: Callable[[float], bool], possible: bool) -> float:
        return self._signal._first(start_s, wanted, possible)

    def _content(self) -> tuple[object, ...]:
        return self._signal._content()

    def __repr__(self) -> str:
        return "<Signal not yet made>" if self._made is None else repr(self._made)

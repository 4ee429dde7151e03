"""What every signal can be asked, and how signals are made."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from os import PathLike

PATIENCE = 100_000  # pieces in vain after which a walk through a combination of unlike periods is given up


class Signal(ABC):
    """An immutable, never negative, piecewise-constant function of time on ``[0, inf)``.

    Made by :meth:`constant`, :meth:`steps`, :meth:`csv`, :meth:`minimum`, :meth:`product` or :meth:`difference`. Two
    signals are equal when their knots are: neighbouring steps of the same value are merged.

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
        from ._steps import Constant

        return Constant(value)

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
        from ._steps import check_knots, from_knots

        times = tuple(float(time) for time in times_s)
        levels = tuple(float(value) for value in values)
        check_knots(times, levels, period_s)
        return from_knots(times, levels, None if period_s is None else float(period_s))

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
        from ..traces import read_csv

        trace = read_csv(path, time=time, value=value, time_unit=time_unit, value_unit=value_unit)
        return trace.signal(period_s)

    @staticmethod
    def minimum(*signals: Signal) -> Signal:
        """The lowest of the given signals at each time."""
        from ._combined import combine

        return combine("minimum", signals)

    @staticmethod
    def difference(signal: Signal, *taken: Signal) -> Signal:
        """What is left of ``signal`` at each time when all of ``taken`` is taken off: at least 0.

        >>> Signal.difference(Signal.constant(5), Signal.steps([0, 4], [0, 3]), Signal.constant(1))
        Signal.steps((0.0, 4.0), (4.0, 1.0), period_s=None)
        """
        from ._combined import combine

        if any(math.isinf(part.highest) for part in taken):
            raise ValueError("a difference of an infinite signal is not defined")
        return combine("difference", (signal, *taken))

    @staticmethod
    def product(*signals: Signal) -> Signal:
        """The product of the given signals at each time (a trace times an on/off signal)."""
        from ._combined import combine

        if any(math.isinf(signal.highest) for signal in signals):
            raise ValueError("a product with an infinite signal is not defined")
        return combine("product", signals)

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
        return Signal.product(self, Signal.constant(factor))

    def clipped(self, low: float = 0.0, high: float = math.inf) -> Signal:
        """Every value raised to ``low`` where it is less and lowered to ``high`` where it is more."""
        from ._combined import combine

        if low > high:
            raise ValueError(f"cannot clip to at least {low!r} and at most {high!r}")
        return combine("minimum", (combine("maximum", (self, Signal.constant(low))), Signal.constant(high)))

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
                if walked == PATIENCE:
                    raise GaveUp("reaches the level", piece_s)
        return math.inf

    @abstractmethod
    def _content(self) -> tuple[object, ...]: ...

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Signal) and self._content() == other._content())

    def __hash__(self) -> int:
        return hash(self._content())


class GaveUp(ValueError):
    """A walk through a combination of unlike periods found nothing in ``PATIENCE`` pieces, up to ``time_s``."""

    def __init__(self, what: str, time_s: float) -> None:
        super().__init__(what, time_s)
        self.what = what
        self.time_s = time_s

    def __str__(self) -> str:
        return f"it seems that this combination of unlike periods never {self.what}; not up to {self.time_s:g} s"

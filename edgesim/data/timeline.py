"""The numbering of a device's samples: which number was taken when, gets a label when, in which phase."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgesim.data.arrivals import Schedule

Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of consecutive sample numbers that came about in the same way.

    Attributes
    ----------
    first
        The first number.
    phase
        How many changes came before.
    arrives
        Whether its samples arrive one by one; otherwise all of them are there at ``time_s``, labelled.
    first_arrival
        How many samples had arrived one by one before it.
    time_s
        When it begins.
    """

    first: int
    phase: int
    arrives: bool
    first_arrival: int
    time_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """Facts of some samples, (sample,) each."""

    numbers: Int64Array
    taken_s: Float64Array
    visible_s: Float64Array  # when the label is, or would be, there
    labelled: BoolArray  # whether it ever gets one
    phase: Int64Array

    def where(self, chosen: BoolArray | Int64Array) -> Records:
        """Some of them, by marks or by places."""
        if chosen.dtype == np.bool_ and chosen.all():
            return self
        return Records(
            self.numbers[chosen],
            self.taken_s[chosen],
            self.visible_s[chosen],
            self.labelled[chosen],
            self.phase[chosen],
        )


class Timeline:
    """Numbers given so far, in segments. A number never changes its meaning.

    Parameters
    ----------
    schedule
        When samples arrive.
    volume
        Samples that are there at t = 0.
    """

    __slots__ = ("_columns", "arrived", "numbers", "schedule", "segments")

    def __init__(self, schedule: Schedule, volume: int) -> None:
        self.schedule = schedule
        self.segments = [Segment(0, 0, False, 0, 0.0), Segment(volume, 0, True, 0, 0.0)]
        self.numbers = volume
        self.arrived = 0
        self._columns: _Columns | None = None  # of the first so many segments

    def arrive(self, count: int) -> None:
        """Give numbers to the next arrivals."""
        self.numbers += count
        self.arrived += count

    def begin_phase(self, phase: int, time_s: float, rewritten: int) -> None:
        """Give numbers to the samples that a change rewrote, and begin the arrivals after it."""
        self.segments.append(Segment(self.numbers, phase, False, self.arrived, time_s))
        self.numbers += rewritten
        self.segments.append(Segment(self.numbers, phase, True, self.arrived, time_s))

    def end(self, place: int) -> int:
        """The number after the last one of a segment."""
        return self.segments[place + 1].first if place + 1 < len(self.segments) else self.numbers

    def places(self, numbers: Int64Array) -> Int64Array:
        """The segment of each number, (sample,)."""
        return np.searchsorted(self._table().first, numbers, side="right") - 1

    def phases(self, places: Int64Array) -> Int64Array:
        """The phase of each of some segments, (sample,)."""
        return self._table().phase[places]

    def records(self, numbers: Int64Array) -> Records:
        """What is known of samples, in the order of ``numbers``."""
        table = self._table()
        places = self.places(numbers)
        taken_s = table.time_s[places]
        visible_s = taken_s.copy()
        labelled = np.ones(len(numbers), dtype=np.bool_)
        arrived = np.flatnonzero(table.arrives[places])
        if len(arrived):
            arrivals = numbers[arrived] + table.to_arrival[places[arrived]]
            times_s = self.schedule.times_s(arrivals)
            taken_s[arrived] = times_s
            visible_s[arrived] = times_s + self.schedule.label_delay_s
            labelled[arrived] = self.schedule.labelled(arrivals)
        return Records(numbers, taken_s, visible_s, labelled, table.phase[places])

    def visible_between(self, start_s: float, end_s: float) -> Records:
        """The samples whose label became visible in (start_s, end_s], in that order."""
        delay_s = self.schedule.label_delay_s
        low = max(self.schedule.count(start_s - delay_s) - 1, 0)  # one more at either end: rounding
        high = self.schedule.count(end_s - delay_s) + 1
        parts = [np.empty(0, dtype=np.int64)]
        for place, segment in enumerate(self.segments):
            if segment.arrives:
                to_number = segment.first - segment.first_arrival
                first = max(segment.first, low + to_number)
                parts.append(np.arange(first, min(self.end(place), high + to_number), dtype=np.int64))
            elif start_s < segment.time_s <= end_s:
                parts.append(np.arange(segment.first, self.end(place), dtype=np.int64))
        found = self.records(np.concatenate(parts))
        found = found.where(found.labelled & (found.visible_s > start_s) & (found.visible_s <= end_s))
        return found.where(np.argsort(found.visible_s, kind="stable"))

    def _table(self) -> _Columns:
        known = self._columns
        if known is None or len(known.first) < len(self.segments):
            self._columns = known = _Columns.of(self.segments, known)
        return known


@dataclass(frozen=True, slots=True, eq=False)
class _Columns:
    """The segments as arrays, (segment,): the first so many of columns with room for more."""

    columns: tuple[npt.NDArray[Any], ...]

    first: Int64Array
    phase: Int64Array
    arrives: BoolArray
    to_arrival: Int64Array
    time_s: Float64Array

    @classmethod
    def of(cls, segments: list[Segment], known: _Columns | None) -> _Columns:
        """The arrays of segments, of which some are ``known``; there is room to write the others behind those."""
        count, first = len(segments), 0 if known is None else len(known.first)
        columns: tuple[npt.NDArray[Any], ...] = () if known is None else known.columns
        if known is None or len(columns[0]) < count:
            longer = [np.empty(2 * count, dtype) for dtype in (np.int64, np.int64, np.bool_, np.int64, np.float64)]
            for column, fresh in zip(columns, longer, strict=False):
                fresh[:first] = column[:first]
            columns = tuple(longer)
        for place in range(first, count):
            it = segments[place]
            cells = (it.first, it.phase, it.arrives, it.first_arrival - it.first, it.time_s)
            for column, cell in zip(columns, cells, strict=True):
                column[place] = cell
        return cls(columns, *[column[:count] for column in columns])

"""Where requests wait in line: a processor or a link, which a fluid of requests flows through in order of arrival."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from ..signals import Signal
from .queueing import NO_WAIT, Demand, Wait


class Line:
    """One processor or link, and how much work is in line for it.

    As long as less comes than can be done, the line is a queue at rest (see ``queueing``). What exceeds the capacity
    is a backlog, which grows and shrinks as a fluid; whoever comes waits until all of it is done.

    Parameters
    ----------
    capacity
        Work per second over time.
    """

    __slots__ = ("_backlog", "_end_s", "_mean_work", "capacity")

    def __init__(self, capacity: Signal) -> None:
        self.capacity = capacity
        self._backlog = 0.0
        self._end_s = 0.0
        self._mean_work = 0.0

    @property
    def backlog(self) -> float:
        """Work in line at the end of the last stretch of time."""
        return self._backlog

    def pass_time(self, start_s: float, end_s: float, demand: Demand) -> Passage:
        """Let ``demand`` come from ``start_s`` to ``end_s``, the capacity being constant; nothing came before."""
        speed = self.capacity.value(start_s)
        before = self._backlog
        if before and start_s > self._end_s:
            before = max(0.0, before - self.capacity.integral(self._end_s, start_s))
        self._backlog, self._end_s = 0.0, end_s
        growth = demand.work - speed
        if demand.per_s:
            self._mean_work = demand.work / demand.per_s
        if not before and growth <= 0.0:
            at_rest = Piece(start_s, end_s, 0.0, 0.0, Wait.of(demand, speed, end_s), demand.per_s)
            return Passage(self.capacity, speed, (at_rest,), demand.work)
        empty_s = start_s - before / growth if growth < 0.0 else end_s
        if empty_s < end_s:
            at_rest = Piece(empty_s, end_s, 0.0, 0.0, Wait.of(demand, speed, end_s), demand.per_s)
            emptied = Piece(start_s, empty_s, before, 0.0, NO_WAIT, speed / self._mean_work)
            pieces: tuple[Piece, ...] = (emptied, at_rest)
        else:
            self._backlog = after = max(0.0, before + growth * (end_s - start_s))
            wait = Wait.of(demand, speed, end_s) if growth > 0.0 and speed else NO_WAIT
            bounds_s = [start_s, *self._bends_s(start_s, end_s, before, demand.work), end_s]
            backlogs = [before, *(before + growth * (bend_s - start_s) for bend_s in bounds_s[1:-1]), after]
            ends = zip(pairwise(bounds_s), pairwise(backlogs), strict=True)
            leaving_per_s = (demand.work + (before - after) / (end_s - start_s)) / self._mean_work
            pieces = tuple(Piece(*times_s, *works, wait, leaving_per_s) for times_s, works in ends)
        return Passage(self.capacity, speed, pieces, demand.work)

    def _bends_s(self, start_s: float, end_s: float, before: float, work_per_s: float) -> Iterator[float]:
        """When those come whose turn is at the instants at which the capacity changes: their time in line bends there.

        That they come at t means that ``before`` and what came from ``start_s`` to t are done by that instant.
        """
        capacity = self.capacity
        if not work_per_s or not capacity.highest:
            return
        change_s = capacity.next_change(capacity.when_integral(start_s, before))
        while change_s < math.inf:
            bend_s = start_s + (capacity.integral(start_s, change_s) - before) / work_per_s
            if bend_s >= end_s:
                return
            if bend_s > start_s:
                yield bend_s
            change_s = capacity.next_change(change_s)


def inside(from_s: float, to_s: float) -> tuple[float, float]:
    """Two times just within a stretch: at its ends the time that somebody takes may jump."""
    margin_s = 1e-9 * (to_s - from_s)
    return from_s + margin_s, to_s - margin_s


class Piece(NamedTuple):
    """A stretch of time during which a line's backlog is linear.

    Attributes
    ----------
    start_s, end_s
        From and to.
    before, after
        The backlog at the start and at the end, in work.
    wait
        What those who come in between wait beside the backlog.
    leaving_per_s
        Requests that leave in between, a second.
    """

    start_s: float
    end_s: float
    before: float
    after: float
    wait: Wait
    leaving_per_s: float

    def backlog(self, time_s: float) -> float:
        """The backlog at a time within the piece."""
        if self.before == self.after:
            return self.before
        share = (time_s - self.start_s) / (self.end_s - self.start_s)
        return self.before + share * (self.after - self.before)


class Passage(NamedTuple):
    """What happened in a line during a stretch of time.

    Attributes
    ----------
    capacity
        Of the line, over all time.
    speed
        The same, in this stretch.
    pieces
        What the stretch is made of.
    work_per_s
        What came.
    """

    capacity: Signal
    speed: float
    pieces: tuple[Piece, ...]
    work_per_s: float

    @property
    def rests(self) -> bool:
        """Whether there is no backlog at any time."""
        return not self.pieces[0].before and not self.pieces[-1].after

    def takes_s(self, time_s: float, work: float = 0.0) -> float:
        """How long who comes at ``time_s`` takes until the backlog, and then ``work``, are done.

        The capacity of the future is known: a backlog at the start of an outage waits for its end. What is being done
        goes on at the speed at which it began. After the stretch, as much is taken to come as in it.
        """
        if time_s == math.inf:
            return math.inf
        if time_s <= self.pieces[-1].end_s:
            backlog = self._piece(time_s).backlog(time_s)
            if not backlog and self.speed:
                return work / self.speed
        else:
            backlog = self._foreseen(time_s)
        turn_s = self.capacity.when_integral(time_s, backlog)
        if not work or turn_s == math.inf:
            return turn_s - time_s
        speed = self.capacity.value(turn_s)
        done_s = turn_s + work / speed if speed else self.capacity.when_integral(turn_s, work)
        return done_s - time_s

    def wait(self, time_s: float) -> Wait:
        """What who comes right after ``time_s`` waits beside the backlog."""
        return self._piece(time_s).wait

    def leaving_per_s(self, time_s: float) -> float:
        """Requests that leave right after ``time_s``, a second."""
        return self._piece(time_s).leaving_per_s

    def _foreseen(self, time_s: float) -> float:
        """The backlog after the stretch, if as much comes as in it."""
        last = self.pieces[-1]
        more = self.work_per_s * (time_s - last.end_s) - self.capacity.integral(last.end_s, time_s)
        return max(0.0, last.after + more)

    def _piece(self, time_s: float) -> Piece:
        for piece in self.pieces:
            if time_s < piece.end_s:
                return piece
        return self.pieces[-1]
